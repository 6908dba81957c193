"""Who need not stop, as the plan after it shows: of those who stop for a higher priority all or none."""

from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner import JobPlacement, Plan, Shape, Snapshot, Stop, StopCause, TaskPlacement
from scheduler.planner.next_cycle import may_stop_in_vain, without_futile
from scheduler.planner.snapshot import RunningJob
from scheduler.simulator.models import catalogue_of

HIGH = JobId("high")
LOW = (JobId("low-1"), JobId("low-2"))
SHAPE = Shape(QueueKey(FirmId("firm"), "default"), Priority.LOW, 1, 1, ("fast",), resumable=True)
STOPS = tuple(Stop(job_id, StopCause.PRIORITY, HIGH) for job_id in LOW)


def place(job_id: JobId) -> tuple[NodeId, tuple[DeviceId, ...]]:
    return NodeId(f"of-{job_id}"), (DeviceId(f"device-of-{job_id}"),)


def starts(*job_ids: JobId) -> Plan:
    """Each where a low job of that name ran, the high one where the first did."""
    tasks = {job_id: place(LOW[0] if job_id == HIGH else job_id) for job_id in job_ids}
    return Plan(
        tuple(
            JobPlacement(job_id, "fast", "pool", (TaskPlacement(0, node_id, device_ids),))
            for job_id, (node_id, device_ids) in tasks.items()
        )
    )


def who_stops(then: Plan, *, traded: bool = True) -> set[JobId]:
    """Of those who were to stop for the high job, where this is the plan after it."""
    running = tuple(RunningJob(job_id, SHAPE, 0, "fast", "pool", (place(job_id),), 0) for job_id in LOW)
    snapshot = Snapshot(catalogue_of({"fast": 0}), (), {}, (), running=running)
    for_whom = {HIGH} if traded else set()
    return {stop.job_id for stop in without_futile(snapshot, Plan((), STOPS), then, (), for_whom).stops}


def test_nobody_stops_for_a_job_that_does_not_start_when_one_of_them_would_start_again() -> None:
    assert who_stops(starts(LOW[1])) == set()


def test_all_stop_for_a_job_that_starts_then_though_one_of_them_starts_again() -> None:
    assert who_stops(starts(HIGH, LOW[1])) == set(LOW)


def test_all_stop_where_nobody_of_them_starts_again_as_devices_may_be_kept_for_the_job() -> None:
    assert who_stops(starts()) == set(LOW)


def test_only_the_market_passes_over_a_job_for_whose_priority_others_have_stopped() -> None:
    assert who_stops(starts(LOW[1]), traded=False) == set(LOW)
    decided = Plan((), STOPS)
    assert may_stop_in_vain(decided, {HIGH})
    assert not may_stop_in_vain(decided, set())
