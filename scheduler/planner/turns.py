"""When it is a job's turn: by one rule for who waits and who runs.

A job's turn is a moment: its submission plus a multiple of its predicted run time (`Policy.stretch`). Short
work comes soon, and nobody waits for ever: whoever is submitted later has a later turn. Who has waited for twice as
long as raises him by a class has the turn of his submission, however long he runs, as has everybody where nothing is
known of run times.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Priority
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.snapshot import JobClass, RunningJob, Shape, WaitingJob

if TYPE_CHECKING:  # it loads numpy, and this is loaded by all who hold a report
    from scheduler.planner.rows import Ints

_Also = TypeVar("_Also")
_HIGHEST = Priority.HIGH.rank
_SUBMITTED = attrgetter("submitted_ms")
# Turns are by age alone after so many times the wait that raises by a class. After one, B14's average would be a fifth
# longer where run times are estimated; where they are known somebody would wait for four days without it.
_BY_AGE = 2


class Turns:
    """Rank and turn of jobs, waiting and running, by one rule."""

    def __init__(self, now_ms: int, config: PlannerConfig, estimates: Estimates) -> None:
        self._now_ms = now_ms
        self._config = config
        self._ageing_ms = config.ageing_ms
        self.estimates = estimates
        self._stretch = config.policy.stretch if estimates.known else 0.0
        self._by_age_ms = now_ms - _BY_AGE * config.ageing_ms  # by age alone who was submitted up to then
        # Jobs that the market wants to start have the turn of their submission, whatever their length; those
        # that it passed over come after them, and after whoever else has their rank.
        self.chosen: Set[JobId] = frozenset()
        self.passed_over: Mapping[JobId, int] = {}
        self._running: dict[JobId, Standing] = {}

    def rank(self, shape: Shape, job: WaitingJob | RunningJob) -> int:
        """Priority class, raised by age."""
        rank = self._raised(shape, job)
        return self.passed_over.get(job.job_id, rank) if self.passed_over else rank

    def _raised(self, shape: Shape, job: WaitingJob | RunningJob) -> int:
        rank = shape.priority.rank
        waited_ms = self._now_ms - job.submitted_ms
        return min(rank + waited_ms // self._ageing_ms, _HIGHEST) if waited_ms >= self._ageing_ms else rank

    def ranks(self, classes: "Ints", submitted_ms: "Ints") -> "Ints":
        """Priority classes of many jobs, raised by age as those of one are."""
        raised: Ints = ((self._now_ms - submitted_ms) // self._ageing_ms).clip(min=0)
        ranks: Ints = (classes + raised).clip(max=_HIGHEST)
        return ranks

    def by_rank(self, item: JobClass) -> Iterator[tuple[int, range]]:
        """(rank, which jobs): of a class, the oldest first, those whom age raises alike."""
        jobs, lowest, begin = item.jobs, item.shape.priority.rank, 0
        while begin < len(jobs):
            rank, end = self._raised(item.shape, jobs[begin]), len(jobs)
            if rank > lowest:
                until_ms = self._now_ms - (rank - lowest) * self._ageing_ms
                end = bisect_right(jobs, until_ms, lo=begin + 1, key=_SUBMITTED)
            yield rank, range(begin, end)
            begin = end

    def turn(self, shape: Shape, job: WaitingJob | RunningJob, model: str | None = None) -> float:
        """When it is its turn, in ms."""
        later_ms = 0.0
        if self._stretch and job.submitted_ms > self._by_age_ms and job.job_id not in self.chosen:
            later_ms = self._later_ms(self.estimates.left_ms(shape, job, model))
        return self._moment(job.submitted_ms, job.job_id, later_ms)

    def _later_ms(self, left_ms: float | None) -> float:
        """By how much a job comes later for the rest of its run; None: nobody knows it."""
        return self._stretch * (self._config.unknown_run_ms if left_ms is None else left_ms)

    def _moment(self, submitted_ms: int, job_id: JobId, later_ms: float) -> float:
        if job_id in self.chosen:
            return float(submitted_ms)
        # Who was passed over comes later than whoever was submitted by now.
        over_ms = self._now_ms + 1 if job_id in self.passed_over else 0
        return submitted_ms + over_ms + (later_ms if submitted_ms > self._by_age_ms else 0.0)

    def places(self, item: JobClass, also: _Also) -> list[tuple[int, float, WaitingJob, _Also]]:
        """(-rank, turn, job, also) of every job of a class: whose is less comes first."""
        ranks = [-rank for rank, those in self.by_rank(item) for _ in those]
        if over := self.passed_over:
            ranks = [-over.get(job.job_id, -rank) for job, rank in zip(item.jobs, ranks, strict=True)]
        return list(zip(ranks, self._turns(item), item.jobs, repeat(also)))

    def standing(self, shape: Shape, job: WaitingJob | RunningJob, model: str) -> "Standing":
        """Where a job stands, on a model."""
        left_ms = self.estimates.left_ms(shape, job, model)
        return Standing(self.rank(shape, job), self.turn(shape, job, model), left_ms)

    def of_running(self, running: RunningJob) -> "Standing":
        """Where a running job stands, as if it waited on the model that it has: asked by many who wait."""
        known = self._running.get(running.job_id)
        if known is None:
            known = self._running[running.job_id] = self.standing(running.shape, running, running.model)
        return known

    def market_chose(self, chosen: Set[JobId], passed_over: Mapping[JobId, int]) -> None:
        """Who was chosen and who was passed over by the market, each of these with the lowest rank of those."""
        self.chosen, self.passed_over = chosen, passed_over
        self._running.clear()

    def in_order(self, item: JobClass) -> tuple[WaitingJob, ...]:
        """The jobs of a class by turn; jobs of which only the age differs are in order already.

        So are those whom the market chose, and after them the others where it passed over all of these.
        """
        jobs, chosen, over = item.jobs, self.chosen, self.passed_over
        if len(jobs) < 2:
            return jobs
        if not self._stretch or item.alike:
            job_ids = item.columns.job_ids if chosen and item.shape.resumable else ()
            if chosen.isdisjoint(job_ids):
                if sum(map(over.__contains__, job_ids)) in (0, len(job_ids)):
                    return jobs
            else:
                first, after = _parted(jobs, chosen)
                if all(job.job_id in over for job in after):
                    return (*first, *after)
        places = sorted(zip(self._turns(item), item.jobs, strict=True))
        return tuple([job for _, job in places])

    def _turns(self, item: JobClass) -> list[float]:
        """The turn of each job of a class."""
        shape, jobs = item.shape, item.jobs
        if not item.alike:
            return [self.turn(shape, job) for job in jobs]
        later_ms = self._later_ms(self.estimates.left_ms(shape, jobs[0])) if self._stretch else 0.0
        return [self._moment(submitted_ms, job_id, later_ms) for submitted_ms, job_id, *_ in jobs]


class Standing(NamedTuple):
    """Rank and turn of a job, and the rest of its run."""

    rank: int
    turn: float  # ms
    left_ms: float | None  # None: nobody knows


def _parted(jobs: Iterable[WaitingJob], first: Set[JobId]) -> tuple[list[WaitingJob], list[WaitingJob]]:
    """Those and the others."""
    both: tuple[list[WaitingJob], list[WaitingJob]] = [], []
    for job in jobs:
        both[job.job_id not in first].append(job)
    return both
