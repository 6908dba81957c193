"""Events: a page as JSON, or a stream that goes on (Accept: text/event-stream)."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

from scheduler.api.auth import EventReader
from scheduler.api.event_stream import event_stream
from scheduler.api.pagination import DEFAULT_LIMIT, Limit
from scheduler.api.schemas.events import EventsOut, event_out
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.services.events import list_events, newest_event
from scheduler.services.jobs import read_job

router = APIRouter(tags=["events"])

SSE = "text/event-stream"
MOST_SEQ = (1 << 63) - 1
After = Annotated[
    int | None,
    Query(
        ge=0, le=MOST_SEQ, description="Events with a larger number only. A stream begins with what is new."
    ),
]
LastEventId = Annotated[str | None, Header(description="Sent by browsers when a stream broke.")]
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {SSE: {"schema": {"type": "string"}}}}}


@router.get("/v1/events", response_model=EventsOut, responses=_ANSWERS)
async def events(
    request: Request,
    api: ApiState,
    principal: EventReader,
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
    last_event_id: LastEventId = None,
) -> Response:
    """What happened: to the firm's jobs, or for operators to everything."""
    return await _answer(request, api, principal, _begin(after, last_event_id), limit, None)


@router.get("/v1/jobs/{job_id}/events", response_model=EventsOut, responses=_ANSWERS, tags=["jobs"])
async def job_events(
    job_id: str,
    request: Request,
    api: ApiState,
    principal: EventReader,
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
    last_event_id: LastEventId = None,
) -> Response:
    """What happened to one job, from its beginning. A stream ends when the job has ended."""
    begin = _begin(after, last_event_id)
    async with api.database.read() as session:
        await read_job(session, principal, job_id)
    return await _answer(request, api, principal, 0 if begin is None else begin, limit, job_id)


def _begin(after: int | None, last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return after
    if not last_event_id.isdecimal() or not last_event_id.isascii() or int(last_event_id[:20]) > MOST_SEQ:
        raise Invalid([FieldProblem("header Last-Event-ID", last_event_id[:60], "the number of an event")])
    return int(last_event_id)


async def _answer(
    request: Request, api: Api, principal: Principal, after: int | None, limit: int, job_id: str | None
) -> Response:
    if SSE in request.headers.get("accept", ""):
        if after is None:
            async with api.database.read() as session:
                after = await newest_event(session)
        stream = event_stream(api, principal, request.state.session_check, after, job_id)
        return StreamingResponse(stream, media_type=SSE, headers={"X-Accel-Buffering": "no"})
    after = after or 0
    async with api.database.read() as session:
        found = await list_events(session, principal, after=after, limit=limit, job_id=job_id)
    page = EventsOut(
        events=[event_out(event) for event in found],
        next_after=found[-1].event_seq if found else after,
    )
    return JSONResponse(page.model_dump())
