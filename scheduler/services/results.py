"""Results of jobs: what their tasks left, kept by the installation for a while."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.errors import NotFound
from scheduler.domain.time import DAY_MS
from scheduler.services.jobs import read_job
from scheduler.services.tasks import TaskOutput, task_output
from scheduler.storage.tables import ResultRow

# A node that was cut off delivers when it is back; whoever comes later than this is not believed.
RESULTS_MAY_COME_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """What one task of an attempt left. Times in ms UTC; `digest` in hex, of the manifest."""

    firm_id: str
    job_id: str
    attempt: int
    rank: int
    digest: str | None
    bytes: int
    files: int
    problem: str | None
    collected_ms: int
    keep_until_ms: int


async def list_results(session: AsyncSession, principal: Principal, job_id: str) -> Sequence[ResultRecord]:
    """Results of a job by attempt and rank. Raises Forbidden, NotFound."""
    authorise(principal, Action.READ_RESULTS)
    job = await read_job(session, principal, job_id)
    rows = await session.scalars(
        select(ResultRow)
        .where(ResultRow.firm_id == job.firm_id, ResultRow.job_id == job_id)
        .order_by(ResultRow.attempt, ResultRow.rank)
    )
    return [_record(row) for row in rows]


async def read_result(
    session: AsyncSession, principal: Principal, job_id: str, attempt: int, rank: int
) -> ResultRecord:
    """One of them. Raises Forbidden, NotFound."""
    for result in await list_results(session, principal, job_id):
        if (result.attempt, result.rank) == (attempt, rank):
            return result
    raise NotFound(f"job {job_id} has no results of attempt {attempt}, rank {rank}")


async def task_that_leaves_results(
    session: AsyncSession, node_id: str, allocation_id: str, now_ms: int
) -> tuple[TaskOutput, bool]:
    """The task of an allocation of the node whose results may still come, and whether they have come already.

    A node's key, stolen, is no way to add to what ended long ago. Raises NotFound.
    """
    task = await task_output(session, node_id, allocation_id)
    if task.ended_ms is not None and now_ms - task.ended_ms > RESULTS_MAY_COME_MS:
        raise NotFound(
            f"allocation {allocation_id} ended too long ago to leave results",
            {"allocation_id": allocation_id},
        )
    place = (task.firm_id, task.job_id, task.attempt, task.rank)
    return task, await session.get(ResultRow, place) is not None


async def note_result(
    session: AsyncSession,
    task: TaskOutput,
    *,
    digest: str | None,
    size: int,
    files: int,
    problem: str | None,
    now_ms: int,
    keep_ms: int,
) -> None:
    """Keep what a task left; the first word about a task counts."""
    await session.execute(
        insert(ResultRow)
        .values(
            firm_id=task.firm_id,
            job_id=task.job_id,
            attempt=task.attempt,
            rank=task.rank,
            digest=digest,
            bytes=size,
            files=files,
            problem=problem,
            collected_ms=now_ms,
            keep_until_ms=now_ms + keep_ms,
        )
        .on_conflict_do_nothing()
    )


def _record(row: ResultRow) -> ResultRecord:
    return ResultRecord(
        firm_id=row.firm_id,
        job_id=row.job_id,
        attempt=row.attempt,
        rank=row.rank,
        digest=row.digest,
        bytes=row.bytes,
        files=row.files,
        problem=row.problem,
        collected_ms=row.collected_ms,
        keep_until_ms=row.keep_until_ms,
    )
