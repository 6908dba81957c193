"""Changes of jobs: cancel, hold, release, send back, revise; also of all jobs of an array."""

from fastapi import APIRouter, Request, Response

from scheduler.api.auth import JobCanceller, JobChanger
from scheduler.api.bodies import read_json, request_body
from scheduler.api.etags import IfMatch, etag, require_match
from scheduler.api.schemas.job_changes import ArrayOut, JobChangeIn
from scheduler.api.schemas.jobs import JobOut, job_out
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.services.job_changes import act_on_array, cancel_job, hold_job, requeue_job, revise_job
from scheduler.services.jobs import read_job

router = APIRouter(tags=["jobs"])


@router.post("/v1/jobs/{job_id}/cancel", status_code=202)
async def cancel(job_id: str, api: ApiState, principal: JobCanceller) -> JobOut:
    """Ask for the job to be stopped. Its state changes when the controller has acted."""
    async with api.database.transaction() as session:
        return job_out(await cancel_job(session, principal, job_id))


@router.post("/v1/jobs/{job_id}/hold", status_code=202)
async def hold(job_id: str, api: ApiState, principal: JobChanger) -> JobOut:
    """Keep the job from starting, or from starting again when its attempt ends."""
    async with api.database.transaction() as session:
        return job_out(await hold_job(session, principal, job_id, held=True))


@router.post("/v1/jobs/{job_id}/release", status_code=202)
async def release(job_id: str, api: ApiState, principal: JobChanger) -> JobOut:
    """Let a held job start."""
    async with api.database.transaction() as session:
        return job_out(await hold_job(session, principal, job_id, held=False))


@router.post("/v1/jobs/{job_id}/requeue", status_code=202)
async def requeue(job_id: str, api: ApiState, principal: JobChanger) -> JobOut:
    """Stop the job's attempt (with its grace for a model checkpoint) and let the job wait again."""
    async with api.database.transaction() as session:
        return job_out(await requeue_job(session, principal, job_id))


@router.patch("/v1/jobs/{job_id}", openapi_extra=request_body(JobChangeIn))
async def change(
    job_id: str,
    request: Request,
    response: Response,
    api: ApiState,
    principal: JobChanger,
    if_match: IfMatch = None,
) -> JobOut:
    """Change priority, time limit, estimate, deadline or labels: a new revision of the job's spec.

    With If-Match only where the spec still has that ETag; else 412.
    """
    await request.body()
    async with api.database.transaction() as session:
        # A foreign job does not exist, whatever the body says.
        before = await read_job(session, principal, job_id)
        require_match(if_match, before.revision)
        changes = await read_json(request)
        job = await revise_job(session, principal, job_id, changes, api.now_ms())
    response.headers["ETag"] = etag(job.revision)
    return job_out(job)


@router.post("/v1/arrays/{array_id}/cancel", status_code=202)
async def cancel_array(array_id: str, api: ApiState, principal: JobCanceller) -> ArrayOut:
    """Ask for every job of an array to be stopped."""
    return await _tell_array(api, principal, array_id, "CancelRequested")


@router.post("/v1/arrays/{array_id}/hold", status_code=202)
async def hold_array(array_id: str, api: ApiState, principal: JobChanger) -> ArrayOut:
    """Keep every job of an array from starting (again)."""
    return await _tell_array(api, principal, array_id, "HoldRequested", held=True)


@router.post("/v1/arrays/{array_id}/release", status_code=202)
async def release_array(array_id: str, api: ApiState, principal: JobChanger) -> ArrayOut:
    """Let the jobs of an array start."""
    return await _tell_array(api, principal, array_id, "HoldRequested", held=False)


async def _tell_array(api: Api, principal: Principal, array_id: str, kind: str, **more: object) -> ArrayOut:
    async with api.database.transaction() as session:
        jobs = await act_on_array(session, principal, array_id, kind, **more)
    return ArrayOut(array_id=array_id, jobs=jobs)
