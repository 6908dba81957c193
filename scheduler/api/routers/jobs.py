"""Jobs: submit, list, look at, cancel, explain."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from scheduler.api.auth import JobCanceller, JobReader, JobSubmitter
from scheduler.api.bodies import read_json, request_body
from scheduler.api.idempotency import REPLAYED_HEADER, IdempotencyKey, check_key, request_sha256
from scheduler.api.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from scheduler.api.schemas.job_specs import JobSpecIn
from scheduler.api.schemas.jobs import (
    AttemptsOut,
    ExplanationOut,
    JobOut,
    JobsOut,
    attempt_out,
    explanation_out,
    job_out,
)
from scheduler.api.state import ApiState
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.jobs import FINAL_STATES, JobState
from scheduler.services.explain import explain_job
from scheduler.services.jobs import JobFilter, cancel_job, list_attempts, list_jobs, read_job
from scheduler.services.submission import Submission

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

# Words of the filter that stand for several states.
_GROUPS = {
    "live": frozenset(state.value for state in JobState if state not in FINAL_STATES),
    "ended": frozenset(state.value for state in FINAL_STATES),
}


@router.post("", status_code=201, response_model=JobOut, openapi_extra=request_body(JobSpecIn))
async def submit(
    request: Request, api: ApiState, principal: JobSubmitter, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Submit a job. Answered when it is durable; with an Idempotency-Key a repetition submits nothing."""
    check_key(idempotency_key)
    spec = spec_from_json(await read_json(request))
    idempotency = None if idempotency_key is None else (idempotency_key, await request_sha256(request))
    done = await api.submissions(Submission(principal, spec, idempotency))
    headers = {"Location": f"/v1/jobs/{done.answer['job_id']}"}
    if done.replayed:
        headers[REPLAYED_HEADER] = "true"
    return JSONResponse(done.answer, 201, headers)


@router.get("")
async def list_(
    api: ApiState,
    principal: JobReader,
    state: Annotated[list[str] | None, Query(description="States, or live, or ended; may repeat.")] = None,
    project: Annotated[str | None, Query(max_length=100)] = None,
    name: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> JobsOut:
    """Jobs, newest first."""
    wanted = JobFilter(_states(state or []), project, name)
    async with api.database.read() as session:
        jobs = await list_jobs(session, principal, wanted, limit=limit + 1, before=decode_cursor(cursor))
    page = jobs[:limit]
    more = len(jobs) > limit
    return JobsOut(
        jobs=[job_out(job) for job in page],
        next_cursor=encode_cursor((page[-1].submitted_ms, page[-1].job_id)) if more else None,
    )


def _states(words: list[str]) -> frozenset[str]:
    states: set[str] = set()
    for word in (part for text in words for part in text.split(",")):
        if word not in _GROUPS and word not in list(JobState):
            want = "one of: " + ", ".join([*JobState, *_GROUPS])
            raise Invalid([FieldProblem("query state", repr(word)[:60], want)])
        states |= _GROUPS.get(word, {word})
    return frozenset(states)


@router.get("/{job_id}")
async def read(job_id: str, api: ApiState, principal: JobReader) -> JobOut:
    """A job with where it is."""
    async with api.database.read() as session:
        return job_out(await read_job(session, principal, job_id))


@router.post("/{job_id}/cancel", status_code=202)
async def cancel(job_id: str, api: ApiState, principal: JobCanceller) -> JobOut:
    """Ask for the job to be stopped. Its state changes when the controller has acted."""
    async with api.database.transaction() as session:
        return job_out(await cancel_job(session, principal, job_id))


@router.get("/{job_id}/explain")
async def explain(job_id: str, api: ApiState, principal: JobReader) -> ExplanationOut:
    """Why the job waits, runs where it runs, or ended."""
    async with api.database.read() as session:
        return explanation_out(await explain_job(session, principal, job_id))


@router.get("/{job_id}/attempts")
async def attempts(job_id: str, api: ApiState, principal: JobReader) -> AttemptsOut:
    """The tries at running the job, with their tasks."""
    async with api.database.read() as session:
        job, tries = await list_attempts(session, principal, job_id)
    return AttemptsOut(job_id=job.job_id, attempts=[attempt_out(attempt) for attempt in tries])
