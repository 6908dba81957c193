"""Many rows in one statement: a JSON array goes over the wire once and PostgreSQL unfolds it.

One round trip and one prepared statement a table, however many rows: a commit of the controller costs a
handful of round trips.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import orjson
import psycopg
from psycopg.rows import TupleRow
from psycopg.types.string import BytesBinaryDumper
from sqlalchemy import Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.tables import Base

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows, option=orjson.OPT_NON_STR_KEYS).decode()


def table_of(row: type[Base]) -> Table:
    """The table of a row class."""
    table = row.__table__
    assert isinstance(table, Table)  # noqa: S101 - what SQLAlchemy's types do not say
    return table


async def upsert(session: AsyncSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows, or replaces those with the same primary key by them. All rows name the same columns.

    Rows take effect in order. A primary key must not come twice. bytes columns are not for this.
    """
    if rows:
        await session.execute(_upsert(table, tuple(rows[0])), {"rows": _json(rows)})


async def append(session: AsyncSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows that are new."""
    if rows:
        await session.execute(_insert(table, tuple(rows[0])), {"rows": _json(rows)})


async def copy_in(
    session: AsyncSession, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Inserts rows that are new by COPY, in the session's transaction: bytes columns too, and by far the
    cheapest for many rows, which hold values in the order of `columns`.

    Raises sqlalchemy.exc.DBAPIError like any other statement of the session.
    """
    if not rows:
        return
    statement, types = _copy(table, columns)
    async with driver_cursor(session) as cursor, cursor.copy(statement.encode()) as copy:
        copy.set_types(types)
        for row in rows:
            await copy.write_row(row)


@asynccontextmanager
async def driver_cursor(session: AsyncSession) -> "AsyncIterator[psycopg.AsyncCursor[TupleRow]]":
    """A binary cursor of the driver in the session's transaction, for what SQLAlchemy has no words for.

    Errors come as the session's own do, as sqlalchemy.exc.DBAPIError.
    """
    pooled = await (await session.connection()).get_raw_connection()
    connection = pooled.driver_connection
    assert isinstance(connection, psycopg.AsyncConnection)  # noqa: S101 - what SQLAlchemy's types do not say
    try:
        async with connection.cursor(binary=True) as cursor:
            # By type, bytea belongs to a dumper in Python, for DBAPI's Binary; nobody here writes one.
            cursor.adapters.register_dumper(bytes, BytesBinaryDumper)
            yield cursor
    except psycopg.Error as error:
        raise DBAPIError("a statement of the driver", None, error) from error


@cache
def _copy(table: Table, columns: tuple[str, ...]) -> tuple[str, list[str]]:
    names = ", ".join(f'"{name}"' for name in columns)
    types = [str(table.c[name].type.compile(_DIALECT)).lower() for name in columns]
    return f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", types


def _unfolded(table: Table, columns: Sequence[str]) -> str:
    """The FROM item that gives the rows of :rows their columns' types."""
    types = ", ".join(f'"{name}" {table.c[name].type.compile(_DIALECT)}' for name in columns)
    return f"jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({types})"


def _insert_sql(table: Table, columns: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    # Only names of our own tables and columns are put into the text.
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_unfolded(table, columns)}"  # noqa: S608


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> TextClause:
    return text(_insert_sql(table, columns))


@cache
def _upsert(table: Table, columns: tuple[str, ...]) -> TextClause:
    keys = [column.name for column in table.primary_key.columns]
    target = ", ".join(f'"{name}"' for name in keys)
    assignments = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns if name not in keys)
    return text(f"{_insert_sql(table, columns)} ON CONFLICT ({target}) DO UPDATE SET {assignments}")
