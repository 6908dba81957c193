"""Who takes part in what is traded, in columns: of most jobs nothing but these numbers is ever asked."""

from array import array
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.planner.budgets import Budgets
from scheduler.planner.estimates import Estimates
from scheduler.planner.outcome import Chosen
from scheduler.planner.rows import Floats, Ints
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
        self.of_class: Mapping[Shape, Sequence[WaitingJob]] = (
            drawn.of_class
        )  # who waits, by what the class asks for
        shape_of, submitted_ms, served_ms = map(
            np.asarray, (drawn.shape_of, drawn.submitted_ms, drawn.served_ms)
        )
        left_ms = np.asarray(drawn.left_ms)
        order = self._by_age(submitted_ms, shape_of, left_ms)
        self.shape_of: Ints = shape_of[order]  # of each which of `shapes` it has
        self.submitted_ms: Ints = submitted_ms[order]
        self.served_ms: Ints = served_ms[order]
        self.left_ms: Floats = left_ms[order]
        self._drawn = drawn
        self._order = order
        waiting = len(order) - len(drawn.running)
        self.runs_at: Ints = np.flatnonzero(order >= waiting)  # where those who run are
        self.running = [drawn.running[number] for number in (order[self.runs_at] - waiting).tolist()]

    def __len__(self) -> int:
        return len(self._order)

    def job(self, at: int) -> WaitingJob | RunningJob:
        """The one at a place."""
        return self._drawn.job(self._order.item(at))

    def __getitem__(self, at: int) -> Trader:
        job = self.job(at)
        shape, left_ms = self.shapes[self.shape_of.item(at)], self.left_ms.item(at)
        if isinstance(job, RunningJob):
            return Trader(shape, job.waiting, job, left_ms)
        return Trader(shape, job, None, left_ms)

    def chosen(self, places: Ints, models: Sequence[str], after: Sequence[int | None]) -> dict[Shape, Chosen]:
        """Those who wait at these places, by what their class asks for; of each on which model it should be and after
        whom it comes, see `Chosen`.
        """
        numbers = self._order[places]
        order = np.argsort(numbers)
        numbers, begins = numbers[order], np.array(self._drawn.begins)
        of_class = np.searchsorted(begins, numbers, "right") - 1
        firsts = np.flatnonzero(np.diff(of_class, prepend=-1)).tolist()
        in_class, by_class = (numbers - begins[of_class]).tolist(), order.tolist()
        models, after = [models[at] for at in by_class], [after[at] for at in by_class]
        found = {}
        for first, end in zip(firsts, [*firsts[1:], len(models)], strict=True):
            asked, jobs = self._drawn.waiting[of_class.item(first)]
            found[asked] = Chosen(jobs, in_class[first:end], models[first:end], after[first:end])
        return found

    def _by_age(self, submitted_ms: Ints, shape_of: Ints, left_ms: Floats) -> Ints:
        """Of those submitted at one moment the smaller first, then those with less to do."""
        order = np.argsort(submitted_ms, kind="stable")  # classes stand by age: so they are merged
        in_order = submitted_ms[order]
        if (in_order[1:] == in_order[:-1]).any():
            devices = np.array([shape.devices for shape in self.shapes])
            order = np.lexsort((left_ms, devices[shape_of], submitted_ms))
        return order


class _Drawn:
    """Those of one queue as they were found: those who wait, class by class, then those who run."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self._numbers: dict[Shape, int] = {}
        # The same by identity, which is quicker than its fields.
        self._known: dict[int, tuple[int, Shape]] = {}
        self.shape_of = array("q")
        self.running: list[RunningJob] = []
        self.of_class: dict[Shape, Sequence[WaitingJob]] = {}
        self.submitted_ms = array("q")
        self.served_ms = array("q")
        self.left_ms = array("d")
        # Who takes part of a class, and what that asks for.
        self.waiting: list[tuple[Shape, Sequence[WaitingJob]]] = []
        self.begins: list[int] = []  # where each of these begins among all

    def wait(
        self,
        asked: Shape,
        shape: Shape,
        jobs: Sequence[WaitingJob],
        columns: JobColumns,
        left_ms: list[float],
    ) -> None:
        """Jobs of a class take part."""
        self.waiting.append((asked, jobs))
        self.begins.append(len(self.shape_of))
        self.of_class[asked] = jobs
        self.shape_of.extend(array("q", [self._number(shape)]) * len(jobs))
        self.submitted_ms.extend(columns.submitted_ms)
        self.served_ms.extend(columns.served_ms)
        self.left_ms.fromlist(left_ms)

    def run(self, shape: Shape, job: RunningJob, left_ms: float) -> None:
        """A running job does, after all those who wait."""
        self.shape_of.append(self._number(shape))
        self.running.append(job)
        self.submitted_ms.append(job.submitted_ms)
        self.served_ms.append(job.served_ms)
        self.left_ms.append(left_ms)

    def job(self, number: int) -> WaitingJob | RunningJob:
        """The one that was found so late. Looked up, as most are never asked for."""
        first = len(self.shape_of) - len(self.running)
        if number >= first:
            return self.running[number - first]
        of_class = bisect_right(self.begins, number) - 1
        return self.waiting[of_class][1][number - self.begins[of_class]]

    def _number(self, shape: Shape) -> int:
        known = self._known.get(id(shape))
        if known is None:
            number = self._numbers.setdefault(shape, len(self.shapes))
            if number == len(self.shapes):
                self.shapes.append(shape)
            known = self._known[id(shape)] = number, shape  # kept, so that no other has its identity
        return known[0]


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
        if shape.tradable or (all_who_wait and shape.whole and shape.devices > 0 and shape.models):
            _draw(found, item, shape, estimates, elsewhere)
    for running in snapshot.running:
        key = running.shape.queue
        if not running.shape.tradable or (queues is not None and key not in queues):
            continue
        shape = _paid(running.shape, budgets)
        if shape.tradable and not running.stopping and running.model in shape.models:
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
    if elsewhere and not elsewhere.isdisjoint([job.job_id for job in jobs]):
        jobs = [job for job in jobs if job.job_id not in elsewhere]
        columns = JobColumns.of(jobs)
    lefts_ms = estimates.lefts_ms(shape, columns)
    left_ms = [left for left in lefts_ms if left is not None]
    if len(left_ms) < len(lefts_ms):
        jobs = [job for job, left in zip(jobs, lefts_ms, strict=True) if left is not None]
        columns = JobColumns.of(jobs)
    if jobs:
        found.setdefault(shape.queue, _Drawn()).wait(item.shape, shape, jobs, columns, left_ms)


def _paid(shape: Shape, budgets: Budgets) -> Shape:
    """With the models alone on which its budgets could pay for a start: one that runs pays anew when it moves."""
    if not budgets.binds(shape) or not shape.tradable:
        return shape
    return shape._replace(
        models=tuple(model for model in shape.models if budgets.refusal(shape, model) is None)
    )
