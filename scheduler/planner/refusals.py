"""What jobs met in a cycle. Who asks for the same devices and ends no earlier meets it too: capacity only shrinks."""

from math import inf
from typing import NamedTuple

from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason
from scheduler.planner.calendar import Later
from scheduler.planner.claims import Blocked, Refused
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates, ends_in_time
from scheduler.planner.feasibility import most_telling_first
from scheduler.planner.likeness import Likeness
from scheduler.planner.reasons import benched
from scheduler.planner.snapshot import Shape, WaitingJob


class Refusal(NamedTuple):
    """What a job met."""

    ends: float | None  # when the job would have ended; None: that did not matter
    refused: Refused
    blocked: Blocked

    def blocked_of(self, shape: Shape) -> Blocked:
        """Why such a class waits."""
        if not shape.benched:
            return self.blocked
        reasons = most_telling_first((*self.blocked.reasons, *benched(shape)))
        return Blocked(reasons, self.blocked.change)


class Refusals:
    """Of one cycle, by likeness."""

    def __init__(
        self, likeness: Likeness, estimates: Estimates, later: Later, now_ms: int, config: PlannerConfig
    ) -> None:
        self._likeness = likeness
        self._estimates = estimates
        self._later = later
        self._now_ms = now_ms
        self._config = config
        self._met: dict[int, Refusal] = {}

    def known(self, shape: Shape, job: WaitingJob, queue: Queue) -> Refusal | None:
        """What the job meets as another one met it, or None."""
        met = self._met.get(self._likeness.number(shape, queue)) if self._met else None
        if met is None or (met.ends is not None and self._ends(shape, job) < met.ends):
            return None
        return met

    def note(
        self, shape: Shape, job: WaitingJob, queue: Queue, refused: Refused, change: str | None, *, paid: bool
    ) -> Refusal:
        """What the job met, told to those after it but where that was its own: its money, its quota, its work."""
        ends = self._ends(shape, job) if self._by_its_end(refused) else None
        refusal = Refusal(ends, refused, Blocked(most_telling_first(refused.reasons), change))
        if not (refused.by_quota or refused.begins_anew or paid):
            self._met[self._likeness.number(shape, queue)] = refusal
        return refusal

    def _by_its_end(self, refused: Refused) -> bool:
        """Whether one that ends sooner may start where this one may not: on what is kept, or as it does not wait."""
        return self._later.lends() or any(why.reason is Reason.FASTER_LATER for why in refused.reasons)

    def _ends(self, shape: Shape, job: WaitingJob) -> float:
        """When a start now has ended at the latest on its fastest model; inf where nobody knows, or it has none."""
        if not shape.models:
            return inf
        if shape.time_limit_ms is None and not any(self._estimates.speeds(shape).values()):
            return inf
        ends_ms = ends_in_time(shape, job, None, self._estimates, self._now_ms, self._config)
        return inf if ends_ms is None else ends_ms
