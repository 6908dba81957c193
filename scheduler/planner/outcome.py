"""What the market of a queue decides for those who wait: whom it chose comes first, others of his class after him."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.planner.snapshot import JobClass, Shape, WaitingJob


class Chosen(NamedTuple):
    """Whom the market chose of a class."""

    jobs: Sequence[WaitingJob]  # who took part, by age
    places: list[int]  # among these, rising
    models: list[str]  # on which each of them should be

    def model_of(self, job: WaitingJob) -> str | None:
        """None: it was not chosen."""
        place = bisect_left(self.jobs, job)
        at = bisect_left(self.places, place)
        if at == len(self.places) or self.places[at] != place or self.jobs[place] != job:
            return None
        return self.models[at]

    def first(self, jobs: tuple[WaitingJob, ...]) -> tuple[WaitingJob, ...]:
        """The jobs of the class, those who were chosen before the others."""
        last = len(self.places) - 1
        if self.places[last] == last and self.jobs[last] == jobs[last]:
            return jobs
        first = [self.jobs[place] for place in self.places]
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
        return None if chosen is None else chosen.model_of(job)

    def passes_over(self, shape: Shape) -> bool:
        """Whether jobs of such a class come after those who were chosen, if they were not."""
        return shape.tradable and shape.fits(self.most)

    def after(self, shape: Shape, job: WaitingJob, own: int) -> int | None:
        """The rank with which a job that was not chosen comes after those who were; None: it does not.

        `own`: its priority class, raised by age.
        """
        if not self.passes_over(shape):
            return None
        return self.apart[job.job_id] if job.job_id in self.apart else self._after(own)

    def of_each(self, item: JobClass, own: Sequence[int]) -> list[tuple[bool, int | None]]:
        """(whether it was chosen, else the rank with which it comes after) of each job of a class."""
        after = {rank: self._after(rank) if self.passes_over(item.shape) else None for rank in set(own)}
        found = [(False, after[rank]) for rank in own]
        if self.apart:
            for at, job in enumerate(item.jobs):
                found[at] = False, self.after(item.shape, job, own[at])
        if item.shape in self.chosen:
            chosen = self.chosen[item.shape]
            for place in chosen.places:
                found[bisect_left(item.jobs, chosen.jobs[place])] = True, None
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
