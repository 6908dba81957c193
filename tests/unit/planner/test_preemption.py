"""Who stops for whom, and that it ends."""

import random
import sys
from dataclasses import replace
from itertools import product
from types import CodeType, FrameType

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.devices import Health
from scheduler.domain.gangs import Domain, Elastic, Gang, Share, TaskGroup, Topology
from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.jobs import JobState, ModelCheckpointSpec, Priority, Variant
from scheduler.domain.nodes import Node, Place
from scheduler.domain.pools import Pool
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.reasons import Ending, EndReason, Reason
from scheduler.domain.time import HOUR_MS, to_rfc3339
from scheduler.machine import take_snapshot
from scheduler.machine.messages import ConfigurationChanged, CordonRequested
from scheduler.planner import JobClass, Plan, PlannerConfig, Shape, Snapshot, Stop, StopCause, WaitingJob
from scheduler.planner.cycle import plan
from scheduler.planner.estimates import Estimates
from scheduler.planner.fitting import nodes_by_devices
from scheduler.planner.giving_back import Victim, in_order
from scheduler.planner.overdue import PATIENT
from scheduler.planner.plan import JobPlacement, TaskPlacement
from scheduler.planner.plan_checks import check_plan, legal_part
from scheduler.planner.stoppable import Some, Stoppable, in_turn
from scheduler.planner.turns import Turns
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of
from tests.builders.cluster import POOL, Controller, a_node, a_queue
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

FIRMS = ("firm-a", "firm-b")


def sharing_firms(nominal: int = 8, nodes: int = 2, config: PlannerConfig | None = None) -> Controller:
    """Two firms with a node each in one cohort."""
    controller = Controller([a_node(f"n{n}") for n in range(nodes)], config=config)
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), {MODEL: nominal}, 1, "all") for firm in FIRMS
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    return controller


def start(controller: Controller, name: str, devices: int, firm: str = "firm-a", **spec: object) -> None:
    job = controller.submit(name, a_spec(name, devices=devices, **spec), firm=firm)  # type: ignore[arg-type]
    assert name in controller.plan()
    controller.run(job)


def test_a_queue_takes_back_what_it_lent_and_the_youngest_borrower_stops() -> None:
    controller = sharing_firms()
    start(controller, "old", 8)
    controller.now_ms += 60_000
    start(controller, "young", 8)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    assert controller.plan() == []
    assert [job for job in ("old", "young") if stopping(controller, job)] == ["young"]
    assert "JobPreempted" in controller.events
    end_stopped(controller, "young")
    assert controller.state.jobs[JobId("young")].reason == Ending.PREEMPTED.value
    assert controller.plan() == ["mine"]
    assert controller.state.jobs[JobId("young")].state is JobState.QUEUED


def test_what_a_queue_takes_back_goes_to_it_and_not_to_a_borrower_who_has_waited_longer() -> None:
    controller = sharing_firms()
    start(controller, "old", 8)
    start(controller, "young", 8)
    for name in ("next", "last"):  # they will have waited for so long that age raises them above firm-b's
        controller.submit(name, a_spec(name, devices=8))
    controller.wait(2 * PlannerConfig().ageing_ms)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    assert controller.plan() == []
    assert stopping(controller, "young")
    end_stopped(controller, "young")
    assert controller.plan() == ["mine"]


def test_what_was_lent_comes_back_however_many_borrowers_it_takes_but_for_one_owner_a_cycle() -> None:
    controller = sharing_firms(config=PlannerConfig(max_stops=3))
    names = [f"borrower {number}" for number in range(16)]
    for name in names:
        start(controller, name, 1)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=4), firm="firm-b")
    controller.submit("mine too", a_spec("mine too", devices=4, per_node=2), firm="firm-b")
    for stopped in (4, 8):  # each takes more of them than are stopped in a cycle as a rule
        assert controller.plan() == []
        assert sum(stopping(controller, name) for name in names) == stopped


def test_nobody_borrows_what_its_owner_waits_for() -> None:
    controller = Controller([a_node("n1", model=MODEL), a_node("n2", model=OTHER_MODEL)])
    nominal = {"firm-a": {MODEL: 0, OTHER_MODEL: 8}, "firm-b": {MODEL: 8, OTHER_MODEL: 0}}
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), nominal[firm], 1, "all") for firm in FIRMS
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    controller.submit("either", a_spec("either", devices=8, models=[MODEL, OTHER_MODEL]))
    controller.submit("mine", a_spec("mine", devices=8, models=[MODEL]), firm="firm-b")
    assert sorted(controller.plan()) == ["either", "mine"]


def test_what_an_owner_waits_for_counts_as_his_quota_counts_it() -> None:
    controller = Controller([a_node("n1", devices=2), a_node("n2", devices=1, model=OTHER_MODEL)])
    nominal = {
        "firm-a": {MODEL: 0, OTHER_MODEL: 1},
        "firm-b": {MODEL: 1, OTHER_MODEL: 0},
        "firm-c": {MODEL: 1, OTHER_MODEL: 0},  # lends
    }
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), nominal[firm], 1, "all") for firm in nominal
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    half = Share(500_000, None)
    start(controller, "half", 1, firm="firm-b", share=half)
    device_id = controller.tasks(controller.state.jobs[JobId("half")])[0].device_ids[0]
    controller.observe("n1", unhealthy={device_id: Health.FAULTY})  # nobody else starts on it
    rates = [(MODEL, 36_000), (OTHER_MODEL, 3_600)]  # it would rather borrow
    variants = tuple(Variant(model, ("/bin/true",), steps_per_hour=rate) for model, rate in rates)
    controller.submit("either", replace(a_spec("either"), variants=variants))
    controller.submit("other half", a_spec("other half", share=half), firm="firm-b")
    assert sorted(controller.plan()) == ["either", "other half"]


def test_who_would_wait_for_a_faster_model_takes_nothing_back_on_a_slow_one() -> None:
    controller = Controller([a_node("fast", model=MODEL), a_node("slow", model=OTHER_MODEL)])
    nominal = {"firm-a": {MODEL: 0, OTHER_MODEL: 0}, "firm-b": {MODEL: 8, OTHER_MODEL: 8}}
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), nominal[firm], 1, "all") for firm in FIRMS
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    start(controller, "holder", 8, firm="firm-b", models=[MODEL], estimate_seconds=3_600)
    start(controller, "borrower", 8, models=[OTHER_MODEL])
    controller.wait(1_800_000)
    spec = replace(a_spec("mine", devices=8, estimate_seconds=3_600), model_checkpoint=None)
    rates = [(MODEL, 36_000), (OTHER_MODEL, 3_600)]  # ten times as slow
    variants = tuple(Variant(model, ("/bin/true",), steps_per_hour=rate) for model, rate in rates)
    controller.submit("mine", replace(spec, variants=variants), firm="firm-b")
    assert controller.plan() == []
    assert not stopping(controller, "borrower")


def test_nobody_is_stopped_twice_while_devices_are_on_their_way() -> None:
    controller = sharing_firms()
    start(controller, "old", 8)
    start(controller, "young", 8)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    for _ in range(3):
        controller.plan()
        controller.wait(1_000)
    assert sum(stopping(controller, job) for job in ("old", "young")) == 1


def test_a_queue_that_would_borrow_stops_nobody() -> None:
    controller = sharing_firms(nominal=4)
    start(controller, "a", 8)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    controller.plan()
    assert not stopping(controller, "a")


def test_a_high_priority_stops_the_lower_one_of_its_queue_that_loses_least() -> None:
    controller = Controller([a_node("n1")])
    start(controller, "early", 4, priority="low")
    controller.wait(3_600_000)
    start(controller, "late", 4, priority="low")
    controller.wait(600_000)
    controller.submit("urgent", a_spec("urgent", devices=4, priority="high"))
    controller.plan()
    assert [job for job in ("early", "late") if stopping(controller, job)] == ["late"]


def test_a_gang_of_groups_stops_as_few_as_it_needs_and_has_a_node_for_every_task() -> None:
    controller = Controller([a_node(f"n{n}") for n in range(3)])
    for name, devices in {"whole": 8, "half": 4, "most": 7}.items():
        start(controller, name, devices, priority="low")
        controller.now_ms += 60_000
    controller.wait(3_600_000)
    groups = TaskGroup("actor", 1, 4), TaskGroup("learner", 1, 8)
    urgent = replace(a_spec("urgent", priority="high"), gang=Gang(12, 8, groups=groups))
    controller.submit("urgent", urgent)
    for _ in range(2):  # while devices are on their way nobody else is stopped
        assert controller.plan() == []
        stopped = [name for name in ("whole", "half", "most") if stopping(controller, name)]
        assert stopped == ["most"]
        controller.wait(1_000)
    end_stopped(controller, "most")
    assert controller.plan() == ["urgent"]
    assert [len(task.device_ids) for task in controller.tasks(controller.state.jobs[JobId("urgent")])] == [
        4,
        8,
    ]


def test_nobody_is_stopped_before_the_shortest_run_time_has_passed() -> None:
    controller = Controller([a_node("n1")])
    start(controller, "low", 8, priority="low")
    controller.wait(60_000)
    controller.submit("urgent", a_spec("urgent", devices=8, priority="high"))
    controller.plan()
    assert not stopping(controller, "low")
    controller.wait(PlannerConfig().min_run_ms)
    controller.plan()
    assert stopping(controller, "low")


def test_of_equal_priority_nobody_stops_whoever_cannot_resume() -> None:
    controller = Controller([a_node("n1")])
    start(controller, "one", 8)
    controller.wait(3_600_000)
    controller.submit("two", a_spec("two", devices=8))
    controller.plan()
    assert not stopping(controller, "one")


def test_the_checks_find_stops_that_nothing_allows() -> None:
    controller = Controller([a_node("n1")])
    job = controller.submit("one", replace(a_spec("one", devices=8), model_checkpoint=None))
    assert controller.plan() == ["one"]
    controller.run(job)
    controller.submit("two", a_spec("two", devices=8))
    snapshot = take_snapshot(controller.state, controller.now_ms)

    def found(*stops: Stop) -> str:
        return "; ".join(
            violation.what for violation in check_plan(snapshot, Plan((), stops), controller.now_ms)
        )

    one, two = JobId("one"), JobId("two")
    assert "does not run" in found(Stop(two, StopCause.PRIORITY, one))
    assert "no higher priority" in found(Stop(one, StopCause.PRIORITY, two))
    assert "from itself" in found(Stop(one, StopCause.RECLAIM, two))
    assert "cannot resume" in found(Stop(one, StopCause.MOVE, None))
    twice = Stop(one, StopCause.PRIORITY, two)
    assert "twice" in found(twice, twice)


def test_nobody_stops_for_a_job_that_would_not_have_all_that_was_to_stop_for_it() -> None:
    controller = sharing_firms()
    for name in ("one", "two", "three"):
        start(controller, name, 4)
    for name in ("gang", "other"):
        controller.submit(name, a_spec(name, devices=8, priority="high"))
    snapshot = take_snapshot(controller.state, controller.now_ms)

    def stop(victim: str, favoured: str) -> Stop:
        return Stop(JobId(victim), StopCause.PRIORITY, JobId(favoured))

    stops = (stop("one", "gang"), stop("nobody", "gang"), stop("two", "other"), stop("three", "other"))
    legal, violations = legal_part(snapshot, Plan((), stops), controller.now_ms)
    assert legal == Plan((), stops[2:])
    assert [violation.job_id for violation in violations] == ["nobody"]


def moving(*, allowed: bool) -> Controller:
    """A job that resumes runs on a slow model, and a faster one has come free."""
    nodes = [a_node("slow", model="ascend-910a"), a_node("fast")]
    controller = Controller(nodes, config=PlannerConfig(moves=allowed))
    start(controller, "holder", 8)
    spec = replace(
        a_spec("mover", devices=8, models=["ascend-910a", MODEL]), model_checkpoint=ModelCheckpointSpec()
    )
    variants = tuple(
        replace(variant, steps_per_hour=rate)
        for variant, rate in zip(spec.variants, (100, 1_000), strict=True)
    )
    job = controller.submit("mover", replace(spec, variants=variants))
    assert controller.plan() == ["mover"]
    controller.run(job)
    job.step_report = {"step": 10, "of": 10_000, "at_ms": controller.now_ms}
    controller.wait(3_600_000)
    controller.end(controller.tasks(controller.state.jobs[JobId("holder")])[0])
    controller.plan()
    return controller


def test_an_operator_may_have_running_jobs_left_where_they_are() -> None:
    assert not stopping(moving(allowed=False), "mover")


def test_a_job_that_resumes_goes_to_the_faster_model_when_it_is_free() -> None:
    controller = moving(allowed=True)
    job = controller.state.jobs[JobId("mover")]
    assert stopping(controller, "mover")
    end_stopped(controller, "mover")
    assert job.state is JobState.QUEUED
    assert controller.plan() == ["mover"]
    assert job.attempt is not None
    assert job.attempt.device_model == MODEL


@pytest.mark.parametrize("profile", ["balanced", "throughput", "packing"])
def test_a_second_plan_on_unchanged_input_is_the_same(profile: str) -> None:
    controller = sharing_firms()
    start(controller, "old", 8)
    start(controller, "young", 8)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    snapshot = take_snapshot(controller.state, controller.now_ms)
    config = PlannerConfig(profile=profile)
    assert plan(snapshot, controller.now_ms, config) == plan(snapshot, controller.now_ms, config)


def test_who_cannot_resume_gives_back_what_he_borrowed_only_after_a_long_wait() -> None:
    controller = sharing_firms()
    for name in ("old", "young"):
        job = controller.submit(name, replace(a_spec(name, devices=8), model_checkpoint=None))
        controller.plan()
        controller.run(job)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    controller.plan()
    controller.wait(3_600_000)
    controller.plan()
    assert not stopping(controller, "old")
    assert not stopping(controller, "young")
    controller.wait(
        round(PATIENT) * PlannerConfig().ageing_ms
    )  # nobody keeps for ever what was only lent to him
    controller.plan()
    assert stopping(controller, "young")
    resumes = sharing_firms()
    start(resumes, "old", 8)
    start(resumes, "young", 8)
    resumes.wait(3_600_000)
    resumes.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    resumes.plan()
    assert stopping(resumes, "young")


def test_who_saves_gives_back_when_he_has_saved_each_at_his_own_moment() -> None:
    controller = sharing_firms()
    start(controller, "own", 8)
    for name in ("one", "other"):
        start(controller, name, 4)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")

    def stops(*minutes_after_saving: int) -> list[str]:
        now_ms = controller.now_ms
        saved = dict(zip(("one", "other"), minutes_after_saving, strict=True))
        snapshot = take_snapshot(controller.state, now_ms)
        running = [
            job._replace(saved_ms=now_ms - saved[job.job_id] * 60_000 if job.job_id in saved else 0)
            for job in snapshot.running
        ]
        decided, _ = plan(replace(snapshot, running=tuple(running)), now_ms, PlannerConfig())
        return sorted(stop.job_id for stop in decided.stops)

    controller.wait(20 * 3_600_000)
    assert stops(2, 2) == ["one", "other"]
    assert stops(2, 20) == ["one"]
    assert stops(20, 20) == []
    assert stops(70, 20) == ["one"]  # who knows when it saves
    controller.wait(PlannerConfig().ageing_ms)
    assert stops(20, 20) == ["one", "other"]  # when they save they say themselves: it is believed for a day


def saved_minutes_ago(controller: Controller, **minutes: int) -> Plan:
    """What is decided where jobs have saved so long ago."""
    snapshot = take_snapshot(controller.state, controller.now_ms)
    running = tuple(
        job._replace(saved_ms=controller.now_ms - minutes.get(job.job_id, 2) * 60_000)
        for job in snapshot.running
    )
    snapshot = replace(snapshot, running=running)
    decided, _ = plan(snapshot, controller.now_ms, PlannerConfig())
    assert check_plan(snapshot, decided, controller.now_ms) == []
    return decided


def with_quota(nominal: dict[str, int]) -> Controller:
    controller = Controller([a_node("n1"), a_node("n2")])
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), {MODEL: devices}, 1, "all")
        for firm, devices in nominal.items()
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    return controller


@pytest.mark.parametrize("minutes", [2, 20])
def test_what_is_over_of_a_victims_quota_is_nobodys_before_it_has_stopped(minutes: int) -> None:
    controller = with_quota({"firm-a": 1, "firm-b": 10})
    start(controller, "big", 8)
    start(controller, "own", 3, firm="firm-b")
    controller.submit("mine", a_spec("mine", devices=6), firm="firm-b")
    controller.wait(20 * 3_600_000)
    controller.submit("next", a_spec("next", devices=1), firm="firm-b")
    decided = saved_minutes_ago(controller, big=minutes)
    assert decided.placements == ()


def test_a_borrower_starts_nothing_on_what_those_of_his_who_are_to_stop_still_hold() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("small", devices=4)])
    keys = [QueueKey(FirmId(firm), "default") for firm in FIRMS]
    queues = tuple(
        Queue(key, (POOL,), {MODEL: own}, 1, "all", borrowing=most)
        for key, own, most in zip(keys, (8, 12), ({MODEL: 1}, {}), strict=True)
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    start(controller, "own", 8)
    start(controller, "filler", 4, firm="firm-b")
    start(controller, "borrowed", 1)
    filler = controller.state.jobs[JobId("filler")]
    controller.end(controller.tasks(filler)[0])
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    controller.submit("next", a_spec("next", devices=1))
    assert controller.plan() == [], "it would hold ten of its eight and one"
    assert stopping(controller, "borrowed")
    end_stopped(controller, "borrowed")
    assert sorted(controller.plan()) == ["borrowed", "mine"]


def test_for_a_large_gang_a_borrower_stops_although_a_smaller_job_could_not_have_stopped_him() -> None:
    controller = with_quota({"firm-a": 0, "firm-b": 16})
    start(controller, "big", 16, per_node=8)
    controller.submit("small", a_spec("small", devices=8), firm="firm-b")
    controller.submit("large", a_spec("large", devices=16, per_node=8), firm="firm-b")
    controller.wait(20 * 3_600_000)
    decided = saved_minutes_ago(controller, big=90)
    assert [(stop.job_id, stop.for_job) for stop in decided.stops] == [("big", "large")]


@pytest.mark.parametrize(("minutes", "stopped"), [(2, ["borrower", "low"]), (20, [])])
def test_who_borrowed_nothing_does_not_stop_before_the_borrower_has_saved(
    minutes: int, stopped: list[str]
) -> None:
    controller = with_quota({"firm-a": 0, "firm-b": 24})
    start(controller, "borrower", 8)
    start(controller, "low", 8, firm="firm-b", priority="low")
    controller.wait(5 * 3_600_000)
    mine = a_spec("mine", devices=16, per_node=8, priority="high")
    controller.submit("mine", mine, firm="firm-b")
    controller.wait(15 * 3_600_000)
    decided = saved_minutes_ago(controller, borrower=minutes)
    assert sorted(stop.job_id for stop in decided.stops) == stopped


def test_who_gives_back_sooner_than_he_could_do_it_again_is_waited_for_and_not_for_ever() -> None:
    def after(expected_s: int, *, days: int) -> Controller:
        controller = sharing_firms()
        for name in ("old", "young"):
            spec = replace(a_spec(name, devices=8, estimate_seconds=expected_s), model_checkpoint=None)
            job = controller.submit(name, spec)
            controller.plan()
            controller.run(job)
        controller.wait(days * 86_400_000)
        controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
        controller.wait(days * 86_400_000)
        controller.plan()
        return controller

    long, patient = 40 * 86_400, round(PATIENT) + 1
    assert stopping(after(long, days=patient), "young")  # most of its run is still to come
    nearly = after(2 * patient * 86_400 + 3_600, days=patient)
    assert not stopping(nearly, "young")
    assert not stopping(nearly, "old")
    assert stopping(after(4 * patient * 86_400 + 3_600, days=2 * patient), "young")


def test_who_cannot_move_waits_for_a_faster_model_that_is_free_soon_and_not_for_ever() -> None:
    def waits_for(left_of_holder_s: int, *elsewhere: Node) -> Controller:
        nodes = [a_node("fast", model=MODEL), a_node("slow", model=OTHER_MODEL), *elsewhere]
        controller = Controller(nodes)
        models = [(MODEL, 36_000), (OTHER_MODEL, 3_600)]  # ten times as slow
        holder = controller.submit(
            "holder", a_spec("holder", models=[MODEL], devices=8, estimate_seconds=left_of_holder_s)
        )
        controller.plan()
        controller.run(holder)
        spec = replace(a_spec("job", devices=8, estimate_seconds=3_600), model_checkpoint=None)
        spec = replace(
            spec, variants=tuple(Variant(m, ("/bin/true",), steps_per_hour=rate) for m, rate in models)
        )
        controller.submit("job", spec)
        return controller

    soon = waits_for(1_800)
    assert soon.plan() == []
    assert [why.reason for why in soon.report.of(JobId("job")).reasons] == [
        Reason.DEVICES_BUSY,
        Reason.FASTER_LATER,
    ]
    both = waits_for(1_800)
    job = both.state.jobs[JobId("job")].spec
    both.submit("short", replace(job, estimate_seconds=60, priority=Priority.LOW))
    assert both.plan() == ["short"], "it has ended on the slow model before the fast one is free"
    resumes = soon.state.jobs[JobId("job")].spec
    resumes = replace(resumes, name="resumes", model_checkpoint=a_spec("resumes").model_checkpoint)
    soon.submit("resumes", resumes)
    assert soon.plan() == ["resumes"], "who goes on elsewhere later need not wait, though all else is alike"
    soon.end(soon.tasks(soon.state.jobs[JobId("resumes")])[0])
    soon.wait(20 * 3_600_000)
    assert soon.plan() == ["job"]
    assert waits_for(100 * 3_600).plan() == ["job"]
    # What is free in a pool that the queue does not use is nothing to wait for.
    assert waits_for(100 * 3_600, a_node("foreign", pool="elsewhere")).plan() == ["job"]


def stopping(controller: Controller, job_id: str) -> bool:
    return controller.state.jobs[JobId(job_id)].state is JobState.STOPPING


def end_stopped(controller: Controller, job_id: str) -> None:
    """The job has done what it was told."""
    for allocation in controller.tasks(controller.state.jobs[JobId(job_id)]):
        controller.end(allocation, None, EndReason.STOPPED)


def in_two_pools(nominal: dict[str, dict[str, int]], models: tuple[str, str] = (MODEL, MODEL)) -> Controller:
    """A node in each of two pools, and in each pool the queue of one firm of a cohort."""
    names = {"n1": POOL, "n2": "pool-b"}
    nodes = [a_node(n, pool=pool, model=models[pool != POOL]) for n, pool in names.items()]
    controller = Controller(nodes)
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (pool,), quota, 1, "all")
        for (firm, quota), pool in zip(nominal.items(), names.values(), strict=True)
    )
    pools = {name: Pool(name) for name in (POOL, "pool-b")}
    controller.tell(ConfigurationChanged(pools, queues, (Cohort("all"),)))
    return controller


def test_an_owner_short_of_quota_alone_gets_it_back_and_no_more_stops_than_that_needs() -> None:
    controller = sharing_firms(nodes=3)  # 16 devices of quota, 24 devices
    for name in ("one", "other", "third", "fourth"):
        start(controller, name, 4)
        controller.now_ms += 60_000
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=4), firm="firm-b")
    for _ in range(3):  # who stops already counts
        assert controller.plan() == []
        stopped = [name for name in ("one", "other", "third", "fourth") if stopping(controller, name)]
        assert stopped == ["fourth"]
        controller.wait(1_000)
    end_stopped(controller, "fourth")
    assert controller.plan() == ["mine"]


def test_two_owners_short_of_quota_do_not_count_on_the_same_job() -> None:
    controller = with_quota({"firm-a": 0, "firm-b": 4, "firm-c": 4})
    for name in ("one", "other"):
        start(controller, name, 4)
    controller.wait(3_600_000)
    for firm in ("firm-b", "firm-c"):
        controller.submit(f"of {firm}", a_spec(f"of {firm}", devices=4), firm=firm)
    for _ in range(2):
        controller.plan()
        controller.wait(1_000)
    assert stopping(controller, "one")
    assert stopping(controller, "other")


@pytest.mark.parametrize(
    ("controller", "devices", "share"),
    [
        pytest.param(in_two_pools({"firm-a": {MODEL: 0}, "firm-b": {MODEL: 8}}), 8, None, id="another pool"),
        pytest.param(
            with_quota({"firm-a": 0, "firm-b": 8}), 1, Share(500_000, None), id="a part of a device"
        ),
    ],
)
def test_quota_comes_back_from_devices_that_the_owner_does_not_need(
    controller: Controller, devices: int, share: Share | None
) -> None:
    start(controller, "borrower", devices, share=share)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    controller.plan()
    assert stopping(controller, "borrower")
    end_stopped(controller, "borrower")
    assert controller.plan() == ["mine"]


def test_an_owner_of_parts_short_of_quota_alone_gets_it_back() -> None:
    controller = with_quota({"firm-a": 0, "firm-b": 1})
    half = Share(500_000, None)
    start(controller, "borrower", 1, share=half)
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", share=half), firm="firm-b")
    controller.plan()
    assert stopping(controller, "borrower")
    end_stopped(controller, "borrower")
    assert controller.plan() == ["mine"]


def test_a_high_priority_stops_the_lower_one_where_the_quota_is_what_it_lacks() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(nominal={MODEL: 8}),)))
    start(controller, "low", 8, priority="low")
    controller.wait(3_600_000)
    controller.submit("urgent", a_spec("urgent", devices=8, priority="high"))
    controller.plan()
    assert stopping(controller, "low")
    end_stopped(controller, "low")
    assert controller.plan() == ["urgent"]


def test_nobody_stops_for_a_job_that_its_whole_quota_would_not_hold() -> None:
    controller = sharing_firms(nodes=3)
    start(controller, "borrower", 16, per_node=8)
    controller.wait(3_600_000)
    controller.submit("large", a_spec("large", devices=24, per_node=8), firm="firm-b")
    controller.plan()
    assert not stopping(controller, "borrower")


@pytest.mark.parametrize("borrower", [{"share": Share(250_000, None)}, {}])
def test_a_second_part_waits_until_the_quota_that_comes_back_for_the_first_is_there(
    borrower: dict[str, Share],
) -> None:
    controller = with_quota({"firm-a": 1, "firm-c": 0})
    start(controller, "borrower", 1, firm="firm-c", **borrower)
    controller.wait(3_600_000)
    part = Share(250_000, None)
    controller.submit("first", a_spec("first", share=part, estimate_seconds=600), firm="firm-a")
    second = replace(a_spec("second", share=part), model_checkpoint=None)
    controller.submit("second", second, firm="firm-a")
    assert controller.plan() == []  # a plan that holds more than the quota would be refused whole
    assert stopping(controller, "borrower")


def compute_of(devices: int) -> int:
    """So many devices of MODEL as compute."""
    return devices * (load_catalogue().fp16_gflops(MODEL) or 0)


def sharing_compute(nominal: dict[str, int], **devices: int) -> Controller:
    """Firms in one cohort with quotas of compute, in devices of MODEL; a node of each model, with so many devices."""
    models = {"fast": MODEL, "slow": OTHER_MODEL}
    controller = Controller(
        [a_node(name, devices=count, model=models[name]) for name, count in devices.items()]
    )
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), {COMPUTE: compute_of(own)}, 1, "all")
        for firm, own in nominal.items()
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    return controller


def test_compute_that_was_lent_comes_back_from_devices_of_another_model() -> None:
    controller = sharing_compute({"firm-a": 0, "firm-b": 4}, fast=4, slow=26)
    for number in range(26):  # of which 6.5 count as one of the owner's model
        start(controller, f"borrower {number}", 1, models=[OTHER_MODEL])
    controller.submit("next", a_spec("next", models=[OTHER_MODEL]))
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=2), firm="firm-b")
    assert controller.plan() == []
    stopped = [f"borrower {number}" for number in range(26) if stopping(controller, f"borrower {number}")]
    assert len(stopped) == 13  # as few as give back the compute of two devices
    for name in stopped[:-1]:
        end_stopped(controller, name)
        assert controller.plan() == []  # nobody borrows what comes back
    end_stopped(controller, stopped[-1])
    assert controller.plan() == ["mine"]


def test_nobody_gives_back_compute_that_he_did_not_borrow() -> None:
    controller = sharing_compute({"firm-a": 4, "firm-b": 4, "firm-c": 0}, fast=8, slow=26)
    for number in range(26):
        start(controller, f"own {number}", 1, models=[OTHER_MODEL])
    start(controller, "borrower", 4, firm="firm-c")
    controller.wait(3_600_000)
    controller.submit("mine", a_spec("mine", devices=4), firm="firm-b")
    controller.plan()
    assert [job for job in controller.state.jobs if stopping(controller, job)] == ["borrower"]


def test_nobody_borrows_compute_that_an_owner_of_another_model_waits_for() -> None:
    controller = sharing_compute({"firm-a": 1, "firm-b": 1}, fast=2, slow=12)
    # The first is firm-a's own; the second, judged as if it were, would borrow once the first has started.
    for name, limit_s in (("first", None), ("second", 3_600)):
        spec = a_spec(name, devices=4, models=[OTHER_MODEL], priority="high", time_limit_s=limit_s)
        controller.submit(name, spec)
    controller.submit("mine", a_spec("mine"), firm="firm-b")
    assert sorted(controller.plan()) == ["first", "mine"]


def test_compute_that_is_kept_for_a_job_is_not_used_on_devices_of_another_model() -> None:
    controller = Controller([a_node("fast", devices=4), a_node("slow", model=OTHER_MODEL)])
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(nominal={COMPUTE: compute_of(4)}),)))
    start(controller, "runs", 4, models=[OTHER_MODEL])
    controller.submit("large", a_spec("large", devices=4))
    controller.wait(PlannerConfig().hold_back_after_ms)
    controller.submit("small", a_spec("small", models=[OTHER_MODEL]))  # there always comes another one
    assert controller.plan() == []
    reasons = {item.jobs[0].job_id: item.reasons[0].reason for item in controller.report.classes}
    assert reasons == {"large": Reason.QUOTA_REACHED, "small": Reason.QUOTA_RESERVED}


def test_what_an_owner_never_lent_is_not_lent_again_while_whom_he_stops_still_runs() -> None:
    controller = Controller([a_node("n1", devices=4), a_node("n2", devices=1)])
    owner, borrower = (QueueKey(FirmId(firm), "default") for firm in FIRMS)
    queues = (
        Queue(owner, (POOL,), {MODEL: 8}, 1, "all", lending={MODEL: 4}),
        Queue(borrower, (POOL,), {}, 1, "all"),
    )
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (Cohort("all"),)))
    start(controller, "lent", 4, firm="firm-b")
    controller.wait(3 * 3_600_000)
    controller.submit("mine", a_spec("mine", devices=2, priority="high"), firm="firm-a")
    controller.submit("more", a_spec("more", devices=1), firm="firm-b")
    snapshot = take_snapshot(controller.state, controller.now_ms)
    found, _ = plan(snapshot, controller.now_ms, PlannerConfig())
    assert [stop.job_id for stop in found.stops] == ["lent"]
    assert check_plan(snapshot, found, controller.now_ms) == []


IN_A_LEAF = Topology(required=Domain.LEAF)


@pytest.mark.parametrize(
    ("gang", "topology"),
    [
        (Gang(5, 1), Topology()),
        (Gang(2, 1), IN_A_LEAF),
        (Gang(6, 2, 2, elastic=Elastic(6, 8)), Topology()),
        (Gang(6, 3, 3, elastic=Elastic(6, 9)), IN_A_LEAF),
        (Gang(8, 4, groups=(TaskGroup("a", 1, 4), TaskGroup("b", 2, 2))), Topology()),
        (Gang(7, 4, groups=(TaskGroup("a", 1, 4), TaskGroup("b", 1, 3))), IN_A_LEAF),
    ],
)
def test_nobody_stops_for_a_gang_that_the_nodes_in_service_cannot_seat(
    gang: Gang, topology: Topology
) -> None:
    controller = Controller(
        [a_node("n1", devices=4), a_node("n2", devices=4), a_node("other", model=OTHER_MODEL)]
    )
    for name in ("n1", "n2"):
        controller.connect(name, place=Place(leaf=f"leaf of {name}"))
    controller.tell(CordonRequested(NodeId("other"), True))
    models = [MODEL, OTHER_MODEL]
    start(controller, "runs", 4, models=models, estimate_seconds=86_400)
    start(controller, "beside", 3, models=models, estimate_seconds=86_400)
    controller.wait(3_600_000)
    spec = a_spec("gang", devices=8, per_node=4, models=models, estimate_seconds=600, priority="high")
    controller.submit("gang", replace(spec, gang=gang, topology=topology))
    assert controller.plan() == []
    assert not stopping(controller, "runs")
    assert not stopping(controller, "beside")


@pytest.mark.parametrize(("profile", "estimate_seconds"), [("packing", 600), ("throughput", 86_400)])
def test_nobody_stops_for_another_because_he_would_rather_be_where_no_node_could_seat_him(
    profile: str, estimate_seconds: int
) -> None:
    # Once both waited they would be judged by what there is: he would start again, and stop again, for ever.
    config = PlannerConfig(profile=profile)
    controller = Controller([a_node("slow", devices=4, model=OTHER_MODEL)], config=config)
    models = [MODEL, OTHER_MODEL]
    start(controller, "runs", 4, models=models, estimate_seconds=7_200)
    controller.submit("less", a_spec("less", devices=3, models=models, estimate_seconds=estimate_seconds))
    controller.wait(3_600_000)
    assert controller.plan() == []
    assert not stopping(controller, "runs")


def would_run(controller: Controller, job_id: str) -> str | None:
    report = controller.report.of(JobId(job_id))
    assert report is not None
    return report.counterfactual


def test_an_owner_is_told_when_what_he_lent_comes_back() -> None:
    controller = sharing_firms()
    start(controller, "own", 8)
    start(controller, "borrower", 8)
    controller.wait(60_000)
    began_ms = controller.state.jobs[JobId("borrower")].attempt.started_ms  # type: ignore[union-attr]
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    assert controller.plan() == []
    assert not stopping(controller, "borrower")
    may_stop_ms = began_ms + PlannerConfig().min_run_ms
    comes_back = "when what its queue lent comes back: work on 8 ascend-910b3"
    assert would_run(controller, "mine") == (
        f"{comes_back} ends, or from {to_rfc3339(may_stop_ms)} on, when it has run for 5 min"
    )
    controller.wait(may_stop_ms - controller.now_ms)
    controller.plan()
    assert stopping(controller, "borrower")
    assert would_run(controller, "mine") == "when work that makes room for it has stopped"


def with_a_borrower(*, saves: bool) -> Controller:
    """Two firms, of which one runs a job on its own devices and one on the other's."""
    controller = sharing_firms()
    start(controller, "own", 8)
    spec = a_spec("borrower", devices=8)
    borrower = controller.submit("borrower", spec if saves else replace(spec, model_checkpoint=None))
    assert controller.plan() == ["borrower"]
    controller.run(borrower)
    return controller


@pytest.mark.parametrize("saves", [True, False])
def test_an_owner_of_young_work_is_told_no_moment_at_which_too_much_would_be_lost(saves: bool) -> None:
    controller = with_a_borrower(saves=saves)
    controller.wait(5_000)
    submitted_ms, config = controller.now_ms, PlannerConfig()
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")
    began_ms = controller.state.jobs[JobId("borrower")].attempt.started_ms  # type: ignore[union-attr]
    may_stop_ms = began_ms + config.min_run_ms

    def decided(at_ms: int) -> tuple[Plan, str | None]:
        snapshot = take_snapshot(controller.state, at_ms)
        running = tuple(job._replace(saved_ms=job.started_ms) for job in snapshot.running)
        what, report = plan(replace(snapshot, running=running), at_ms, config)
        (mine,) = report.classes
        return what, mine.counterfactual

    _, told = decided(controller.now_ms)
    # By then it has lost 5 min, and 3 min and a tenth of the wait may be lost.
    assert decided(may_stop_ms)[0].stops == ()
    moment = to_rfc3339(submitted_ms + round(PATIENT) * config.ageing_ms)
    ends = "ends or saves a model checkpoint" if saves else "ends"
    assert told == (
        f"when what its queue lent comes back: work on 8 ascend-910b3 {ends}, or from {moment} on"
        " whatever it loses"
    )


@pytest.mark.parametrize("saves", [True, False])
def test_an_owner_is_told_until_when_work_that_would_be_lost_goes_on(saves: bool) -> None:
    controller = with_a_borrower(saves=saves)
    controller.wait(5 * 3_600_000)
    submitted_ms = controller.now_ms
    controller.submit("mine", a_spec("mine", devices=8), firm="firm-b")

    def told() -> tuple[list[StopCause], str | None]:
        snapshot = take_snapshot(controller.state, controller.now_ms)
        running = tuple(job._replace(saved_ms=job.started_ms) for job in snapshot.running)
        decided, report = plan(replace(snapshot, running=running), controller.now_ms, PlannerConfig())
        (mine,) = report.classes
        return [stop.cause for stop in decided.stops], mine.counterfactual

    until_ms = submitted_ms + round(PATIENT) * PlannerConfig().ageing_ms
    ends = "ends or saves a model checkpoint" if saves else "ends"
    assert told() == (
        [],
        f"when what its queue lent comes back: work on 8 ascend-910b3 {ends}, or from {to_rfc3339(until_ms)} on"
        " whatever it loses",
    )
    controller.now_ms = until_ms - 60_000
    assert told()[0] == []
    controller.now_ms = until_ms
    assert told() == ([StopCause.RECLAIM], "when work that makes room for it has stopped")


def test_an_owner_short_of_compute_is_told_how_much_of_it_comes_back() -> None:
    controller = sharing_compute({"firm-a": 0, "firm-b": 4}, fast=4, slow=26)
    for number in range(26):  # of which 6.5 count as one of the owner's model
        start(controller, f"borrower {number}", 1, models=[OTHER_MODEL])
    controller.submit("mine", a_spec("mine", devices=2), firm="firm-b")
    assert controller.plan() == []
    tflops = 13 * (load_catalogue().fp16_gflops(OTHER_MODEL) or 0) / 1000
    told = would_run(controller, "mine")
    assert told is not None
    lacks, lent = told.split("; or ")
    assert lacks.startswith("now, if the queue had ")
    assert lent.startswith(f"when what its queue lent comes back: work on {tflops:g} TFLOPS ends, or from ")


def test_nobody_is_told_that_lent_quota_alone_would_let_him_start_where_it_would_not() -> None:
    controller = sharing_firms()
    start(controller, "own", 8, firm="firm-b")
    start(controller, "theirs", 4)
    start(controller, "his", 1, firm="firm-b")  # borrows
    controller.submit("mine", a_spec("mine", devices=4, per_node=4), firm="firm-b")
    assert controller.plan() == []
    assert "lent" not in (would_run(controller, "mine") or "")


def test_what_a_queue_lent_is_told_to_the_first_of_its_jobs_alone() -> None:
    controller = sharing_firms()
    start(controller, "own", 8)
    start(controller, "borrower", 8)
    controller.wait(60_000)
    for number, devices in enumerate((8, 8, 4)):
        spec = a_spec(f"mine {number}", devices=devices, time_limit_s=3_600 * (number + 1))
        controller.submit(f"mine {number}", spec, firm="firm-b")
    assert controller.plan() == []
    told = ["lent" in (would_run(controller, f"mine {number}") or "") for number in range(3)]
    assert sorted(told) == [False, False, True]  # eight devices come back once


def test_two_owners_are_told_of_different_work_that_gives_back_what_they_lent() -> None:
    controller = with_quota({"firm-a": 0, "firm-b": 8, "firm-c": 8})
    for name in ("older", "younger"):
        start(controller, name, 8)
        controller.wait(60_000)
    for firm in ("firm-b", "firm-c"):
        controller.submit(firm, a_spec(firm, devices=8), firm=firm)
    assert controller.plan() == []
    told = [would_run(controller, firm) or "" for firm in ("firm-b", "firm-c")]
    assert all("work on 8 " in one for one in told)
    assert told[0] != told[1]  # each when the other borrower has run long enough


def with_borrowers(owners: int, shapes: int, nodes: int = 128) -> Snapshot:
    """Small jobs of one firm hold all devices; owners of most of them wait, each with so many different jobs."""
    borrower, *queues = (QueueKey(FirmId(f"firm-{number}"), "default") for number in range(1 + owners))
    own = [Queue(key, (POOL,), {MODEL: nodes * 8 // owners}, 1, "all") for key in queues]
    cluster = VirtualCluster(
        catalogue_of({MODEL: 1}),
        [NodeSpec(f"n{number}", MODEL, 8, POOL) for number in range(nodes)],
        [Queue(borrower, (POOL,), {MODEL: 0}, 1, "all"), *own],
        cohorts={"all": Cohort("all")},
    )
    small = Shape(borrower, Priority.NORMAL, 1, 1, (MODEL,), resumable=False)
    for node, device in product(range(nodes), range(8)):
        job = WaitingJob(0, JobId(f"r{node}-{device}"))
        cluster.submit(small, job)
        task = TaskPlacement(0, NodeId(f"n{node}"), (DeviceId(f"n{node}/{device}"),))
        cluster.start(JobPlacement(job.job_id, MODEL, POOL, (task,)), 60_000)
    for number, key in enumerate(queues):
        for size in range(1, shapes + 1):
            shape = Shape(key, Priority.NORMAL, 8 * size if size > 8 else size, min(size, 8), (MODEL,))
            cluster.submit(shape, WaitingJob(60_000 + size, JobId(f"w{number}-{size}")))
    return cluster.snapshot()


def calls_of(
    snapshot: Snapshot,
    now_ms: int = 120_000,
    config: PlannerConfig | None = None,
    only: CodeType | None = None,
) -> int:
    """How many functions a cycle calls; `only`: how often this one."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and only in (None, frame.f_code)

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        plan(snapshot, now_ms, config or PlannerConfig())
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(("owners", "shapes"), [(1, 24), (8, 1)])
def test_telling_when_lent_devices_come_back_costs_little_however_many_ask(owners: int, shapes: int) -> None:
    assert calls_of(with_borrowers(owners, shapes)) < 3 * calls_of(with_borrowers(1, 1))


def test_looking_for_borrowers_who_would_lose_too_much_costs_little_however_many_ask() -> None:
    assert calls_of(with_borrowers(1, 24), HOUR_MS) < 3 * calls_of(with_borrowers(1, 1), HOUR_MS)


def with_gangs(gangs: int) -> Snapshot:
    """Owners wait for what they lent with gangs of 40 devices that differ in how many each of their tasks has."""
    snapshot = with_borrowers(1, 1)
    shape = snapshot.classes[0].shape._replace(devices=40, devices_per_node=8)
    groups = [((rest, 1), (number, 4), (fours, 8)) for fours in range(5) for number in range(10 - 2 * fours)
              if (rest := 40 - 8 * fours - 4 * number) >= 0]  # fmt: skip
    classes = [
        JobClass(shape._replace(groups=groups[number]), (WaitingJob(60_000 + number, JobId(f"g{number}")),))
        for number in range(gangs)
    ]
    return replace(snapshot, classes=tuple(classes))


def test_owners_whose_gangs_differ_in_their_tasks_alone_share_one_look_for_borrowers() -> None:
    looks = [calls_of(with_gangs(gangs), HOUR_MS, only=nodes_by_devices.__code__) for gangs in (1, 20)]
    assert looks == [1, 1]


def with_different_hosts(high_beside: int, nodes: int = 32) -> Snapshot:
    """Low jobs of one device on every node, some of them high; high ones of a node wait that differ by their CPUs."""
    key = QueueKey(FirmId("firm"), "default")
    specs = [NodeSpec(f"n{number}", MODEL, 8, POOL, cpu_milli=100_000) for number in range(nodes)]
    cluster = VirtualCluster(catalogue_of({MODEL: 1}), specs, [Queue(key, (POOL,))])
    for node, device in product(range(nodes), range(8)):
        priority = Priority.HIGH if device < high_beside else Priority.LOW
        job = WaitingJob(0, JobId(f"r{node}-{device}"))
        cluster.submit(Shape(key, priority, 1, 1, (MODEL,), time_limit_ms=24 * HOUR_MS), job)
        task = TaskPlacement(0, NodeId(f"n{node}"), (DeviceId(f"n{node}/{device}"),))
        cluster.start(JobPlacement(job.job_id, MODEL, POOL, (task,)), 60_000)
    for number in range(100):
        shape = Shape(key, Priority.HIGH, 8, 8, (MODEL,), time_limit_ms=HOUR_MS + number)
        cluster.submit(shape._replace(cpu_milli=number), WaitingJob(HOUR_MS + number, JobId(f"w{number}")))
    return cluster.snapshot()


@pytest.mark.parametrize("high_beside", [0, 1])
def test_where_nobody_can_stop_jobs_that_ask_for_other_cpus_look_for_nobody_again(high_beside: int) -> None:
    snapshot, config = with_different_hosts(high_beside=high_beside), PlannerConfig(max_stops=16)
    assert len(plan(snapshot, 2 * HOUR_MS, config)[0].stops) == (0 if high_beside else 16)
    looked = calls_of(snapshot, 2 * HOUR_MS, config, only=nodes_by_devices.__code__)
    assert looked == (1 if high_beside else 4)


def test_who_stops_before_others_is_the_same_one_by_one_and_in_columns() -> None:
    snapshot, config, draw = with_borrowers(1, 1, nodes=4), PlannerConfig(), random.Random(0)
    running = [
        one._replace(
            submitted_ms=draw.randint(0, 3),
            started_ms=draw.randint(0, 3),
            tasks=one.tasks * draw.randint(1, 3),
        )
        for one in snapshot.running
    ]
    lost_ms = [draw.randint(0, 3) for _ in running]
    those = Stoppable(running, lost_ms, Turns(0, config, Estimates(snapshot)), HOUR_MS, config)
    victims = [Victim(one, StopCause.RECLAIM, lost, ()) for one, lost in zip(running, lost_ms, strict=True)]
    everybody = Some(those, those.may, StopCause.RECLAIM, None, False)
    assert list(in_turn([everybody])) == in_order(victims)
