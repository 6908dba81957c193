"""Plans although a job trips the planner: what does is left out, told of once, and planned for again after a while."""

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace

import structlog

from scheduler.controller.legal_plans import LegalPlan, Plans, legal_plan
from scheduler.domain.ids import JobId
from scheduler.domain.time import MINUTE_MS
from scheduler.machine import ClusterState, take_snapshot, unseen
from scheduler.planner.report import FAILS
from scheduler.planner.sifting import (
    Looked,
    Part,
    StillLooking,
    parts_of,
    play_forward,
    sifted,
    waiting_of,
    without,
)
from scheduler.planner.snapshot import Shape, Snapshot

AGAIN_MS = 10 * MINUTE_MS  # what was left out is planned for again then: the rest of the cluster has changed
# After so long no more plans are tried in a call: messages wait meanwhile, in the transaction of the leader's cycle.
LOOKING_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SiftedPlan:
    """What may be applied, and what it was made without."""

    made: LegalPlan
    snapshot: Snapshot
    left_out: tuple[Part, ...]
    news: tuple[tuple[JobId, int], ...]  # not told of yet: a job of each part, and how many there are


class Sifter:
    """Makes plans, and remembers what they cannot be made with. One for a leader's term."""

    def __init__(self, planner: Callable[[], Plans], clock: Callable[[], float] = time.monotonic) -> None:
        """`planner` makes one: what the old one keeps may be half new when it has failed. `clock`: seconds."""
        self._make = planner
        self._planner = planner()
        self._clock = clock
        self._looked: Looked | None = None  # how far a search has come that goes on
        self._unseen: Set[JobId] = frozenset()  # of whom no picture could be made last
        self._out: dict[Part, int] = {}  # until when
        self._told: set[Part] = set()  # of these: whom a plan was made without

    def plan(self, state: ClusterState, now_ms: int) -> SiftedPlan:
        """The plan of this state. Raises what the planner raises where no job alone is at fault; StillLooking where
        the next call goes on from what this one found.

        Cost: the plan. Where it fails, once in AGAIN_MS some log2(n) plans for each of n parts that it fails over, in
        as many calls as it takes: in each no more than begin within LOOKING_S, and at least one.
        """
        until_s = self._clock() + LOOKING_S
        snapshot, unseen_jobs = self._seen(state, now_ms)
        if self._looked is None:
            self._let_back(now_ms)
        known = frozenset(self._out)
        self._told &= known
        made = self._whole(snapshot, now_ms, known) if self._looked is None else None
        if made is None:
            made = self._sifted(snapshot, now_ms, known, lambda: self._clock() < until_s)
        self._leave_out(unseen_jobs, now_ms)
        if not self._out:
            return SiftedPlan(made, snapshot, (), ())
        parts = [*sorted(unseen_jobs), *(part for part in parts_of(snapshot) if part in self._out)]
        made = replace(made, report=made.report.without(waiting_of(snapshot, parts), snapshot, FAILS))
        news = _jobs_of(snapshot, [part for part in parts if part not in self._told])
        self._told.update(parts)
        return SiftedPlan(made, snapshot, tuple(parts), tuple(news))

    def _let_back(self, now_ms: int) -> None:
        """One at a time: all at once they would be looked for again all at once, and nothing planned meanwhile."""
        first = min(self._out, key=lambda part: self._out[part], default=None)
        if first is not None and self._out[first] <= now_ms:
            del self._out[first]

    def _whole(self, snapshot: Snapshot, now_ms: int, known: frozenset[Part]) -> LegalPlan | None:
        try:
            return self._of(without(snapshot, known) if known else snapshot, now_ms)
        except Exception:  # noqa: BLE001 - whatever it is
            _log.exception("plan_failed")
            return None

    def _sifted(
        self, snapshot: Snapshot, now_ms: int, known: frozenset[Part], may_try: Callable[[], bool]
    ) -> LegalPlan:
        looked, self._looked = self._looked, None
        try:
            made, found = sifted(lambda part: self._of(part, now_ms), snapshot, may_try, known, looked)
        except StillLooking as error:
            self._looked = error.looked
            self._leave_out(error.found, now_ms)
            raise
        self._leave_out(found, now_ms)
        # Who has come since a search began was not planned for.
        return made if looked is None else replace(made, report=replace(made.report, unfinished=True))

    def _leave_out(self, parts: Set[Part] | Set[JobId], now_ms: int) -> None:
        for part in parts:
            self._out.setdefault(part, now_ms + AGAIN_MS)

    def _of(self, snapshot: Snapshot, now_ms: int) -> LegalPlan:
        try:
            made = legal_plan(self._planner, snapshot, now_ms)
            play_forward(made.report)
        except Exception:
            self._planner = self._make()
            raise
        return made

    def _seen(self, state: ClusterState, now_ms: int) -> tuple[Snapshot, Set[JobId]]:
        """A picture of the state, and jobs with devices that it lacks since none can be made of them."""
        jobs: Set[JobId] = frozenset()
        try:
            snapshot = take_snapshot(state, now_ms)
        except Exception:
            jobs = unseen(state, now_ms)
            if not jobs:
                raise
            if jobs != self._unseen:  # else the log says so already
                _log.exception("snapshot_failed", jobs=len(jobs))
            snapshot = take_snapshot(state, now_ms, jobs)
        self._unseen = jobs
        return snapshot, jobs


def _jobs_of(snapshot: Snapshot, parts: Sequence[Part]) -> list[tuple[JobId, int]]:
    """A job of each part, the oldest, and how many there are."""
    jobs = {item.shape: item.jobs for item in snapshot.classes}
    return [(jobs[p][0].job_id, len(jobs[p])) if isinstance(p, Shape) else (p, 1) for p in parts]
