"""Pokes: NOTIFY, so that a loop looks now and not at its next period.

A poke carries no fact. It may be lost (a connection broke) or repeated; whoever waits for pokes also looks
on a period.
"""

import asyncio
import time
from collections.abc import Iterable
from enum import StrEnum
from types import TracebackType
from typing import Self

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.direct import Direct
from scheduler.storage.engine import CONNECT_TIMEOUT_S, DatabaseAway, conninfo

RECONNECT_MAX_S = 5.0
POKE_REST_S = (
    0.02  # between two pokes of a `Poker`: the first is heard at once, and under load a few tell of all
)

# A poke need not be durable, so it does not wait for the disk while it holds that lock.
_POKE = """
SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, '')
FROM (SELECT CAST(%(channel)s AS text) AS channel)
"""

_log = structlog.get_logger(__name__)


class Channel(StrEnum):
    """Who is poked about what."""

    INBOX = "inbox"  # to the controller: messages wait
    DESIRED = "desired"  # to the gateways: payload a node_id, or "" for all
    EVENTS = "events"  # to the API's streams
    EVIDENCE = "evidence"  # to the ledger: intake waits
    LOGGED = "logged"  # to the gateways: windows got their log index


Poke = tuple[Channel, str]


async def poke(session: AsyncSession, channel: Channel, payload: str = "") -> None:
    """Poke at commit of the session's transaction; a rollback pokes nobody. Payload: below 8,000 bytes."""
    await session.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload}
    )


class Poker:
    """Pokes a channel beside the transactions of which it tells, once for all that ended meanwhile.

    A transaction that notifies holds a lock of the whole server's until its commit is on the disk: of many at once each
    would wait for a write of its own, where others share one.
    """

    def __init__(self, database: Direct, channel: Channel) -> None:
        self._database = database
        self._channel = channel
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def poke(self) -> None:
        """Poke now, or as soon as the last one is long enough ago. To be called after the commit."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End what is under way. A poke may be lost by it, as any may."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            try:
                await self._database.fetch(_POKE, {"channel": self._channel.value})
            except (DatabaseAway, psycopg.Error) as error:
                _log.warning("cannot_poke", channel=self._channel.value, reason=str(error).strip())
            await asyncio.sleep(POKE_REST_S)


class Listener:
    """One connection that hears pokes, and comes back by itself when the database does.

    After a reconnect every channel counts as poked, because pokes were missed meanwhile.
    """

    def __init__(self, url: str, channels: Iterable[Channel], application_name: str = "listener") -> None:
        self._conninfo = conninfo(url)
        self._channels = tuple(channels)
        self._application_name = application_name
        self._connection: psycopg.AsyncConnection | None = None
        self._retry_at_s = 0.0
        self._backoff_s = 0.1

    async def __aenter__(self) -> Self:
        """Listen, or begin trying to: a database that is away now raises nothing."""
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def wait(self, timeout_s: float) -> set[Poke]:
        """Wait for pokes at most `timeout_s`; return all that have come, or an empty set."""
        until_s = time.monotonic() + timeout_s
        while True:
            left_s = until_s - time.monotonic()
            if self._connection is None:
                pause_s = self._retry_at_s - time.monotonic()
                if pause_s > 0:
                    await asyncio.sleep(min(pause_s, max(left_s, 0)))
                if time.monotonic() >= self._retry_at_s and await self._connect():
                    return {(channel, "") for channel in self._channels}
            else:
                heard = await self._hear(self._connection, max(left_s, 0))
                if heard:
                    return heard
            if time.monotonic() >= until_s:
                return set()

    async def _hear(self, connection: psycopg.AsyncConnection, timeout_s: float) -> set[Poke]:
        heard: set[Poke] = set()
        try:
            async for notice in connection.notifies(timeout=timeout_s, stop_after=1):
                heard.add((Channel(notice.channel), notice.payload))
            if heard:
                async for notice in connection.notifies(timeout=0):
                    heard.add((Channel(notice.channel), notice.payload))
        except psycopg.OperationalError as error:
            _log.warning("listener_lost", reason=str(error).strip())
            await self._close()
        return heard

    async def _connect(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                application_name=self._application_name,
                connect_timeout=CONNECT_TIMEOUT_S,
                keepalives_idle=15,
                keepalives_interval=5,
                keepalives_count=3,
            )
            for channel in self._channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except psycopg.OperationalError as error:
            _log.warning("listener_cannot_connect", reason=str(error).strip().splitlines()[0])
            self._retry_at_s = time.monotonic() + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, RECONNECT_MAX_S)
            return False
        self._connection = connection
        self._backoff_s = 0.1
        return True

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
