"""Queues of all kinds of quotas: nobody stops for ever for somebody who does not start."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.gangs import Domain, Share, Topology
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import Node
from scheduler.domain.pools import Pool
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.reasons import EndReason
from scheduler.machine.messages import ConfigurationChanged, CordonRequested
from scheduler.machine.state import JobRecord
from scheduler.planner import PlannerConfig
from scheduler.planner.config import POLICIES
from tests.builders.cluster import POOL, Controller, a_node, a_queue, at_step
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec, with_speeds

FIRMS = ("firm-a", "firm-b", "firm-c")
POOLS = ("pool-a", "pool-b")
HOUR_MS = 3_600_000


def a_cluster(draw: random.Random) -> Controller:
    """Two to four nodes of two models, three firms with quotas of devices, of compute, or none."""
    pools = POOLS[: draw.randint(1, 2)]
    nodes = [
        a_node(
            f"n{number}",
            devices=draw.choice([2, 4]),
            model=draw.choice([MODEL, OTHER_MODEL]),
            pool=draw.choice(pools),
        )
        for number in range(draw.randint(2, 4))
    ]
    controller = Controller(nodes, config=PlannerConfig(profile=draw.choice(list(POLICIES))))
    fast = load_catalogue().fp16_gflops(MODEL)
    queues = []
    for firm in FIRMS:
        key = QueueKey(FirmId(firm), "default")
        limits = ((MODEL, 0.7, 6, 1), (OTHER_MODEL, 0.5, 6, 1), (COMPUTE, 0.4, 8, fast))
        nominal = {what: draw.randint(0, most) * unit for what, p, most, unit in limits if draw.random() < p}
        own_pools = tuple(draw.sample(pools, draw.randint(1, len(pools))))
        queues.append(Queue(key, own_pools, nominal, 1, "all" if draw.random() < 0.9 else None))
    controller.tell(
        ConfigurationChanged({pool: Pool(pool) for pool in pools}, tuple(queues), (Cohort("all"),))
    )
    return controller


def submit_one(controller: Controller, draw: random.Random, name: str) -> None:
    """Whole devices or a part of one, of one model or either, resuming or not."""
    part = Share(draw.choice([250_000, 500_000]), None) if draw.random() < 0.3 else None
    spec = a_spec(
        name,
        devices=1 if part else draw.randint(1, 4),
        share=part,
        priority=draw.choice(["low", "normal", "normal", "high"]),
        models=draw.choice([[MODEL], [OTHER_MODEL], [MODEL, OTHER_MODEL]]),
        estimate_seconds=draw.choice([None, 600, 7_200, 86_400]),
    )
    if draw.random() < 0.4:
        spec = replace(spec, model_checkpoint=None)
    controller.submit(name, spec, firm=draw.choice(FIRMS))


def go_on(controller: Controller) -> bool:
    """One cycle, whose plan is checked, and all that it told done; whether it told anything."""
    placed = controller.plan()
    jobs = controller.state.jobs.values()
    stopped = [job for job in jobs if job.state is JobState.STOPPING]
    for job in [job for job in jobs if job.state is JobState.ALLOCATED]:
        controller.run(job)
    for job in stopped:
        for allocation in controller.tasks(job):
            controller.end(allocation, None, EndReason.STOPPED)
    return bool(placed or stopped)


def goes_on_later(controller: Controller) -> bool:
    """One cycle half an hour on."""
    controller.wait(HOUR_MS // 2)
    return go_on(controller)


@pytest.mark.parametrize("seed", range(24))
def test_a_cluster_to_which_nobody_submits_any_more_comes_to_rest(seed: int) -> None:
    draw = random.Random(seed)
    controller = a_cluster(draw)
    for number in range(16):
        submit_one(controller, draw, f"job-{number}")
        if draw.random() < 0.5:
            go_on(controller)
            controller.wait(draw.choice([1_000, HOUR_MS, 30 * HOUR_MS]))
    # Somebody may be told something in cycle after cycle, but not for ever.
    assert any(not goes_on_later(controller) for _ in range(60))


def lending(
    nodes: list[Node], nominal: Mapping[str, Mapping[str, int]], config: PlannerConfig | None = None
) -> Controller:
    """Firms with quotas in one cohort."""
    controller = Controller(nodes, config=config)
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), own, 1, "all") for firm, own in nominal.items()
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    return controller


def rests(controller: Controller, cycles: int = 12) -> bool:
    """Whether nobody is told anything in one of so many cycles."""
    return any(not goes_on_later(controller) for _ in range(cycles))


@pytest.mark.parametrize("theirs", [4, 2])
def test_a_queue_that_borrows_starts_its_high_job_before_its_low_one(theirs: int) -> None:
    # For a low job of others: who could never take back what is borrowed, and who could, but has no node.
    nominal = {"firm-a": {MODEL: 0, OTHER_MODEL: 4}, "firm-b": {MODEL: 2}}
    controller = lending([a_node("n1", devices=1)], nominal)
    controller.submit("theirs", a_spec("theirs", devices=theirs, priority="low"), firm="firm-b")
    models = [MODEL, OTHER_MODEL] if theirs == 4 else [MODEL]
    controller.submit("low", a_spec("low", models=models, priority="low"))
    controller.submit("high", a_spec("high", models=[MODEL], priority="high"))
    assert controller.plan() == ["high"]


def test_nobody_moves_to_a_model_on_which_he_is_not_tried_first() -> None:
    # A gang for which the fast devices are all that matters makes them dear for whom the others serve nearly as well.
    controller = Controller([a_node("fast"), a_node("slow", model=OTHER_MODEL)])
    gang = a_spec("gang", devices=64, models=[MODEL, OTHER_MODEL])
    controller.submit("gang", with_speeds(gang, {MODEL: 1_000, OTHER_MODEL: 10}))
    part = a_spec("part", share=Share(250_000, None))
    job = controller.submit("part", with_speeds(part, {MODEL: 1_000, OTHER_MODEL: 500}))
    assert go_on(controller)
    job.step_report = {"step": 10, "of": 100_000, "at_ms": controller.now_ms}
    assert not goes_on_later(controller)


def test_nobody_moves_to_what_he_would_borrow_while_its_owner_waits() -> None:
    nominal = {"firm-a": {MODEL: 0, OTHER_MODEL: 8}, "firm-b": {MODEL: 8, OTHER_MODEL: 0}}
    controller = lending([a_node("slow", model=OTHER_MODEL), a_node("fast", devices=4)], nominal)
    holder = controller.submit("holder", a_spec("holder", devices=4), firm="firm-b")
    part = a_spec("part", share=Share(250_000, None))
    job = controller.submit("part", with_speeds(part, {OTHER_MODEL: 100, MODEL: 1_000}))
    assert go_on(controller)
    job.step_report = {"step": 10, "of": 10_000, "at_ms": controller.now_ms}
    controller.wait(HOUR_MS)
    controller.end(controller.tasks(holder)[0])
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")  # more than the node has
    assert not goes_on_later(controller)


def test_nobody_leaves_for_devices_that_are_kept_for_another_firm() -> None:
    nodes = [a_node("fast", devices=4), a_node("slow", devices=4, model=OTHER_MODEL)]
    controller = Controller(nodes, [a_queue(), a_queue(firm="firm-b")])
    stays = replace(a_spec("stays", priority="high"), model_checkpoint=None)
    controller.submit("stays", stays, firm="firm-b")
    assert go_on(controller)
    controller.submit("theirs", a_spec("theirs", devices=4, priority="high"), firm="firm-b")
    controller.wait(HOUR_MS)
    either = a_spec("either", models=[MODEL, OTHER_MODEL], estimate_seconds=20 * 86_400)
    controller.submit("either", with_speeds(either, {MODEL: 1_000, OTHER_MODEL: 100}))
    assert rests(controller)


def test_nobody_makes_room_for_a_gang_that_work_which_stays_keeps_from_its_nodes() -> None:
    controller = Controller([a_node(f"n{n}", devices=4) for n in range(3)])
    for name in ("first", "second"):
        controller.submit(name, replace(a_spec(name, devices=3), model_checkpoint=None))
        assert go_on(controller)
    models = [MODEL, OTHER_MODEL]
    for name, devices in (("large", 4), ("one", 1), ("other", 1)):
        controller.submit(name, a_spec(name, devices=devices, models=models, estimate_seconds=86_400))
        assert go_on(controller)
    controller.wait(HOUR_MS)
    gang = a_spec("gang", devices=6, per_node=3, models=models, estimate_seconds=600)
    controller.submit("gang", gang)
    assert not any(goes_on_later(controller) for _ in range(12))


def test_nobody_stops_for_a_job_of_his_queue_that_borrows_and_has_its_turn_after_him() -> None:
    # Its quota is too small for the large job whoever stops; and as another queue might take back what it would
    # borrow, it comes after all who wait for their own.
    nominal = {"firm-a": {MODEL: 4}, "firm-b": {MODEL: 4}}
    controller = lending([a_node("n1")], nominal)
    controller.submit("small", a_spec("small"))
    assert go_on(controller)
    controller.submit("theirs", a_spec("theirs", devices=4, per_node=2, priority="low"), firm="firm-b")
    controller.submit("large", a_spec("large", devices=8, priority="high"))
    controller.wait(HOUR_MS)
    assert not any(goes_on_later(controller) for _ in range(6))


def test_the_last_of_those_who_would_borrow_stops_for_a_job_that_has_its_turn_before_him() -> None:
    nominal = {"firm-a": {MODEL: 4}, "firm-b": {MODEL: 4}}
    controller = lending([a_node("n1", devices=4)], nominal)
    controller.submit("small", a_spec("small", devices=4))
    assert go_on(controller)
    controller.submit("theirs", a_spec("theirs", devices=4, per_node=2, priority="low"), firm="firm-b")
    controller.submit("high", a_spec("high", devices=4, priority="high"))
    controller.wait(HOUR_MS)
    assert goes_on_later(controller)
    assert goes_on_later(controller)
    assert controller.state.jobs[JobId("high")].state is JobState.RUNNING
    assert rests(controller)


def test_nobody_stops_and_nothing_is_kept_for_devices_that_no_fast_links_join() -> None:
    controller = Controller([a_node("n1", group=4)])
    controller.submit("low", a_spec("low", priority="low"))
    assert go_on(controller)
    together = Topology(required=Domain.FAST_LINK_GROUP)
    controller.submit("high", replace(a_spec("high", devices=8, priority="high"), topology=together))
    assert not any(goes_on_later(controller) for _ in range(6))
    controller.submit("behind", a_spec("behind", priority="low"))
    assert controller.plan() == ["behind"]


def test_nobody_makes_room_on_the_market_for_devices_that_no_fast_links_join() -> None:
    controller = Controller([a_node("fast", group=4), a_node("slow", model=OTHER_MODEL)])
    for name in ("long", "longer"):
        spec = a_spec(name, devices=4, estimate_seconds=10 * 86_400)
        controller.submit(name, with_speeds(spec, {MODEL: 1_000, OTHER_MODEL: 900}))
        assert go_on(controller)
    controller.wait(HOUR_MS)
    short = with_speeds(a_spec("short", devices=8, estimate_seconds=600), {MODEL: 1_000, OTHER_MODEL: 10})
    controller.submit("short", replace(short, topology=Topology(required=Domain.FAST_LINK_GROUP)))
    assert not any(goes_on_later(controller) for _ in range(6))


def test_nobody_leaves_for_devices_that_he_would_get_only_had_another_left_too() -> None:
    config = PlannerConfig(profile="packing")
    nodes = [a_node("slow", devices=4, model=OTHER_MODEL), a_node("fast", devices=4)]
    controller = lending(nodes, {"firm-a": {OTHER_MODEL: 8}}, config)
    for name in ("one", "other"):
        spec = a_spec(name, devices=2, models=[MODEL, OTHER_MODEL], estimate_seconds=10 * 86_400)
        controller.submit(name, spec)
        go_on(controller)
        controller.wait(30 * HOUR_MS)
    assert rests(controller)


def test_nobody_stops_for_one_whom_age_has_raised_no_higher_on_the_market() -> None:
    nodes = [a_node("slow", devices=4, model=OTHER_MODEL), a_node("fast", devices=2)]
    controller = lending(nodes, {"firm-a": {OTHER_MODEL: 8}, "firm-b": {OTHER_MODEL: 4}})
    for priority in ("normal", "low"):
        spec = a_spec(
            priority, devices=4, models=[MODEL, OTHER_MODEL], estimate_seconds=600, priority=priority
        )
        controller.submit(priority, spec, firm="firm-b")
        go_on(controller)
        controller.wait(30 * HOUR_MS)
    assert rests(controller)


def test_nobody_stops_for_a_job_whose_quota_would_then_be_kept_for_one_that_asks_for_more() -> None:
    # Two are gangs over three nodes, of which one is out of service. With what one borrower gives back there is quota
    # for the first, and not for the second: it would be kept for him, and nobody would have it.
    nodes = [a_node(f"n{n}", devices=4) for n in range(3)]
    controller = lending(nodes, {"firm-a": {MODEL: 8}, "firm-b": {}})
    controller.tell(CordonRequested(nodes[0].node_id, True))
    for name in ("one", "other"):
        controller.submit(name, a_spec(name, devices=3), firm="firm-b")
        assert go_on(controller)
    for name, devices, on_node in (("first", 3, 1), ("second", 6, 2), ("alone", 3, 3)):
        controller.submit(name, a_spec(name, devices=devices, per_node=on_node))
    assert rests(controller)


def test_who_comes_back_before_a_job_that_borrows_is_let_be_and_others_behind_it_stop() -> None:
    # The two youngest would be the first to stop, and would start again before it.
    controller = lending([a_node("n1", devices=4)], {"firm-a": {MODEL: 3}, "firm-b": {MODEL: 4}})
    for name, priority in (("low", "low"), ("normal", "normal")):
        for number in range(2):
            controller.submit(f"{name}-{number}", a_spec(name, priority=priority))
        assert go_on(controller)
        controller.wait(HOUR_MS)
    controller.submit("theirs", a_spec("theirs", devices=4, per_node=2), firm="firm-b")
    controller.submit("high", a_spec("high", devices=2, priority="high"))
    assert goes_on_later(controller)
    assert goes_on_later(controller)
    assert controller.state.jobs[JobId("high")].state is JobState.RUNNING
    assert rests(controller)


def starts_in(
    controller: Controller, cycles: int, minutes: int, meanwhile: Callable[[], None] | None = None
) -> int:
    """How often anybody starts in so many cycles, at such intervals."""
    before = sum(len(job.attempts) for job in controller.state.jobs.values())
    for _ in range(cycles):
        controller.wait(minutes * 60_000)
        if meanwhile is not None:
            meanwhile()
        go_on(controller)
    return sum(len(job.attempts) for job in controller.state.jobs.values()) - before


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize(
    ("jobs", "fast", "slow", "estimate_s", "between_min", "minutes"),
    [
        (2, 1, 0, 600, 0, 5),
        (3, 1, 1, 600, 0, 10),
        (4, 2, 1, 600, 0, 5),
        (4, 2, 1, 600, 20, 30),
        (4, 2, 1, 7_200, 20, 30),
        (6, 2, 2, 7_200, 20, 30),
    ],
)
def test_jobs_that_outlive_their_estimates_by_far_take_turns_ever_more_seldom(
    profile: str, jobs: int, fast: int, slow: int, estimate_s: int, between_min: int, minutes: int
) -> None:
    nodes = [a_node(f"fast-{n}", devices=1) for n in range(fast)]
    nodes += [a_node(f"slow-{n}", devices=1, model=OTHER_MODEL) for n in range(slow)]
    controller = Controller(nodes, config=PlannerConfig(profile=profile))
    for number in range(jobs):
        name = f"job-{number}"
        models = [MODEL, OTHER_MODEL]
        controller.submit(name, a_spec(name, models=models, estimate_seconds=estimate_s))
        if between_min:
            go_on(controller)
            controller.wait(between_min * 60_000)
    starts_in(controller, 150, minutes)
    assert starts_in(controller, 50, minutes) <= 2 * jobs


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize(("jobs", "devices", "minutes"), [(2, 1, 10), (3, 1, 5), (4, 2, 10)])
def test_jobs_on_one_model_that_outlive_their_estimates_by_far_take_turns_ever_more_seldom(
    profile: str, jobs: int, devices: int, minutes: int
) -> None:
    controller = Controller([a_node("n1", devices=devices)], config=PlannerConfig(profile=profile))
    ends = controller.submit("ends", a_spec("ends"))  # from it the planner learns of run times
    assert go_on(controller)
    controller.wait(HOUR_MS // 3)
    controller.end(controller.tasks(ends)[0])
    for number in range(jobs):
        controller.submit(f"job-{number}", a_spec(f"job-{number}", estimate_seconds=600))
    starts_in(controller, 150, minutes)
    assert starts_in(controller, 50, minutes) <= jobs


@pytest.mark.parametrize("profile", POLICIES)
def test_jobs_that_say_that_they_run_for_long_do_not_come_back_as_short_ones(profile: str) -> None:
    nodes = [a_node("fast", devices=1), a_node("slow", devices=1, model=OTHER_MODEL)]
    controller = Controller(nodes, config=PlannerConfig(profile=profile))
    jobs = []
    for number in range(4):
        spec = a_spec(f"job-{number}", models=[MODEL, OTHER_MODEL], estimate_seconds=7_200)
        spec = with_speeds(spec, {MODEL: 3_600, OTHER_MODEL: 3_600})
        jobs.append(controller.submit(f"job-{number}", spec))

    def report() -> None:
        for job in jobs:
            if job.state is JobState.RUNNING:
                job.step_report = {"step": 0, "of": 1_000_000, "at_ms": controller.now_ms}

    starts_in(controller, 100, 10, report)
    assert starts_in(controller, 50, 10, report) <= 2 * len(jobs)


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize("step", [99, 100])
def test_a_job_that_says_for_ever_that_it_is_nearly_through_does_not_keep_its_devices_for_ever(
    profile: str, step: int
) -> None:
    controller = Controller([a_node("n1", devices=1)], config=PlannerConfig(profile=profile))
    ends = controller.submit("ends", a_spec("ends"))  # from it the planner learns of run times
    assert go_on(controller)
    controller.wait(HOUR_MS // 3)
    controller.end(controller.tasks(ends)[0])

    def come(name: str, estimate_seconds: int) -> JobRecord:
        spec = a_spec(name, models=[MODEL, OTHER_MODEL], estimate_seconds=estimate_seconds)
        job = controller.submit(name, with_speeds(spec, {MODEL: 3_600, OTHER_MODEL: 3_600}))
        go_on(controller)
        return job

    says = come("says", 600)
    waits = come("waits", 7_200)
    for _ in range(24 * 6):
        controller.wait(HOUR_MS // 6)
        if says.state is JobState.RUNNING:
            at_step(controller, says, step, of=100)
        go_on(controller)
    assert time_with_devices_ms(controller, waits) > 8 * HOUR_MS


def time_with_devices_ms(controller: Controller, job: JobRecord) -> int:
    return sum(
        (attempt.ended_ms or controller.now_ms) - attempt.started_ms
        for attempt in job.attempts
        if attempt.started_ms is not None
    )


def test_nobody_stops_for_the_priority_of_a_job_that_the_market_then_passes_over() -> None:
    # With the devices of the low one the market would rather have a gang start, which does not fit on them: whoever
    # is behind that starts there again.
    sizes = {"n1": 1, "n2": 2}
    nodes = [a_node(name, devices=devices) for name, devices in sizes.items()]
    controller = Controller([*nodes, a_node("slow", devices=1, model=OTHER_MODEL)])
    either = [MODEL, OTHER_MODEL]

    def come(name: str, minutes: int, **more: Any) -> None:
        controller.submit(name, a_spec(name, **more))
        go_on(controller)
        controller.wait(minutes * 60_000)

    come("first", 0, devices=2, per_node=1, models=either, estimate_seconds=600)
    come("single", 60, models=either, estimate_seconds=7_200)
    controller.submit("low", replace(a_spec("low", priority="low"), model_checkpoint=None))
    go_on(controller)
    controller.wait(HOUR_MS)
    come("second", 0, devices=2, models=either, estimate_seconds=600)
    come("third", 10, devices=2, models=either, estimate_seconds=600)
    starts_in(controller, 40, 10)
    assert len(controller.state.jobs[JobId("low")].attempts) <= 1
