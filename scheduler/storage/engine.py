"""Connections and transactions: the only way from the other rooms to PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

CONNECT_TIMEOUT_S = 5
# A transaction forgotten open holds row locks and keeps dead rows alive; a healthy one lasts milliseconds.
IDLE_IN_TRANSACTION_MS = 60_000
STATEMENT_TIMEOUT_MS = 60_000
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
    """Whether an error of SQLAlchemy says that the database, not the statement, is at fault."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # refused, unknown host, broken pipe: the server never got to name a state
        return isinstance(error, (OperationalError, InterfaceError))
    return str(state).startswith(_AWAY_CLASSES)


class Database:
    """A small pool of connections under one role."""

    def __init__(self, url: str, application_name: str, pool_size: int = 5) -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            # One cheap round trip, and a restarted database costs no request an error.
            pool_pre_ping=True,
            connect_args={
                "application_name": application_name,
                "connect_timeout": CONNECT_TIMEOUT_S,
                "keepalives_idle": 15,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
                "options": (
                    f"-c TimeZone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS}"
                    f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
                ),
            },
        )
        self._reading = self.engine.execution_options(postgresql_readonly=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Give a session whose work is committed on exit and rolled back on any error.

        Raises DatabaseAway where PostgreSQL is at fault; other errors pass unchanged.
        """
        async with self._session(self.engine) as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Give a session in which PostgreSQL itself refuses to write."""
        async with self._session(self._reading) as session:
            yield session

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        try:
            # Rows stay readable after the commit: callers build answers from them without another query.
            async with AsyncSession(engine, expire_on_commit=False) as session:
                yield session
        except Exception as error:
            if is_away(error):
                raise DatabaseAway(f"the database does not answer: {_first_line(error)}") from error
            raise

    async def dispose(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
