"""Before a job runs: what would become of it, and who waits in a queue."""

from fastapi import APIRouter, Request

from scheduler.api.auth import JobReader, JobSubmitter
from scheduler.api.bodies import read_json, request_body
from scheduler.api.pagination import DEFAULT_LIMIT, Limit
from scheduler.api.schemas.job_specs import JobSpecIn
from scheduler.api.schemas.waiting import QueueOut, TrialOut, queue_out, trial_out
from scheduler.api.state import ApiState
from scheduler.domain.job_reading import spec_from_json
from scheduler.services.waiting import list_waiting

router = APIRouter(tags=["jobs"])


@router.post("/v1/jobs/validate", openapi_extra=request_body(JobSpecIn))
async def validate(request: Request, api: ApiState, principal: JobSubmitter) -> TrialOut:
    """Try a job without submitting it: would it fit, on what, when and at what price?

    Refused as a submission would be where it could never start.
    """
    spec = spec_from_json(await read_json(request))
    now_ms = api.now_ms()
    return trial_out(await api.trials.of(principal, spec, now_ms), now_ms)


@router.get("/v1/queues/{queue:path}/waiting")
async def waiting(queue: str, api: ApiState, principal: JobReader, limit: Limit = DEFAULT_LIMIT) -> QueueOut:
    """Who waits in a queue, in the planner's order, each with its first reason.

    `queue` is a queue's name, or `firm/name`: of a name alone, operators see the queues of every firm.
    """
    async with api.database.read() as session:
        return queue_out(queue, list(await list_waiting(session, principal, queue, limit)), api.now_ms())
