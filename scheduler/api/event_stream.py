"""Events as server-sent events: each with its number, so that a stream goes on where it broke."""

from collections.abc import AsyncIterator

from scheduler.api.auth import SessionCheck
from scheduler.api.schemas.events import event_out
from scheduler.api.state import Api
from scheduler.domain.authorise import Principal
from scheduler.services.events import EventRecord, list_events
from scheduler.storage.engine import DatabaseAway

BATCH = 500
# A comment line this often, so that proxies keep the stream and a dead client is noticed.
HEARTBEAT_S = 15.0
FINAL_KINDS = frozenset({"JobSucceeded", "JobFailed", "JobCancelled"})


async def event_stream(
    api: Api, principal: Principal, check: SessionCheck, after: int, job_id: str | None = None
) -> AsyncIterator[str]:
    """SSE text. A job's stream ends with the event that ends the job; others end with the connection."""
    yield "retry: 1000\n\n"
    tail, whose = api.event_tail, (principal.firm_id, job_id)
    while not api.pulse.closing:
        ticket = tail.ticket(whose)
        newest = tail.newest or 0
        events = tail.since(after, whose)
        if events is None:
            try:
                async with api.database.read() as session:
                    events = await list_events(session, principal, after=after, limit=BATCH, job_id=job_id)
            except DatabaseAway:
                return  # the client comes back with Last-Event-ID
            if len(events) < BATCH:  # all that there was: the tail goes on from here
                after = max(after, newest, *(event.event_seq for event in events))
        else:
            after = max(after, newest)
        for event in events:
            after = max(after, event.event_seq)
            yield _frame(event)
            if job_id is not None and event.kind in FINAL_KINDS:
                return
        if not events and not await api.pulse.wait(ticket, HEARTBEAT_S):
            yield ": still here\n\n"
            if not await check.still_valid():
                return


def _frame(event: EventRecord) -> str:
    # JSON never holds a bare line break, so one data line carries it.
    return f"id: {event.event_seq}\nevent: {event.kind}\ndata: {event_out(event).model_dump_json()}\n\n"
