"""Notifications of a job as shown."""

from pydantic import BaseModel

from scheduler.domain.time import to_rfc3339
from scheduler.services.notifications import NotificationRecord


class NotificationOut(BaseModel):
    """One message to the job's webhook: `delivered`, `waiting` (for its next attempt) or `given_up`."""

    id: str
    moment: str
    state: str
    attempts: int
    created_at: str
    delivered_at: str | None
    next_attempt_at: str | None
    problem: str | None


class NotificationsOut(BaseModel):
    """Notifications of a job, oldest first."""

    job_id: str
    notifications: list[NotificationOut]


class WebhookKeyOut(BaseModel):
    """The Ed25519 key that webhooks are signed with, as Standard Webhooks writes it: `whpk_` and base64."""

    public_key: str


def notification_out(record: NotificationRecord) -> NotificationOut:
    """As shown."""
    return NotificationOut(
        id=f"evt_{record.event_seq}",
        moment=record.moment,
        state=record.state,
        attempts=record.attempts,
        created_at=to_rfc3339(record.created_ms),
        delivered_at=None if record.delivered_ms is None else to_rfc3339(record.delivered_ms),
        next_attempt_at=None if record.next_ms is None else to_rfc3339(record.next_ms),
        problem=record.problem,
    )
