"""Connections and transactions: the only way from the other rooms to PostgreSQL."""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

CONNECT_TIMEOUT_S = 5
# A transaction forgotten open holds row locks and keeps dead rows alive; a healthy one lasts milliseconds.
IDLE_IN_TRANSACTION_MS = 60_000
STATEMENT_TIMEOUT_MS = 60_000
# A statement whose client has gone away runs on for so long at most; by itself PostgreSQL notices when it answers.
CLIENT_GONE_MS = 2_000
# After this much silence of an acknowledged peer a half-open TCP connection counts as dead.
TCP_USER_TIMEOUT_MS = 15_000

# SQLSTATEs that mean "the server, not the statement": it stops, starts, is full or gave up on us.
_AWAY_CLASSES = ("08", "53", "57P", "58")


class DatabaseAway(Exception):
    """PostgreSQL cannot be reached or serves nobody now; the same call may succeed later.

    A transaction that ends with it either happened whole or not at all: when the connection broke at COMMIT
    the outcome is unknown, so repeat only what is idempotent, or load again and look.
    """


def driver_url(url: str) -> URL:
    """Name our driver in a plain PostgreSQL URL, as operators and other tools write it."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "postgresql+psycopg":
        raise ValueError(f"a database URL must begin with postgresql://, not {parsed.drivername}://")
    return parsed


def conninfo(url: str) -> str:
    """Write a database URL in the form that libpq itself reads."""
    return driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def is_away(error: BaseException) -> bool:
    """Whether an error of SQLAlchemy or psycopg says that the database, not the statement, is at fault."""
    if isinstance(error, PoolTimeoutError):
        return True
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
    elif not isinstance(error, DBAPIError):
        return False
    elif error.connection_invalidated:
        return True
    else:
        state = getattr(error.orig, "sqlstate", None)
    if state is None:  # refused, unknown host, broken pipe: the server never got to name a state
        return isinstance(
            error, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
        )
    return str(state).startswith(_AWAY_CLASSES)


class Database:
    """Small pools of connections under one role: one that may write, one that only reads."""

    def __init__(self, url: str, application_name: str, pool_size: int = 5) -> None:
        self.url = url
        self.engine = _engine(url, application_name, pool_size, "")
        self._reading = _engine(
            url,
            application_name,
            pool_size,
            " -c default_transaction_read_only=on",
            isolation_level="AUTOCOMMIT",
        )
        self._snapshots = self._reading.execution_options(isolation_level="REPEATABLE READ")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Give a session whose work is committed on exit and rolled back on any error.

        Raises DatabaseAway where PostgreSQL is at fault; other errors pass unchanged.
        """
        async with _session(self.engine) as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Give a session in which PostgreSQL itself refuses to write. Each statement sees what is newest.

        Cost: one round trip a statement and none besides. No cursors: rows that are read piece by piece need
        `snapshot`.
        """
        async with _session(self._reading) as session:
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """Like `read`, where every statement sees the same moment, and cursors work."""
        async with _session(self._snapshots) as session:
            yield session

    async def dispose(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()
        await self._reading.dispose()


def connect_arguments(application_name: str, options: str = "") -> dict[str, Any]:
    """What every connection is opened with, beside its URL."""
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        "options": (
            f"-c TimeZone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS}"
            f" -c client_connection_check_interval={CLIENT_GONE_MS}"
            f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}{options}"
        ),
    }


def _engine(url: str, application_name: str, pool_size: int, options: str, **more: Any) -> AsyncEngine:
    engine = create_async_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args=connect_arguments(application_name, options),
        json_deserializer=orjson.loads,  # a third of the time of the standard library's
        **more,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_cut)
    return engine


def is_cut(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether an idle connection was ended by the server. Costs no round trip.

    An idle connection that listens to no channel has nothing to say: what can be read from it is its end.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _refuse_cut(_adapted: Any, record: Any, _proxy: Any) -> None:
    """Let the pool replace a connection that the server has ended, so that a restart costs no request an error."""
    connection = record.driver_connection
    if is_cut(connection):
        raise DisconnectionError


@asynccontextmanager
async def _session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    try:
        # Rows stay readable after the commit: callers build answers from them without another query.
        async with AsyncSession(engine, expire_on_commit=False) as session:
            yield session
    except Exception as error:
        if is_away(error):
            raise DatabaseAway(f"the database does not answer: {first_line(error)}") from error
        raise


def first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
