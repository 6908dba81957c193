"""Who takes part in what is traded in a queue."""

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner import JobClass, Shape, Snapshot, WaitingJob
from scheduler.planner.budgets import Budgets
from scheduler.planner.estimates import Estimates
from scheduler.planner.snapshot import RunningJob
from scheduler.planner.traders import Traders, traders_of
from scheduler.simulator.models import catalogue_of

QUEUE, OTHER = (QueueKey(FirmId("firm"), name) for name in ("default", "other"))
RATES = (("fast", 2.0), ("slow", 1.0))


def traded(queue: QueueKey = QUEUE, *, resumable: bool = True) -> Shape:
    return Shape(queue, Priority.NORMAL, 1, 1, ("fast", "slow"), resumable=resumable, rates=RATES)


def waiting(name: str, submitted_ms: int, steps: float | None = 100.0) -> WaitingJob:
    return WaitingJob(submitted_ms, JobId(name), steps)


def running(name: str, submitted_ms: int, *, stopping: bool = False) -> RunningJob:
    return RunningJob(JobId(name), traded(), submitted_ms, "slow", "pool", (), 50, 10.0, stopping=stopping)


def a_snapshot(*classes: JobClass, running: tuple[RunningJob, ...] = ()) -> Snapshot:
    return Snapshot(catalogue_of({"fast": 0, "slow": 0}), (), {}, classes, running=running)


def found(snapshot: Snapshot, elsewhere: frozenset[JobId] = frozenset()) -> dict[QueueKey, Traders]:
    return traders_of(snapshot, Estimates(snapshot), Budgets(snapshot), elsewhere)


def test_those_who_run_and_those_who_wait_stand_by_age_each_with_what_is_its_own() -> None:
    snapshot = a_snapshot(
        JobClass(traded(), (waiting("old", 1, 400.0), waiting("young", 9))),
        JobClass(traded(), (waiting("between", 5, 30.0),)),
        running=(running("runs", 3), running("stops", 4, stopping=True)),
    )
    traders = found(snapshot)[QUEUE]
    assert traders.job_ids == ["old", "runs", "between", "young"]
    assert traders.left_ms.tolist() == [200_000.0, 5_000.0, 15_000.0, 50_000.0]
    assert [(at, one.job_id) for at, one in traders.running] == [(1, "runs")]
    assert [traders[at].job.job_id for at in range(4)] == traders.job_ids
    assert [trader.running is not None for trader in map(traders.__getitem__, range(4))] == [
        False, True, False, False,
    ]  # fmt: skip


def test_who_is_elsewhere_and_who_is_not_predicted_takes_no_part() -> None:
    jobs = (waiting("a", 1), waiting("nobody knows", 2, None), waiting("elsewhere", 3), waiting("b", 4, 8.0))
    snapshot = a_snapshot(JobClass(traded(), jobs), running=(running("runs elsewhere", 5),))
    traders = found(snapshot, frozenset({JobId("elsewhere"), JobId("runs elsewhere")}))[QUEUE]
    assert traders.job_ids == ["a", "b"]
    assert traders.left_ms.tolist() == [50_000.0, 4_000.0]
    assert traders.submitted_ms.tolist() == [1, 4]


def test_of_a_class_the_oldest_take_part_as_many_as_could_start() -> None:
    jobs = tuple(waiting(f"job-{number:03}", number) for number in range(100))
    traders = found(a_snapshot(JobClass(traded(), jobs)))[QUEUE]
    assert traders.job_ids == [job.job_id for job in jobs[:64]]


def test_who_cannot_leave_again_takes_part_only_where_all_who_wait_are_asked_for() -> None:
    snapshot = a_snapshot(
        JobClass(traded(resumable=False), (waiting("stays", 1),)),
        JobClass(traded(), (waiting("moves", 2),)),
        JobClass(traded(OTHER), (waiting("of another queue", 3),)),
    )
    assert {key: traders.job_ids for key, traders in found(snapshot).items()} == {
        QUEUE: ["moves"],
        OTHER: ["of another queue"],
    }
    estimates, budgets = Estimates(snapshot), Budgets(snapshot)
    some = traders_of(snapshot, estimates, budgets, queues=[QUEUE], all_who_wait=True)
    assert {key: traders.job_ids for key, traders in some.items()} == {QUEUE: ["stays", "moves"]}
