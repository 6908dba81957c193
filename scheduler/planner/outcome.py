"""What the market of a queue decides for those who wait: whom it chose comes first, others of his class after him."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.planner.snapshot import JobClass, Shape, WaitingJob


def place_of(job: WaitingJob, jobs: Sequence[WaitingJob]) -> int | None:
    """Where a job is among some, by age; None: it is not."""
    place = bisect_left(jobs, job)
    return place if place < len(jobs) and jobs[place] == job else None


class Chosen(NamedTuple):
    """Whom the market chose of a class."""

    jobs: Sequence[WaitingJob]  # who took part, by age
    places: list[int]  # among these, rising
    models: list[str]  # on which each of them should be
    after: list[
        int | None
    ]  # with which rank each waits for devices that others leave; None: its own are free

    def place_of(self, job: WaitingJob) -> int | None:
        """Which of those who were chosen a job is; None: it was not chosen."""
        place = place_of(job, self.jobs)
        at = len(self.places) if place is None else bisect_left(self.places, place)
        return at if at < len(self.places) and self.places[at] == place else None

    def first(self, jobs: tuple[WaitingJob, ...]) -> tuple[WaitingJob, ...]:
        """The jobs of the class, by age: those whose devices are free, who else was chosen, then the others."""
        last, late = len(self.places) - 1, [after is not None for after in self.after]
        if self.places[last] == last and self.jobs[last] == jobs[last] and late == sorted(late):
            return jobs
        first = [self.jobs[place] for _, place in sorted(zip(late, self.places, strict=True))]
        those = set(first)
        return (*first, *(job for job in jobs if job not in those))


class Outcome(NamedTuple):
    """Of one queue. Of who takes part and was not chosen nothing is kept: it follows from what its class met."""

    chosen: Mapping[Shape, Chosen]
    most: Mapping[str, float]  # devices by model: who needs more of them keeps his place
    lowest: Mapping[int, int]  # by class on the market the rank of the last of those who were chosen
    highest: int  # class: age raises nobody above it
    apart: Mapping[JobId, int | None]  # who comes after them with another rank than his own says, or does not

    def model_of(self, shape: Shape, job: WaitingJob) -> str | None:
        """On which a job should be; None: it was not chosen. `shape`: that of its class in the snapshot."""
        chosen = self.chosen.get(shape)
        at = None if chosen is None else chosen.place_of(job)
        return None if chosen is None or at is None else chosen.models[at]

    def passes_over(self, shape: Shape) -> bool:
        """Whether jobs of such a class come after those who were chosen, if they were not."""
        return shape.tradable and shape.fits(self.most)

    def of(self, shape: Shape, job: WaitingJob, own: int) -> tuple[bool, int | None]:
        """Whether a job was chosen, and the rank with which it comes after those whose devices are free; None: it does
        not. `own`: its priority class, raised by age.
        """
        chosen = self.chosen.get(shape)
        at = None if chosen is None else chosen.place_of(job)
        if chosen is not None and at is not None:
            return True, chosen.after[at]
        if not self.passes_over(shape):
            return False, None
        return False, self.apart[job.job_id] if job.job_id in self.apart else self._after(own)

    def of_each(self, item: JobClass, own: Sequence[int]) -> list[tuple[bool, int | None]]:
        """The same of each job of a class."""
        if self.apart:
            return [self.of(item.shape, job, rank) for job, rank in zip(item.jobs, own, strict=True)]
        after = {rank: self._after(rank) if self.passes_over(item.shape) else None for rank in set(own)}
        found = [(False, after[rank]) for rank in own]
        if item.shape in self.chosen:
            chosen = self.chosen[item.shape]
            for place, its in zip(chosen.places, chosen.after, strict=True):
                found[bisect_left(item.jobs, chosen.jobs[place])] = True, its
        return found

    def in_order(self, item: JobClass, ranks: set[int]) -> tuple[WaitingJob, ...] | None:
        """The jobs of a class of which only the age differs, by turn; None: somebody of them is apart.

        `ranks`: those that they have of their own.
        """
        passes_over, chosen = self.passes_over(item.shape), self.chosen.get(item.shape)
        over = {passes_over and self._after(rank) is not None for rank in ranks}
        if passes_over and self.apart and any(job.job_id in self.apart for job in item.jobs):
            return None
        if chosen is None:
            return item.jobs if len(over) == 1 else None
        return chosen.first(item.jobs) if over == {True} else None

    def _after(self, own: int) -> int | None:
        lowest = self.lowest.get(min(own, self.highest))
        return None if lowest is None else min(own, lowest)
