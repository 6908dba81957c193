"""The controller process: wait to lead, load, run cycles when poked or on a period, start again on doubt."""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from scheduler.catalogue import load_catalogue
from scheduler.controller import metrics
from scheduler.controller.commit import CycleConfig, CycleResult, Leader, Seat
from scheduler.controller.compiling import Compiling
from scheduler.domain.ids import Ids
from scheduler.machine import MachineConfig
from scheduler.machine.plans import StalePlan
from scheduler.planner import PlannerConfig
from scheduler.planner.garbage import uncollected
from scheduler.signing_keys import read_signing_key
from scheduler.storage.cluster import load_state
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.leadership import Leadership, LeadershipLost
from scheduler.storage.pokes import Channel, Listener

ROLE = "controller"
_RETRY_S = 0.5
_LOOK_AGAIN_S = 0.1  # whether machine code has been made
# Rests as multiples of what came before them, and their bounds.
_CYCLE_REST, _MOST_CYCLE_REST_S = 3.0, 0.1
_MESSAGE_REST_S, _MOST_GATHERING_S = 0.002, 0.2
_PLAN_REST, _MOST_PLAN_REST_S = 19.0, 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """What the process is started with."""

    database_url: str
    holder: str  # name of this process among its replicas
    key_path: Path  # Ed25519, PEM: signs allocation events
    planner_config: PlannerConfig = field(default_factory=PlannerConfig)
    machine_config: MachineConfig = field(default_factory=MachineConfig)
    period_ms: int = 1_000
    replan_ms: int = 10_000
    inbox_batch: int = 1_000
    gateway_timeout_ms: int = 10_000
    # Where machine code may be kept, when neither the source's folder nor the user's cache can be written.
    machine_code_folder: Path | None = None

    @property
    def cycle(self) -> CycleConfig:
        """The part that a cycle needs."""
        return CycleConfig(
            self.planner_config, self.period_ms, self.replan_ms, self.inbox_batch, self.gateway_timeout_ms
        )


class Pace:
    """How often to look and how often to plan, so that thousands of messages a second leave the machine to others.

    A message that comes after a quiet moment is applied and planned for at once. Under load a cycle is followed
    by a rest, in which messages gather: a cycle costs a dozen round trips however many there are. The rest is as long
    as the cycle, or as its messages are many: in proportion to the cycle alone, faster cycles would only be more of
    them. A plan costs what the cluster and its queue are large, whatever changed: it takes a twentieth of the time, or
    rests a second where that is less.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._plan_from_s = 0.0

    def may_plan(self, now_s: float) -> bool:
        """Whether the plan before is long enough ago."""
        return now_s >= self._plan_from_s

    def after(self, result: CycleResult, begun_s: float, now_s: float) -> tuple[float, float]:
        """Seconds to rest after a cycle, and then to wait for a poke at most."""
        if result.planned_s and not result.more:
            self._plan_from_s = now_s + min(_PLAN_REST * result.planned_s, _MOST_PLAN_REST_S)
        rest_s = 0.0
        if result.messages:
            gathering_s = min(_MESSAGE_REST_S * result.messages, _MOST_GATHERING_S)
            rest_s = max(min(_CYCLE_REST * (now_s - begun_s), _MOST_CYCLE_REST_S), gathering_s)
        if not result.plan_waits:
            return rest_s, self._period_s
        return rest_s, min(max(self._plan_from_s - now_s - rest_s, 0.0), self._period_s)


def wall_clock_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


async def serve(
    config: ControllerConfig,
    stop: asyncio.Event,
    announce: Callable[[dict[str, str]], None] = lambda _: None,
) -> None:
    """Leads whenever no other controller does, until `stop` is set. Announces itself when it begins to wait.

    Raises ValueError or OSError for a key that cannot be read; trouble with the database is waited out.
    """
    signer = read_signing_key(config.key_path)
    database = Database(config.database_url, "controller", pool_size=2)
    leadership = Leadership(database, ROLE, config.holder)
    announce({"holder": config.holder, "key_id": signer.key_id})
    try:
        compiling = Compiling(config.machine_code_folder)
        # Also in a process that waits for its turn: who leads a large fleet plans with machine code from the first.
        compiling.want(await _enrolled(database), plans_wait=True)
        while not stop.is_set():
            term = await leadership.acquire(stop)
            if term == 0:
                return
            try:
                seat = Seat(database, leadership, term, signer, Ids(os.urandom))
                await _lead(config, seat, compiling, stop)
            except (LeadershipLost, DatabaseAway, DBAPIError, StalePlan) as error:
                # Whether the last commit happened is unknown, or memory is ahead: it is thrown away.
                metrics.RELOADS.inc()
                _log.warning("controller_starts_again", reason=str(error), kind=type(error).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_S)
            finally:
                metrics.TERM.set(0)
    finally:
        await leadership.release()
        await database.dispose()


async def _enrolled(database: Database) -> int:
    try:
        async with database.transaction() as session:
            return await session.scalar(text("SELECT count(*) FROM nodes")) or 0
    except DatabaseAway:
        return 0  # who leads will see


async def _lead(config: ControllerConfig, seat: Seat, compiling: Compiling, stop: asyncio.Event) -> None:
    """Runs cycles until stopped or no longer leading."""
    metrics.TERM.set(seat.term)
    async with Listener(config.database_url, [Channel.INBOX], "controller-listener") as listener:
        now_ms = wall_clock_ms()
        gc.unfreeze()  # what an earlier term had loaded
        with uncollected():
            async with seat.database.transaction() as session:
                await seat.leadership.guard(session, seat.term)
                state = await load_state(session, load_catalogue(), now_ms, config.machine_config)
        gc.freeze()  # the collector would walk all of it again and again, and find nothing
        _log.info("state_loaded", term=seat.term, jobs=len(state.jobs), nodes=len(state.nodes))
        for job in state.jobs.values():
            if job.unreadable is not None:
                _log.error("spec_unreadable", job_id=job.job_id, problem=job.unreadable)
        leader = Leader(seat, state, config.cycle)
        lost = seat.leadership.lost
        pace = Pace(config.period_ms / 1000)
        while not stop.is_set() and not lost.is_set():
            compiling.want(len(state.nodes))  # the fleet may have grown
            begun_s = time.monotonic()
            compiled = compiling.may_plan
            result = await leader.cycle(wall_clock_ms(), may_plan=compiled and pace.may_plan(begun_s))
            rest_s, patience_s = pace.after(result, begun_s, time.monotonic())
            if not compiled:
                patience_s = _LOOK_AGAIN_S
            if not result.more:
                await asyncio.sleep(rest_s)
                await _wait(listener, patience_s, stop, lost)
    if seat.leadership.lost.is_set():
        raise LeadershipLost(f"the lock of term {seat.term} is gone")


async def _wait(listener: Listener, period_s: float, *events: asyncio.Event) -> None:
    """Until poked, for a period at most; at once when one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    poked = asyncio.create_task(listener.wait(period_s))
    try:
        await asyncio.wait({poked, *waits}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (poked, *waits):
            task.cancel()
        outcomes = await asyncio.gather(poked, *waits, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
