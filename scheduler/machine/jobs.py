"""Rules of jobs: submitted, held, revised, sent back, retried, cancelled, ended."""

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import JobSpec, JobState
from scheduler.domain.nodes import NodeState
from scheduler.domain.reasons import Ending, Outcome
from scheduler.machine import learning, queueing
from scheduler.machine.grants import grant, release, spares_of, workers_of
from scheduler.machine.messages import HoldRequested, JobRevised, JobSubmitted, JobUnreadable
from scheduler.machine.retries import is_retried
from scheduler.machine.state import AttemptRecord, JobRecord
from scheduler.machine.transition import Transition
from scheduler.planner.plan import TaskPlacement

_OUTCOMES = {
    Ending.COMPLETED: Outcome.SUCCEEDED,
    Ending.CANCELLED: Outcome.CANCELLED,
    Ending.NODE_LOST: Outcome.LOST,
    Ending.TASK_LOST: Outcome.LOST,
    Ending.PREEMPTED: Outcome.PREEMPTED,
    Ending.REQUEUED: Outcome.REQUEUED,
}


def outcome_of(ending: Ending) -> Outcome:
    """How an attempt with this ending is counted."""
    return _OUTCOMES.get(ending, Outcome.FAILED)


def find(t: Transition, firm_id: FirmId, job_id: JobId) -> JobRecord | None:
    """A live job of this firm."""
    job = t.state.jobs.get(job_id)
    return job if job is not None and job.firm_id == firm_id else None


def submit(t: Transition, message: JobSubmitted) -> None:
    """The job waits. Known already: nothing happens."""
    if message.job_id in t.state.jobs:
        return
    job = JobRecord(
        message.firm_id,
        message.job_id,
        message.spec,
        message.submitted_ms,
        message.name,
        message.labels,
        held=message.spec.hold,
        revision=message.revision,
        array_id=message.array_id,
        array_index=message.array_index,
    )
    t.state.add_job(job)
    t.touch_job(job)
    t.emit_job("JobSubmitted", job, name=job.name, queue=job.spec.queue, project=job.spec.project)
    # Looked at only where the job waits for others: of a batch of thousands few do.
    just_ended = (other for other in t.changes.jobs.values() if other.state.final)
    broken = queueing.refer(t.state, job, message.progress, just_ended)
    job.count_ineligible(job.submitted_ms)
    queueing.settle(t.state, job, t.now_ms)
    if broken is not None:
        end_job(t, job, JobState.CANCELLED, Ending.DEPENDENCY_FAILED, _never(broken))
    t.changes.replan = True


def refuse_unreadable(t: Transition, message: JobUnreadable) -> None:
    """The job ends at once and says why: no message would ever come for it again, and nobody could cancel it."""
    if message.job_id in t.changes.jobs:
        return
    job = JobRecord(
        message.firm_id,
        message.job_id,
        JobSpec(name="", variants=()),
        message.submitted_ms,
        array_id=message.array_id,
        array_index=message.array_index,
    )
    t.state.add_job(job)
    end_unreadable(t, job, message.problem)


def end_unreadable(t: Transition, job: JobRecord, problem: str) -> None:
    """Nobody knows how to start the job, for the first time or again."""
    end_job(t, job, JobState.FAILED, Ending.SPEC_UNREADABLE, f"its spec cannot be read: {problem}")


def hold(t: Transition, message: HoldRequested) -> None:
    """The job does not start (again) until it is released, or may do so from now on."""
    job = find(t, message.firm_id, message.job_id)
    if job is None or job.held is message.held:
        return
    job.held = message.held
    job.count_ineligible(t.now_ms)
    t.touch_job(job)
    t.emit_job("JobHeld" if message.held else "JobReleased", job, by=message.by)
    if job.state is JobState.QUEUED:
        queueing.settle(t.state, job, t.now_ms)
        t.changes.no_longer_waiting.add(job.job_id)  # what was said of it is no longer true
        learning.taken_back(t.state, job)
        t.changes.replan = True


def revise(t: Transition, message: JobRevised) -> None:
    """A newer revision of the spec; an attempt that runs is bound by its time limit too."""
    job = find(t, message.firm_id, message.job_id)
    if job is None or message.revision <= job.revision:
        return
    job.spec = message.spec
    job.unreadable = None
    job.revision = message.revision
    job.placed = None  # the planner sees a running job by its newest spec
    t.state.note_deadline(job)
    t.touch_job(job)
    t.emit_job(
        "JobRevised",
        job,
        revision=job.revision,
        by=message.by,
        priority=job.spec.priority.value,
        time_limit_seconds=job.spec.time_limit_seconds,
        deadline=job.spec.deadline,
    )
    for attempt in job.attempts:
        attempt.time_limit_ms = job.spec.time_limit_ms
        t.state.forget_views(allocation for allocation in attempt.allocations if allocation.live)
    if job.state is JobState.QUEUED:
        queueing.settle(t.state, job, t.now_ms)
        learning.taken_back(t.state, job)
    t.changes.replan = True


def has_started(t: Transition, job: JobRecord) -> None:
    """The job starts for the first time: others may have waited for that."""
    job.started_ms = t.now_ms
    for job_id in sorted(t.state.references.started(queueing.references_to(job))):
        _told(t, t.state.jobs[job_id])


def end_job(
    t: Transition, job: JobRecord, state: JobState, ending: Ending, detail: str | None = None
) -> None:
    """The job leaves memory, its row stays; jobs that can never follow it end too."""
    _end_one(t, job, state, ending, detail)
    ended = [job]
    while ended:
        one = ended.pop()
        well = one.state is JobState.SUCCEEDED
        references = queueing.references_to(one)
        told = t.state.references.ended(references, well=well, had_started=one.started_ms is not None)
        for job_id in sorted(told):
            waiting = t.state.jobs[job_id]
            broken = _told(t, waiting)
            if broken is not None:
                _end_one(t, waiting, JobState.CANCELLED, Ending.DEPENDENCY_FAILED, _never(broken))
                ended.append(waiting)


def _told(t: Transition, job: JobRecord) -> str | None:
    """Something that the job waits for has moved."""
    broken = queueing.review(t.state, job)
    if not job.unmet and broken is None:
        job.count_ineligible(t.now_ms)
        t.touch_job(job)
        queueing.settle(t.state, job, t.now_ms)
        t.changes.replan = True
    return broken


def _never(reference: str) -> str:
    return f"it was to follow the success of {reference}, which did not succeed"


def _end_one(t: Transition, job: JobRecord, state: JobState, ending: Ending, detail: str | None) -> None:
    if job.shape is not None:
        queueing.wait_for_nothing(t.state, job)
        queueing.leave(t.state, job, t.now_ms, running=False)
        t.changes.no_longer_waiting.add(job.job_id)
    else:
        queueing.ended(t.state, job, t.now_ms)
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
    t.state.learning.withdrawn(job.job_id)
    t.state.remove_job(job)
    t.changes.replan = True  # another of its array may be admitted


def after_attempt(t: Transition, job: JobRecord, attempt: AttemptRecord) -> None:
    """The newest attempt has ended: the job ends too, or waits for the next attempt."""
    ending = attempt.reason or Ending.COMPLETED
    failure = attempt.first_failure
    job.exit_code = 0 if ending is Ending.COMPLETED else (failure.exit_code if failure else None)
    details = [allocation.detail for allocation in attempt.allocations if allocation.detail]
    detail = failure.detail if failure else (details[0] if details else None)
    if job.unreadable is None:  # else nobody knows of which kind it is
        learning.attempt_ended(t, job, attempt)
    if ending is Ending.COMPLETED:
        if job.unreadable is None:
            learning.job_succeeded(t, job)
        end_job(t, job, JobState.SUCCEEDED, ending)
    elif job.cancel_requested:
        end_job(t, job, JobState.CANCELLED, Ending.CANCELLED)
    elif job.unreadable is not None:
        end_unreadable(t, job, job.unreadable)
    elif is_retried(job.attempts, job.spec.retry):
        if not _go_on_with_spares(t, job, attempt):
            _queue_again(t, job, attempt, ending, detail)
    else:
        end_job(t, job, JobState.FAILED, ending, detail)


def _go_on_with_spares(t: Transition, job: JobRecord, attempt: AttemptRecord) -> bool:
    """A gang that has lost nodes goes on at once on those that it has left and on its spares, where they do."""
    workers, kept = workers_of(attempt), spares_of(attempt)
    own = {spare.node_id: spare for spare in kept if any(w.node_id == spare.node_id for w in workers)}
    free = [spare for spare in kept if spare.node_id not in own]
    lost = [worker for worker in workers if worker.node_id not in own]
    usable = all(t.state.nodes[spare.node_id].state is NodeState.CONNECTED for spare in kept)
    if attempt.reason is not Ending.NODE_LOST or job.held or not usable or len(lost) > len(free):
        return False
    places = [own.get(worker.node_id) or free.pop(0) for worker in workers]
    for spare in kept:
        release(t, spare)
    following = AttemptRecord(
        firm_id=attempt.firm_id,
        job_id=attempt.job_id,
        project=attempt.project,
        queue=attempt.queue,
        number=attempt.number + 1,
        variant=attempt.variant,
        device_model=attempt.device_model,
        why_here={**attempt.why_here, "spares_used": len(lost)},
        allocated_ms=t.now_ms,
        time_limit_ms=job.spec.time_limit_ms,
    )
    job.attempts.append(following)
    job.state = JobState.ALLOCATED
    job.reason = job.detail = None
    job.exit_code = None
    job.step_report = None
    t.touch_job(job)
    t.touch_attempt(following)
    t.emit_job(
        "JobRetried", job, attempt=attempt.number, reason=Ending.NODE_LOST.value, spares_used=len(lost)
    )
    for rank, place in enumerate([*places, *free]):
        placed = TaskPlacement(rank, place.node_id, place.device_ids)
        grant(t, following, placed, spare=rank >= len(workers))
    return True


def _queue_again(
    t: Transition, job: JobRecord, attempt: AttemptRecord, ending: Ending, detail: str | None
) -> None:
    job.state = JobState.QUEUED
    job.reason = ending.value
    job.detail = detail
    t.state.active.pop(job.job_id, None)
    t.touch_job(job)
    t.emit_job("JobRetried", job, attempt=attempt.number, reason=ending.value, detail=detail)
    queueing.enter(t.state, job, t.now_ms)
    t.changes.replan = True
