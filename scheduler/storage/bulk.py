"""Many rows in one statement: a JSON array goes over the wire once and PostgreSQL unfolds it.

One round trip and one prepared statement a table, however many rows: a commit of the controller costs a
handful of round trips.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.tables import Base

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


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
        await session.execute(_upsert(table, tuple(rows[0])), {"rows": json.dumps(rows)})


async def append(session: AsyncSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows that are new."""
    if rows:
        await session.execute(_insert(table, tuple(rows[0])), {"rows": json.dumps(rows)})


async def append_columns(session: AsyncSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows that are new, as one array a column: bytes columns too, and the cheapest for many rows."""
    if rows:
        columns = tuple(rows[0])
        arrays = {f"c{n}": [row[name] for row in rows] for n, name in enumerate(columns)}
        await session.execute(_insert_columns(table, columns), arrays)


@cache
def _insert_columns(table: Table, columns: tuple[str, ...]) -> TextClause:
    names = ", ".join(f'"{name}"' for name in columns)
    types = [table.c[name].type.compile(_DIALECT) for name in columns]
    arrays = ", ".join(f"CAST(:c{n} AS {kind}[])" for n, kind in enumerate(types))
    return text(f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays})")  # noqa: S608 - our names


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
