"""Jobs over HTTP, as they are answered; `job_specs` describes what is submitted."""

from typing import Annotated, Any

import orjson
from pydantic import Field

from scheduler.api.schemas.base import Out, Page, utc, utc_or_none
from scheduler.api.schemas.problems import FieldErrorOut, field_errors_out
from scheduler.domain.job_warnings import warnings_of
from scheduler.domain.time import LAST_MS
from scheduler.domain.told_intervals import still_to_come
from scheduler.services.explain import Explanation
from scheduler.services.jobs import AttemptRecord, JobRecord, TaskRecord


class StepReportOut(Out):
    """The job's own account of its progress; its file is the job's, so every field may be missing."""

    step: int | None = None
    of: int | None = None
    loss: float | None = None
    tokens: int | None = None
    model_checkpoint: str | None = None
    at: str | None = None


def step_report_out(report: dict[str, Any] | None) -> StepReportOut | None:
    """Of what the agent forwarded (loss in millionths)."""
    if not report:
        return None
    loss_micros = report.get("loss_micros")
    at_ms = report.get("at_ms")
    return StepReportOut(
        step=report.get("step"),
        of=report.get("of"),
        loss=None if loss_micros is None else loss_micros / 1_000_000,
        tokens=report.get("tokens"),
        model_checkpoint=report.get("model_checkpoint") or None,
        at=utc(at_ms) if isinstance(at_ms, int) and 0 < at_ms <= LAST_MS else None,
    )


class JobOut(Out):
    """A job with where it is."""

    job_id: str
    name: str
    firm: str
    project: str
    queue: str
    state: str
    attempt: int
    device_model: str | None
    devices: Annotated[
        int,
        Field(
            description="How many it asks for; of an elastic gang that has started, how many it was given."
        ),
    ]
    simulated: Annotated[
        bool | None, Field(description="Whether no hardware is behind its devices; null: it had none yet.")
    ]
    reason: str | None
    detail: str | None
    exit_code: int | None
    step_report: StepReportOut | None
    cancel_requested: bool
    held: bool
    revision: int
    array_id: str | None
    array_index: int | None
    submitted_by: str
    submitted_at: str
    started_at: str | None
    ended_at: str | None
    warnings: Annotated[list[FieldErrorOut], Field(description="What its spec says, and can hardly mean.")]
    spec: dict[str, Any]


def job_values(job: JobRecord) -> dict[str, Any]:
    """A job for the wire: the fields of JobOut."""
    report = step_report_out(dict(job.step_report)) if job.step_report else None
    return {
        "job_id": job.job_id,
        "name": job.name,
        "firm": job.firm,
        "project": job.project,
        "queue": job.queue,
        "state": job.state,
        "attempt": job.attempt,
        "device_model": job.device_model,
        "devices": job.devices,
        "simulated": job.simulated,
        "reason": job.reason,
        "detail": job.detail,
        "exit_code": job.exit_code,
        "step_report": None if report is None else report.model_dump(),
        "cancel_requested": job.cancel_requested,
        "held": job.held,
        "revision": job.revision,
        "array_id": job.array_id,
        "array_index": job.array_index,
        "submitted_by": job.submitted_by,
        "submitted_at": utc(job.submitted_ms),
        "started_at": utc_or_none(job.started_ms),
        "ended_at": utc_or_none(job.ended_ms),
        "warnings": [w.model_dump() for w in field_errors_out(warnings_of(job.spec))],
        "spec": job.spec,
    }


def job_json(job: JobRecord) -> bytes:
    """A job as it is sent. Written without pydantic, which would check what we have just made (30 us a job)."""
    return orjson.dumps(job_values(job))


def job_out(job: JobRecord) -> JobOut:
    """A job for answers that hold more than that."""
    return JobOut(**job_values(job))


class JobsOut(Page):
    """A page of jobs, newest first."""

    jobs: list[JobOut]


class TaskOut(Out):
    """A task of an attempt."""

    allocation_id: str
    rank: int
    node: str
    devices: list[int]
    goal: str
    phase: str | None
    exit_code: int | None
    end_reason: str | None
    detail: str | None
    granted_at: str
    started_at: str | None
    ended_at: str | None


class AttemptOut(Out):
    """One try at running a job. `image_digest`: of the container image that it runs in, once a node has found it."""

    attempt: int
    variant: int
    device_model: str
    state: str
    outcome: str | None
    reason: str | None
    why_here: dict[str, Any]
    master_address: str | None
    master_port: int | None
    image_digest: str | None
    allocated_at: str
    started_at: str | None
    ended_at: str | None
    tasks: list[TaskOut]


class AttemptsOut(Out):
    """The attempts of a job, oldest first."""

    job_id: str
    attempts: list[AttemptOut]


def task_out(task: TaskRecord) -> TaskOut:
    """A task for the wire."""
    return TaskOut(
        allocation_id=task.allocation_id,
        rank=task.rank,
        node=task.node,
        devices=list(task.device_indices),
        goal=task.goal,
        phase=task.phase,
        exit_code=task.exit_code,
        end_reason=task.end_reason,
        detail=task.detail,
        granted_at=utc(task.granted_ms),
        started_at=utc_or_none(task.started_ms),
        ended_at=utc_or_none(task.ended_ms),
    )


def attempt_out(attempt: AttemptRecord) -> AttemptOut:
    """An attempt for the wire."""
    return AttemptOut(
        attempt=attempt.attempt,
        variant=attempt.variant,
        device_model=attempt.device_model,
        state=attempt.state,
        outcome=attempt.outcome,
        reason=attempt.reason,
        why_here=dict(attempt.why_here),
        master_address=attempt.master_address,
        master_port=attempt.master_port,
        image_digest=attempt.image_digest,
        allocated_at=utc(attempt.allocated_ms),
        started_at=utc_or_none(attempt.started_ms),
        ended_at=utc_or_none(attempt.ended_ms),
        tasks=[task_out(task) for task in attempt.tasks],
    )


class ReasonOut(Out):
    """Why a job waits: one of a closed list, with its numbers."""

    reason: str
    domain: str | None = None
    device_model: str | None = None
    asked: Annotated[int | None, Field(description="Devices; GFLOPS where a quota of compute refuses.")] = (
        None
    )
    available: Annotated[int | None, Field(description="As `asked`.")] = None
    sentence: str


class StartsOut(Out):
    """Between which moments a waiting job starts, with a probability of 80 %."""

    earliest: str
    expected: str
    latest: str


def starts_out(starts: tuple[int, int, int] | None, now_ms: int) -> StartsOut | None:
    """An interval for the wire: it may have been told minutes ago, and who still waits has not started before now."""
    left = None if starts is None else still_to_come(starts, now_ms)
    if left is None:
        return None
    earliest, expected, latest = map(utc, left)
    return StartsOut(earliest=earliest, expected=expected, latest=latest)


class ExplanationOut(Out):
    """Why a job is where it is."""

    job_id: str
    name: str
    state: str
    sentence: str
    position: int | None
    reasons: list[ReasonOut]
    counterfactual: str | None
    starts: StartsOut | None
    placement: dict[str, Any] | None
    account: list[str]
    reported_at: str | None


def explanation_out(explanation: Explanation, now_ms: int) -> ExplanationOut:
    """An explanation for the wire, as it is read now."""
    return ExplanationOut(
        job_id=explanation.job.job_id,
        name=explanation.job.name,
        state=explanation.job.state,
        sentence=explanation.sentence,
        position=explanation.position,
        reasons=[ReasonOut.model_validate(dict(reason)) for reason in explanation.reasons],
        counterfactual=explanation.counterfactual,
        starts=starts_out(explanation.starts, now_ms),
        placement=None if explanation.placement is None else dict(explanation.placement),
        account=list(explanation.account),
        reported_at=utc_or_none(explanation.at_ms),
    )
