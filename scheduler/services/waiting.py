"""Who waits in a queue, in which order and why."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.errors import FieldProblem, NotFound
from scheduler.domain.queues import firm_and_name
from scheduler.domain.suggestions import one_of
from scheduler.services.firms import list_queues

# A job that the controller has not taken over yet has no state, and its message waits in the inbox.
_WAITING = text(
    "WITH queued AS (SELECT firm_id, job_id FROM job_states WHERE state = 'queued'"
    " UNION SELECT body ->> 'firm_id', body ->> 'job_id' FROM inbox WHERE kind = 'JobSubmitted')"
    " SELECT r.position, f.name AS firm, j.job_id, j.name, j.array_index, p.name AS submitted_by, j.submitted_ms,"
    " coalesce(v.spec, j.spec) AS spec, coalesce(s.held, (j.spec ->> 'hold')::boolean, false) AS held,"
    " r.reasons, r.counterfactual, r.starts_from_ms, r.starts_expected_ms, r.starts_until_ms"
    " FROM queued JOIN jobs j USING (firm_id, job_id) JOIN firms f USING (firm_id)"
    " JOIN principals p ON p.principal_id = j.submitted_by"
    " LEFT JOIN job_states s ON s.firm_id = j.firm_id AND s.job_id = j.job_id"
    " LEFT JOIN reports r ON r.firm_id = j.firm_id AND r.job_id = j.job_id"
    " LEFT JOIN job_revisions v ON v.firm_id = j.firm_id AND v.job_id = j.job_id AND v.revision = s.revision"
    " WHERE j.queue = :queue AND (CAST(:firm_id AS text) IS NULL OR j.firm_id = :firm_id)"
    " AND (CAST(:firm AS text) IS NULL OR f.name = :firm)"
    " AND coalesce(s.state, 'queued') = 'queued'"
    " ORDER BY r.position NULLS LAST, j.submitted_ms, j.name, j.array_index, j.job_id LIMIT :limit"
)


class WaitingJob(NamedTuple):
    """A queued job. `position` is None where the planner does not see it: held, or others come first."""

    position: int | None
    firm: str
    job_id: str
    name: str
    array_index: int | None
    submitted_by: str
    submitted_ms: int
    priority: str
    devices: int
    share_ppm: int  # of each device
    models: tuple[str, ...]
    why: str
    counterfactual: str | None
    starts: tuple[int, int, int] | None  # with 80 %: low, expected, high, ms


async def list_waiting(
    session: AsyncSession, principal: Principal, queue: str, limit: int
) -> Sequence[WaitingJob]:
    """Queued jobs of the caller's firm in a queue; those without a place come last, by age, name and index.

    `queue` may be `firm/name`; without a firm, operators see the queues of that name of every firm. Raises NotFound
    where there is no such queue.
    """
    authorise(principal, Action.READ_JOBS)
    firm, name = firm_and_name(queue)
    wanted = {"queue": name, "firm": firm, "firm_id": principal.firm_id, "limit": limit}
    found = [_waiting(row) for row in await session.execute(_WAITING, wanted)]
    if not found:
        await _require_queue(session, principal, queue)
    return found


async def _require_queue(session: AsyncSession, principal: Principal, queue: str) -> None:
    """Nobody waiting in what does not exist is no empty queue."""
    there = await list_queues(session, principal)
    if not any(queue in (one.name, f"{one.firm}/{one.name}") for one in there):
        known = [one.name if principal.firm_id else f"{one.firm}/{one.name}" for one in there]
        wrong = FieldProblem("path queue", queue, one_of(queue, known))
        raise NotFound(f"there is no queue {queue}", wrong=wrong)


def _waiting(row: Any) -> WaitingJob:
    return WaitingJob(
        position=None if row.held else row.position,
        firm=row.firm,
        job_id=row.job_id,
        name=row.name,
        array_index=row.array_index,
        submitted_by=row.submitted_by,
        submitted_ms=row.submitted_ms,
        priority=row.spec["priority"],
        devices=row.spec["gang"]["devices"],
        share_ppm=(row.spec.get("share") or {}).get("ppm") or WHOLE_PPM,
        models=tuple(variant["model"] for variant in row.spec["variants"]),
        why=_why(row),
        counterfactual=row.counterfactual,
        starts=None
        if row.starts_from_ms is None
        else (row.starts_from_ms, row.starts_expected_ms, row.starts_until_ms),
    )


def _why(row: Any) -> str:
    if row.held:
        return "held"
    if row.reasons:
        return str(row.reasons[0]["sentence"])
    if any((row.spec.get("dependencies") or {}).values()):
        return "waits for other jobs"
    if row.spec.get("array") and row.spec["array"].get("concurrency"):
        return "waits for its array's turn"
    return "not planned yet"
