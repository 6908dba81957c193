"""The controller process: wait to lead, load, run cycles when poked or on a period, start again on doubt."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from scheduler.catalogue import load_catalogue
from scheduler.controller import metrics
from scheduler.controller.commit import CycleConfig, Leader, Seat
from scheduler.controller.keys import read_signing_key
from scheduler.domain.ids import Ids
from scheduler.machine import MachineConfig
from scheduler.machine.plans import StalePlan
from scheduler.planner import PlannerConfig
from scheduler.storage.cluster import load_state
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.leadership import Leadership, LeadershipLost
from scheduler.storage.pokes import Channel, Listener

ROLE = "controller"
_RETRY_S = 0.5

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

    @property
    def cycle(self) -> CycleConfig:
        """The part that a cycle needs."""
        return CycleConfig(
            self.planner_config, self.period_ms, self.replan_ms, self.inbox_batch, self.gateway_timeout_ms
        )


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
        while not stop.is_set():
            term = await leadership.acquire(stop)
            if term == 0:
                return
            try:
                await _lead(config, Seat(database, leadership, term, signer, Ids(os.urandom)), stop)
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


async def _lead(config: ControllerConfig, seat: Seat, stop: asyncio.Event) -> None:
    """Runs cycles until stopped or no longer leading."""
    metrics.TERM.set(seat.term)
    async with Listener(config.database_url, [Channel.INBOX], "controller-listener") as listener:
        now_ms = wall_clock_ms()
        async with seat.database.transaction() as session:
            await seat.leadership.guard(session, seat.term)
            state = await load_state(session, load_catalogue(), now_ms, config.machine_config)
        _log.info("state_loaded", term=seat.term, jobs=len(state.jobs), nodes=len(state.nodes))
        leader = Leader(seat, state, config.cycle)
        lost = seat.leadership.lost
        while not stop.is_set() and not lost.is_set():
            result = await leader.cycle(wall_clock_ms())
            if not result.more:
                await _wait(listener, config.period_ms / 1000, stop, lost)
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
