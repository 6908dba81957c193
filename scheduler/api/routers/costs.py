"""What a job costs."""

from fastapi import APIRouter

from scheduler.api.auth import JobReader
from scheduler.api.schemas.costs import JobCostOut, job_cost_out
from scheduler.api.state import ApiState
from scheduler.services.costs import job_cost

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("/{job_id}/cost")
async def cost(job_id: str, api: ApiState, principal: JobReader) -> JobCostOut:
    """What the job has cost so far, what it may cost to its end, and its budget."""
    async with api.database.read() as session:
        return job_cost_out(await job_cost(session, principal, job_id, api.now_ms()))
