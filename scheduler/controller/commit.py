"""One cycle of the leader: take the inbox, apply, plan, check, and commit all of it in one transaction."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.controller import metrics
from scheduler.controller.gateways import look_at_gateways
from scheduler.controller.legal_plans import LegalPlan
from scheduler.controller.reports import RefusalBook, ReportBook
from scheduler.controller.sifted_plans import Sifter
from scheduler.domain.ids import Ids
from scheduler.machine import Changes, ClusterState, announce, apply, apply_plan, tell_left_out
from scheduler.machine.messages import LeaderStarted, Message, Tick
from scheduler.planner import PlannerConfig, Report
from scheduler.planner.cycle import Planner
from scheduler.planner.moves import could_move
from scheduler.planner.sifting import StillLooking
from scheduler.storage import inbox
from scheduler.storage.cluster import write_changes
from scheduler.storage.cluster_messages import read_messages
from scheduler.storage.engine import Database
from scheduler.storage.leadership import Leadership
from suanli.evidence.keys import Signer

# Gauges of the state cost what the cluster is large, and Prometheus fetches them every 15 s or so: 2 % of the time.
_SHOW_REST = 49.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CycleConfig:
    """Times and bounds of the cycle."""

    planner: PlannerConfig
    period_ms: int = 1_000
    # A blocked job's reservation and age move with time alone: plan so often although nothing changed.
    replan_ms: int = 10_000
    inbox_batch: int = 1_000
    gateway_timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class CycleResult:
    """What a cycle did."""

    messages: int
    placements: int
    wrote: bool
    more: bool  # there is work left: begin the next cycle at once
    planned_s: float = 0.0  # what planning took; 0: nothing was planned
    plan_waits: bool = False  # something that matters changed, and was not planned for yet


@dataclass(frozen=True, slots=True)
class Seat:
    """What a leader holds for its term."""

    database: Database
    leadership: Leadership
    term: int
    signer: Signer
    ids: Ids


class Leader:
    """One leader's term: the state in memory and everything that may change it.

    After any error the object is useless: memory may be ahead of the database, or behind it.
    """

    def __init__(self, seat: Seat, state: ClusterState, config: CycleConfig) -> None:
        self.state = state
        self.report: Report | None = None
        self.seat = seat
        self._config = config
        self._plans = Sifter(lambda: Planner(state.catalogue, config.planner))
        self._reports = ReportBook()
        self._refusals = RefusalBook()
        self._now_ms = state.began_ms
        self._ticked_ms = 0
        self._show_from_s = 0.0
        self._planned_ms = 0
        self._replan = True
        self._may_gain = False
        self._first = True
        state.leader_term = seat.term

    @property
    def term(self) -> int:
        """The term that this leader was given."""
        return self.seat.term

    async def cycle(self, now_ms: int, *, may_plan: bool = True) -> CycleResult:
        """Raises LeadershipLost, DatabaseAway or what the database refused; the leader is then thrown away.

        Without `may_plan` messages are applied, and the plan that they ask for is left to a later cycle.
        Cost: a handful of round trips, and what the messages and the plan cost. With nothing to do: three
        round trips.
        """
        started_s = time.perf_counter()
        now_ms = self._now_ms = max(now_ms, self._now_ms)  # the wall clock may step back, time may not
        changes = Changes()
        placements, planned_s = 0, 0.0
        async with self.seat.database.transaction() as session:
            await self.seat.leadership.guard(session, self.seat.term)
            messages, full = await self._take(session, now_ms)
            due = now_ms - self._ticked_ms >= self._config.period_ms
            if due:
                messages.extend(await self._time_passed(session, now_ms))
            for message in messages:
                apply(self.state, message, now_ms, self.seat.ids, changes)
            rows: Sequence[Mapping[str, Any]] = ()
            self._replan = self._must_plan(changes, now_ms)
            if self._replan and may_plan:
                begun_s = time.perf_counter()
                placements, rows = self._plan(changes, now_ms)
                planned_s = time.perf_counter() - begun_s
            self._reports.forget(changes.no_longer_waiting)
            wrote = bool(changes) or bool(rows)
            if wrote:
                await write_changes(session, changes, rows, self.state.learning, self.seat.signer)
        if due and started_s >= self._show_from_s:
            begun_s = time.perf_counter()
            metrics.show_state(self.state, now_ms)
            ended_s = time.perf_counter()
            self._show_from_s = ended_s + _SHOW_REST * (ended_s - begun_s)
        if messages or wrote:
            metrics.CYCLE_SECONDS.observe(time.perf_counter() - started_s)
        more = full or (self._replan and may_plan)  # a plan of bounded work may be unfinished
        return CycleResult(len(messages), placements, wrote, more, planned_s, self._replan and not may_plan)

    async def _take(self, session: AsyncSession, now_ms: int) -> tuple[list[Message], bool]:
        """The inbox's next batch, deleted in this very transaction, and whether there may be more."""
        taken = await inbox.take(session, self._config.inbox_batch)
        if not taken:
            metrics.INBOX_LAG_SECONDS.set(0)
            return [], False
        messages, bad = await read_messages(session, taken, self.state.specs, now_ms)
        for item in bad:
            metrics.BAD_MESSAGES.labels(item.kind).inc()
            _log.error("bad_message", inbox_id=item.inbox_id, kind=item.kind, problem=item.problem)
        for kind, count in Counter(type(message).__name__ for message in messages).items():
            metrics.MESSAGES.labels(kind).inc(count)
        metrics.INBOX_LAG_SECONDS.set(max(0.0, time.time() - taken[0].created_at.timestamp()))
        return messages, len(taken) == self._config.inbox_batch

    async def _time_passed(self, session: AsyncSession, now_ms: int) -> list[Message]:
        self._ticked_ms = now_ms
        messages: list[Message] = []
        if self._first:
            self._first = False
            messages.append(LeaderStarted())
        messages.extend(await look_at_gateways(session, self.state, self._config.gateway_timeout_ms))
        messages.append(Tick())
        return messages

    def _must_plan(self, changes: Changes, now_ms: int) -> bool:
        if changes.replan or self._replan:
            return True
        looks = len(self.state.waiting) > 0 or self._may_gain
        return looks and now_ms - self._planned_ms >= self._config.replan_ms

    def _plan(self, changes: Changes, now_ms: int) -> tuple[int, Sequence[Mapping[str, Any]]]:
        """Plans and applies; returns the number of gangs placed and the report's rows to write."""
        self._planned_ms = now_ms
        self._replan = False
        # A defect of the planner must not end what is no planning: waiting jobs wait on, running ones go on.
        try:
            with metrics.PLAN_SECONDS.time():
                planned = self._plans.plan(self.state, now_ms)
        except StillLooking as error:
            metrics.REFUSED_PLANS.inc()
            _log.warning("still_looking", found=len(error.found))
            self._replan = True
            return 0, ()
        except Exception:  # noqa: BLE001 - whatever it is
            metrics.REFUSED_PLANS.inc()
            _log.exception("nothing_planned")
            return 0, ()
        made = planned.made
        if made.violations or planned.left_out:
            metrics.REFUSED_PLANS.inc()
        self._log_refusals(made)
        for job_id, jobs in planned.news:
            _log.error("left_out_of_plans", job_id=job_id, jobs=jobs)
        tell_left_out(self.state, planned.news, now_ms, self.seat.ids, changes)
        legal, report = made.plan, made.report
        apply_plan(self.state, legal, now_ms, self.seat.ids, changes)
        metrics.show_starts(changes.kept_word)
        announce(self.state, report, now_ms, self.seat.ids, changes)
        self.report = report
        self._replan = report.unfinished
        self._may_gain = self._config.planner.moves and any(map(could_move, planned.snapshot.running))
        metrics.PLACEMENTS.inc(len(legal.placements))
        metrics.show_report(report)
        return len(legal.placements), self._reports.rows(report, self.state)

    def _log_refusals(self, made: LegalPlan) -> None:
        news = self._refusals.news(made.violations)
        for violation in news:
            _log.error("plan_refused", job_id=violation.job_id, what=violation.what)
        if news:
            _log.error(
                "plan_applied_in_part",
                placements_left_out=len(made.refused),
                stops_left_out=made.stops_left_out,
            )
