"""When it is a job's turn: by one rule for who waits and who runs.

A job's turn is a moment: its submission plus a multiple of its predicted run time (`Policy.stretch`). Short
work comes soon, and nobody waits for ever: whoever is submitted later has a later turn. Who has waited for twice as
long as raises him by a class has the turn of his submission, however long he runs, as has everybody where nothing is
known of run times.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from operator import add, attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.outcome import Outcome
from scheduler.planner.snapshot import JobClass, RunningJob, Shape, WaitingJob

if TYPE_CHECKING:  # it loads numpy, and this is loaded by all who hold a report
    from scheduler.planner.rows import Ints

_Also = TypeVar("_Also")
_HIGHEST = Priority.HIGH.rank
_SUBMITTED = attrgetter("submitted_ms")
# Turns are by age alone after so many times the wait that raises by a class. After one, B14's average would be a fifth
# longer where run times are estimated; where they are known somebody would wait for four days without it.
_BY_AGE = 2


_NO_MARKET: Mapping[QueueKey, Outcome] = {}


class Turns:
    """Rank and turn of jobs, waiting and running, by one rule."""

    def __init__(self, now_ms: int, config: PlannerConfig, estimates: Estimates) -> None:
        self._now_ms = now_ms
        self._config = config
        self._ageing_ms = config.ageing_ms
        self.estimates = estimates
        self._stretch = config.policy.stretch if estimates.known else 0.0
        self._by_age_ms = now_ms - _BY_AGE * config.ageing_ms  # by age alone who was submitted up to then
        # Whom it wants to start has the turn of his submission, whatever his length; whom it passed over comes
        # after them, and after whoever else has his rank. Who waits for devices that others leave comes between.
        self._market: Mapping[QueueKey, Outcome] = _NO_MARKET
        self._running: dict[JobId, Standing] = {}

    def raised(self, shape: Shape, job: WaitingJob | RunningJob) -> int:
        """Priority class, raised by age."""
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
            rank, end = self.raised(item.shape, jobs[begin]), len(jobs)
            if rank > lowest:
                until_ms = self._now_ms - (rank - lowest) * self._ageing_ms
                end = bisect_right(jobs, until_ms, lo=begin + 1, key=_SUBMITTED)
            yield rank, range(begin, end)
            begin = end

    def standing(self, shape: Shape, job: WaitingJob | RunningJob, model: str | None = None) -> "Standing":
        """Where a job stands, on a model, on its fastest one where none is named."""
        left_ms = self.estimates.left_ms(shape, job, model)
        return Standing(*self._place(shape, job, lambda: left_ms), left_ms)

    def place(self, shape: Shape, job: WaitingJob) -> tuple[int, float]:
        """Rank and turn of a job, on its fastest model; the rest of its run is asked for only where it counts."""
        return self._place(shape, job, lambda: self.estimates.left_ms(shape, job))

    def _place(
        self, shape: Shape, job: WaitingJob | RunningJob, left_ms: Callable[[], float | None]
    ) -> tuple[int, float]:
        own, chosen, after = self.raised(shape, job), False, None
        if self._market and not isinstance(job, RunningJob):
            market = self._market.get(shape.queue)
            chosen, after = (False, None) if market is None else market.of(shape, job, own)
        later_ms = 0.0 if chosen or self._by_age(job.submitted_ms) else self._later_ms(left_ms())
        return self._by_market(own, job.submitted_ms, later_ms, chosen, after)

    def _by_age(self, submitted_ms: int) -> bool:
        """Whether the rest of its run does not count."""
        return not self._stretch or submitted_ms <= self._by_age_ms

    def _later_ms(self, left_ms: float | None) -> float:
        """By how much a job comes later for the rest of its run; None: nobody knows it."""
        return self._stretch * (self._config.unknown_run_ms if left_ms is None else left_ms)

    def _by_market(
        self, own: int, submitted_ms: int, later_ms: float, chosen: bool, after: int | None
    ) -> tuple[int, float]:
        """(rank, turn) of a job as its market says, see `Outcome.of`."""
        over_ms = 0 if after is None else self._now_ms + 1  # later than whoever was submitted by now
        rank = own if after is None else after
        if chosen:  # by a clock that is ahead of ours nobody is later than who waits for what others leave
            return rank, float(over_ms or min(submitted_ms, self._now_ms))
        return rank, submitted_ms + over_ms + later_ms

    def _of_each(self, item: JobClass) -> list[tuple[int, float]]:
        """(rank, turn) of each job of a class."""
        shape, submitted_ms = item.shape, item.columns.submitted_ms
        ranks = [rank for rank, those in self.by_rank(item) for _ in those]
        lefts_ms = self.estimates.lefts_ms(shape, item.columns) if self._stretch else [None] * len(ranks)
        rests = zip(submitted_ms, lefts_ms, strict=True)
        later_ms = [0.0 if self._by_age(ms) else self._later_ms(left_ms) for ms, left_ms in rests]
        market = self._market.get(shape.queue)
        if market is None:
            return list(zip(ranks, map(add, submitted_ms, later_ms), strict=True))
        each = zip(ranks, submitted_ms, later_ms, market.of_each(item, ranks), strict=True)
        return [self._by_market(own, ms, later, *its) for own, ms, later, its in each]

    def places(self, item: JobClass, also: _Also) -> list[tuple[int, float, WaitingJob, _Also]]:
        """(-rank, turn, job, also) of every job of a class: whose is less comes first."""
        each = zip(self._of_each(item), item.jobs, strict=True)
        return [(-rank, turn, job, also) for (rank, turn), job in each]

    def of_running(self, running: RunningJob) -> "Standing":
        """Where a running job stands, as if it waited on the model that it has: asked by many who wait."""
        known = self._running.get(running.job_id)
        if known is None:
            known = self._running[running.job_id] = self.standing(running.shape, running, running.model)
        return known

    def follow(self, market: Mapping[QueueKey, Outcome]) -> None:
        """What the market of each queue says of whose turn it is."""
        self._market = market
        self._running.clear()

    def in_order(self, item: JobClass) -> tuple[WaitingJob, ...]:
        """The jobs of a class by turn; jobs of which only the age differs are in order already.

        So are those whom the market chose, and after them the others where it passed over all of these.
        """
        jobs = item.jobs
        if len(jobs) < 2:
            return jobs
        if not self._stretch or item.alike:
            market = self._market.get(item.shape.queue)
            known = (
                jobs if market is None else market.in_order(item, {rank for rank, _ in self.by_rank(item)})
            )
            if known is not None:
                return known
        places = sorted([(turn, job) for (_, turn), job in zip(self._of_each(item), jobs, strict=True)])
        return tuple([job for _, job in places])


class Standing(NamedTuple):
    """Rank and turn of a job, and the rest of its run."""

    rank: int
    turn: float  # ms
    left_ms: float | None  # None: nobody knows
