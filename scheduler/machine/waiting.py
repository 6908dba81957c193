"""Waiting jobs by shape, kept sorted by age, so that a snapshot shares what did not change."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from scheduler.domain.ids import JobId
from scheduler.planner.snapshot import JobClass, Shape, WaitingJob


class _Class:
    __slots__ = ("jobs", "made")

    def __init__(self) -> None:
        self.jobs: list[WaitingJob] = []
        self.made: JobClass | None = None


class WaitingJobs:
    """The planner's queue. Adding and removing cost log(n) comparisons and a move in one list."""

    def __init__(self) -> None:
        self._classes: dict[Shape, _Class] = {}

    def __len__(self) -> int:
        return sum(len(item.jobs) for item in self._classes.values())

    def add(self, shape: Shape, job: WaitingJob) -> None:
        """A job waits."""
        item = self._classes.get(shape)
        if item is None:
            item = self._classes[shape] = _Class()
        insort(item.jobs, job)
        item.made = None

    def remove(self, shape: Shape, submitted_ms: int, job_id: JobId) -> None:
        """It waits no longer. Raises KeyError when it did not."""
        item = self._classes[shape]
        at = bisect_left(item.jobs, (submitted_ms, job_id))
        if at == len(item.jobs) or item.jobs[at].job_id != job_id:
            raise KeyError(job_id)
        del item.jobs[at]
        item.made = None
        if not item.jobs:
            del self._classes[shape]

    def sizes(self) -> Iterator[tuple[Shape, int]]:
        """Every class with how many jobs it has, in no order."""
        return ((shape, len(item.jobs)) for shape, item in self._classes.items())

    def classes(self) -> tuple[JobClass, ...]:
        """Every class with its jobs, the class with the oldest job first."""
        made = []
        for shape, item in self._classes.items():
            if item.made is None:
                item.made = JobClass(shape, tuple(item.jobs))
            made.append(item.made)
        made.sort(key=lambda job_class: job_class.jobs[0])
        return tuple(made)
