"""Why a job is where it is: the planner's report while it waits, its account of the placement afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.domain.job_warnings import late
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import to_rfc3339
from scheduler.services.account import account_of
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
    account: Sequence[str]  # the same in sentences, and what may become of it
    at_ms: int | None  # of the report
    starts: tuple[int, int, int] | None = None  # with 80 %: low, expected, high, ms; None: nobody knows


async def explain_job(session: AsyncSession, principal: Principal, job_id: str) -> Explanation:
    """Why a job waits, runs where it runs, or ended. Raises NotFound."""
    job = await read_job(session, principal, job_id)
    queued = job.state == JobState.QUEUED
    blocked = await _blocked(session, job) if queued else []
    report = await session.get(ReportRow, (job.firm_id, job_id)) if queued and not blocked else None
    attempt = await session.scalar(
        select(AttemptRow)
        .where(AttemptRow.firm_id == job.firm_id, AttemptRow.job_id == job_id)
        .order_by(AttemptRow.attempt.desc())
        .limit(1)
    )
    placement = None if attempt is None or queued else attempt.why_here
    silent = [] if placement is None or job.final else await _silent(session, job)
    return Explanation(
        job=job,
        sentence=_sentence(job, report, blocked),
        position=None if report is None else report.position,
        reasons=[_reason(*why) for why in blocked] or _reasons(job, report),
        counterfactual="it is released" if job.held and queued else _counterfactual(report),
        placement=placement,
        account=[*silent, *_late(job, report), *([] if placement is None else account_of(placement))],
        at_ms=None if report is None else report.at_ms,
        starts=_starts(report),
    )


def _late(job: JobRecord, report: ReportRow | None) -> list[str]:
    found = late(job.spec, None if report is None else report.starts_expected_ms)
    return [] if found is None else [found.sentence]


def _starts(report: ReportRow | None) -> tuple[int, int, int] | None:
    if report is None or report.starts_from_ms is None:
        return None
    return report.starts_from_ms, report.starts_expected_ms or 0, report.starts_until_ms or 0


def _counterfactual(report: ReportRow | None) -> str | None:
    return None if report is None else report.counterfactual


def _reasons(job: JobRecord, report: ReportRow | None) -> Sequence[Mapping[str, Any]]:
    if report is not None:
        return list(report.reasons)
    if job.state != JobState.QUEUED:
        return []
    return [_reason(Reason.NOT_PLANNED_YET, "the planner has not looked at the job yet")]


def _reason(reason: Reason, sentence: str) -> Mapping[str, Any]:
    return WhyNot(reason, sentence).to_json()


async def _blocked(session: AsyncSession, job: JobRecord) -> list[tuple[Reason, str]]:
    """What keeps a queued job from the planner's eyes: it is held, others come first, or its array is full."""
    why = [(Reason.HELD, "it is held until somebody releases it")] if job.held else []
    dependencies = job.spec.get("dependencies") or {}
    for kind, words in _WAITS_FOR.items():
        for reference in dependencies.get(kind) or ():
            rows = (await session.execute(_PROGRESS, {"reference": reference, "firm_id": job.firm_id})).one()
            done = rows.started if kind == "after" else rows.ended
            if done < rows.total:
                what = f"{rows.name} ({reference})"
                state = rows.state if rows.total == 1 else f"{done} of {rows.total} so far"
                why.append((Reason.DEPENDENCY, f"it waits until {what} {words}; that is {state} now"))
    array = job.spec.get("array")
    if job.array_id and array and array.get("concurrency"):
        active = (
            await session.scalar(
                _ACTIVE_OF_ARRAY,
                {"array_id": job.array_id, "firm_id": job.firm_id, "job_id": job.job_id},
            )
            or 0
        )
        if active >= array["concurrency"]:
            sentence = (
                f"of its array {active} go on or are next, and at most {array['concurrency']} may at a time"
                f" (this is [{job.array_index}], of {array['count']})"
            )
            why.append((Reason.ARRAY_LIMIT, sentence))
    return why


async def _silent(session: AsyncSession, job: JobRecord) -> list[str]:
    """Which of its nodes have not been heard of, and since when."""
    rows = await session.execute(_SILENT, {"firm_id": job.firm_id, "job_id": job.job_id})
    return [
        f"Node {row.name} has been silent since {to_rfc3339(row.since_ms)}: what its task does is not known"
        " until its agent is back, or the pool's patience is over."
        for row in rows
    ]


_SILENT = text(
    "SELECT n.name, s.silent_since_ms AS since_ms FROM allocations a JOIN nodes n USING (node_id)"
    " JOIN node_states s USING (node_id) WHERE a.firm_id = :firm_id AND a.job_id = :job_id AND a.live"
    " AND s.silent_since_ms IS NOT NULL GROUP BY n.name, s.silent_since_ms ORDER BY n.name LIMIT 20"
)
_WAITS_FOR = {
    "after": "has started",
    "after_ok": "has succeeded",
    "after_any": "has ended",
}
_PROGRESS = text(
    "SELECT count(*) AS total, min(j.name) AS name,"
    " CASE WHEN bool_or(s.held AND s.state = 'queued') THEN 'held' ELSE coalesce(min(s.state), 'queued') END AS state,"
    " count(*) FILTER (WHERE s.state IN ('succeeded','failed','cancelled')) AS ended,"
    " count(*) FILTER (WHERE s.started_ms IS NOT NULL"
    " OR s.state IN ('succeeded','failed','cancelled')) AS started"
    " FROM jobs j LEFT JOIN job_states s USING (firm_id, job_id)"
    " WHERE j.firm_id = :firm_id AND (j.job_id = :reference OR j.array_id = :reference)"
)
_ACTIVE_OF_ARRAY = text(
    # Those of a queued array that the planner sees are next.
    "SELECT count(*) FROM jobs j JOIN job_states s USING (firm_id, job_id)"
    " LEFT JOIN reports r USING (firm_id, job_id)"
    " WHERE j.firm_id = :firm_id AND j.array_id = :array_id AND j.job_id <> :job_id"
    " AND (s.state IN ('allocated','running','stopping') OR (s.state = 'queued' AND r.job_id IS NOT NULL))"
)


def _sentence(job: JobRecord, report: ReportRow | None, blocked: Sequence[tuple[Reason, str]]) -> str:
    state = JobState(job.state)
    if state is JobState.QUEUED:
        if blocked:
            return f"The job waits: {'; '.join(sentence for _, sentence in blocked)}."
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
            None if job.reason == state.value else job.reason,
            None if job.exit_code is None else f"exit code {job.exit_code}",
            job.detail,
        )
        if part
    )
    return f"{ended} ({why})." if why else f"{ended}."
