"""Jobs: cancel, hold, release, send back, revise. Facts for the controller, which alone moves states."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise, require_project
from scheduler.domain.budgets import BudgetKey
from scheduler.domain.errors import Conflict, FieldProblem, Invalid, NotFound
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.jobs import FINAL_STATES, JobState
from scheduler.services.budgets import BudgetLine, paying_budgets, require_left
from scheduler.services.jobs import JobRecord, read_job
from scheduler.storage import inbox
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import JobRevisionRow

CHANGEABLE = ("priority", "time_limit_seconds", "estimate_seconds", "deadline", "labels", "budget")
_HAS_ATTEMPT = (JobState.ALLOCATED, JobState.RUNNING, JobState.STOPPING)
_TELL_ARRAY = text(
    "WITH told AS (INSERT INTO inbox (kind, body) SELECT CAST(:kind AS text),"
    " jsonb_build_object('firm_id', j.firm_id, 'job_id', j.job_id, 'by', CAST(:by AS text)) || CAST(:more AS jsonb)"
    " FROM jobs j LEFT JOIN job_states s USING (firm_id, job_id)"
    " WHERE j.array_id = :array_id AND (CAST(:firm_id AS text) IS NULL OR j.firm_id = :firm_id)"
    " AND (CAST(:projects AS text[]) IS NULL OR j.project = ANY(:projects))"
    " AND coalesce(s.state, 'queued') NOT IN ('succeeded','failed','cancelled')"
    " ORDER BY j.array_index RETURNING 1)"
    " SELECT (SELECT count(*) FROM told) AS told,"
    " EXISTS (SELECT FROM jobs WHERE array_id = :array_id AND (CAST(:firm_id AS text) IS NULL"
    " OR firm_id = :firm_id)) AS there"
)


async def cancel_job(session: AsyncSession, principal: Principal, job_id: str) -> JobRecord:
    """Ask the controller to cancel. Twice has one effect. Raises NotFound; Conflict when it ended."""
    authorise(principal, Action.CANCEL_JOB)
    job = await _job_to_change(session, principal, job_id)
    if job.state == JobState.CANCELLED.value:
        return job
    _require_live(job)
    await _tell(session, principal, job, "CancelRequested")
    return job


async def hold_job(session: AsyncSession, principal: Principal, job_id: str, *, held: bool) -> JobRecord:
    """Keep a job from starting (again), or let it. Twice has one effect. Raises NotFound, Conflict."""
    authorise(principal, Action.CHANGE_JOB)
    job = await _job_to_change(session, principal, job_id)
    _require_live(job)
    await _tell(session, principal, job, "HoldRequested", held=held)
    return job


async def requeue_job(session: AsyncSession, principal: Principal, job_id: str) -> JobRecord:
    """Stop the job's attempt and let the job wait again. Raises NotFound; Conflict without an attempt."""
    authorise(principal, Action.CHANGE_JOB)
    job = await _job_to_change(session, principal, job_id)
    _require_live(job)
    if job.state not in _HAS_ATTEMPT:
        raise Conflict(f"job {job_id} is {job.state}: it waits already", {"state": job.state})
    await _tell(session, principal, job, "RequeueRequested")
    return job


async def act_on_array(
    session: AsyncSession, principal: Principal, array_id: str, kind: str, **more: object
) -> int:
    """Tell the controller the same of every job of an array that has not ended; returns how many.

    Raises NotFound, also for a foreign firm's array.
    """
    authorise(principal, Action.CANCEL_JOB if kind == "CancelRequested" else Action.CHANGE_JOB)
    row = (
        await session.execute(
            _TELL_ARRAY,
            {
                "kind": kind,
                "by": principal.name,
                "more": _json(more),
                "array_id": array_id,
                "firm_id": principal.firm_id,
                "projects": None if principal.projects is None else list(principal.projects),
            },
        )
    ).one()
    if not row.there:
        raise NotFound(f"there is no array {array_id}")
    await poke(session, Channel.INBOX)
    return int(row.told)


async def revise_job(
    session: AsyncSession, principal: Principal, job_id: str, changes: object, now_ms: int
) -> JobRecord:
    """A new revision of a job's spec; null takes a field back to its default.

    Raises NotFound; Invalid for what cannot be changed; Conflict when the job has ended, somebody else revised it at
    the same moment, or it runs, or was stopped for others, and its budgets cannot pay for a longer time limit.
    """
    authorise(principal, Action.CHANGE_JOB)
    if not isinstance(changes, Mapping) or not changes:
        raise Invalid([FieldProblem("(root)", "nothing to change", "one of: " + ", ".join(CHANGEABLE))])
    wrong = [
        FieldProblem(str(key), "a field that cannot be changed", "one of: " + ", ".join(CHANGEABLE))
        for key in changes
        if key not in CHANGEABLE
    ]
    if wrong:
        raise Invalid(wrong)
    job = await _job_to_change(session, principal, job_id)
    _require_live(job)
    if job.firm_id != principal.firm_id:
        raise Conflict(f"job {job_id} is another firm's: an operator may hold or cancel it")
    spec = spec_from_json({**job.spec, **changes})
    if "deadline" in changes and spec.deadline_ms is not None and spec.deadline_ms <= now_ms:
        raise Invalid([FieldProblem("deadline", str(spec.deadline), "a time that has not passed")])

    async def paying() -> Mapping[BudgetKey, BudgetLine]:
        if "time_limit_seconds" not in changes:
            return {}
        return await paying_budgets(session, principal, job.firm_id, job.project, now_ms)

    held_before = await paying()
    revision = job.revision + 1
    row = {
        "firm_id": job.firm_id,
        "job_id": job_id,
        "revision": revision,
        "spec": spec.to_json(),
        "revised_by": principal.principal_id,
        "revised_ms": now_ms,
    }
    try:
        await session.execute(insert(JobRevisionRow).values(**row).inline())
    except IntegrityError:
        raise Conflict(
            f"job {job_id} was revised by somebody else just now: look at it and try again"
        ) from None
    require_left(held_before, await paying())
    await _tell(session, principal, job, "JobRevised", revision=revision)
    return await read_job(session, principal, job_id)


async def _job_to_change(session: AsyncSession, principal: Principal, job_id: str) -> JobRecord:
    job = await read_job(session, principal, job_id)
    require_project(principal, job.project)
    return job


def _require_live(job: JobRecord) -> None:
    if job.state in FINAL_STATES:
        raise Conflict(f"job {job.job_id} has ended already: {job.state}", {"state": job.state})


async def _tell(session: AsyncSession, principal: Principal, job: JobRecord, kind: str, **more: Any) -> None:
    body = {"firm_id": job.firm_id, "job_id": job.job_id, "by": principal.name, **more}
    await inbox.put(session, kind, body)


def _json(value: object) -> str:
    return json.dumps(value)
