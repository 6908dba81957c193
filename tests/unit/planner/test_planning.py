"""Decisions of the planner, one by one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.devices import Health
from scheduler.domain.gangs import Share
from scheduler.domain.ids import DeviceId, FirmId, JobId
from scheduler.domain.jobs import JobSpec, JobState, Priority
from scheduler.domain.pools import Pool
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.reasons import EndReason, Reason
from scheduler.machine import take_snapshot
from scheduler.machine.messages import CancelRequested, ConfigurationChanged, CordonRequested
from scheduler.planner import JobPlacement, Plan, PlannerConfig, TaskPlacement
from scheduler.planner.cycle import plan
from scheduler.planner.feasibility import ever_fits
from scheduler.planner.plan_checks import check_plan, legal_part
from scheduler.planner.snapshot import Hole
from tests.builders.cluster import FIRM, POOL, Controller, a_node, a_queue, inventory_of
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec


def reasons(controller: Controller, job_id: str) -> list[Reason]:
    """Why a job waits."""
    report = controller.report.of(JobId(job_id))
    assert report is not None
    return [reason.reason for reason in report.reasons]


def numbers(controller: Controller, job_id: str) -> list[tuple[str, int]]:
    """(node, device index) of a job's devices."""
    job = controller.state.jobs[JobId(job_id)]
    return sorted(
        (allocation.node_id, int(device.split("/")[1]))
        for allocation in controller.tasks(job)
        for device in allocation.device_ids
    )


class CountedTuple(tuple[Any, ...]):
    """A tuple that counts how often it is gone through."""

    reads = 0

    def __iter__(self) -> Iterator[Any]:
        self.reads += 1
        return super().__iter__()


# --- gangs and packing ---------------------------------------------------------------------------------


def test_a_gang_is_placed_whole_or_not_at_all() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    controller.submit("small", a_spec(devices=1))
    controller.submit("gang", a_spec(devices=16, per_node=8))
    assert controller.plan() == ["small"]
    assert reasons(controller, "gang") == [Reason.DEVICES_BUSY]


def test_small_jobs_are_packed_so_that_whole_nodes_stay_free() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    for number in range(4):
        controller.submit(f"small-{number}", a_spec(devices=2))
        controller.plan()
    controller.submit("gang", a_spec(devices=16, per_node=8))
    assert controller.plan() == ["gang"]


def test_a_task_stays_in_one_fast_link_group_even_where_a_fuller_node_would_fit() -> None:
    controller = Controller([a_node("n1", model="metax-c500"), a_node("n2", model="metax-c500")])
    controller.submit("one", a_spec(devices=3, models=["metax-c500"]))
    controller.plan()
    controller.submit("two", a_spec(devices=3, models=["metax-c500"]))
    controller.plan()
    # n1 has holes of one and one device left: three devices there would cross groups with what comes next.
    controller.submit("four", a_spec(devices=4, models=["metax-c500"]))
    controller.plan()
    assert numbers(controller, "four") == [("n2", n) for n in range(4)]


def test_of_two_variants_that_fit_the_faster_model_is_taken_and_the_account_says_why() -> None:
    controller = Controller([a_node("n1", model=OTHER_MODEL), a_node("n2")])
    job = controller.submit("j", a_spec(devices=8, models=[OTHER_MODEL, MODEL]))
    controller.submit("k", a_spec(devices=8, models=[OTHER_MODEL, MODEL]))
    assert controller.plan() == ["j", "k"]
    attempt = job.attempt
    assert attempt is not None
    assert attempt.device_model == MODEL
    assert attempt.why_here["model_choice"]["fp16_gflops"] == 313_000
    other = controller.state.jobs[JobId("k")].attempt
    assert other is not None
    assert other.device_model == OTHER_MODEL
    refused = other.why_here["model_choice"]["preferred_but_not_possible"]
    assert [reason["device_model"] for reason in refused] == [MODEL]


def test_a_degraded_device_is_used_last_and_a_faulty_one_never() -> None:
    controller = Controller([a_node("n1", devices=4)])
    bad = {DeviceId("n1/0"): Health.DEGRADED, DeviceId("n1/1"): Health.FAULTY}
    controller.observe("n1", unhealthy=bad)
    controller.submit("two", a_spec(devices=2))
    controller.submit("one", a_spec(devices=1))
    controller.submit("more", a_spec(devices=1))
    assert controller.plan() == ["two", "one"]
    assert numbers(controller, "two") == [("n1", 2), ("n1", 3)]
    assert numbers(controller, "one") == [("n1", 0)]


def test_a_cordoned_or_silent_node_gets_nothing_and_the_reason_says_so() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    controller.tell(CordonRequested(controller.node("n1").node.node_id, True))
    controller.submit("gang", a_spec(devices=16, per_node=8))
    assert controller.plan() == []
    assert reasons(controller, "gang") == [Reason.DEVICES_UNAVAILABLE]


def test_who_waits_for_nodes_has_waited_and_holds_nobody_up_meanwhile() -> None:
    controller = Controller([a_node("n1"), a_node("m1", model=OTHER_MODEL)])
    n1 = controller.node("n1").node.node_id
    controller.tell(CordonRequested(n1, True))
    controller.submit("old", a_spec(devices=8, priority=Priority.LOW))
    assert controller.plan() == []
    controller.wait(2 * 24 * 3_600_000)
    controller.submit("young", a_spec(devices=8, priority=Priority.NORMAL))
    controller.submit("elsewhere", a_spec(devices=8, models=[OTHER_MODEL]))
    assert controller.plan() == ["elsewhere"]
    controller.tell(CordonRequested(n1, False))
    assert controller.plan() == ["old"]


# --- order ---------------------------------------------------------------------------------------------


def test_the_first_reason_is_of_the_pool_in_which_it_may_start() -> None:
    """And not of one without its model, or with too few devices of it: people are shown the first alone."""
    names = ("pool-a", "pool-b", "pool-c")
    nodes = [
        a_node("n1", model=OTHER_MODEL, pool="pool-a"),
        a_node("n2", devices=4, pool="pool-b"),
        a_node("n3", pool="pool-c"),
    ]
    controller = Controller(nodes, [a_queue(pools=names)], pools=[Pool(name) for name in names])
    for name in ("first", "second"):
        controller.submit(name, a_spec(name, devices=8))
    assert controller.plan() == ["first"]
    told = [Reason.DEVICES_BUSY, Reason.GANG_TOO_LARGE, Reason.NO_SUCH_DEVICES]
    assert reasons(controller, "second") == told


def test_a_higher_priority_goes_first_then_age() -> None:
    controller = Controller([a_node("n1", devices=3)])
    for name, priority in (("low", "low"), ("old", "normal"), ("young", "normal"), ("high", "high")):
        controller.submit(name, a_spec(devices=1, priority=priority))
        controller.now_ms += 1
    assert controller.plan() == ["high", "old", "young"]


def test_between_queues_the_one_that_uses_less_for_its_weight_goes_first() -> None:
    queues = [a_queue(firm="firm-a", weight=1), a_queue(firm="firm-b", weight=3)]
    controller = Controller([a_node("n1")], queues)
    for number in range(8):
        controller.submit(f"a{number}", a_spec(devices=1), firm="firm-a")
    for number in range(8):
        controller.submit(f"b{number}", a_spec(devices=1), firm="firm-b")
    placed = controller.plan()
    assert sorted(job[0] for job in placed) == ["a"] * 2 + ["b"] * 6


def test_before_anything_is_learned_an_honest_time_limit_costs_nobody_his_place() -> None:
    controller = Controller([a_node("n1")])
    first = controller.submit("first", a_spec(devices=8))
    controller.plan()
    controller.run(first)
    controller.submit("honest", a_spec(devices=8, time_limit_s=7 * 24 * 3600))
    controller.submit("silent", a_spec(devices=8))
    controller.wait(3_600_000)
    ordered = [item.jobs[0].job_id for item in take_snapshot(controller.state, controller.now_ms).classes]
    assert ordered == ["honest", "silent"]
    controller.tell(CancelRequested(first.firm_id, first.job_id, "somebody"))
    for allocation in controller.tasks(first):
        controller.end(allocation, None, EndReason.STOPPED)
    assert controller.plan() == ["honest"]


def test_earlier_use_counts_against_a_queue_and_fades_with_time() -> None:
    queues = [a_queue(firm="firm-a"), a_queue(firm="firm-b")]
    controller = Controller([a_node("n1", devices=1)], queues)
    first = controller.submit("first", a_spec(devices=1), firm="firm-a")
    controller.plan()
    controller.run(first)
    controller.wait(2 * 3_600_000)
    controller.end(controller.tasks(first)[0])
    controller.submit("a", a_spec(devices=1), firm="firm-a")
    controller.submit("b", a_spec(devices=1), firm="firm-b")
    assert controller.plan() == ["b"]
    usage = controller.state.usage.decayed(controller.now_ms)
    later = controller.state.usage.decayed(controller.now_ms + 24 * 3_600_000)
    key = a_queue(firm="firm-a").key
    assert 0 < later[key] < usage[key]


def test_a_low_priority_that_has_waited_for_a_day_counts_as_a_higher_one() -> None:
    controller = Controller([a_node("n1", devices=1)])
    controller.submit("low", a_spec(devices=1, priority="low"))
    controller.now_ms += 25 * 3_600_000
    controller.submit("normal", a_spec(devices=1, priority="normal"))
    assert controller.plan() == ["low"]


@pytest.mark.parametrize(("hours", "first"), [(3, "short"), (50, "long")])
def test_short_work_comes_first_but_not_before_those_who_have_waited_two_days(hours: int, first: str) -> None:
    controller = Controller([a_node("n1", devices=1)])
    learned = controller.submit("learned", a_spec(devices=1))
    controller.plan()
    controller.run(learned)
    controller.end(controller.tasks(learned)[0])
    holder = controller.submit("holder", a_spec(devices=1))
    assert controller.plan() == ["holder"]
    controller.run(holder)
    controller.submit("long", a_spec(devices=1, time_limit_s=7 * 24 * 3_600))
    controller.wait(3_600_000)
    controller.submit("short", a_spec(devices=1, time_limit_s=600))
    controller.wait(hours * 3_600_000)
    controller.end(controller.tasks(holder)[0])
    assert controller.plan() == [first]


# --- quota ---------------------------------------------------------------------------------------------


def test_a_queue_never_holds_more_than_its_nominal_quota_of_a_model() -> None:
    controller = Controller([a_node("n1"), a_node("n2")], [a_queue(nominal={MODEL: 6})])
    for number in range(3):
        controller.submit(f"j{number}", a_spec(devices=3))
    controller.submit("big", a_spec(devices=8))
    assert controller.plan() == ["j0", "j1"]
    assert reasons(controller, "j2") == [Reason.QUOTA_REACHED]
    assert reasons(controller, "big") == [Reason.QUOTA_TOO_SMALL]


def test_quota_is_not_kept_for_a_job_that_all_of_it_would_not_hold() -> None:
    controller = Controller([a_node("n1"), a_node("n2")], [a_queue(nominal={MODEL: 16})])
    controller.submit("runs", a_spec(devices=8))
    controller.plan()
    controller.submit("large", a_spec(devices=16, per_node=8))
    controller.wait(PlannerConfig().hold_back_after_ms)
    less = (a_queue(nominal={MODEL: 12}),)
    controller.tell(ConfigurationChanged(controller.state.pools, less))
    controller.submit("small", a_spec(devices=4))
    assert controller.plan() == ["small"]
    assert reasons(controller, "large") == [Reason.QUOTA_TOO_SMALL]


def test_quota_is_kept_for_a_job_that_has_waited_long_for_it() -> None:
    controller = Controller([a_node("n1"), a_node("n2")], [a_queue(nominal={MODEL: 8})])
    runs = controller.submit("runs", a_spec(devices=4))
    controller.plan()
    controller.submit("waits", a_spec(devices=8))
    controller.wait(PlannerConfig().hold_back_after_ms)
    controller.submit("small", a_spec(devices=4))
    assert controller.plan() == []
    assert reasons(controller, "small") == [Reason.QUOTA_RESERVED]
    controller.run(runs)
    controller.end(controller.tasks(runs)[0])
    assert controller.plan() == ["waits"]


# --- nobody is overtaken for ever ----------------------------------------------------------------------


def test_work_that_ends_before_the_reservation_fills_the_hole_and_longer_work_does_not() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    for number in range(2):
        job = controller.submit(f"runs-{number}", a_spec(devices=8, time_limit_s=3_600 * (number + 1)))
        controller.plan()
        controller.run(job)
    controller.end(controller.tasks(controller.state.jobs[JobId("runs-0")])[0])
    controller.submit("gang", a_spec(devices=16, per_node=8))
    controller.wait(PlannerConfig().hold_back_after_ms)
    controller.submit("long", a_spec(devices=1, time_limit_s=3 * 3_600))
    controller.submit("endless", a_spec(devices=1))
    controller.submit("short", a_spec(devices=1, time_limit_s=3_000))
    assert controller.plan() == ["short"]
    assert reasons(controller, "long") == [Reason.DEVICES_RESERVED]
    assert reasons(controller, "endless") == [Reason.DEVICES_RESERVED]
    report = controller.report.of(JobId("gang"))
    assert report is not None
    assert report.starts_by_ms is not None
    assert report.starts_by_ms - controller.now_ms <= 2 * 3_600_000 + 2 * 60_000
    # What would let it start now is told beside when time alone does.
    assert report.counterfactual == "now, with 8 devices instead of 16: pool pool-a, ascend-910b3"


@pytest.mark.parametrize("time_limit_s", [None, 8 * 3_600])
def test_what_is_only_predicted_is_not_promised(time_limit_s: int | None) -> None:
    controller = Controller([a_node("n1")])
    runs = controller.submit("runs", a_spec(devices=8, time_limit_s=time_limit_s))
    controller.plan()
    controller.run(runs)
    controller.submit("waits", a_spec(devices=8))
    controller.wait(PlannerConfig().hold_back_after_ms)
    snapshot = take_snapshot(controller.state, controller.now_ms)
    (running,) = snapshot.running
    # Ends within the hour at its measured rate, and may run to its time limit all the same.
    rated = running.shape._replace(rates=((MODEL, 1.0),))
    snapshot = replace(snapshot, running=(running._replace(shape=rated, steps_left=3_000),))
    _, report = plan(snapshot, controller.now_ms, PlannerConfig())
    waits = report.of(JobId("waits"))
    assert waits is not None
    assert waits.starts_by_ms is None
    assert report.starts(JobId("waits")) is not None


def test_nothing_is_kept_idle_for_a_start_that_is_far_off_and_has_not_waited_long() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    runs = controller.submit("runs", a_spec(devices=8, time_limit_s=7 * 24 * 3_600))
    controller.plan()
    controller.run(runs)
    controller.submit("gang", a_spec(devices=16, per_node=8))
    controller.submit("small", a_spec(devices=1))
    assert controller.plan() == ["small"]


@pytest.mark.parametrize(
    ("share", "asks"),
    [(None, f"asks for 1 {MODEL}"), (Share(250_000, None), f"asks for 250000 ppm of 1 {MODEL}")],
    ids=["a device", "a part of one"],
)
@pytest.mark.parametrize("booked", [False, True], ids=["for a job", "for maintenance"])
def test_what_is_free_and_kept_is_told_as_kept_to_whoever_asks_for_a_device_or_a_part(
    share: Share | None, asks: str, booked: bool
) -> None:
    controller = Controller([a_node("n1")])
    for devices in (4, 2, 1):
        runs = controller.submit(f"runs-{devices}", a_spec(devices=devices, time_limit_s=3_600))
        controller.plan()
        controller.run(runs)
    if not booked:
        controller.submit("head", a_spec(devices=8))
        controller.wait(PlannerConfig().hold_back_after_ms)
    controller.submit("small", a_spec(devices=1, share=share))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    if booked:
        nodes = frozenset(node.node_id for node in snapshot.nodes)
        hole = Hole(controller.now_ms, controller.now_ms + 3_600_000, nodes)
        snapshot = replace(snapshot, calendar=(hole,))
    decided, report = plan(snapshot, controller.now_ms, PlannerConfig())
    assert decided.placements == ()
    small = report.of(JobId("small"))
    assert small is not None
    (why,) = small.reasons
    assert why.reason is (Reason.MAINTENANCE if booked else Reason.DEVICES_RESERVED)
    kept = "in maintenance from " if booked else "kept for earlier jobs"
    assert why.sentence.startswith(f"{asks}; 1 are free in pool {POOL}, 1 of them {kept}")


@pytest.mark.parametrize("booked", [False, True], ids=["for a job", "for maintenance"])
def test_the_rest_of_a_shared_device_that_is_kept_is_told_as_kept(booked: bool) -> None:
    controller = Controller([a_node("n1")])
    for devices, share in ((7, None), (1, Share(600_000))):
        runs = controller.submit(f"runs-{devices}", a_spec(devices=devices, share=share, time_limit_s=3_600))
        controller.plan()
        controller.run(runs)
    if not booked:
        controller.submit("head", a_spec(devices=8))
        controller.wait(PlannerConfig().hold_back_after_ms)
    for name, ppm in (("small", 250_000), ("all-of-it", 400_000), ("too-large", 400_001)):
        controller.submit(name, a_spec(devices=1, share=Share(ppm)))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    if booked:
        nodes = frozenset(node.node_id for node in snapshot.nodes)
        hole = Hole(controller.now_ms, controller.now_ms + 3_600_000, nodes)
        snapshot = replace(snapshot, calendar=(hole,))
    decided, report = plan(snapshot, controller.now_ms, PlannerConfig())
    assert decided.placements == ()
    small, all_of_it, too_large = (report.of(JobId(name)) for name in ("small", "all-of-it", "too-large"))
    assert small is not None
    assert all_of_it is not None
    assert too_large is not None
    (why,) = small.reasons
    assert why.reason is (Reason.MAINTENANCE if booked else Reason.DEVICES_RESERVED)
    kept = "in maintenance from " if booked else "kept for earlier jobs"
    asks = f"asks for 250000 ppm of 1 {MODEL}"
    assert why.sentence.startswith(
        f"{asks}; at most 400000 ppm of one device are free in pool {POOL}, {kept}"
    )
    assert [one.reason for one in all_of_it.reasons] == [why.reason]
    assert [why.reason for why in too_large.reasons] == [Reason.DEVICES_BUSY]


def test_jobs_that_ask_for_the_same_are_told_the_same_of_their_quota_until_some_of_it_is_given() -> None:
    controller = Controller([a_node("n1"), a_node("n2")], [a_queue(nominal={MODEL: 9})])
    asked = {"first": 8, "second": 8, "third": 8, "small": 1, "last": 8}
    for hours, (name, devices) in enumerate(asked.items(), start=1):
        controller.submit(name, a_spec(devices=devices, time_limit_s=hours * 3_600))
        controller.now_ms += 1_000
    assert controller.plan() == ["first", "small"]
    sentences = {}
    for name in ("second", "third", "last"):
        report = controller.report.of(JobId(name))
        assert report is not None
        sentences[name] = [why.sentence for why in report.reasons]
    assert sentences["second"] == sentences["third"] == [f"asks for 8 {MODEL}; the queue holds 8 of its 9"]
    assert sentences["last"] == [f"asks for 8 {MODEL}; the queue holds 9 of its 9"]


@pytest.mark.parametrize("limit_s", [None, 40])
def test_a_gang_starts_although_small_jobs_never_stop_coming(limit_s: int | None) -> None:
    controller = Controller([a_node("n1"), a_node("n2")], config=PlannerConfig(hold_back_after_ms=60_000))
    running: list[tuple[int, str]] = []
    number = 0
    for step in range(200):
        controller.now_ms += 10_000
        for until_ms, job_id in [item for item in running if item[0] <= controller.now_ms]:
            running.remove((until_ms, job_id))
            controller.end(controller.tasks(controller.state.jobs[JobId(job_id)])[0])
        if step == 20:
            controller.submit("gang", a_spec(devices=16, per_node=8))
        for _ in range(8):  # always more than there is room for
            controller.submit(f"s{number}", a_spec(devices=1, time_limit_s=limit_s))
            number += 1
        for job_id in controller.plan():
            if job_id == "gang":
                assert controller.now_ms > 0
                return
            controller.run(controller.state.jobs[JobId(job_id)])
            running.append((controller.now_ms + 30_000, job_id))
    pytest.fail("the gang was overtaken for ever")


# --- faults --------------------------------------------------------------------------------------------


def test_after_a_failed_preparation_another_node_and_another_variant_are_tried() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("m1", model=OTHER_MODEL)])
    job = controller.submit("j", a_spec(devices=2, models=[MODEL, OTHER_MODEL]))
    controller.plan()
    controller.end(controller.tasks(job)[0], None, EndReason.PREPARE_FAILED, "no such image")
    assert job.state is JobState.QUEUED
    assert controller.plan() == []
    assert reasons(controller, "j") == [Reason.RETRY_LATER]
    controller.wait(10_000)
    assert controller.plan() == ["j"]
    attempt = job.attempt
    assert attempt is not None
    assert attempt.device_model == OTHER_MODEL


def test_a_single_node_is_tried_again_rather_than_avoided_for_ever() -> None:
    controller = Controller([a_node("n1")])
    job = controller.submit("j", a_spec(devices=2))
    controller.plan()
    controller.end(controller.tasks(job)[0], None, EndReason.PREPARE_FAILED)
    controller.wait(10_000)
    assert controller.plan() == ["j"]


# --- what could never be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (a_spec(devices=8), None),
        (a_spec(devices=16, per_node=8), None),
        (a_spec(devices=24, per_node=8), Reason.GANG_TOO_LARGE),
        (a_spec(devices=9), Reason.GANG_TOO_LARGE),
        (a_spec(devices=1, models=["ascend-999"]), Reason.UNKNOWN_MODEL),
        (a_spec(devices=1, models=["ascend-910a"]), Reason.NO_SUCH_DEVICES),
        (a_spec(devices=3, models=[OTHER_MODEL]), Reason.SHAPE_NOT_ALLOWED),
        (a_spec(devices=2, models=[OTHER_MODEL]), Reason.QUOTA_TOO_SMALL),
        (a_spec(devices=9, models=["ascend-999", MODEL]), Reason.GANG_TOO_LARGE),
        (a_spec(devices=8, models=["ascend-999", MODEL]), None),
    ],
)
def test_a_job_that_could_never_start_is_recognised_at_submission(
    spec: JobSpec, reason: Reason | None
) -> None:
    inventory = inventory_of([a_node("n1"), a_node("n2"), a_node("m1", model=OTHER_MODEL)])
    queue = a_queue(nominal={OTHER_MODEL: 1})
    refusal = ever_fits(spec, queue, inventory, load_catalogue())
    assert (None if refusal is None else refusal.reason) is reason


def test_where_a_quota_of_compute_is_too_small_the_refusal_names_it_as_it_was_set() -> None:
    inventory = inventory_of([a_node("n1")])
    queue = a_queue(nominal={MODEL: 8, COMPUTE: 600_000})
    refusal = ever_fits(a_spec(devices=2), queue, inventory, load_catalogue())
    assert refusal is not None
    assert refusal.sentence == "asks for 626 TFLOPS; the queue's whole quota is 600 TFLOPS"
    assert ever_fits(a_spec(devices=1), queue, inventory, load_catalogue()) is None


def test_a_queue_without_pools_can_start_nothing() -> None:
    refusal = ever_fits(a_spec(), a_queue(pools=[]), inventory_of([a_node("n1")]), load_catalogue())
    assert refusal is not None
    assert refusal.reason is Reason.NO_POOL


# --- the checks of a plan ------------------------------------------------------------------------------


def test_the_checks_find_every_way_to_break_a_plan() -> None:
    controller = Controller(
        [a_node("n1"), a_node("n2"), a_node("x", pool="pool-b")], [a_queue(nominal={MODEL: 8})]
    )
    controller.submit("j", a_spec(devices=4, per_node=2))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    n1, n2, x = (controller.node(name).node for name in ("n1", "n2", "x"))

    def task(rank: int, node: object, *indexes: int) -> TaskPlacement:
        devices = tuple(node.devices[index].device_id for index in indexes)  # type: ignore[attr-defined]
        return TaskPlacement(rank, node.node_id, devices)  # type: ignore[attr-defined]

    def found(*tasks: TaskPlacement, job: str = "j", model: str = MODEL, pool: str = "pool-a") -> str:
        placement = JobPlacement(JobId(job), model, pool, tasks)
        return "; ".join(
            violation.what for violation in check_plan(snapshot, Plan((placement,)), controller.now_ms)
        )

    good = (task(0, n1, 0, 1), task(1, n2, 0, 1))
    assert found(*good) == ""
    assert "does not wait" in found(*good, job="k")
    assert "not whole" in found(good[0])
    assert "on one node" in found(task(0, n1, 0, 1), task(1, n1, 2, 3))
    assert "given twice" in found(task(0, n1, 0, 1), task(1, n1, 1, 2))
    assert "wants 2 devices" in found(task(0, n1, 0, 1), task(1, n2, 0))
    assert "not in pool" in found(task(0, n1, 0, 1), task(1, x, 0, 1))
    assert "may not use pool" in found(*good, pool="pool-b")
    assert "no variant" in found(*good, model=OTHER_MODEL)
    twice = Plan((JobPlacement(JobId("j"), MODEL, "pool-a", good),) * 2)
    assert "placed twice" in "; ".join(
        violation.what for violation in check_plan(snapshot, twice, controller.now_ms)
    )
    controller.submit("big", a_spec(devices=16, per_node=8))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    assert "quota" in found(task(0, n1, *range(8)), task(1, n2, *range(8)), job="big")
    gflops = controller.state.catalogue.fp16_gflops(MODEL)
    snapshot = replace(
        snapshot,
        queues={
            key: replace(queue, nominal={COMPUTE: 4 * gflops - 1}) for key, queue in snapshot.queues.items()
        },
    )
    assert "compute" in found(*good)
    snapshot = replace(
        snapshot,
        queues={key: replace(queue, nominal={COMPUTE: 4 * gflops}) for key, queue in snapshot.queues.items()},
    )
    assert found(*good) == ""


def test_the_checks_know_the_limits_of_every_cohort_on_the_way_up() -> None:
    lender, borrower = (QueueKey(FirmId(firm), "default") for firm in (FIRM, "firm-b"))
    queues = (
        Queue(lender, (POOL,), {MODEL: 8}, cohort="left"),
        Queue(borrower, (POOL,), {MODEL: 4}, cohort="right"),
    )
    controller = Controller([a_node("n1"), a_node("n2")], queues)
    controller.submit("j", a_spec(devices=6), firm="firm-b")
    snapshot = take_snapshot(controller.state, controller.now_ms)
    node = controller.node("n1").node
    six = tuple(device.device_id for device in node.devices[:6])
    placement = JobPlacement(JobId("j"), MODEL, POOL, (TaskPlacement(0, node.node_id, six),))

    def found(left: Cohort, right: Cohort, held: int = 0) -> list[str]:
        cohorts = {cohort.name: cohort for cohort in (Cohort("all"), left, right)}
        tree = replace(snapshot, cohorts=cohorts, held={lender: {MODEL: held}})
        config = PlannerConfig()
        wrong = [violation.what for violation in check_plan(tree, Plan((placement,)), controller.now_ms)]
        assert bool(wrong) is not bool(plan(tree, controller.now_ms, config)[0].placements), wrong
        return wrong

    left, right = Cohort("left", "all"), Cohort("right", "all")
    assert found(left, right) == []
    assert found(left, right, held=7) == [f"cohort all would hold more than its quota: 13 of 12 {MODEL}"]
    assert found(left, replace(right, borrowing={MODEL: 2})) == []
    assert found(left, replace(right, borrowing={MODEL: 1})) == [
        f"cohort right would borrow more than 1 {MODEL}: it would hold 6 of 4"
    ]
    assert found(replace(left, lending={MODEL: 2}), right) == []
    assert found(replace(left, lending={MODEL: 1}), right) == [
        f"cohort all would hold more than its quota: 6 of 5 {MODEL}"
    ]
    assert found(replace(left, lending={MODEL: 0}), replace(right, nominal={MODEL: 2})) == []


def test_the_checks_know_the_calendar() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    for name, hours in (("short", 1), ("long", 3), ("open", None)):
        limit_s = None if hours is None else hours * 3_600
        controller.submit(name, a_spec(name, devices=2, time_limit_s=limit_s))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    (queue,) = snapshot.queues
    node = controller.node("n1").node

    def found(name: str, begins_h: float, whose: QueueKey | None = None) -> list[str]:
        from_ms = controller.now_ms + int(begins_h * 3_600_000)
        hole = Hole(from_ms, from_ms + 3_600_000, frozenset({node.node_id}), whose)
        tasks = (TaskPlacement(0, node.node_id, tuple(device.device_id for device in node.devices[:2])),)
        decided = Plan((JobPlacement(JobId(name), MODEL, POOL, tasks),))
        booked = replace(snapshot, calendar=(hole,))
        return [violation.what for violation in check_plan(booked, decided, controller.now_ms)]

    maintained = ["node n1 is in maintenance before the job has ended"]
    assert found("short", 2) == found("long", 4) == found("long", 30) == []
    assert found("long", 2) == maintained
    assert found("short", -0.5) == found("open", -0.5) == maintained
    assert found("open", -1) == [], "it is over"
    assert found("long", 2, queue) == found("open", -0.5, queue) == [], "the reservation is its own"
    other = queue._replace(name="other")
    assert found("open", -0.5, other) == ["node n1 is reserved before the job has ended"]


def test_a_wrong_placement_keeps_nobody_else_from_starting() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    for name in ("good", "wrong", "also good"):
        controller.submit(name, a_spec(name, devices=4))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    decided = plan(snapshot, controller.now_ms, PlannerConfig())[0].placements
    assert [placement.job_id for placement in decided] == ["good", "wrong", "also good"]
    assert legal_part(snapshot, Plan(decided), controller.now_ms) == (Plan(decided), [])
    taken = decided[1]._replace(tasks=decided[0].tasks)  # devices of another
    legal, violations = legal_part(snapshot, Plan((decided[0], taken, decided[2])), controller.now_ms)
    assert legal == Plan((decided[0], decided[2]))
    assert {violation.job_id for violation in violations} == {"wrong"}
    assert check_plan(snapshot, legal, controller.now_ms) == []


def test_a_placement_that_is_wrong_in_itself_takes_nothing_from_those_behind_it() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    for name in ("good", "wrong", "also good"):
        controller.submit(name, a_spec(name, devices=4))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    good, wrong, also_good = plan(snapshot, controller.now_ms, PlannerConfig())[0].placements
    quota = {key: replace(queue, nominal={good.device_model: 8}) for key, queue in snapshot.queues.items()}
    without_rank = wrong._replace(tasks=tuple(task._replace(rank=7) for task in wrong.tasks))
    on_devices_of_another = without_rank._replace(tasks=tuple(task._replace(rank=7) for task in good.tasks))
    for limited, bad in ((snapshot, on_devices_of_another), (replace(snapshot, queues=quota), without_rank)):
        legal, violations = legal_part(limited, Plan((bad, good, also_good)), controller.now_ms)
        assert legal == Plan((good, also_good))
        assert {violation.job_id for violation in violations} == {"wrong"}


def test_a_plan_of_which_nearly_all_is_wrong_is_not_proved_once_for_each_wrong_job() -> None:
    controller = Controller([a_node(f"n{n}") for n in range(8)])
    for n in range(40):
        controller.submit(f"job-{n}", a_spec(f"job-{n}", devices=1))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    decided = plan(snapshot, controller.now_ms, PlannerConfig())[0].placements
    assert len(decided) == 40
    bad = [placement._replace(pool="nowhere") for placement in decided[:39]]
    nodes = CountedTuple(snapshot.nodes)
    legal, violations = legal_part(
        replace(snapshot, nodes=nodes), Plan((*bad, decided[39])), controller.now_ms
    )
    assert legal == Plan((decided[39],))
    assert {violation.job_id for violation in violations} == {placement.job_id for placement in bad}
    assert nodes.reads <= 20


def test_a_cohort_has_a_share_by_its_weight_and_its_members_share_that() -> None:
    # The cohort of two firms is worth as much as the firm beside it; inside, one is worth three of the other.
    in_cohort = [("firm-a", 1), ("firm-b", 3)]
    queues = [replace(a_queue(firm=firm, weight=weight), cohort="university") for firm, weight in in_cohort]
    queues.append(a_queue(firm="firm-c", weight=2))
    controller = Controller([a_node("n1"), a_node("n2")], queues)
    controller.state.cohorts = {"university": Cohort("university", weight=2)}
    for firm in ("firm-a", "firm-b", "firm-c"):
        for number in range(16):
            controller.submit(f"{firm[-1]}{number}", a_spec(devices=1), firm=firm)
    placed = controller.plan()
    assert Counter(job[0] for job in placed) == {"a": 2, "b": 6, "c": 8}


def test_use_by_one_member_of_a_cohort_counts_against_the_others() -> None:
    queues = [replace(a_queue(firm=firm), cohort="university") for firm in ("firm-a", "firm-b")]
    controller = Controller([a_node("n1", devices=6)], [*queues, a_queue(firm="firm-c")])
    controller.state.cohorts = {"university": Cohort("university")}
    controller.submit("first", a_spec(devices=2), firm="firm-a")
    controller.plan()
    for firm in ("firm-b", "firm-c"):
        for number in range(4):
            controller.submit(f"{firm[-1]}{number}", a_spec(devices=1), firm=firm)
    assert Counter(job[0] for job in controller.plan()) == {"b": 1, "c": 3}
