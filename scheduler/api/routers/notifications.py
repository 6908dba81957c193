"""What a job's webhook was told, and the key by which a receiver checks that it was us."""

from fastapi import APIRouter

from scheduler.api.auth import NotificationReader, WhoeverCalls
from scheduler.api.schemas.notifications import NotificationsOut, WebhookKeyOut, notification_out
from scheduler.api.state import ApiState
from scheduler.domain.errors import NotFound
from scheduler.services.notifications import list_notifications

router = APIRouter(prefix="/v1", tags=["jobs"])


@router.get("/jobs/{job_id}/notifications")
async def notifications(job_id: str, api: ApiState, principal: NotificationReader) -> NotificationsOut:
    """What the job's webhook was told, and whether it has arrived."""
    async with api.database.read() as session:
        found = await list_notifications(session, principal, job_id)
    return NotificationsOut(job_id=job_id, notifications=[notification_out(one) for one in found])


@router.get("/webhook-key")
async def webhook_key(api: ApiState, _principal: WhoeverCalls) -> WebhookKeyOut:
    """The public key of the signatures under webhooks."""
    if api.courier is None:
        raise NotFound("this process delivers no webhooks: it has no webhook.key")
    return WebhookKeyOut(public_key=api.courier.signer.public_text)
