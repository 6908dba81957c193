"""Why a job is where it is: the planner's report while it waits, its account of the placement afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Reason
from scheduler.services.authorise import Principal
from scheduler.services.jobs import JobRecord, read_job
from scheduler.storage.tables import AttemptRow, ReportRow


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer for people (`sentence`) and programs (the rest)."""

    job: JobRecord
    sentence: str
    position: int | None  # in its queue, from 1, while it waits
    reasons: Sequence[Mapping[str, Any]]
    counterfactual: str | None  # what would let it run
    placement: Mapping[str, Any] | None  # why the newest attempt runs where it runs
    at_ms: int | None  # of the report


async def explain_job(session: AsyncSession, principal: Principal, job_id: str) -> Explanation:
    """Why a job waits, runs where it runs, or ended. Raises NotFound."""
    job = await read_job(session, principal, job_id)
    report = await session.get(ReportRow, (job.firm_id, job_id)) if job.state == JobState.QUEUED else None
    attempt = await session.scalar(
        select(AttemptRow)
        .where(AttemptRow.firm_id == job.firm_id, AttemptRow.job_id == job_id)
        .order_by(AttemptRow.attempt.desc())
        .limit(1)
    )
    return Explanation(
        job=job,
        sentence=_sentence(job, report),
        position=None if report is None else report.position,
        reasons=_reasons(job, report),
        counterfactual=None if report is None else report.counterfactual,
        placement=None if attempt is None or job.state == JobState.QUEUED else attempt.why_here,
        at_ms=None if report is None else report.at_ms,
    )


def _reasons(job: JobRecord, report: ReportRow | None) -> Sequence[Mapping[str, Any]]:
    if report is not None:
        return list(report.reasons)
    if job.state != JobState.QUEUED:
        return []
    return [
        {
            "reason": Reason.NOT_PLANNED_YET.value,
            "domain": None,
            "device_model": None,
            "asked": None,
            "available": None,
            "sentence": "The planner has not looked at the job yet.",
        }
    ]


def _sentence(job: JobRecord, report: ReportRow | None) -> str:
    state = JobState(job.state)
    if state is JobState.QUEUED:
        if report is None:
            return "The job waits: the planner has not looked at it yet."
        first = next((str(item["sentence"]) for item in report.reasons if item.get("sentence")), "")
        place = f"The job waits at position {report.position} of queue {job.queue}"
        return f"{place}: {first}" if first else f"{place}."
    if state is JobState.ALLOCATED:
        return f"Attempt {job.attempt} has its {job.device_model} devices; its tasks are being prepared."
    if state is JobState.RUNNING:
        return f"Attempt {job.attempt} runs on {job.device_model}."
    if state is JobState.STOPPING:
        return f"Attempt {job.attempt} is being stopped."
    ended = f"The job {'was cancelled' if state is JobState.CANCELLED else state.value}"
    why = ", ".join(
        part
        for part in (
            job.reason,
            None if job.exit_code is None else f"exit code {job.exit_code}",
            job.detail,
        )
        if part
    )
    return f"{ended} ({why})." if why else f"{ended}."
