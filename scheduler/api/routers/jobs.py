"""Jobs: submit one or many, list, look at, explain."""

import json
from collections.abc import Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from scheduler.api.answers import Written
from scheduler.api.auth import JobReader, JobSubmitter, SessionCheck
from scheduler.api.bodies import read_json, request_body
from scheduler.api.etags import etag
from scheduler.api.hot import hot
from scheduler.api.idempotency import REPLAYED_HEADER, IdempotencyKey, check_key, once, request_sha256
from scheduler.api.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from scheduler.api.schemas.job_changes import BatchIn, BatchOut, batch_out
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
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.domain.batches import MOST_JOBS
from scheduler.domain.errors import DomainError, FieldProblem, Invalid
from scheduler.domain.job_limits import MOST_LABELS
from scheduler.domain.job_templates import read_spec
from scheduler.domain.jobs import FINAL_STATES, JobKind, JobState, Priority
from scheduler.domain.reading import Reader
from scheduler.domain.time import from_rfc3339
from scheduler.services.batches import Batches
from scheduler.services.explain import explain_job
from scheduler.services.job_pages import JobFilter, JobOrder
from scheduler.services.jobs import list_attempts, read_job
from scheduler.services.submission import Submission
from suanli.rating.no_such_time import wanted_time

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

# Words of the filter that stand for several states.
_GROUPS = {
    "live": frozenset(state.value for state in JobState if state not in FINAL_STATES),
    "ended": frozenset(state.value for state in FINAL_STATES),
}


@hot(
    router,
    "POST",
    "",
    checks_key=True,
    status_code=201,
    response_model=JobOut,
    openapi_extra=request_body(JobSpecIn),
)
async def submit(
    request: Request, api: ApiState, principal: JobSubmitter, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit a job. Answered when it is durable; with an Idempotency-Key a repetition submits nothing.

    Of an array the first job is answered; `array_id` names them all.
    """
    check_key(idempotency_key)
    value = await read_json(request)
    spec = read_spec(value)
    key: SessionCheck = request.state.session_check
    if spec.array is not None or spec.dependencies.all or spec.inputs:  # more than one statement
        await key.confirm()
    if spec.array is not None or spec.dependencies.all:
        return await _submit_joined(request, api, principal, value, idempotency_key)
    idempotency = None if idempotency_key is None else (idempotency_key, await request_sha256(request))
    done = await api.submissions(Submission(principal, spec, idempotency, key.unchecked))
    location = (b"location", f"/v1/jobs/{done.job_id}".encode())
    replayed = ((REPLAYED_HEADER.lower().encode(), b"true"),) if done.replayed else ()
    return Written(done.answer, 201, (location, *replayed))


async def _submit_joined(
    request: Request, api: Api, principal: Principal, value: object, idempotency_key: str | None
) -> JSONResponse:
    """An array, or a job that waits for others."""
    async with api.database.transaction() as session:

        async def work() -> JobOut:
            (done,) = await _batches(api).submit(
                session, principal, [value], now_ms=api.now_ms(), atomic=True, at=lambda _: ""
            )
            if isinstance(done, DomainError):
                raise done
            return job_out(await read_job(session, principal, done.job_id))

        answer = await once(session, principal, idempotency_key, request, work)
    answer.headers["Location"] = f"/v1/jobs/{json.loads(bytes(answer.body))['job_id']}"
    return answer


@router.post("/batch", status_code=201, response_model=BatchOut, openapi_extra=request_body(BatchIn))
async def submit_many(
    request: Request, api: ApiState, principal: JobSubmitter, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Submit up to 10,000 jobs in one transaction: all or none, or (`atomic: false`) each for itself.

    Jobs may name each other in `dependencies`, in any order; a cycle or a name that is nothing is refused.
    """
    check_key(idempotency_key)
    items, atomic = await _read_batch(request)
    async with api.database.transaction() as session:

        async def work() -> BatchOut:
            outcomes = await _batches(api).submit(
                session, principal, items, now_ms=api.now_ms(), atomic=atomic
            )
            return batch_out(outcomes)

        return await once(session, principal, idempotency_key, request, work)


@router.post("/batch/validate", openapi_extra=request_body(BatchIn))
async def validate_many(request: Request, api: ApiState, principal: JobSubmitter) -> BatchOut:
    """Try a batch without submitting it: an outcome for each of its jobs, as `atomic: false` would give, without ids.

    When a job would start, and at what price, `POST /v1/jobs/validate` says of one by itself.
    """
    items, _ = await _read_batch(request)
    async with api.database.transaction() as session:
        outcomes = await _batches(api).submit(
            session, principal, items, now_ms=api.now_ms(), atomic=False, dry_run=True
        )
    return batch_out(outcomes, stored=False)


async def _read_batch(request: Request) -> tuple[Sequence[object], bool]:
    """Its items, and whether all or none are meant. Raises Invalid."""
    value = await read_json(request)
    reader = Reader(value)
    items = reader.some("jobs", most=MOST_JOBS)
    atomic = reader.boolean("atomic", True)
    if not items and not reader.problems:
        reader.problem("jobs", reader.raw("jobs"), f"a list of 1 to {MOST_JOBS} jobs")
    reader.finish()
    return items, bool(atomic)


def _batches(api: Api) -> Batches:
    return Batches(api.database, api.catalogue, api.known, api.config.ids)


@hot(router, "GET", "", response_model=JobsOut)
async def list_(  # noqa: PLR0913, PLR0917 - each is a parameter of the query
    api: ApiState,
    principal: JobReader,
    state: Annotated[list[str] | None, Query(description="States, or live, or ended; may repeat.")] = None,
    project: Annotated[str | None, Query(max_length=100)] = None,
    name: Annotated[str | None, Query(max_length=201, description="Of a job, or firm/name.")] = None,
    queue: Annotated[str | None, Query(max_length=201, description="Its name, or firm/name.")] = None,
    kind: JobKind | None = None,
    priority: Priority | None = None,
    submitted_by: Annotated[str | None, Query(max_length=100, description="A principal's name.")] = None,
    array: Annotated[str | None, Query(max_length=64, description="Jobs of this array.")] = None,
    label: Annotated[
        list[str] | None, Query(max_length=MOST_LABELS, description="name=value; may repeat, all must hold.")
    ] = None,
    submitted_from: Annotated[str | None, Query(max_length=40, description="RFC 3339, inclusive.")] = None,
    submitted_to: Annotated[str | None, Query(max_length=40, description="RFC 3339, exclusive.")] = None,
    sort: JobOrder = JobOrder.NEWEST,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Jobs, newest first unless `sort` says otherwise."""
    wanted = JobFilter(
        states=_states(state or []),
        project=project,
        name=name,
        queue=queue,
        kind=kind,
        priority=priority,
        submitted_by=submitted_by,
        array_id=array,
        labels=_labels(label or []),
        submitted_from_ms=_moment("submitted_from", submitted_from),
        submitted_to_ms=_moment("submitted_to", submitted_to),
    )
    by_name = sort in (JobOrder.NAME, JobOrder.NAME_BACKWARDS)
    after = decode_cursor(cursor, names=by_name)
    page = await api.job_answers.page(principal, wanted, limit=limit, order=sort, after=after)
    next_cursor = None if page.next_place is None else encode_cursor(page.next_place)
    jobs = [orjson.Fragment(job) for job in page.jobs]
    return Written(orjson.dumps({"next_cursor": next_cursor, "jobs": jobs}))


def _labels(texts: list[str]) -> dict[str, str]:
    labels = {}
    for given in texts:
        name, found, value = given.partition("=")
        if not found or not name:
            raise Invalid([FieldProblem("query label", repr(given)[:60], "name=value")])
        labels[name] = value
    return labels


def _moment(field: str, given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return from_rfc3339(given)
    except ValueError:
        want = "a time with its zone, such as 2026-01-31T08:00:00+08:00"
        raise Invalid([FieldProblem(f"query {field}", repr(given)[:60], wanted_time(given, want))]) from None


def _states(words: list[str]) -> frozenset[str]:
    states: set[str] = set()
    for word in (part for text in words for part in text.split(",")):
        if word not in _GROUPS and word not in list(JobState):
            want = "one of: " + ", ".join([*JobState, *_GROUPS])
            raise Invalid([FieldProblem("query state", repr(word)[:60], want)])
        states |= _GROUPS.get(word, {word})
    return frozenset(states)


@hot(router, "GET", "/{job_id}", response_model=JobOut)
async def read(job_id: str, api: ApiState, principal: JobReader) -> Response:
    """A job with where it is. The ETag is that of its spec, for a PATCH with If-Match."""
    job, revision = await api.job_answers.one(principal, job_id, api.found_jobs)
    return Written(job, headers=((b"etag", etag(revision).encode()),))


@router.get("/{job_id}/explain")
async def explain(job_id: str, api: ApiState, principal: JobReader) -> ExplanationOut:
    """Why the job waits, runs where it runs, or ended."""
    async with api.database.read() as session:
        return explanation_out(await explain_job(session, principal, job_id), api.now_ms())


@router.get("/{job_id}/attempts")
async def attempts(job_id: str, api: ApiState, principal: JobReader) -> AttemptsOut:
    """The tries at running the job, with their tasks."""
    async with api.database.read() as session:
        job, tries = await list_attempts(session, principal, job_id)
    return AttemptsOut(job_id=job.job_id, attempts=[attempt_out(attempt) for attempt in tries])
