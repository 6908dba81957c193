"""Why the cycle did what it did: for each class of waiting jobs why it waits and what would let it run."""

import heapq
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.planner.forecast import Forecast, StartInterval
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob

REFUSED = WhyNot(
    Reason.NOT_PLANNED_YET,
    "its start was planned, and did not pass the last check: it waits, and the operator is told",
)
FAILS = WhyNot(
    Reason.PLAN_FAILED,
    "planning fails over it: it waits, others start without it, and the operator is told",
)


class ClassReport(NamedTuple):
    """Why the jobs of one shape wait. All of them wait for the same reasons; only their positions differ."""

    shape: Shape
    jobs: tuple[WaitingJob, ...]  # those that wait, oldest first
    reasons: tuple[WhyNot, ...]
    counterfactual: str | None = None
    starts_by_ms: int | None = None  # the first of them at the latest, where time limits alone say so


@dataclass(frozen=True, slots=True)
class Report:
    """The account of one cycle."""

    at_ms: int
    classes: tuple[ClassReport, ...]
    unfinished: bool = False  # the cycle reached its bound on work: plan again at once
    forecast: Forecast | None = field(default=None, compare=False, repr=False)
    left_out: Set[JobId] = frozenset()  # for a defect: nobody knows when they start

    def starts(self, job_id: JobId) -> StartInterval | None:
        """Between which moments a waiting job starts; None: nobody knows. The first question costs most."""
        if self.forecast is None or job_id in self.left_out:
            return None
        return self.forecast.interval(job_id)

    def without(self, jobs: Set[JobId], snapshot: Snapshot, why: WhyNot) -> "Report":
        """The same where a defect leaves jobs out: those wait, too. Cost: O(waiting jobs) if any."""
        if not jobs:
            return self
        named = [(item.shape, tuple(j for j in item.jobs if j.job_id in jobs)) for item in snapshot.classes]
        named += [(one.shape, (one.job,)) for one in snapshot.resting if one.job.job_id in jobs]
        waiting = [ClassReport(shape, left_out, (why,)) for shape, left_out in named if left_out]
        return replace(self, classes=(*self.classes, *waiting), left_out=self.left_out | jobs)

    @property
    def expected(self) -> Iterable[JobId]:
        """The jobs of which it is known when they start, in the order of their turns."""
        return () if self.forecast is None else self.forecast.expected

    def of(self, job_id: JobId) -> ClassReport | None:
        """The report of one job. Cost: all waiting jobs; for tests and single questions."""
        for report in self.classes:
            if any(job.job_id == job_id for job in report.jobs):
                return report
        return None

    def in_order(self, queue: QueueKey) -> Iterator[tuple[int, WaitingJob, ClassReport]]:
        """(position from 1, job, its report) of a queue's waiting jobs: by priority, then age.

        Lazy: costs (number taken) x log(classes of the queue).
        """
        streams = [
            _stream(number, report)
            for number, report in enumerate(self.classes)
            if report.shape.queue == queue
        ]
        for position, (_, job, number) in enumerate(heapq.merge(*streams), start=1):
            yield position, job, self.classes[number]


def _stream(number: int, report: ClassReport) -> Iterator[tuple[int, WaitingJob, int]]:
    rank = -report.shape.priority.rank
    for job in report.jobs:
        yield rank, job, number
