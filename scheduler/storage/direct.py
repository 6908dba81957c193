"""Single statements without SQLAlchemy, for the few that are asked thousands of times a second.

A statement by way of an ORM session costs about ten times the Python of the statement itself. Here it is
prepared once a connection, commits by itself, and is durable when it returns.
"""

from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads

from scheduler.storage.engine import DatabaseAway, connect_arguments, conninfo, first_line, is_away, is_cut

# Planning one of these statements costs PostgreSQL two to three times what running it does, and whatever its values
# are the plan is the same: the rows by an index, also where a table was empty when somebody last counted.
_PLANS = " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"


class Direct:
    """A few connections under one role, opened when they are needed."""

    def __init__(self, url: str, application_name: str) -> None:
        self._url = url
        self._application_name = application_name
        self._free: list[psycopg.AsyncConnection[TupleRow]] = []

    async def fetch(
        self, statement: str, parameters: Mapping[str, Any], *, binary: bool = False
    ) -> list[TupleRow]:
        """Run one statement as a transaction of its own; returns its rows. One round trip.

        Raises DatabaseAway where PostgreSQL is at fault, after which it is unknown whether it happened; other
        errors (psycopg.Error) pass unchanged, and it did not happen.
        """
        try:
            connection = await self._connection()
            try:
                # Only constant texts come here; values go beside them.
                cursor = await connection.execute(statement.encode(), parameters, prepare=True, binary=binary)
                return await cursor.fetchall()
            finally:
                if connection.info.transaction_status is TransactionStatus.IDLE:
                    self._free.append(connection)
                else:  # broken, or cancelled in the middle
                    await connection.close()
        except psycopg.Error as error:
            if is_away(error):
                raise DatabaseAway(f"the database does not answer: {first_line(error)}") from error
            raise

    async def close(self) -> None:
        """Close every connection that is not in use."""
        while self._free:
            await self._free.pop().close()

    async def _connection(self) -> psycopg.AsyncConnection[TupleRow]:
        while self._free:
            connection = self._free.pop()
            if not is_cut(connection):
                return connection
            await connection.close()
        connection = await psycopg.AsyncConnection.connect(
            conninfo(self._url), autocommit=True, **connect_arguments(self._application_name, _PLANS)
        )
        set_json_loads(orjson.loads, connection)
        return connection
