"""Leadership: one process at a time decides, and a leader that was replaced cannot commit.

An advisory lock on a connection of its own chooses the leader; it falls when that connection does. The lock
alone would not do (a leader may be paused while its connection dies), so each leader takes a new term and
every commit of a leader locks the row of the term: see `guard`.
"""

import asyncio
import zlib
from contextlib import suppress

import psycopg
import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.engine import CONNECT_TIMEOUT_S, Database, DatabaseAway, conninfo
from scheduler.storage.tables import LeaderRow

# First key of our advisory locks, so that they meet nobody else's in a shared database ("suan").
LOCK_SPACE = 0x7375616E
TRY_PERIOD_S = 0.5
PROOF_PERIOD_S = 2.0

_log = structlog.get_logger(__name__)


class LeadershipLost(Exception):
    """Another process leads now; nothing of this transaction may be kept, and memory must be thrown away."""


class Leadership:
    """The right to lead one role (`controller` or `ledger`)."""

    def __init__(self, database: Database, role: str, holder: str) -> None:
        self._database = database
        self._role = role
        self._holder = holder
        self._lock_key = zlib.crc32(role.encode()) & 0x7FFFFFFF
        self._connection: psycopg.AsyncConnection | None = None
        self._watch: asyncio.Task[None] | None = None
        # Set when the lock's connection dies. Leaders stop deciding then; `guard` is what makes it safe.
        self.lost = asyncio.Event()

    async def acquire(self, stop: asyncio.Event) -> int:
        """Wait until this process leads; return its term (from 1), or 0 where `stop` was set before."""
        await self.release()
        while not stop.is_set():
            try:
                if await self._try_lock():
                    term = await self._new_term()
                    self.lost.clear()
                    self._watch = asyncio.create_task(self._prove(), name=f"leadership-{self._role}")
                    _log.info("leading", role=self._role, holder=self._holder, term=term)
                    return term
            except (psycopg.OperationalError, DatabaseAway) as error:
                _log.warning("leadership_waits", role=self._role, reason=str(error).strip().splitlines()[0])
                await self._close()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TRY_PERIOD_S)
        await self._close()
        return 0

    async def guard(self, session: AsyncSession, term: int) -> None:
        """Lock the term's row until the session's transaction ends. Raises LeadershipLost when it moved."""
        newest = await session.scalar(
            select(LeaderRow.term).where(LeaderRow.role == self._role).with_for_update()
        )
        if newest != term:
            self.lost.set()
            raise LeadershipLost(f"{self._role}: term {term} ended, term {newest} leads")

    async def release(self) -> None:
        """Stop leading; the next process need not wait for a timeout."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._close()

    async def _try_lock(self) -> bool:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                conninfo(self._database.url),
                autocommit=True,
                application_name=f"leadership-{self._role}",
                connect_timeout=CONNECT_TIMEOUT_S,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
            )
        cursor = await self._connection.execute(
            "SELECT pg_try_advisory_lock(%s, %s)", (LOCK_SPACE, self._lock_key)
        )
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    async def _new_term(self) -> int:
        first = insert(LeaderRow).values(role=self._role, term=1, holder=self._holder)
        following = first.on_conflict_do_update(
            index_elements=[LeaderRow.role],
            set_={"term": LeaderRow.term + 1, "holder": self._holder, "since": func.now()},
        )
        async with self._database.transaction() as session:
            term: int | None = await session.scalar(following.returning(LeaderRow.term))
        if term is None:
            raise LeadershipLost(f"{self._role}: the term's row gave no number")
        return term

    async def _prove(self) -> None:
        """Ask over the lock's connection every two seconds whether it still lives."""
        connection = self._connection
        try:
            while connection is not None:
                await asyncio.sleep(PROOF_PERIOD_S)
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await connection.execute("SELECT 1")
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("leadership_lost", role=self._role, reason=str(error).strip())
            self.lost.set()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
