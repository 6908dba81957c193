"""What time alone does: time limits, patience with silent nodes, rests between attempts."""

from scheduler.domain.allocations import AttemptState
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import NodeState
from scheduler.domain.reasons import Ending, StopReason
from scheduler.machine import queueing
from scheduler.machine.attempts import stop_attempt
from scheduler.machine.configuration import calendar_turns
from scheduler.machine.jobs import end_job, end_unreadable
from scheduler.machine.money import budget_of, spent
from scheduler.machine.nodes import flush_progress, lose
from scheduler.machine.state import JobRecord
from scheduler.machine.transition import Transition

_BEFORE_START = (AttemptState.PREPARING, AttemptState.READY)


def tick(t: Transition) -> None:
    """Looks at every silent node, active job and resting job. Cost: O(nodes + active jobs), once a second."""
    for node in t.state.nodes_in_order():
        since_ms = node.silent_since_ms if node.state is NodeState.SILENT else None
        if since_ms is not None and t.now_ms - since_ms >= t.state.patience_ms(node):
            lose(t, node)
    _limits(t)
    _deadlines(t)
    if calendar_turns(t.state, t.state.ticked_ms, t.now_ms):
        t.changes.replan = True
    t.state.ticked_ms = max(t.state.ticked_ms, t.now_ms)
    for job_id in sorted(job_id for job_id, until_ms in t.state.resting.items() if until_ms <= t.now_ms):
        queueing.settle(t.state, t.state.jobs[job_id], t.now_ms)
        t.changes.replan = True
    flush_progress(t, only_due=True)


def leader_started(t: Transition) -> None:
    """Silence is counted from now: while nobody led, nobody could report that an agent is back.

    Jobs that wait and whose specs cannot be read end; those that run go on, and are not tried again.
    """
    for node in t.state.nodes_in_order():
        if node.state is NodeState.SILENT:
            node.silent_since_ms = t.now_ms
            t.touch_node(node)
    for job in list(t.state.jobs.values()):
        if job.unreadable is not None and job.state is JobState.QUEUED:
            end_unreadable(t, job, job.unreadable)
    t.changes.replan = True


def _deadlines(t: Transition) -> None:
    """Cost: O(jobs with a deadline)."""
    for job_id in sorted(job_id for job_id, at_ms in t.state.deadlines.items() if at_ms <= t.now_ms):
        job = t.state.jobs.get(job_id)
        if job is None:
            continue  # ended with one before it in this very loop
        if job.state is JobState.QUEUED or job.attempt is None:
            end_job(t, job, JobState.FAILED, Ending.DEADLINE, "its deadline passed while it waited")
        else:
            stop_attempt(t, job.attempt, Ending.DEADLINE, StopReason.DEADLINE)


def _limits(t: Transition) -> None:
    for job_id in sorted(t.state.active):
        job = t.state.active[job_id]
        attempt = job.attempt
        if attempt is None:
            continue
        budget = budget_of(job)
        if budget is not None and spent(t.state.prices, job, t.now_ms) >= budget:
            stop_attempt(t, attempt, Ending.BUDGET_EXHAUSTED, StopReason.BUDGET_EXHAUSTED)
            continue
        if attempt.started_ms is None:
            waited_ms = t.now_ms - attempt.allocated_ms
            if attempt.state in _BEFORE_START and waited_ms >= _prepare_limit_ms(t, job):
                stop_attempt(t, attempt, Ending.PREPARE_FAILED, StopReason.GANG_FAILED)
        elif attempt.time_limit_ms is not None and t.now_ms - attempt.started_ms >= attempt.time_limit_ms:
            stop_attempt(t, attempt, Ending.TIME_LIMIT, StopReason.TIME_LIMIT)


def _prepare_limit_ms(t: Transition, job: JobRecord) -> int:
    """Agents give up on a store that sends nothing; one that sends is waited for as long as a large corpus takes."""
    fetches = any(item.object is not None for item in job.spec.inputs)
    return t.state.config.fetch_limit_ms if fetches else t.state.config.prepare_limit_ms
