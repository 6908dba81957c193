"""Announced starts: as often right as they say, and in the order of the queue."""

import random
from collections import Counter
from dataclasses import replace
from heapq import heappop, heappush

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import FirmId, Ids, JobId, NodeId
from scheduler.domain.pools import Pool
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.machine import apply, take_snapshot
from scheduler.machine.messages import ConfigurationChanged
from scheduler.planner import Hole, PlannerConfig
from scheduler.planner.allowances import Allowances
from scheduler.planner.estimates import Estimates, Memory
from scheduler.planner.experience import Learning
from scheduler.planner.forecast import MOST_JOBS, StartInterval
from scheduler.planner.sharing import Sharing
from scheduler.planner.told_starts import KEPT_STARTS, Starts
from scheduler.planner.turns import Turns
from tests.builders.cluster import FIRM, POOL, Controller, a_node, a_queue
from tests.builders.jobs import MODEL, a_spec, a_submission

HOUR_MS = 3_600_000


def test_an_interval_holds_as_often_as_it_says_whatever_the_forecast_is_worth() -> None:
    rng = random.Random(7)
    starts = Starts()
    inside = 0
    for number in range(2_000):
        expected_ms = rng.choice([120_000.0, 2_000_000.0, 10_000_000.0])
        waited_ms = expected_ms * rng.lognormvariate(
            1.0, 0.8
        )  # a forecast that is wrong, and always too early
        low_ms, _, high_ms = starts.interval_ms(expected_ms, 1, 0)
        inside += number >= 500 and low_ms <= waited_ms <= high_ms
        starts = starts.plus(FirmId(FIRM), (low_ms, expected_ms, high_ms), waited_ms)
    assert 0.77 < inside / 1_500 < 0.83


def test_jobs_of_many_devices_have_intervals_of_their_own() -> None:
    rng = random.Random(7)
    starts = Starts()
    inside = {1: 0, 64: 0}
    for number in range(2_000):
        devices = rng.choice(list(inside))
        # What needs many devices together starts late, by the same forecast by which the rest starts early.
        waited_ms = 10_000_000.0 * rng.lognormvariate(1.0 if devices == 64 else -1.0, 0.3)
        low_ms, _, high_ms = starts.interval_ms(10_000_000.0, devices, 0)
        inside[devices] += number >= 500 and low_ms <= waited_ms <= high_ms
        starts = starts.plus(FirmId(FIRM), (low_ms, 10_000_000.0, high_ms), waited_ms, devices)
        assert number < 1_000 or high_ms < 4.0 * low_ms
    assert all(0.75 < held / 750 < 0.85 for held in inside.values())


@pytest.mark.parametrize(
    ("growth", "every_s", "jobs"),
    [(0.0, 200, 3_000), (2.0, 200, 3_000), (4.0, 200, 3_000), (0.0, 20, 5_000), (1.0, 20, 5_000)],
    ids=["70 wait", "200 wait", "340 wait", "700 wait", "1,400 wait"],
)
def test_an_interval_holds_where_waits_grow_and_long_ones_are_known_late(
    growth: float, every_s: int, jobs: int
) -> None:
    """Who has started is known at once, who waits long much later: the newest starts say too little of long waits,
    and how often intervals held lately says nothing of those that were told since."""
    rng = random.Random(7)
    learning = Learning()
    waiting: list[tuple[int, int, tuple[float, float, float]]] = []  # (starts, told at, told)
    inside = 0
    for number in range(jobs):
        now_ms = 1_000 * every_s * number
        while waiting and waiting[0][0] <= now_ms:
            at_ms, told_at_ms, told_ms = heappop(waiting)
            learning.started(FirmId(FIRM), JobId(f"job-{told_at_ms}"), told_ms, at_ms - told_at_ms, 1)
        waited_ms = 10_000_000.0 * (1.0 + growth * number / jobs) * rng.lognormvariate(0.0, 0.8)
        low_ms, _, high_ms = learning.experience().starts.interval_ms(10_000_000.0, 1, now_ms)
        inside += number >= jobs // 4 and low_ms <= waited_ms <= high_ms
        learning.told(FirmId(FIRM), JobId(f"job-{now_ms}"), now_ms, 10_000_000.0, 1)
        heappush(waiting, (now_ms + round(waited_ms), now_ms, (low_ms, 10_000_000.0, high_ms)))
    assert 0.75 < inside / (jobs - jobs // 4) < 0.85


def coverage_beside_instant_starts(firm: str) -> float:
    """How often a firm's jobs start inside where, for each of them, thirty of another firm wait a minute."""
    rng = random.Random(7)
    learning = Learning()
    inside = 0
    for number in range(400):
        starts = learning.experience().starts
        low_ms, _, high_ms = told_ms = starts.interval_ms(10_000_000.0, 1, 0)
        for instant in range(30):
            learning.started(FirmId(firm), JobId(f"{number}-{instant}"), told_ms, 60_000.0, 1)
        waited_ms = 10_000_000.0 * rng.lognormvariate(0.0, 0.8)
        inside += number >= 100 and low_ms <= waited_ms <= high_ms
        learning.started(FirmId(FIRM), JobId(str(number)), (low_ms, 10_000_000.0, high_ms), waited_ms, 1)
    return inside / 300


def test_the_instant_starts_of_one_firm_make_the_told_starts_of_another_no_less_true() -> None:
    assert coverage_beside_instant_starts("firm-b") > 0.75
    assert coverage_beside_instant_starts(FIRM) < 0.4, "they are as common as that"


def test_whoever_has_most_of_the_kept_starts_or_waits_gives_way() -> None:
    learning = Learning()
    few, many = FirmId(FIRM), FirmId("firm-b")
    for number in range(3 * KEPT_STARTS):
        learning.started(many, JobId(f"b{number}"), (0.0, 1.0, 2.0), 1.0, 1)
        learning.told(many, JobId(f"wb{number}"), number, 1.0, 1)
        if number < 50:
            learning.started(few, JobId(f"a{number}"), (0.0, 1.0, 2.0), 1.0, 1)
            learning.told(few, JobId(f"wa{number}"), number, 1.0, 1)
    starts = learning.experience().starts
    assert {firm: len(of.starts) for firm, of in starts.sizes[0].items()} == {few: 50, many: KEPT_STARTS - 50}
    assert Counter(one.firm for one in starts.waiting[0]) == {few: 50, many: KEPT_STARTS - 50}
    assert min(one.told_ms for one in starts.waiting[0] if one.firm == many) == 2 * KEPT_STARTS + 50


def test_who_has_just_started_counts_though_as_many_firms_have_started_as_starts_are_kept() -> None:
    starts = Starts()
    for number in range(KEPT_STARTS + 5):
        newest = FirmId(f"firm-{number % 7}-{number}")
        starts = starts.plus(newest, (0.0, 1.0, 2.0), 1.0)
        assert len(starts.sizes[0][newest].starts) == 1


@pytest.mark.parametrize("worth_believing", [True, False])
def test_a_forecast_counts_as_far_as_it_is_worth_believing(worth_believing: bool) -> None:
    rng = random.Random(7)
    starts = Starts()
    for _ in range(400):
        expected_ms = 60_000.0 * rng.lognormvariate(5.0, 1.5)
        waited_ms = (expected_ms if worth_believing else 600_000.0) * rng.lognormvariate(0.0, 0.3)
        low_ms, _, high_ms = starts.interval_ms(expected_ms, 1, 0)
        starts = starts.plus(FirmId(FIRM), (low_ms, expected_ms, high_ms), waited_ms)
    hour, ten_hours = starts.interval_ms(HOUR_MS, 1, 0), starts.interval_ms(10 * HOUR_MS, 1, 0)
    expected_ms = HOUR_MS if worth_believing else 600_000
    assert hour[0] < expected_ms < hour[2]
    assert 0.8 * expected_ms < hour[1] < 1.25 * expected_ms
    assert ten_hours[0] / hour[0] > 5 if worth_believing else ten_hours[0] / hour[0] < 2


def test_the_most_likely_moment_lies_inside_the_interval_and_as_many_start_before_it_as_after_it() -> None:
    """A forecast that plays turns forward is too late for all who start out of turn."""
    rng = random.Random(7)
    starts = Starts()
    before = 0
    for number in range(1_000):
        forecast_ms = 60_000.0 * rng.lognormvariate(6.0, 1.0)
        waited_ms = 0.02 * forecast_ms * rng.lognormvariate(0.0, 1.0)
        low_ms, likely_ms, high_ms = starts.interval_ms(forecast_ms, 1, 0)
        assert low_ms <= likely_ms <= high_ms
        before += number >= 200 and waited_ms < likely_ms
        starts = starts.plus(FirmId(FIRM), (low_ms, forecast_ms, high_ms), waited_ms)
    assert 0.45 < before / 800 < 0.55


def test_jobs_further_back_are_expected_later() -> None:
    controller = Controller([a_node("n1")])
    first = controller.submit("first", a_spec("first", devices=8, time_limit_s=3600))
    controller.plan()
    controller.run(first)
    for name in ("second", "third", "fourth"):
        controller.submit(name, a_spec(name, devices=8, time_limit_s=3600))
    controller.plan()
    told = [controller.report.starts(JobId(name)) for name in ("second", "third", "fourth")]
    expected = [interval.expected_ms for interval in told if interval is not None]
    assert len(expected) == 3
    assert expected == sorted(expected)
    assert expected[1] - expected[0] > HOUR_MS // 2
    assert all(i.low_ms <= i.expected_ms <= i.high_ms for i in told if i is not None)


def test_a_job_that_fits_nowhere_is_told_nothing() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("large", a_spec("large", devices=64, per_node=8))
    controller.plan()
    assert controller.report.starts(JobId("large")) is None


def test_places_of_jobs_that_are_alike_are_those_of_each_by_itself() -> None:
    controller = Controller([a_node("n1")])
    config = PlannerConfig()
    for number, age in enumerate((0.0, 0.5, 1.0, 1.5, 2.5)):
        for priority in ("low", "normal"):
            job_id = f"{priority}-{number}"
            at_ms = controller.now_ms - round(age * config.ageing_ms)
            apply(
                controller.state,
                a_submission(job_id, a_spec(devices=8, priority=priority, time_limit_s=3600), at_ms=at_ms),
                controller.now_ms,
                Ids(random.Random(number).randbytes),
            )
    snapshot = take_snapshot(controller.state, controller.now_ms)
    turns = Turns(controller.now_ms, config, Estimates(snapshot, Memory()))
    for item in snapshot.classes:
        each = [turns.standing(item.shape, job) for job in item.jobs]
        one_by_one = [(-its.rank, its.turn, job, "x") for its, job in zip(each, item.jobs, strict=True)]
        assert turns.places(item, "x") == one_by_one
    assert sum(len(item.jobs) for item in snapshot.classes) == 10


def booked(from_h: int, until_h: int, *, nodes: int = 1, of: int = 1, firm: str | None = None) -> Controller:
    """So many nodes, the first of them booked between two hours from now, for a firm or for maintenance."""
    controller = Controller([a_node(f"n{n}") for n in range(nodes)])
    keys = [QueueKey(FirmId(name), "default") for name in (FIRM, "firm-b")]
    controller.tell(
        ConfigurationChanged(
            {POOL: Pool(POOL)},
            tuple(Queue(key, (POOL,)) for key in keys),
            (),
            (
                Hole(
                    controller.now_ms + from_h * HOUR_MS,
                    controller.now_ms + until_h * HOUR_MS,
                    frozenset(NodeId(f"n{n}") for n in range(of)),
                    None if firm is None else QueueKey(FirmId(firm), "default"),
                ),
            ),
        )
    )
    return controller


def told(controller: Controller, name: str) -> StartInterval:
    interval = controller.report.starts(JobId(name))
    assert interval is not None
    return interval


@pytest.mark.parametrize("from_h", [0, 1], ids=["its nodes are drained", "its run would reach into it"])
@pytest.mark.parametrize("nodes", [1, 3], ids=["on one node", "of a gang that needs all"])
def test_a_job_behind_a_maintenance_window_is_told_no_start_before_its_end(from_h: int, nodes: int) -> None:
    controller = booked(from_h, 6, nodes=nodes)
    controller.submit("blocked", a_spec(devices=8 * nodes, per_node=8, time_limit_s=2 * 3600))
    ends_ms = controller.state.calendar[0].until_ms
    assert controller.plan() == []
    interval = told(controller, "blocked")
    assert interval.low_ms >= ends_ms
    assert interval.expected_ms == ends_ms


def test_who_ends_before_a_window_is_told_to_start_before_it_and_who_does_not_after_it() -> None:
    controller = booked(5, 7)
    first = controller.submit("first", a_spec(devices=8, time_limit_s=2 * 3600))
    assert controller.plan() == ["first"]
    controller.run(first)
    controller.submit("fits", a_spec(devices=8, time_limit_s=2 * 3600))
    controller.submit("late", a_spec(devices=8, time_limit_s=2 * 3600))
    controller.plan()
    (window,) = controller.state.calendar
    assert told(controller, "fits").expected_ms < window.from_ms
    assert told(controller, "late").expected_ms >= window.until_ms


def test_a_window_keeps_nobody_from_nodes_that_are_not_in_it() -> None:
    controller = booked(0, 48, nodes=2)
    first = controller.submit("first", a_spec(devices=8, time_limit_s=3600))
    assert controller.plan() == ["first"]
    controller.run(first)
    controller.submit("next", a_spec(devices=8, time_limit_s=3600))
    controller.plan()
    assert told(controller, "next").expected_ms < controller.now_ms + 2 * HOUR_MS


def test_a_window_that_binds_nobody_yet_keeps_nobody() -> None:
    controller = booked(60, 62)
    controller.submit("first", a_spec(devices=8, time_limit_s=100 * 3600))
    controller.submit("next", a_spec(devices=8, time_limit_s=100 * 3600))
    assert controller.plan() == ["first"]
    next_ms = told(controller, "next").expected_ms
    assert next_ms >= controller.state.calendar[0].until_ms, "the first is drained"


def test_a_reservation_is_a_window_for_everybody_but_its_owner() -> None:
    controller = booked(0, 12, firm="firm-b")
    (hole,) = controller.state.calendar
    controller.submit("mine", a_spec(devices=8, time_limit_s=3600), firm="firm-b")
    controller.submit("mine-too", a_spec(devices=8, time_limit_s=3600), firm="firm-b")
    controller.submit("other", a_spec(devices=8, time_limit_s=3600))
    assert controller.plan() == ["mine"]
    assert told(controller, "mine-too").expected_ms < controller.now_ms + 2 * HOUR_MS
    assert told(controller, "other").low_ms >= hole.until_ms


def of_quota(queues: list[Queue], cohorts: tuple[Cohort, ...] = (), devices: int = 8) -> Controller:
    """One node and queues with quotas; the first firm's job of four devices runs for an hour at most."""
    controller = Controller([a_node("n1", devices=devices)], queues)
    if cohorts:
        controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, tuple(queues), cohorts))
    first = controller.submit("first", a_spec(devices=4, time_limit_s=3600))
    assert controller.plan() == ["first"]
    controller.run(first)
    return controller


def test_who_waits_for_its_quota_alone_is_told_no_start_before_work_of_its_queue_ends() -> None:
    controller = of_quota([a_queue(nominal={MODEL: 4}), a_queue(firm="firm-b")])
    for name in ("second", "third"):
        controller.submit(name, a_spec(devices=4, time_limit_s=3600))
    controller.submit("free", a_spec(devices=4, time_limit_s=3600), firm="firm-b")
    controller.submit("behind", a_spec(devices=4, time_limit_s=3600), firm="firm-b")
    assert controller.plan() == ["free"]
    second, third, behind = (
        told(controller, name).expected_ms - controller.now_ms for name in ("second", "third", "behind")
    )
    assert second > 0.9 * HOUR_MS, "of the quota nothing is free until the first ends"
    assert third > 1.9 * second, "the second has it until then"
    assert behind < 1.1 * second, "they wait for no devices that others need"


def test_a_quota_of_compute_keeps_from_free_devices_of_each_model() -> None:
    of_one = load_catalogue().fp16_gflops(MODEL) or 0
    controller = of_quota([a_queue(nominal={COMPUTE: 5 * of_one})])
    controller.submit("second", a_spec(devices=2, time_limit_s=3600))
    controller.submit("small", a_spec(devices=1, time_limit_s=3600))
    controller.plan()
    assert told(controller, "second").expected_ms > controller.now_ms + HOUR_MS * 0.9


def test_who_asks_for_more_than_its_quota_ever_holds_is_told_nothing() -> None:
    controller = of_quota([a_queue(nominal={MODEL: 4})])
    controller.submit("large", a_spec(devices=6))
    assert controller.plan() == []
    assert controller.report.starts(JobId("large")) is None


def test_a_cohorts_limit_keeps_who_would_borrow_and_nobody_within_his_own_quota() -> None:
    """For whom it is its own, work of borrowers stops, however long it would run."""
    queues = [replace(a_queue(firm=firm, nominal={MODEL: 4}), cohort="all") for firm in (FIRM, "firm-b")]
    controller = of_quota(queues, (Cohort("all"),), devices=12)
    borrower = controller.submit("borrower", a_spec(devices=4, time_limit_s=3600))
    assert controller.plan() == ["borrower"]
    controller.run(borrower)
    controller.submit("mine", a_spec(devices=4, time_limit_s=3600))
    controller.submit("other", a_spec(devices=4, time_limit_s=3600), firm="firm-b")
    assert controller.plan() == []
    assert told(controller, "mine").expected_ms > controller.now_ms + 0.9 * HOUR_MS
    assert told(controller, "other").forecast_ms == controller.now_ms


@pytest.mark.parametrize("in_between", [False, True], ids=["a queue", "a cohort"])
def test_what_others_never_lend_is_free_for_nobody_else(in_between: bool) -> None:
    """Two lend what they have, a third keeps its own: held or not, nobody waits for that."""
    firms = (FIRM, "firm-b", "keeper")
    queues = [replace(a_queue(firm=firm, nominal={MODEL: 4}), cohort="all") for firm in firms]
    cohorts = [Cohort("all")]
    if in_between:
        queues[2] = replace(queues[2], cohort="keepers")
        cohorts.append(Cohort("keepers", parent="all", lending={MODEL: 0}))
    else:
        queues[2] = replace(queues[2], lending={MODEL: 0})
    controller = of_quota(queues, tuple(cohorts), devices=16)
    other = controller.submit("other", a_spec(devices=4, time_limit_s=2 * 3600), firm="firm-b")
    assert controller.plan() == ["other"]
    controller.run(other)
    controller.submit("more", a_spec(devices=4, time_limit_s=3600))
    assert controller.plan() == []
    assert told(controller, "more").expected_ms > controller.now_ms + 0.9 * HOUR_MS, "until its own ends"
    kept = controller.submit("kept", a_spec(devices=4, time_limit_s=600), firm="keeper")
    assert controller.plan() == ["kept"]
    controller.run(kept)
    controller.submit("again", a_spec(devices=4, time_limit_s=600), firm="keeper")
    assert controller.plan() == []
    assert told(controller, "again").expected_ms - controller.now_ms < 0.2 * HOUR_MS
    assert told(controller, "more").expected_ms > controller.now_ms + 0.9 * HOUR_MS, "it is not for others"


def a_tree_of_quotas(rng: random.Random) -> Controller:
    """Queues in a tree of cohorts with whatever limits, whose jobs run on devices that suffice for all."""

    def limit() -> dict[str, int]:
        return {MODEL: rng.randrange(6)} if rng.random() < 0.4 else {}

    cohorts = [Cohort("c0")]
    for number in range(1, rng.randrange(1, 4)):
        parent = f"c{rng.randrange(number)}"
        cohorts.append(Cohort(f"c{number}", parent, limit(), limit(), limit()))
    queues = [
        replace(
            a_queue(firm=f"f{number}", nominal={MODEL: rng.randrange(9)}),
            cohort=rng.choice(cohorts).name if rng.random() < 0.9 else None,
            borrowing=limit(),
            lending=limit(),
        )
        for number in range(rng.randrange(2, 5))
    ]
    controller = Controller([a_node(f"n{number}") for number in range(4)], queues)
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, tuple(queues), tuple(cohorts)))
    for number in range(rng.randrange(7)):
        spec = a_spec(devices=rng.choice([1, 2, 4]), time_limit_s=rng.choice([600, 3600]))
        controller.submit(f"job-{number}", spec, firm=rng.choice(queues).key.firm_id)
        for job_id in controller.plan():
            controller.run(controller.state.jobs[JobId(job_id)])
    return controller


@pytest.mark.parametrize("seed", range(20))
def test_quotas_are_open_at_once_to_whom_they_let_start_or_owe_it_and_to_nobody_else(seed: int) -> None:
    controller = a_tree_of_quotas(random.Random(seed))
    snapshot, config = take_snapshot(controller.state, controller.now_ms), PlannerConfig()
    sharing = Sharing(snapshot, config)
    allowances = Allowances(snapshot, Estimates(snapshot, Memory()), config)
    for queue in filter(lambda queue: allowances.bound(queue.key), snapshot.queues.values()):
        for asked in range(1, 9):
            owed = queue.cohort is not None and (
                sharing.held(queue.key, MODEL) + asked <= queue.nominal.get(MODEL, 0)
            )
            opens_ms = allowances.opens_ms(queue.key, [MODEL], asked).get(MODEL)
            assert (opens_ms == 0.0) == (not sharing.lacks(queue, MODEL, asked) or owed), (queue, asked)


def test_of_a_quota_that_very_many_jobs_hold_nobody_is_told_too_early_and_nobody_much_too_late() -> None:
    controller = Controller([a_node(f"n{number}") for number in range(41)], [a_queue(nominal={MODEL: 320})])
    for number in range(320):
        controller.submit(f"job-{number}", a_spec(devices=1, time_limit_s=3600 + 60 * number))
    for job_id in controller.plan():
        controller.run(controller.state.jobs[JobId(job_id)])
    snapshot = take_snapshot(controller.state, controller.now_ms)
    estimates = Estimates(snapshot, Memory())
    allowances = Allowances(snapshot, estimates, PlannerConfig())
    ends_ms = sorted(estimates.left_of(running) or 0.0 for running in snapshot.running)
    assert len(ends_ms) == 320
    for asked in range(1, 319):
        opens_ms = allowances.opens_ms(snapshot.running[0].shape.queue, [MODEL], asked)[MODEL]
        assert ends_ms[asked - 1] <= opens_ms <= ends_ms[asked + 1]


def test_where_nobody_can_tell_when_the_quota_is_free_no_start_is_told() -> None:
    queues = [replace(a_queue(nominal={MODEL: 0}), cohort="all"), a_queue(firm="firm-b")]
    controller = Controller([a_node("n1")], queues)
    controller.submit("none", a_spec(devices=1))
    assert controller.plan() == []
    assert controller.report.starts(JobId("none")) is None


def test_of_a_quota_that_was_lowered_nothing_is_free_until_as_much_has_ended() -> None:
    controller = of_quota([a_queue(nominal={MODEL: 4})])
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(nominal={MODEL: 2}),)))
    for name in ("second", "third"):
        controller.submit(name, a_spec(devices=2, time_limit_s=3600))
    assert controller.plan() == []
    second, third = (told(controller, name).expected_ms - controller.now_ms for name in ("second", "third"))
    assert 0.9 * HOUR_MS < second < 0.6 * third


def test_those_too_far_back_to_be_played_forward_are_told_by_the_quota_of_their_queue() -> None:
    controller = of_quota([a_queue(nominal={MODEL: 4}), a_queue(firm="firm-b")])
    for number in range(MOST_JOBS + 20):
        controller.submit(f"job-{number}", a_spec(devices=4, time_limit_s=3600))
    controller.plan()
    starts = [told(controller, f"job-{number}").expected_ms for number in (MOST_JOBS - 1, MOST_JOBS + 19)]
    assert starts[0] > controller.now_ms + 0.9 * MOST_JOBS * HOUR_MS
    assert starts[1] > starts[0] + 18 * HOUR_MS


def test_a_quota_as_large_as_all_devices_changes_no_told_start() -> None:
    told_with = []
    for nominal in ({}, {MODEL: 8}):
        controller = of_quota([a_queue(nominal=nominal), a_queue(firm="firm-b", nominal=nominal)])
        for number, devices in enumerate((8, 2, 4, 8, 1, 4)):
            firm = FIRM if number % 2 else "firm-b"
            controller.submit(
                f"job-{number}", a_spec(devices=devices, time_limit_s=600 * (number + 1)), firm=firm
            )
        controller.plan()
        told_with.append([controller.report.starts(JobId(f"job-{number}")) for number in range(6)])
    assert told_with[0] == told_with[1]


def test_a_job_that_was_refused_in_this_cycle_does_not_most_likely_start_now() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    for name in ("runs-1", "runs-2"):
        running = controller.submit(name, a_spec(devices=5, time_limit_s=36_000))
        controller.plan()
        controller.run(running)
    controller.submit("apart", a_spec(devices=6, time_limit_s=3_600))
    controller.plan()
    told = controller.report.starts(JobId("apart"))
    assert told is not None
    assert told.forecast_ms == controller.now_ms, (
        "devices are counted, not laid out: six are free on two nodes"
    )
    assert controller.now_ms < told.expected_ms < told.high_ms
