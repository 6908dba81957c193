"""Who takes part in what is traded, in columns: of most jobs nothing but these numbers is ever asked."""

from collections.abc import Collection, Sequence, Set
from functools import cached_property
from typing import NamedTuple

import numpy as np

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.planner.budgets import Budgets
from scheduler.planner.estimates import Estimates
from scheduler.planner.rows import Ints
from scheduler.planner.snapshot import JobClass, JobColumns, RunningJob, Shape, Snapshot, WaitingJob

# Of each waiting class so many jobs take part: more could not start in one cycle.
_MOST_OF_A_CLASS = 64


class Trader(NamedTuple):
    """A job that takes part."""

    shape: Shape
    job: WaitingJob
    running: RunningJob | None
    left_ms: float  # on its fastest model

    @property
    def devices(self) -> int:
        """What it holds; an elastic job may hold fewer than it asked for."""
        return self.shape.devices if self.running is None else self.running.devices


class Traders:
    """Those of one queue, by age."""

    def __init__(self, drawn: "_Drawn") -> None:
        self.shapes = drawn.shapes
        shape_of = np.array(drawn.shape_of)
        devices = np.array([shape.devices for shape in drawn.shapes])
        submitted_ms, left_ms = np.array(drawn.submitted_ms), np.array(drawn.left_ms)
        order = np.lexsort((left_ms, devices[shape_of], submitted_ms))
        self.shape_of: Ints = shape_of[order]  # of each which of `shapes` it has
        self.submitted_ms: Ints = submitted_ms[order]
        self.served_ms: Ints = np.array(drawn.served_ms)[order]
        self.left_ms = left_ms[order]
        self._drawn = drawn
        self._order = order.tolist()
        where = np.empty_like(order)
        where[order] = np.arange(len(order))
        places = where[len(order) - len(drawn.running) :].tolist()
        self.running = sorted(zip(places, drawn.running, strict=True), key=lambda item: item[0])

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: int) -> Trader:
        job = self._drawn.jobs[self._order[at]]
        shape, left_ms = self.shapes[self.shape_of.item(at)], self.left_ms.item(at)
        if isinstance(job, RunningJob):
            return Trader(shape, job.waiting, job, left_ms)
        return Trader(shape, job, None, left_ms)

    @cached_property
    def job_ids(self) -> list[JobId]:
        """Of each."""
        job_ids = self._drawn.job_ids
        return [job_ids[at] for at in self._order]


class _Drawn:
    """Those of one queue as they were found: those who wait, then those who run."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self._numbers: dict[int, int] = {}  # of each shape, by identity, which is quicker than its fields
        self.shape_of: list[int] = []
        self.jobs: list[WaitingJob | RunningJob] = []
        self.running: list[RunningJob] = []
        self.job_ids: list[JobId] = []
        self.submitted_ms: list[int] = []
        self.served_ms: list[int] = []
        self.left_ms: list[float] = []

    def wait(
        self, shape: Shape, jobs: Sequence[WaitingJob], columns: JobColumns, left_ms: list[float]
    ) -> None:
        """Jobs of a class take part."""
        self.shape_of += [self._number(shape)] * len(jobs)
        self.jobs += jobs
        self.job_ids += columns.job_ids
        self.submitted_ms += columns.submitted_ms
        self.served_ms += columns.served_ms
        self.left_ms += left_ms

    def run(self, shape: Shape, job: RunningJob, left_ms: float) -> None:
        """A running job does, after all those who wait."""
        self.shape_of.append(self._number(shape))
        self.jobs.append(job)
        self.running.append(job)
        self.job_ids.append(job.job_id)
        self.submitted_ms.append(job.submitted_ms)
        self.served_ms.append(job.served_ms)
        self.left_ms.append(left_ms)

    def _number(self, shape: Shape) -> int:
        number = self._numbers.setdefault(id(shape), len(self.shapes))
        if number == len(self.shapes):
            self.shapes.append(shape)
        return number


def traders_of(
    snapshot: Snapshot,
    estimates: Estimates,
    budgets: Budgets,
    elsewhere: Set[JobId] = frozenset(),
    *,
    queues: Collection[QueueKey] | None = None,
    all_who_wait: bool = False,
) -> dict[QueueKey, Traders]:
    """Who takes part, by queue, in all of them or in `queues`, but for those who are `elsewhere`.

    `all_who_wait`: those too who could not leave again once they run.
    Cost: O(classes + running jobs), and their jobs in lists and arrays.
    """
    found: dict[QueueKey, _Drawn] = {}
    for item in snapshot.classes:
        key = item.shape.queue
        if queues is not None and key not in queues:
            continue
        shape = _paid(item.shape, budgets)
        if takes_part(shape) or (all_who_wait and shape.whole and shape.devices > 0 and shape.models):
            _draw(found, item, shape, estimates, elsewhere)
    for running in snapshot.running:
        key = running.shape.queue
        if not takes_part(running.shape) or (queues is not None and key not in queues):
            continue
        shape = _paid(running.shape, budgets)
        if takes_part(shape) and not running.stopping and running.model in shape.models:
            left_ms = estimates.left_ms(shape, running)
            if left_ms is not None and running.job_id not in elsewhere:
                found.setdefault(key, _Drawn()).run(shape, running, left_ms)
    return {key: Traders(drawn) for key, drawn in found.items()}


def _draw(
    found: dict[QueueKey, _Drawn],
    item: JobClass,
    shape: Shape,
    estimates: Estimates,
    elsewhere: Set[JobId],
) -> None:
    """The first jobs of a class whose rest is predicted."""
    jobs: Sequence[WaitingJob] = item.jobs[:_MOST_OF_A_CLASS]
    columns = item.columns if len(jobs) == len(item.jobs) else JobColumns.of(jobs)
    if not elsewhere.isdisjoint(columns.job_ids):
        jobs = [job for job in jobs if job.job_id not in elsewhere]
        columns = JobColumns.of(jobs)
    lefts_ms = estimates.lefts_ms(shape, columns)
    left_ms = [left for left in lefts_ms if left is not None]
    if len(left_ms) < len(lefts_ms):
        jobs = [job for job, left in zip(jobs, lefts_ms, strict=True) if left is not None]
        columns = JobColumns.of(jobs)
    if jobs:
        found.setdefault(shape.queue, _Drawn()).wait(shape, jobs, columns, left_ms)


def _paid(shape: Shape, budgets: Budgets) -> Shape:
    """With the models alone on which its budgets could pay for a start: one that runs pays anew when it moves."""
    if not budgets.binds(shape) or not takes_part(shape):
        return shape
    return shape._replace(
        models=tuple(model for model in shape.models if budgets.refusal(shape, model) is None)
    )


def takes_part(shape: Shape) -> bool:
    """Whether its jobs may be moved between several models: they resume, and hold whole devices."""
    return shape.resumable and len(shape.models) > 1 and shape.whole and shape.devices > 0
