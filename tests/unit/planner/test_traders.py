"""Who takes part in what is traded in a queue."""

import random

import numpy as np
import pytest

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner import JobClass, Shape, Snapshot, WaitingJob
from scheduler.planner.budgets import Budgets
from scheduler.planner.estimates import Estimates
from scheduler.planner.outcome import Outcome
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


def names(traders: Traders) -> list[JobId]:
    return [traders[at].job.job_id for at in range(len(traders))]


def found(snapshot: Snapshot, elsewhere: frozenset[JobId] = frozenset()) -> dict[QueueKey, Traders]:
    return traders_of(snapshot, Estimates(snapshot), Budgets(snapshot), elsewhere)


def test_those_who_run_and_those_who_wait_stand_by_age_each_with_what_is_its_own() -> None:
    snapshot = a_snapshot(
        JobClass(traded(), (waiting("old", 1, 400.0), waiting("young", 9))),
        JobClass(traded(), (waiting("between", 5, 30.0),)),
        running=(running("runs", 3), running("stops", 4, stopping=True)),
    )
    traders = found(snapshot)[QUEUE]
    assert names(traders) == ["old", "runs", "between", "young"]
    assert traders.left_ms.tolist() == [200_000.0, 5_000.0, 15_000.0, 50_000.0]
    assert traders.runs_at.tolist() == [1]
    assert [one.job_id for one in traders.running] == ["runs"]
    assert [trader.running is not None for trader in map(traders.__getitem__, range(4))] == [
        False, True, False, False,
    ]  # fmt: skip


def test_who_is_elsewhere_and_who_is_not_predicted_takes_no_part() -> None:
    jobs = (waiting("a", 1), waiting("nobody knows", 2, None), waiting("elsewhere", 3), waiting("b", 4, 8.0))
    snapshot = a_snapshot(JobClass(traded(), jobs), running=(running("runs elsewhere", 5),))
    traders = found(snapshot, frozenset({JobId("elsewhere"), JobId("runs elsewhere")}))[QUEUE]
    assert names(traders) == ["a", "b"]
    assert traders.left_ms.tolist() == [50_000.0, 4_000.0]
    assert traders.submitted_ms.tolist() == [1, 4]


def test_of_a_class_the_oldest_take_part_as_many_as_could_start() -> None:
    jobs = tuple(waiting(f"job-{number:03}", number) for number in range(100))
    traders = found(a_snapshot(JobClass(traded(), jobs)))[QUEUE]
    assert names(traders) == [job.job_id for job in jobs[:64]]


def test_who_cannot_leave_again_takes_part_only_where_all_who_wait_are_asked_for() -> None:
    snapshot = a_snapshot(
        JobClass(traded(resumable=False), (waiting("stays", 1),)),
        JobClass(traded(), (waiting("moves", 2),)),
        JobClass(traded(OTHER), (waiting("of another queue", 3),)),
    )
    assert {key: names(traders) for key, traders in found(snapshot).items()} == {
        QUEUE: ["moves"],
        OTHER: ["of another queue"],
    }
    estimates, budgets = Estimates(snapshot), Budgets(snapshot)
    some = traders_of(snapshot, estimates, budgets, queues=[QUEUE], all_who_wait=True)
    assert {key: names(traders) for key, traders in some.items()} == {QUEUE: ["stays", "moves"]}


def test_those_submitted_at_one_moment_stand_by_size_and_by_what_they_have_to_do() -> None:
    large = traded()._replace(devices=4, devices_per_node=4)
    snapshot = a_snapshot(
        JobClass(large, (waiting("large", 5, 1.0),)),
        JobClass(traded(), (waiting("old", 1), waiting("a long one", 5, 900.0))),
        running=(running("a short one", 5),),
    )
    assert names(found(snapshot)[QUEUE]) == ["old", "a short one", "a long one", "large"]


@pytest.mark.parametrize("seed", range(40))
def test_who_was_chosen_is_found_again_in_its_class(seed: int) -> None:
    draw = random.Random(seed)
    classes = []
    for size in range(1, draw.randint(2, 6)):
        moments = sorted(draw.sample(range(300), draw.randint(1, 90)))
        jobs = tuple(waiting(f"{size}-{at}", at, draw.choice([5.0, None, 70.0])) for at in moments)
        classes.append(JobClass(traded()._replace(devices=size, devices_per_node=size), jobs))
    snapshot = a_snapshot(*classes, running=(running("runs", draw.randint(0, 300)),))
    elsewhere = frozenset(job.job_id for item in classes for job in item.jobs if draw.random() < 0.1)
    traders = found(snapshot, elsewhere)[QUEUE]
    waits = [at for at in range(len(traders)) if traders[at].running is None]
    places = [at for at in waits if draw.random() < 0.4]
    models = {traders[at].job.job_id: draw.choice(["fast", "slow"]) for at in places}
    waits = {job_id: draw.choice([None, 0]) for job_id in models}
    chosen = traders.chosen(np.array(places, dtype=np.int64), list(models.values()), list(waits.values()))
    for item in classes:
        outcome = Outcome(chosen, {}, {}, 0, {})
        assert {job.job_id: outcome.model_of(item.shape, job) for job in item.jobs} == {
            job.job_id: models.get(job.job_id) for job in item.jobs
        }
        assert [outcome.of(item.shape, job, 1) for job in item.jobs] == [
            (job.job_id in models, waits.get(job.job_id)) for job in item.jobs
        ]
        if item.shape in chosen:
            in_order = sorted(
                item.jobs, key=lambda job: (job.job_id not in models, waits.get(job.job_id) == 0, job)
            )
            assert list(chosen[item.shape].first(item.jobs)) == in_order
