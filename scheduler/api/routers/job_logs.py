"""The output of a job's processes, stored or live."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import StreamingResponse

from scheduler.api.auth import JobLogReader
from scheduler.api.job_output import CHUNK_BYTES, Begin, OutputFilter
from scheduler.api.log_stream import LogStream
from scheduler.api.periods import moment_ms
from scheduler.api.state import Api, ApiState
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.gangs import MOST_RANK
from scheduler.services.jobs import plan_job_logs
from scheduler.storage.job_logs import LogKey

router = APIRouter(tags=["jobs"])

NDJSON = "application/x-ndjson"
BYTES = "application/octet-stream"
MOST_SEEN = 256
_SEEN = re.compile(r"(\d{1,5}):(\d{1,8}):(stdout|stderr):(\d{1,15})")
_RANGE = re.compile(r"bytes=(\d{1,15})-")
_RAW_BODY = {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}
_RAW: dict[int | str, dict[str, Any]] = {200: _RAW_BODY, 206: {"description": "From a byte on.", **_RAW_BODY}}
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}


@router.get("/v1/jobs/{job_id}/logs", response_class=StreamingResponse, responses=_ANSWERS)
async def logs(  # noqa: PLR0913, PLR0917 - each is a parameter of the query
    job_id: str,
    request: Request,
    api: ApiState,
    principal: JobLogReader,
    attempt: Annotated[int | None, Query(ge=1, le=10_000, description="Absent: the newest.")] = None,
    rank: Annotated[int | None, Query(ge=0, le=MOST_RANK, description="Process rank; absent: all.")] = None,
    stream: Annotated[Literal["stdout", "stderr"] | None, Query(description="Absent: both.")] = None,
    tail: Annotated[
        int | None, Query(ge=0, le=1_000_000, description="Only so many last lines of each stream.")
    ] = None,
    since: Annotated[
        str | None,
        Query(max_length=40, description="Only what came at this time or later: RFC 3339 with its zone."),
    ] = None,
    seen: Annotated[
        list[str] | None,
        Query(
            max_length=MOST_SEEN,
            description="ATTEMPT:RANK:STREAM:END of the last piece that was received; may repeat.",
        ),
    ] = None,
    follow: Annotated[bool, Query(description="Go on until the job has ended.")] = False,
) -> StreamingResponse:
    """Lines of {attempt, rank, task_rank, local_rank, stream, offset, end, at, text}; `text` is as it came.

    Streams are merged by `at`, when a piece reached the control plane (null: not known), to about 10 ms.
    While following, lines may be empty (a sign of life), and the last one is {note}: `end`, or `incomplete`
    where output was lost with its node. A stream that stops without it was cut: ask again.
    """
    since_ms = moment_ms(since, "since")
    async with api.database.read() as session:
        plan = await plan_job_logs(session, principal, job_id)
    wanted, begin = OutputFilter(attempt, rank, stream), Begin(_seen(seen or []), tail, since_ms)
    reader = LogStream(api, principal, request.state.session_check, plan, wanted, begin)
    lines = reader.follow() if follow else reader.once()
    return StreamingResponse(lines, media_type=NDJSON, headers={"X-Accel-Buffering": "no"})


def _seen(texts: list[str]) -> dict[tuple[int, int, str], int]:
    seen = {}
    for text in texts:
        match = _SEEN.fullmatch(text)
        if match is None:
            raise Invalid([FieldProblem("query seen", repr(text)[:80], "ATTEMPT:RANK:STREAM:END")])
        seen[int(match[1]), int(match[2]), match[3]] = int(match[4])
    return seen


@router.get(
    "/v1/jobs/{job_id}/logs/{attempt}/{rank}/{stream}", response_class=StreamingResponse, responses=_RAW
)
async def raw(
    job_id: str,
    attempt: Annotated[int, Path(ge=1, le=10_000)],
    rank: Annotated[int, Path(ge=0, le=MOST_RANK, description="Process rank.")],
    stream: Literal["stdout", "stderr"],
    api: ApiState,
    principal: JobLogReader,
    range_: Annotated[str | None, Header(alias="Range", description="bytes=N- goes on at byte N.")] = None,
) -> StreamingResponse:
    """One stream's bytes as the process wrote them, up to what is there now."""
    async with api.database.read() as session:
        plan = await plan_job_logs(session, principal, job_id)
    task_rank, local_rank = plan.gang.place_of(rank)
    key = LogKey(plan.firm_id, job_id, attempt, task_rank, local_rank, stream)
    size = await asyncio.to_thread(api.job_logs.stored, key)
    match = None if range_ is None else _RANGE.fullmatch(range_)
    if range_ is not None and (match is None or int(match[1]) > size):
        raise Invalid([FieldProblem("header Range", range_[:60], f"bytes=N- with N at most {size}")])
    begin = 0 if match is None else int(match[1])
    headers = {
        "Content-Length": str(size - begin),
        "Accept-Ranges": "bytes",
        "Content-Disposition": "attachment",
    }
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{max(size - 1, begin)}/{size}"
    return StreamingResponse(_bytes(api, key, begin, size), 206 if begin else 200, headers, BYTES)


async def _bytes(api: Api, key: LogKey, begin: int, end: int) -> AsyncIterator[bytes]:
    while begin < end:
        data = await asyncio.to_thread(api.job_logs.read, key, begin, min(CHUNK_BYTES, end - begin))
        if not data:
            return
        begin += len(data)
        yield data
