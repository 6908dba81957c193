"""Rules of jobs: submitted, waiting, cancelled, retried, ended."""

from scheduler.domain.allocations import AttemptState
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, EndReason, Outcome
from scheduler.domain.time import MINUTE_MS
from scheduler.machine.messages import JobSubmitted
from scheduler.machine.retries import is_retried
from scheduler.machine.state import AttemptRecord, ClusterState, JobRecord
from scheduler.machine.transition import Transition
from scheduler.planner.snapshot import Shape, WaitingJob

_MOST_DOUBLINGS = 30  # of the pause between attempts; its bound comes long before
# What a restart from a model checkpoint is taken to cost: preparing, loading, warming up.
RESTART_MS = 2 * MINUTE_MS
_OUTCOMES = {
    Ending.COMPLETED: Outcome.SUCCEEDED,
    Ending.CANCELLED: Outcome.CANCELLED,
    Ending.NODE_LOST: Outcome.LOST,
    Ending.TASK_LOST: Outcome.LOST,
    Ending.PREEMPTED: Outcome.PREEMPTED,
}


def outcome_of(ending: Ending) -> Outcome:
    """How an attempt with this ending is counted."""
    return _OUTCOMES.get(ending, Outcome.FAILED)


def submit(t: Transition, message: JobSubmitted) -> None:
    """The job waits. Known already: nothing happens."""
    if message.job_id in t.state.jobs:
        return
    job = JobRecord(message.firm_id, message.job_id, message.spec, message.submitted_ms)
    t.state.jobs[job.job_id] = job
    t.touch_job(job)
    t.emit_job("JobSubmitted", job, name=job.spec.name, queue=job.spec.queue, project=job.spec.project)
    wait(t.state, job)
    t.changes.replan = True


def wait(state: ClusterState, job: JobRecord, until_ms: int | None = None) -> None:
    """Puts a job among the waiting ones, or to rest until a moment."""
    job.shape = shape_of(job)
    if until_ms is not None:
        state.resting[job.job_id] = until_ms
    else:
        state.resting.pop(job.job_id, None)
        state.waiting.add(job.shape, WaitingJob(job.submitted_ms, job.job_id))


def wait_no_longer(state: ClusterState, job: JobRecord) -> None:
    """Takes a job out of the waiting ones."""
    if state.resting.pop(job.job_id, None) is None and job.shape is not None:
        state.waiting.remove(job.shape, job.submitted_ms, job.job_id)
    job.shape = None


def shape_of(job: JobRecord) -> Shape:
    """What decides where a job may start: its spec, and what its earlier attempts taught."""
    failed = [attempt for attempt in job.attempts if attempt.reason is Ending.PREPARE_FAILED]
    models = tuple(variant.model for variant in job.spec.variants)
    out = {attempt.device_model for attempt in failed}
    left = tuple(model for model in models if model not in out)
    if not left:
        left, out = models, set()  # better to try again than to wait for ever
    sentence = "an earlier attempt could not be prepared with this variant"
    return Shape(
        queue=job.queue,
        priority=job.spec.priority,
        devices=job.spec.gang.devices,
        devices_per_node=job.spec.gang.devices_per_node,
        models=left,
        time_limit_ms=job.spec.time_limit_ms,
        avoid_nodes=frozenset(
            allocation.node_id
            for attempt in failed
            for allocation in attempt.allocations
            if allocation.end_reason is EndReason.PREPARE_FAILED
        ),
        benched=tuple((model, sentence) for model in models if model in out),
        resumable=job.spec.model_checkpoint is not None,
        restart_ms=0 if job.spec.model_checkpoint is None else RESTART_MS,
        rates=tuple(
            (variant.model, variant.steps_per_hour / 3600)
            for variant in job.spec.variants
            if variant.steps_per_hour is not None
        ),
        kind=f"{job.firm_id}/{job.spec.project}/{job.spec.kind.value}/{job.spec.gang.devices}",
        project=job.spec.project,
        estimate_ms=job.spec.estimate_ms,
    )


def end_job(
    t: Transition, job: JobRecord, state: JobState, ending: Ending, detail: str | None = None
) -> None:
    """The job leaves memory; its row stays."""
    if job.shape is not None:
        wait_no_longer(t.state, job)
        t.changes.no_longer_waiting.add(job.job_id)
    job.state = state
    job.reason = ending.value
    job.detail = detail
    job.ended_ms = t.now_ms
    t.touch_job(job)
    t.emit_job(
        {JobState.SUCCEEDED: "JobSucceeded", JobState.CANCELLED: "JobCancelled"}.get(state, "JobFailed"),
        job,
        reason=ending.value,
        exit_code=job.exit_code,
        detail=detail,
    )
    del t.state.jobs[job.job_id]
    t.state.active.pop(job.job_id, None)
    t.state.progress_pending.discard(job.job_id)


def after_attempt(t: Transition, job: JobRecord, attempt: AttemptRecord) -> None:
    """The newest attempt has ended: the job ends too, or waits for the next attempt."""
    ending = attempt.reason or Ending.COMPLETED
    failure = attempt.first_failure
    job.exit_code = 0 if ending is Ending.COMPLETED else (failure.exit_code if failure else None)
    details = [allocation.detail for allocation in attempt.allocations if allocation.detail]
    detail = failure.detail if failure else (details[0] if details else None)
    if ending is Ending.COMPLETED:
        end_job(t, job, JobState.SUCCEEDED, ending)
    elif job.cancel_requested:
        end_job(t, job, JobState.CANCELLED, Ending.CANCELLED)
    elif is_retried(job.attempts, job.spec.retry):
        _requeue(t, job, attempt, ending, detail)
    else:
        end_job(t, job, JobState.FAILED, ending, detail)


def _requeue(
    t: Transition, job: JobRecord, attempt: AttemptRecord, ending: Ending, detail: str | None
) -> None:
    job.state = JobState.QUEUED
    job.reason = ending.value
    job.detail = detail
    t.state.active.pop(job.job_id, None)
    t.touch_job(job)
    t.emit_job("JobRetried", job, attempt=attempt.number, reason=ending.value, detail=detail)
    wait(t.state, job, rests_until_ms(t.state, job))
    t.changes.replan = True


def rests_until_ms(state: ClusterState, job: JobRecord) -> int | None:
    """When the next attempt may be planned; None: at once. From what is stored, so that a reload agrees."""
    attempt = job.attempt
    if attempt is None or attempt.state is not AttemptState.ENDED or attempt.ended_ms is None:
        return None
    if attempt.reason in (Ending.NODE_LOST, Ending.PREEMPTED):
        return None  # the fault left with the node
    config = state.config
    pause_ms = config.retry_backoff_ms << min(attempt.number - 1, _MOST_DOUBLINGS)
    return attempt.ended_ms + min(pause_ms, config.retry_backoff_most_ms)
