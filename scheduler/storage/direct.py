"""Single statements without SQLAlchemy, for the few that are asked thousands of times a second.

A statement by way of an ORM session costs about ten times the Python of the statement itself, and by way of a cursor
of psycopg twice: libpq is asked here at once, with psycopg's adapters. A statement is prepared once a connection,
commits by itself, and is durable when it returns.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads

from scheduler.storage.engine import DatabaseAway, connect_arguments, conninfo, first_line, is_away, is_cut

# Planning one of these statements costs PostgreSQL two to three times what running it does, and whatever its values
# are the plan is the same: the rows by an index, also where a table was empty when somebody last counted.
_PLANS = " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
# At a time; more would take those of other processes, and answer nothing sooner.
MOST_CONNECTIONS = 8
WAIT_S = 10.0  # for one of them, as for one of a pool
MOST_PREPARED = 100  # a connection: callers choose among the conditions of a list of jobs
# What was prepared is gone, or a migration changed what it answers. Nothing has happened.
_PREPARED_NO_MORE = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.FeatureNotSupported)
_PARAMETER = re.compile(r"%\((\w+)\)([sb])")


class Direct:
    """A few connections under one role, opened when they are needed."""

    def __init__(self, url: str, application_name: str) -> None:
        self._url = url
        self._application_name = application_name
        self._free: list[_Line] = []
        self._turns = asyncio.Semaphore(MOST_CONNECTIONS)

    async def fetch(
        self, statement: str, parameters: Mapping[str, Any], *, binary: bool = False
    ) -> list[TupleRow]:
        """Run one statement as a transaction of its own; returns its rows. One round trip.

        Parameters stand in it as `%(name)s`, or `%(name)b` where they are sent in PostgreSQL's binary form; `binary`:
        the rows come in it.

        Raises DatabaseAway where PostgreSQL is at fault, after which it is unknown whether it happened; other
        errors (psycopg.Error) pass unchanged, and it did not happen.
        """
        await self._turn()
        try:
            line = await self._line()
            try:
                return await line.fetch(statement, parameters, binary=binary)
            finally:
                if line.idle:
                    self._free.append(line)
                else:  # broken, or cancelled in the middle
                    await line.close()
        except psycopg.Error as error:
            if is_away(error):
                raise DatabaseAway(f"the database does not answer: {first_line(error)}") from error
            raise
        finally:
            self._turns.release()

    async def _turn(self) -> None:
        """Wait until a connection may be used. Raises DatabaseAway."""
        if not self._turns.locked():
            await self._turns.acquire()  # at once
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise DatabaseAway(f"all {MOST_CONNECTIONS} connections to the database are busy") from None

    async def close(self) -> None:
        """Close every connection that is not in use."""
        while self._free:
            await self._free.pop().close()

    async def _line(self) -> "_Line":
        while self._free:
            line = self._free.pop()
            if not line.is_cut:
                return line
            await line.close()
        connection = await psycopg.AsyncConnection.connect(
            conninfo(self._url), autocommit=True, **connect_arguments(self._application_name, _PLANS)
        )
        set_json_loads(orjson.loads, connection)
        return _Line(connection)


class _Line:
    """One connection, for one statement at a time.

    Its socket is watched from its beginning to its end: to begin and end that with each answer costs more than all
    else here.
    """

    def __init__(self, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._adapters = Transformer(connection)
        self._prepared: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._answer: asyncio.Future[None] | None = None  # that somebody waits for
        self._writing = False  # more than the socket took at once
        self._watched = True
        self._spoke = False  # while nobody asked: what it says then is its end, which may come in pieces
        self._loop = asyncio.get_running_loop()
        self._socket = connection.fileno()
        self._loop.add_reader(self._socket, self._io, self._read)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing is broken."""
        return self._libpq.transaction_status == pq.TransactionStatus.IDLE

    @property
    def is_cut(self) -> bool:
        """Whether it was ended by the server. Costs no round trip."""
        return self._spoke or not self.idle or is_cut(self._connection)

    async def close(self) -> None:
        """End it, whatever is under way."""
        self._unwatch()
        await self._connection.close()

    async def fetch(self, statement: str, parameters: Mapping[str, Any], *, binary: bool) -> list[TupleRow]:
        """Rows of a statement. Raises psycopg.Error."""
        try:
            return await self._ask(statement, parameters, binary=binary)
        except _PREPARED_NO_MORE:
            self._prepared.clear()
            self._libpq.send_query(b"DEALLOCATE ALL")
            await self._answered()
            return await self._ask(statement, parameters, binary=binary)

    async def _ask(self, statement: str, parameters: Mapping[str, Any], *, binary: bool) -> list[TupleRow]:
        text, names, formats = _for_libpq(statement)
        values = self._adapters.dump_sequence([parameters[name] for name in names], formats)
        types, sent_as = self._adapters.types or (), self._adapters.formats or []
        wanted = pq.Format.BINARY if binary else pq.Format.TEXT
        name = self._prepared.get((statement, types))
        if name is None and len(self._prepared) < MOST_PREPARED:
            name = b"direct-%d" % len(self._prepared)
            self._libpq.send_prepare(name, text, types)
            await self._answered()
            self._prepared[statement, types] = name
        if name is None:
            self._libpq.send_query_params(text, values, types, sent_as, wanted)
        else:
            self._libpq.send_query_prepared(name, values, sent_as, wanted)
        result = await self._answered()
        self._adapters.set_pgresult(result)
        return self._adapters.load_rows(0, result.ntuples, tuple)

    async def _answered(self) -> pq.abc.PGresult:
        """The result of what was sent, once its transaction has ended. Raises psycopg.Error."""
        last: pq.abc.PGresult | None = None
        self._write()
        while True:
            if self._libpq.is_busy():
                self._answer = self._loop.create_future()
                await self._answer
            result = self._libpq.get_result()
            if result is None:
                break
            last = result
        if last is None:
            raise psycopg.OperationalError("the connection is closed")
        if last.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise psycopg.errors.error_from_result(last)
        return last

    def _write(self) -> None:
        if bool(self._libpq.flush()) is self._writing:
            return
        self._writing = not self._writing
        if self._writing:
            self._loop.add_writer(self._socket, self._io, self._write)
        else:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        self._spoke = self._spoke or self.idle
        self._libpq.consume_input()
        if self._answer is not None and not self._answer.done() and not self._libpq.is_busy():
            self._answer.set_result(None)

    def _io(self, step: Callable[[], None]) -> None:
        """What the loop calls; a connection that breaks is told to who waits."""
        try:
            step()
        except psycopg.OperationalError as error:
            self._unwatch()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)

    def _unwatch(self) -> None:
        if self._watched:  # once: of a connection that broke the number may be another one's by now
            self._watched = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)


@lru_cache(maxsize=256)
def _for_libpq(statement: str) -> tuple[bytes, tuple[str, ...], tuple[PyFormat, ...]]:
    """A statement with numbers for parameters, their names, and how each is sent."""
    numbers: dict[tuple[str, str], int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${numbers.setdefault((found[1], found[2]), len(numbers) + 1)}"

    text = _PARAMETER.sub(number, statement).encode()
    formats = tuple(PyFormat.BINARY if way == "b" else PyFormat.AUTO for _, way in numbers)
    return text, tuple(name for name, _ in numbers), formats
