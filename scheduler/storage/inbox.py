"""The controller's inbox: facts put in by the API and the gateways, taken out as they are applied.

Rows are deleted in the transaction that applies them, so a late commit of a smaller serial is never skipped
and a fact is applied once. The serial orders nothing that matters: messages carry their own order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import InboxRow


@dataclass(frozen=True, slots=True)
class InboxMessage:
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
    oldest = select(InboxRow.inbox_id).order_by(InboxRow.inbox_id).limit(limit)
    # An array, so that PostgreSQL chooses the rows once, before it deletes any.
    chosen = func.array(oldest.scalar_subquery())
    rows = await session.execute(
        delete(InboxRow)
        .where(InboxRow.inbox_id == func.any(chosen))
        .returning(InboxRow.inbox_id, InboxRow.kind, InboxRow.body, InboxRow.created_at)
        .execution_options(synchronize_session=False)
    )
    return sorted((InboxMessage(*row) for row in rows), key=lambda message: message.inbox_id)
