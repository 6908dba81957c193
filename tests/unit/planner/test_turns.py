"""Ranks and turns of many jobs at once are those of each by itself."""

import random

import numpy as np
import pytest

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner import JobClass, PlannerConfig, Shape, Snapshot, WaitingJob
from scheduler.planner.estimates import Estimates
from scheduler.planner.experience import Learning
from scheduler.planner.outcome import Chosen, Outcome
from scheduler.planner.turns import Turns
from scheduler.simulator.models import catalogue_of

QUEUE = QueueKey(FirmId("firm"), "default")
HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS


def a_class(draw: random.Random, ageing_ms: int) -> JobClass:
    """Jobs submitted just before, when and just after age raises them, and at any time."""
    edges_ms = [NOW_MS - times * ageing_ms + more for times in range(5) for more in (-1, 0, 1)]
    rates = (("a", 2.0), ("b", 1.0)) if draw.random() < 0.5 else ()
    steps = [None] if draw.random() < 0.5 else [None, 1.0, 1e5, 1e6]
    jobs = [
        WaitingJob(
            draw.choice([NOW_MS + 5, *edges_ms, NOW_MS - draw.randint(0, 5 * ageing_ms)]),
            JobId(f"job-{number}"),
            draw.choice(steps),
        )
        for number in range(draw.randint(1, 9))
    ]
    shape = Shape(
        QUEUE, draw.choice(list(Priority)), 1, 1, ("a", "b"), resumable=draw.random() < 0.8, rates=rates
    )
    return JobClass(shape, tuple(sorted(jobs)))


def some_turns(draw: random.Random, config: PlannerConfig, item: JobClass) -> Turns:
    learned = Learning()
    for minutes in (5, 50, 500):
        learned.finished("", 60_000.0 * minutes, None)
    experience = learned.experience() if draw.random() < 0.7 else None
    snapshot = Snapshot(catalogue_of({"a": 0, "b": 0}), (), {}, (item,), experience=experience)
    return Turns(NOW_MS, config, Estimates(snapshot))


@pytest.mark.parametrize("seed", range(300))
def test_many_jobs_have_the_ranks_and_turns_that_each_has(seed: int) -> None:
    draw = random.Random(seed)
    config = PlannerConfig(profile=draw.choice(["balanced", "throughput", "packing"]))
    item = a_class(draw, config.ageing_ms)
    shape, jobs = item.shape, item.jobs
    turns = some_turns(draw, config, item)
    ranks = [turns.standing(shape, job).rank for job in jobs]
    assert [rank for rank, those in turns.by_rank(item) for _ in those] == ranks
    own = np.full(len(jobs), shape.priority.rank)
    assert turns.ranks(own, np.array([job.submitted_ms for job in jobs])).tolist() == ranks
    if draw.random() < 0.8:
        turns.follow({QUEUE: an_outcome(draw, item)})
    each = [turns.standing(shape, job) for job in jobs]
    assert [place[:3] for place in turns.places(item, None)] == [
        (-its.rank, its.turn, job) for its, job in zip(each, jobs, strict=True)
    ]
    in_turn = sorted(zip([its.turn for its in each], jobs, strict=True))
    assert list(turns.in_order(item)) == [job for _, job in in_turn]


def an_outcome(draw: random.Random, item: JobClass) -> Outcome:
    """Of a market that chose some of the class or none, for all classes on it or some, and left some apart."""
    jobs = [job for job in item.jobs if draw.random() < draw.choice([0.5, 1.0])]
    many = draw.choice([0.0, 0.3, 1.0])
    places = [place for place in range(len(jobs)) if draw.random() < many]
    after = [draw.choice([None, None, 0]) for _ in places]
    chosen = {item.shape: Chosen(jobs, places, ["a"] * len(places), after)} if places else {}
    lowest = {rank: draw.randint(0, rank) for rank in range(4) if draw.random() < 0.8}
    others = {job.job_id for job in item.jobs} - {jobs[place].job_id for place in places}
    few = draw.choice([0.0, 0.0, 0.3])
    apart = {job_id: draw.choice([None, 0]) for job_id in sorted(others) if draw.random() < few}
    most = {"a": draw.choice([0.0, 1.0, 1.0])}
    return Outcome(chosen, most, lowest, draw.randint(0, 2), apart)


def test_whom_the_market_chose_comes_first_then_who_waits_for_what_others_leave_then_the_others() -> None:
    jobs = tuple(WaitingJob(NOW_MS - 10 + at, JobId(f"job-{at}")) for at in range(4))
    item = JobClass(Shape(QUEUE, Priority.NORMAL, 1, 1, ("a", "b"), resumable=True), jobs)
    rank = Priority.NORMAL.rank
    turns = some_turns(random.Random(0), PlannerConfig(), item)
    chosen = Chosen(jobs, [0, 1], ["a", "b"], [rank - 1, None])
    turns.follow(
        {QUEUE: Outcome({item.shape: chosen}, {"a": 1.0}, {rank: rank - 1}, rank, {jobs[2].job_id: None})}
    )
    assert [turns.standing(item.shape, job).rank for job in jobs] == [rank - 1, rank, rank, rank - 1]
    turn = [turns.standing(item.shape, job).turn for job in jobs]
    assert turn[1] == jobs[1].submitted_ms < turn[2] <= NOW_MS < turn[0] < turn[3]
    assert [job.job_id for job in turns.in_order(item)] == ["job-1", "job-2", "job-0", "job-3"]
