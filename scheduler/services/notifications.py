"""The outbox of webhooks: claimed for delivery, settled, shown. It is filled in the controller's own commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.domain.time import DAY_MS
from scheduler.services.jobs import read_job
from scheduler.storage.tables import NotificationRow

LEASE_MS: Final = 60_000  # longer than any delivery: a process that dies with some leaves them to the others
KEEP_MS: Final = 30 * DAY_MS
MOST_SHOWN: Final = 1_000
MOST_PROBLEM_CHARACTERS: Final = 500
# Seconds until the next attempt: twelve in all, the last more than a day after the first.
RETRIES_S: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 14_400, 28_800, 28_800)

# A few of each firm: one whose receiver hangs must not hold up the others.
_CLAIM = text(
    """
    WITH RECURSIVE waiting (firm_id) AS (
        SELECT min(firm_id) FROM notifications WHERE next_ms IS NOT NULL
        UNION ALL
        SELECT (SELECT min(firm_id) FROM notifications WHERE next_ms IS NOT NULL AND firm_id > waiting.firm_id)
        FROM waiting WHERE firm_id IS NOT NULL
    ), turn AS (
        SELECT due.* FROM waiting CROSS JOIN LATERAL (
            SELECT event_seq, row_number() OVER (ORDER BY next_ms, event_seq) AS nth FROM notifications
            WHERE firm_id = waiting.firm_id AND next_ms <= :now_ms
            ORDER BY next_ms, event_seq LIMIT :most_of_a_firm
        ) AS due
        WHERE waiting.firm_id <> ALL(CAST(:busy AS text[]))
    ), chosen AS (
        SELECT event_seq FROM notifications JOIN turn USING (event_seq) WHERE next_ms <= :now_ms
        ORDER BY nth, event_seq LIMIT :most FOR UPDATE OF notifications SKIP LOCKED
    )
    UPDATE notifications SET attempts = attempts + 1, next_ms = :lease_ms
    WHERE event_seq IN (SELECT event_seq FROM chosen)
    RETURNING event_seq, url, body, attempts, next_ms, firm_id
    """
)


@dataclass(frozen=True, slots=True)
class Due:
    """A notification that this process has claimed. `attempts` counts this one; `lease_ms` is its claim."""

    event_seq: int
    url: str
    body: Mapping[str, Any]
    attempts: int
    lease_ms: int
    firm_id: str


async def claim(
    session: AsyncSession, now_ms: int, most: int, most_of_a_firm: int, busy: Sequence[str] = ()
) -> list[Due]:
    """Take what is due, but nothing of the busy firms; nobody else tries it before the lease is over.

    Cost: O(firms for which something waits), `most_of_a_firm` rows of each, however many wait.
    """
    found = await session.execute(
        _CLAIM,
        {
            "now_ms": now_ms,
            "lease_ms": now_ms + LEASE_MS,
            "most": most,
            "most_of_a_firm": most_of_a_firm,
            "busy": list(busy),
        },
    )
    return [Due(*row) for row in found]


async def settle(
    session: AsyncSession, due: Due, now_ms: int, problem: str | None, retries_s: Sequence[float] = RETRIES_S
) -> bool:
    """Delivered (no problem), to be tried again, or given up; returns whether it will be tried again."""
    row = NotificationRow
    values: dict[str, Any] = {"problem": None, "next_ms": None, "delivered_ms": now_ms}
    again = problem is not None and due.attempts <= len(retries_s)
    if problem is not None:
        next_ms = now_ms + round(retries_s[due.attempts - 1] * 1000) if again else None
        values = {"problem": problem[:MOST_PROBLEM_CHARACTERS], "next_ms": next_ms}
    # Only as long as the claim is ours: a slow process must not undo what another has done meanwhile.
    await session.execute(
        update(row).where(row.event_seq == due.event_seq, row.next_ms == due.lease_ms).values(**values)
    )
    return again


async def forget_old(session: AsyncSession, now_ms: int) -> None:
    """Drop what was settled, and is a month old."""
    row = NotificationRow
    await session.execute(delete(row).where(row.created_ms < now_ms - KEEP_MS, row.next_ms.is_(None)))


@dataclass(frozen=True, slots=True)
class NotificationRecord:
    """One notification of a job and how far it has come: delivered, waiting or given_up."""

    event_seq: int
    moment: str
    state: str
    attempts: int
    created_ms: int
    delivered_ms: int | None
    next_ms: int | None
    problem: str | None


async def list_notifications(
    session: AsyncSession, principal: Principal, job_id: str
) -> Sequence[NotificationRecord]:
    """Notifications of a job, oldest first. Raises NotFound."""
    job = await read_job(session, principal, job_id)
    row = NotificationRow
    found = await session.scalars(
        select(row)
        .where(row.firm_id == job.firm_id, row.job_id == job_id)
        .order_by(row.event_seq)
        .limit(MOST_SHOWN)
    )
    return [
        NotificationRecord(
            one.event_seq,
            one.moment,
            _state(one),
            one.attempts,
            one.created_ms,
            one.delivered_ms,
            one.next_ms,
            one.problem,
        )
        for one in found
    ]


def _state(row: NotificationRow) -> str:
    if row.delivered_ms is not None:
        return "delivered"
    return "given_up" if row.next_ms is None else "waiting"
