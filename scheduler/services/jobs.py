"""Jobs: looking at one. Lists are in `job_pages`, submitting in `batches` and `submission`, changing in `job_changes`.

Every state is the controller's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.allocations import Goal
from scheduler.domain.authorise import Action, Principal, authorise, may_see_firm
from scheduler.domain.errors import NotFound
from scheduler.domain.gangs import Gang
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.jobs import JobState
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    DeviceRow,
    NodeRow,
)

HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job with where it is. Times in ms UTC."""

    job_id: str
    firm_id: str
    firm: str
    project: str
    queue: str
    name: str
    spec: Mapping[str, Any]
    submitted_by: str
    submitted_ms: int
    state: str
    attempt: int
    device_model: str | None
    reason: str | None
    detail: str | None
    exit_code: int | None
    step_report: Mapping[str, Any] | None
    started_ms: int | None
    ended_ms: int | None
    cancel_requested: bool
    revision: int  # of the spec, the newest
    held: bool
    array_id: str | None
    array_index: int | None
    devices: int  # as many as it asks for; an elastic gang that has started: as many as it was given
    simulated: bool | None = None  # whether no hardware is behind its newest devices; None: it had none yet

    @property
    def final(self) -> bool:
        """Whether the job never changes again."""
        return JobState(self.state).final


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task of an attempt: where it was placed and how it went."""

    allocation_id: str
    rank: int
    node: str
    device_indices: tuple[int, ...]
    phase: str | None
    goal: str
    exit_code: int | None
    end_reason: str | None
    detail: str | None
    granted_ms: int
    started_ms: int | None
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try at running a job."""

    attempt: int
    variant: int
    device_model: str
    state: str
    outcome: str | None
    reason: str | None
    why_here: Mapping[str, Any]
    master_address: str | None
    master_port: int | None
    image_digest: str | None
    allocated_ms: int
    started_ms: int | None
    ended_ms: int | None
    tasks: tuple[TaskRecord, ...]


# Jobs, each with its state and its newest revision. Only constant texts are put together here.
JOBS_AND_STATES = """
    jobs j LEFT JOIN job_states s ON s.firm_id = j.firm_id AND s.job_id = j.job_id
    LEFT JOIN LATERAL (
        SELECT v.spec, v.revision FROM job_revisions v WHERE v.firm_id = j.firm_id AND v.job_id = j.job_id
        ORDER BY v.revision DESC LIMIT 1
    ) r ON true
"""
# Shared by those who read one job in a session and those who read many without one. `state_written`: which
# transaction wrote the state; a job of which it and the revision are the same is the same.
JOBS_SQL = f"""
    SELECT j.job_id, j.firm_id, f.name AS firm, j.project, j.queue, j.name, coalesce(r.spec, j.spec) AS spec,
        p.name AS submitted_by, j.submitted_ms, s.state, s.attempt, s.device_model, s.reason, s.detail,
        s.exit_code, s.step_report, s.started_ms, s.ended_ms, s.cancel_requested, s.held,
        coalesce(r.revision, 0) AS revision, j.array_id, j.array_index, s.xmin::text AS state_written,
        CASE WHEN s.attempt > 0 THEN EXISTS (
            SELECT FROM allocations a
            JOIN allocation_devices o ON o.firm_id = a.firm_id AND o.allocation_id = a.allocation_id
            JOIN devices d ON d.device_id = o.device_id
            WHERE a.firm_id = j.firm_id AND a.job_id = j.job_id AND a.attempt = s.attempt AND d.simulated
        ) END AS simulated,
        CASE WHEN s.attempt > 0 AND s.state <> 'queued'
            AND jsonb_typeof(coalesce(r.spec, j.spec) #> '{{gang,elastic}}') = 'object' THEN (
            SELECT count(*) FROM allocations a
            JOIN allocation_devices o ON o.firm_id = a.firm_id AND o.allocation_id = a.allocation_id
            WHERE a.firm_id = j.firm_id AND a.job_id = j.job_id AND a.attempt = s.attempt AND a.goal <> 'reserve'
        ) END AS elastic_devices
    FROM {JOBS_AND_STATES}
    JOIN firms f ON f.firm_id = j.firm_id
    JOIN principals p ON p.principal_id = j.submitted_by
    WHERE j.job_id = ANY(%(job_ids)s)
"""  # noqa: S608
REVISION, STATE_WRITTEN = 20, 23  # which columns of it they are


def record_of(principal: Principal, row: Sequence[Any]) -> JobRecord:
    """A row of JOBS_SQL as the principal may see it."""
    job_id, firm_id, firm, project, queue, name, spec, submitted_by, submitted_ms, state = row[:10]
    attempt, device_model, reason, detail, exit_code, step_report, started_ms, ended_ms = row[10:18]
    cancel_requested, held, revision, array_id, array_index = row[18:23]
    return JobRecord(
        job_id=job_id,
        firm_id=firm_id,
        firm=firm,
        project=project,
        queue=queue,
        name=name,
        spec=spec if principal.firm_id == firm_id else _without_secrets(spec),
        submitted_by=submitted_by,
        submitted_ms=submitted_ms,
        # Until the controller has taken the message, the job waits.
        state=state or JobState.QUEUED.value,
        attempt=attempt or 0,
        device_model=device_model,
        reason=reason,
        detail=detail,
        exit_code=exit_code,
        step_report=step_report,
        started_ms=started_ms,
        ended_ms=ended_ms,
        cancel_requested=bool(cancel_requested),
        revision=revision,
        held=bool(spec.get("hold")) if state is None else held,
        array_id=array_id,
        array_index=array_index,
        simulated=row[24],
        devices=row[25] or spec["gang"]["devices"],
    )


def _without_secrets(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as people of other firms (operators) see it: environments carry tokens."""
    variants = [
        {**variant, "environment": dict.fromkeys(variant["environment"], HIDDEN)}
        for variant in spec["variants"]
    ]
    notification = spec.get("notification")
    if notification is not None:  # a URL is often all that a receiver asks for
        notification = {**notification, "url": HIDDEN}
    return {**spec, "variants": variants, "notification": notification}


async def read_job(session: AsyncSession, principal: Principal, job_id: str) -> JobRecord:
    """A job. Raises NotFound, also for a foreign firm's."""
    authorise(principal, Action.READ_JOBS)
    connection = await session.connection()
    row = (await connection.exec_driver_sql(JOBS_SQL, {"job_ids": [job_id]})).one_or_none()
    if row is None or not may_see_firm(principal, row.firm_id):
        raise NotFound(f"there is no job {job_id}")
    return record_of(principal, row)


async def list_attempts(
    session: AsyncSession, principal: Principal, job_id: str
) -> tuple[JobRecord, Sequence[AttemptRecord]]:
    """The attempts of a job with their tasks, oldest first. Raises NotFound."""
    job = await read_job(session, principal, job_id)
    of_job = and_(AllocationRow.firm_id == job.firm_id, AllocationRow.job_id == job_id)
    indices: dict[str, list[int]] = {}
    owned = (
        select(AllocationDeviceRow.allocation_id, DeviceRow.index)
        .join(AllocationRow, AllocationRow.allocation_id == AllocationDeviceRow.allocation_id)
        .join(DeviceRow, DeviceRow.device_id == AllocationDeviceRow.device_id)
        .where(of_job)
        .order_by(DeviceRow.index)
    )
    for allocation_id, index in await session.execute(owned):
        indices.setdefault(allocation_id, []).append(index)
    tasks: dict[int, list[TaskRecord]] = {}
    placed = (
        select(AllocationRow, NodeRow.name)
        .join(NodeRow, NodeRow.node_id == AllocationRow.node_id)
        .where(of_job)
        .order_by(AllocationRow.attempt, AllocationRow.rank)
    )
    for row, node in await session.execute(placed):
        tasks.setdefault(row.attempt, []).append(_task(row, node, tuple(indices.get(row.allocation_id, ()))))
    attempts = await session.scalars(
        select(AttemptRow)
        .where(AttemptRow.firm_id == job.firm_id, AttemptRow.job_id == job_id)
        .order_by(AttemptRow.attempt)
    )
    return job, [_attempt(row, tuple(tasks.get(row.attempt, ()))) for row in attempts]


def _task(row: AllocationRow, node: str, indices: tuple[int, ...]) -> TaskRecord:
    return TaskRecord(
        allocation_id=row.allocation_id,
        rank=row.rank,
        node=node,
        device_indices=indices,
        phase=row.phase,
        goal=row.goal,
        exit_code=row.exit_code,
        end_reason=row.end_reason,
        detail=row.detail,
        granted_ms=row.granted_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
    )


def _attempt(row: AttemptRow, tasks: tuple[TaskRecord, ...]) -> AttemptRecord:
    return AttemptRecord(
        attempt=row.attempt,
        variant=row.variant,
        device_model=row.device_model,
        state=row.state,
        outcome=row.outcome,
        reason=row.reason,
        why_here=row.why_here,
        master_address=row.master_address,
        master_port=row.master_port,
        image_digest=row.image_digest,
        allocated_ms=row.allocated_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        tasks=tasks,
    )


def gang_of(job: JobRecord) -> Gang:
    """The job's gang as a value."""
    return spec_from_json(job.spec).gang


@dataclass(frozen=True, slots=True)
class LogPlan:
    """What a reader of a job's output needs: whose it is and which streams will come."""

    firm_id: str
    job_id: str
    final: bool
    # (attempt, task rank, processes of the task, whether its output can still come)
    tasks: tuple[tuple[int, int, int, bool], ...]
    gang: Gang


async def plan_job_logs(session: AsyncSession, principal: Principal, job_id: str) -> LogPlan:
    """Which streams of output a job has and will have. Raises Forbidden, NotFound."""
    authorise(principal, Action.READ_JOB_LOGS)
    job = await read_job(session, principal, job_id)
    gang = gang_of(job)
    rows = await session.execute(
        select(AllocationRow.attempt, AllocationRow.rank, AllocationRow.started_ms, AllocationRow.end_reason)
        .where(
            AllocationRow.firm_id == job.firm_id,
            AllocationRow.job_id == job_id,
            AllocationRow.goal != Goal.RESERVE.value,
        )
        .order_by(AllocationRow.attempt, AllocationRow.rank)
    )
    tasks = tuple(
        (
            row.attempt,
            row.rank,
            gang.processes_of(row.rank),
            row.started_ms is not None and row.end_reason != "lost",
        )
        for row in rows
    )
    return LogPlan(job.firm_id, job_id, job.final, tasks, gang)
