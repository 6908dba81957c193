"""What a job's tasks left: listed, and downloaded file by file, from any byte on."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path
from fastapi.responses import StreamingResponse

from scheduler.api.auth import ResultReader
from scheduler.api.schemas.content import ResultFileOut, ResultFilesOut, ResultsOut, result_out
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.domain.errors import FieldProblem, Invalid, NotFound, Unavailable
from scheduler.domain.gangs import MOST_RANK
from scheduler.services.results import ResultRecord, list_results, read_result
from suanli.content.manifest import OBJECT_BYTES, ContentError, FileEntry, Manifest, parse_manifest

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

BYTES = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{1,15})-")
_SCHEMA = {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _SCHEMA,
    206: {"description": "From the byte asked for.", **_SCHEMA},
}
Attempt = Annotated[int, Path(ge=1, le=10_000)]
Rank = Annotated[int, Path(ge=0, le=MOST_RANK, description="Task rank.")]


@router.get("/{job_id}/results")
async def results(job_id: str, api: ApiState, principal: ResultReader) -> ResultsOut:
    """What each task of each attempt left: its output folder (SUANLI_OUTPUT_DIR) and the job's outputs."""
    async with api.database.read() as session:
        found = await list_results(session, principal, job_id)
    return ResultsOut(job_id=job_id, results=[result_out(result) for result in found])


@router.get("/{job_id}/results/{attempt}/{rank}")
async def files(
    job_id: str, attempt: Attempt, rank: Rank, api: ApiState, principal: ResultReader
) -> ResultFilesOut:
    """The files of a task's results."""
    _, manifest = await _manifest(api, principal, job_id, attempt, rank)
    return ResultFilesOut(
        files=[
            ResultFileOut(path=f.path, size=f.size, executable=f.executable, sha256=f.sha256)
            for f in manifest.files
        ]
    )


@router.get(
    "/{job_id}/results/{attempt}/{rank}/files/{path:path}",
    response_class=StreamingResponse,
    responses=_ANSWERS,
)
async def download(
    job_id: str,
    attempt: Attempt,
    rank: Rank,
    path: str,
    api: ApiState,
    principal: ResultReader,
    range_: Annotated[str | None, Header(alias="Range", description="bytes=N- goes on at byte N.")] = None,
) -> StreamingResponse:
    """One file. Its ETag is its SHA-256."""
    result, manifest = await _manifest(api, principal, job_id, attempt, rank)
    file = next((f for f in manifest.files if f.path == path), None)
    if file is None:
        raise NotFound(f"the results hold no file {path[:200]!r}")
    begin = _begin(range_, file)
    headers = {
        "ETag": f'"{file.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Length": str(file.size - begin),
        "Content-Disposition": "attachment",
    }
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{file.size - 1}/{file.size}"
    body = _read(api, result.firm_id, file, begin)
    return StreamingResponse(body, 206 if begin else 200, headers, BYTES)


def _begin(range_: str | None, file: FileEntry) -> int:
    if range_ is None:
        return 0
    match = _RANGE.fullmatch(range_)
    if match is None or int(match[1]) > max(file.size - 1, 0):
        want = f"bytes=N- with N below the file's {file.size} bytes"
        raise Invalid([FieldProblem("header Range", range_[:60], want)])
    return int(match[1])


async def _manifest(
    api: Api, principal: Principal, job_id: str, attempt: int, rank: int
) -> tuple[ResultRecord, Manifest]:
    async with api.database.read() as session:
        result = await read_result(session, principal, job_id, attempt, rank)
    if result.digest is None:
        raise NotFound(f"nothing of attempt {attempt}, rank {rank} is kept: {result.problem}")
    data = await asyncio.to_thread(api.content.get, result.firm_id, result.digest)
    try:
        if data is not None:
            return result, await asyncio.to_thread(parse_manifest, data)
    except ContentError as error:
        raise Unavailable(f"the list of the results cannot be read: {error}") from error
    raise Unavailable("the list of the results is not in the installation's store")


async def _read(api: Api, firm_id: str, file: FileEntry, begin: int) -> AsyncIterator[bytes]:
    first, skip = divmod(begin, OBJECT_BYTES)
    for sha256 in file.objects[first:]:
        data = await asyncio.to_thread(api.content.get, firm_id, sha256)
        if data is None:  # the length was announced: the client sees that the answer is cut
            raise RuntimeError(f"object {sha256} of firm {firm_id} is not in the store")
        yield data[skip:]
        skip = 0
