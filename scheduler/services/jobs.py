"""Jobs: looking at them. Submitting is in `batches`, changing in `job_changes`; every state is the controller's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, cast, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import NotFound
from scheduler.domain.jobs import JobState
from scheduler.services.authorise import Action, Principal, authorise, may_see_firm
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    DeviceRow,
    FirmRow,
    JobRevisionRow,
    JobRow,
    JobStateRow,
    NodeRow,
    PrincipalRow,
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
    allocated_ms: int
    started_ms: int | None
    ended_ms: int | None
    tasks: tuple[TaskRecord, ...]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list. Empty `states`: all; None: does not matter; all labels must be there."""

    states: frozenset[str] = frozenset()
    project: str | None = None
    name: str | None = None
    queue: str | None = None
    kind: str | None = None
    priority: str | None = None
    submitted_by: str | None = None
    array_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    submitted_from_ms: int | None = None
    submitted_to_ms: int | None = None


class JobOrder(StrEnum):
    """In which order jobs are listed; a minus: the largest or newest first."""

    NEWEST = "-submitted"
    OLDEST = "submitted"
    NAME = "name"
    NAME_BACKWARDS = "-name"


def _jobs_query() -> Select[JobRow, JobStateRow, str, str, JobRevisionRow]:
    newest = (
        select(func.max(JobRevisionRow.revision))
        .where(JobRevisionRow.firm_id == JobRow.firm_id, JobRevisionRow.job_id == JobRow.job_id)
        .correlate(JobRow)
        .scalar_subquery()
    )
    return (
        select(JobRow, JobStateRow, FirmRow.name, PrincipalRow.name, JobRevisionRow)
        .outerjoin(
            JobStateRow, and_(JobStateRow.firm_id == JobRow.firm_id, JobStateRow.job_id == JobRow.job_id)
        )
        .outerjoin(
            JobRevisionRow,
            and_(
                JobRevisionRow.firm_id == JobRow.firm_id,
                JobRevisionRow.job_id == JobRow.job_id,
                JobRevisionRow.revision == newest,
            ),
        )
        .join(FirmRow, FirmRow.firm_id == JobRow.firm_id)
        .join(PrincipalRow, PrincipalRow.principal_id == JobRow.submitted_by)
    )


def _record(
    principal: Principal,
    job: JobRow,
    state: JobStateRow | None,
    firm: str,
    submitted_by: str,
    revision: JobRevisionRow | None,
) -> JobRecord:
    spec = job.spec if revision is None else revision.spec
    return JobRecord(
        job_id=job.job_id,
        firm_id=job.firm_id,
        firm=firm,
        project=job.project,
        queue=job.queue,
        name=job.name,
        spec=spec if principal.firm_id == job.firm_id else _without_secrets(spec),
        submitted_by=submitted_by,
        submitted_ms=job.submitted_ms,
        # Until the controller has taken the message, the job waits.
        state=JobState.QUEUED.value if state is None else state.state,
        attempt=0 if state is None else state.attempt,
        device_model=None if state is None else state.device_model,
        reason=None if state is None else state.reason,
        detail=None if state is None else state.detail,
        exit_code=None if state is None else state.exit_code,
        step_report=None if state is None else state.step_report,
        started_ms=None if state is None else state.started_ms,
        ended_ms=None if state is None else state.ended_ms,
        cancel_requested=False if state is None else state.cancel_requested,
        revision=0 if revision is None else revision.revision,
        held=bool(spec.get("hold")) if state is None else state.held,
        array_id=job.array_id,
        array_index=job.array_index,
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
    row = (await session.execute(_jobs_query().where(JobRow.job_id == job_id))).one_or_none()
    if row is None or not may_see_firm(principal, row[0].firm_id):
        raise NotFound(f"there is no job {job_id}")
    return _record(principal, *row)


async def list_jobs(
    session: AsyncSession,
    principal: Principal,
    wanted: JobFilter,
    *,
    limit: int,
    order: JobOrder = JobOrder.NEWEST,
    after: tuple[int | str, str] | None = None,
) -> Sequence[JobRecord]:
    """Jobs in an order. `after` is the place of the last job of the page before (`place_of`)."""
    authorise(principal, Action.READ_JOBS)
    by_name = order in (JobOrder.NAME, JobOrder.NAME_BACKWARDS)
    keys = (JobRow.name if by_name else JobRow.submitted_ms, JobRow.job_id)
    backwards = order.startswith("-")
    query = _jobs_query().order_by(*(key.desc() if backwards else key.asc() for key in keys)).limit(limit)
    if principal.firm_id is not None:
        query = query.where(JobRow.firm_id == principal.firm_id)
    query = query.where(*_conditions(wanted))
    if wanted.states:
        in_states: ColumnElement[bool] = JobStateRow.state.in_(sorted(wanted.states))
        if JobState.QUEUED.value in wanted.states:
            in_states = or_(in_states, JobStateRow.state.is_(None))
        query = query.where(in_states)
    if after is not None:
        place = tuple_(*keys)
        query = query.where(place < after if backwards else place > after)
    return [_record(principal, *row) for row in await session.execute(query)]


def place_of(job: JobRecord, order: JobOrder) -> tuple[int | str, str]:
    """Where a job stands in an order."""
    by_name = order in (JobOrder.NAME, JobOrder.NAME_BACKWARDS)
    return (job.name if by_name else job.submitted_ms), job.job_id


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    equal = {
        JobRow.project: wanted.project,
        JobRow.name: wanted.name,
        JobRow.queue: wanted.queue,
        JobRow.array_id: wanted.array_id,
        PrincipalRow.name: wanted.submitted_by,
    }
    found: list[ColumnElement[bool]] = [
        column == value for column, value in equal.items() if value is not None
    ]
    spec = func.coalesce(JobRevisionRow.spec, JobRow.spec)
    contained: dict[str, object] = {}
    if wanted.kind is not None:
        contained["kind"] = wanted.kind
    if wanted.priority is not None:
        contained["priority"] = wanted.priority
    if wanted.labels:
        contained["labels"] = dict(wanted.labels)
    if contained:
        found.append(spec.op("@>")(cast(contained, JSONB)))
    if wanted.submitted_from_ms is not None:
        found.append(JobRow.submitted_ms >= wanted.submitted_from_ms)
    if wanted.submitted_to_ms is not None:
        found.append(JobRow.submitted_ms < wanted.submitted_to_ms)
    return found


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
        allocated_ms=row.allocated_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        tasks=tasks,
    )


@dataclass(frozen=True, slots=True)
class LogPlan:
    """What a reader of a job's output needs: whose it is and which streams will come."""

    firm_id: str
    job_id: str
    final: bool
    # (attempt, task rank, processes of the task, whether its output can still come)
    tasks: tuple[tuple[int, int, int, bool], ...]


async def plan_job_logs(session: AsyncSession, principal: Principal, job_id: str) -> LogPlan:
    """Which streams of output a job has and will have. Raises Forbidden, NotFound."""
    authorise(principal, Action.READ_JOB_LOGS)
    job = await read_job(session, principal, job_id)
    processes = int(job.spec["gang"]["processes_per_node"])
    rows = await session.execute(
        select(AllocationRow.attempt, AllocationRow.rank, AllocationRow.started_ms, AllocationRow.end_reason)
        .where(AllocationRow.firm_id == job.firm_id, AllocationRow.job_id == job_id)
        .order_by(AllocationRow.attempt, AllocationRow.rank)
    )
    tasks = tuple(
        (row.attempt, row.rank, processes, row.started_ms is not None and row.end_reason != "lost")
        for row in rows
    )
    return LogPlan(job.firm_id, job_id, job.final, tasks)
