"""The controller's inbox: facts put in by the API and the gateways, taken out as they are applied.

Rows are deleted in the transaction that applies them, so a late commit of a smaller serial is never skipped
and a fact is applied once. The serial orders nothing that matters: messages carry their own order.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import InboxRow

# An array, so that PostgreSQL chooses the rows once, before it deletes any.
_TAKE = text(
    "DELETE FROM inbox WHERE inbox_id = ANY(ARRAY(SELECT inbox_id FROM inbox ORDER BY inbox_id LIMIT :limit))"
    " RETURNING inbox_id, kind, body, created_at"
)


class InboxMessage(NamedTuple):
    """A fact as it was put."""

    inbox_id: int
    kind: str
    body: dict[str, Any]
    created_at: datetime


async def put(session: AsyncSession, kind: str, body: Mapping[str, Any]) -> None:
    """Leave a fact for the controller and poke it, both at commit."""
    await session.execute(insert(InboxRow).values(kind=kind, body=dict(body)).inline())
    await poke(session, Channel.INBOX)


async def take(session: AsyncSession, limit: int) -> list[InboxMessage]:
    """Take up to `limit` facts, oldest first; they are gone when the session's transaction commits."""
    rows = await session.execute(_TAKE, {"limit": limit})
    return [InboxMessage(*row) for row in sorted(rows)]
