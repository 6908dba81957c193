"""Events over HTTP."""

from typing import Any

from scheduler.api.schemas.base import Out, utc
from scheduler.services.events import EventRecord


class EventOut(Out):
    """A fact in past tense, numbered without gaps over the whole installation."""

    event_seq: int
    at: str
    kind: str
    job_id: str | None
    node_id: str | None
    data: dict[str, Any]


class EventsOut(Out):
    """Events, oldest first. `next_after` is the number to ask on from."""

    events: list[EventOut]
    next_after: int


def event_out(event: EventRecord) -> EventOut:
    """An event for the wire."""
    return EventOut(
        event_seq=event.event_seq,
        at=utc(event.at_ms),
        kind=event.kind,
        job_id=event.job_id,
        node_id=event.node_id,
        data=dict(event.data),
    )
