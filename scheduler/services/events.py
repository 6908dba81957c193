"""The stream of domain facts, in the controller's own numbering, as far as the caller may see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.storage.direct import Direct
from scheduler.storage.tables import EventRow


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A fact in past tense."""

    event_seq: int
    at_ms: int
    kind: str
    firm_id: str | None
    job_id: str | None
    node_id: str | None
    data: Mapping[str, Any]


async def list_events(
    session: AsyncSession, principal: Principal, *, after: int, limit: int, job_id: str | None = None
) -> Sequence[EventRecord]:
    """Events with a number above `after`, oldest first.

    One writer numbers events without gaps and commits them in order, so whoever has seen `n` has seen
    everything below. Firms see their own; only operators see what belongs to no firm.
    """
    authorise(principal, Action.READ_EVENTS)
    query = select(EventRow).where(EventRow.event_seq > after).order_by(EventRow.event_seq).limit(limit)
    if principal.firm_id is not None:
        query = query.where(EventRow.firm_id == principal.firm_id)
    if job_id is not None:
        query = query.where(EventRow.job_id == job_id)
    return [
        EventRecord(row.event_seq, row.at_ms, row.kind, row.firm_id, row.job_id, row.node_id, row.data)
        for row in await session.scalars(query)
    ]


_SINCE = """
    SELECT event_seq, at_ms, kind, firm_id, job_id, node_id, data FROM events
    WHERE event_seq > %(after)s ORDER BY event_seq LIMIT %(limit)s
"""


async def events_since(direct: Direct, after: int, limit: int) -> list[EventRecord]:
    """Everybody's events with a number above `after`, for those who give each caller its own."""
    rows = await direct.fetch(_SINCE, {"after": after, "limit": limit})
    return [EventRecord(*row) for row in rows]


async def newest_number(direct: Direct) -> int:
    """As `newest_event`, outside a session."""
    ((number,),) = await direct.fetch("SELECT coalesce(max(event_seq), 0) FROM events", {})
    return int(number)


async def newest_event(session: AsyncSession) -> int:
    """The number of the newest event; 0 when there is none."""
    return await session.scalar(select(func.max(EventRow.event_seq))) or 0
