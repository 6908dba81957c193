"""What webhooks hear of a job: some of its events, in the words of Standard Webhooks."""

from scheduler.domain.jobs import NotifyOn
from scheduler.domain.time import to_rfc3339
from scheduler.machine.changes import Event, Notice
from scheduler.machine.state import JobRecord

_MOMENTS = {
    "JobStarted": NotifyOn.STARTED,
    "JobSucceeded": NotifyOn.SUCCEEDED,
    "JobFailed": NotifyOn.FAILED,
    "JobCancelled": NotifyOn.CANCELLED,
    "JobRetried": NotifyOn.RETRIED,
}


def notice_of(event: Event, job: JobRecord) -> Notice | None:
    """The notice that an event of a job gives rise to; None where its spec asks for none."""
    wanted = job.spec.notification
    moment = _MOMENTS.get(event.kind)
    if wanted is None or moment is None or moment not in wanted.on:
        return None
    attempt = job.attempt
    body = {
        "type": f"job.{moment.value}",
        "timestamp": to_rfc3339(event.at_ms),
        "data": {
            "event_seq": event.seq,
            "job_id": job.job_id,
            "name": job.name,
            "project": job.spec.project,
            "queue": job.spec.queue,
            "labels": dict(job.labels),
            "state": job.state.value,
            "attempt": 0 if attempt is None else attempt.number,
            "device_model": None if attempt is None else attempt.device_model,
            "reason": job.reason,
            "detail": job.detail,
            "exit_code": job.exit_code,
        },
    }
    return Notice(event, wanted.url, moment, body)
