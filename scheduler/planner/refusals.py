"""What jobs met in a cycle. Who asks for the same devices and ends no earlier meets it too: capacity only shrinks."""

from math import inf
from typing import NamedTuple

from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason
from scheduler.planner.calendar import Later
from scheduler.planner.claims import Blocked, Refused
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import ends_in_time
from scheduler.planner.feasibility import most_telling_first
from scheduler.planner.fleet import Fleet
from scheduler.planner.likeness import Likeness
from scheduler.planner.patience import Patience
from scheduler.planner.reasons import benched
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, WaitingJob
from scheduler.planner.variants import Options


class Refusal(NamedTuple):
    """What a job met."""

    ends: float | None  # when the job would have ended; None: that did not matter
    refused: Refused
    blocked: Blocked
    submitted_ms: int | None = None  # as it waits for a faster model, which who has waited longer need not

    def blocked_of(self, shape: Shape) -> Blocked:
        """Why such a class waits; what is said to it alone is added."""
        reasons = self.blocked.reasons
        if shape.benched:
            reasons = most_telling_first((*reasons, *benched(shape)))
        return Blocked(reasons, self.blocked.change)


class Turn(NamedTuple):
    """The head of a class at its turn."""

    shape: Shape
    job: WaitingJob
    queue: Queue
    target: str | None  # where the market wants it
    borrows: bool  # it has its turn among those who borrow


class Refusals:
    """Of one cycle, by likeness."""

    def __init__(
        self,
        likeness: Likeness,
        later: Later,
        fleet: Fleet,
        sharing: Sharing,
        options: Options,
        patience: Patience,
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        self._likeness = likeness
        self._estimates = options.estimates
        self._later = later
        self._fleet = fleet
        self._sharing = sharing
        self._options = options
        self._patience = patience
        self._now_ms = now_ms
        self._config = config
        self._met: dict[tuple[object, ...], Refusal] = {}
        self._just_met: dict[tuple[object, ...], tuple[object, Refusal]] = {}

    def known(self, shape: Shape, job: WaitingJob, queue: Queue) -> Refusal | None:
        """What the job meets as another one met it, or None."""
        met = self._met.get(self._alike(shape, queue)) if self._met else None
        if met is None or (met.submitted_ms is not None and job.submitted_ms < met.submitted_ms):
            return None
        return None if met.ends is not None and self._ends(shape, job) < met.ends else met

    def just_met(self, turn: Turn) -> Refusal | None:
        """What the job meets as another one met it since when nothing was given or kept: by quota, or where the market
        has a part in it, too.
        """
        moment, met = self._just_met.get(self._key(turn), (None, None)) if self._just_met else (None, None)
        if met is None or moment != self._moment(turn) or not self._patience.over(turn.shape, turn.job):
            return None
        if met.ends is not None and self._ends(turn.shape, turn.job) < met.ends:
            return None
        return self._told(turn, met.refused, met.blocked)

    def note(self, turn: Turn, refused: Refused, change: str | None, *, paid: bool) -> Refusal:
        """What the job met, told to those after it but where that was its own: its money, its work."""
        blocked = Blocked(most_telling_first(refused.reasons), change)
        if paid or refused.begins_anew:
            return Refusal(None, refused, blocked)
        refusal = self._told(turn, refused, blocked)
        if self._patience.over(turn.shape, turn.job):  # else its own run may keep it from a model
            self._just_met[self._key(turn)] = self._moment(turn), refusal
        return refusal

    def _told(self, turn: Turn, refused: Refused, blocked: Blocked) -> Refusal:
        """To whoever comes later, whatever is given meanwhile, but what was its own quota's refusal."""
        waits = any(why.reason is Reason.FASTER_LATER for why in refused.reasons)
        # Who ends sooner may start where this one may not: on what is kept, or as it does not wait.
        ends = self._ends(turn.shape, turn.job) if waits or self._later.lends() else None
        refusal = Refusal(ends, refused, blocked, turn.job.submitted_ms if waits else None)
        if not refused.by_quota:
            self._met[self._alike(turn.shape, turn.queue)] = refusal
        return refusal

    def _key(self, turn: Turn) -> tuple[object, ...]:
        """The same for whom the same models are tried in one order, in the same places and by the same knowledge of
        their ends: a limit binds, an estimate does not.
        """
        shape, _, queue, target, borrows = turn
        number, order = self._likeness.number(shape, queue), self._options.number(shape, queue)
        return number, order, target, borrows, shape.time_limit_ms is None

    def _alike(self, shape: Shape, queue: Queue) -> tuple[object, ...]:
        """The same for whom the same models are named in one order."""
        return self._likeness.number(shape, queue), shape.models

    def _moment(self, turn: Turn) -> tuple[object, ...]:
        return self._fleet.clock.now, self._sharing.moment(turn.shape.queue)

    def _ends(self, shape: Shape, job: WaitingJob) -> float:
        """When a start now has ended at the latest on its fastest model; inf where nobody knows, or it has none."""
        if not shape.models:
            return inf
        if shape.time_limit_ms is None and not any(self._estimates.speeds(shape).values()):
            return inf
        ends_ms = ends_in_time(shape, job, None, self._estimates, self._now_ms, self._config)
        return inf if ends_ms is None else ends_ms
