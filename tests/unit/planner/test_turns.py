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
            min(NOW_MS + 5, draw.choice([*edges_ms, NOW_MS - draw.randint(0, 5 * ageing_ms)])),
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
    ranks = [turns.rank(shape, job) for job in jobs]
    assert [rank for rank, those in turns.by_rank(item) for _ in those] == ranks
    own = np.full(len(jobs), shape.priority.rank)
    assert turns.ranks(own, np.array([job.submitted_ms for job in jobs])).tolist() == ranks
    if shape.resumable and draw.random() < 0.8:
        chosen = {job.job_id for job in jobs if draw.random() < 0.3} | {JobId("other")}
        part = draw.choice([0.0, 0.5, 1.0])
        over = {job.job_id: 0 for job in jobs if job.job_id not in chosen and draw.random() < part}
        turns.market_chose(chosen, over)
    each = [(turns.rank(shape, job), turns.turn(shape, job)) for job in jobs]
    assert [(-rank, turn) for rank, turn, *_ in turns.places(item, None)] == each
    in_turn = sorted(zip([turn for _, turn in each], jobs, strict=True))
    assert list(turns.in_order(item)) == [job for _, job in in_turn]
