"""The output of a job's processes, stored or live."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from scheduler.api.auth import JobLogReader
from scheduler.api.job_output import OutputFilter
from scheduler.api.log_stream import LogStream
from scheduler.api.state import ApiState
from scheduler.services.jobs import plan_job_logs

router = APIRouter(tags=["jobs"])

NDJSON = "application/x-ndjson"
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}


@router.get("/v1/jobs/{job_id}/logs", response_class=StreamingResponse, responses=_ANSWERS)
async def logs(
    job_id: str,
    request: Request,
    api: ApiState,
    principal: JobLogReader,
    attempt: Annotated[int | None, Query(ge=1, le=10_000, description="Absent: the newest.")] = None,
    rank: Annotated[int | None, Query(ge=0, le=10_000_000, description="Process rank; absent: all.")] = None,
    stream: Annotated[Literal["stdout", "stderr"] | None, Query(description="Absent: both.")] = None,
    follow: Annotated[bool, Query(description="Go on until the job has ended.")] = False,
) -> StreamingResponse:
    """Lines of {attempt, rank, task_rank, local_rank, stream, offset, end, text}; `text` is as it came.

    While following, lines may be empty (a sign of life), and the last one is {note}: `end`, or `incomplete`
    where output was lost with its node. A stream that stops without it was cut: ask again.
    """
    async with api.database.read() as session:
        plan = await plan_job_logs(session, principal, job_id)
    reader = LogStream(api, principal, request.state.session_check, plan, OutputFilter(attempt, rank, stream))
    lines = reader.follow() if follow else reader.once()
    return StreamingResponse(lines, media_type=NDJSON, headers={"X-Accel-Buffering": "no"})
