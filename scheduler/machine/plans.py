"""Carries out a plan: placements become attempts and allocations."""

from scheduler.domain.allocations import AttemptState
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, StopReason
from scheduler.machine import learning, queueing
from scheduler.machine.attempts import stop_attempt
from scheduler.machine.grants import StalePlan, grant
from scheduler.machine.state import AttemptRecord
from scheduler.machine.transition import Transition
from scheduler.planner.plan import JobPlacement, Plan, Stop

__all__ = ["StalePlan", "carry_out"]


def carry_out(t: Transition, plan: Plan) -> None:
    """Grants every placement, gang by gang, and stops who makes room. Raises StalePlan.

    Cost: O(tasks + devices placed, tasks stopped).
    """
    for placement in plan.placements:
        _grant(t, placement)
    for stop in plan.stops:
        _stop(t, stop)


def _stop(t: Transition, stop: Stop) -> None:
    """The job saves its model checkpoint in its grace period and waits again, with the age that it has."""
    job = t.state.jobs.get(stop.job_id)
    attempt = None if job is None else job.attempt
    if job is None or attempt is None or attempt.state in (AttemptState.STOPPING, AttemptState.ENDED):
        raise StalePlan(f"job {stop.job_id} does not run")
    t.emit_job(
        "JobPreempted", job, attempt=attempt.number, cause=stop.cause.value, detail=stop.sentence,
        lost_ms=stop.lost_ms,
    )  # fmt: skip
    stop_attempt(t, attempt, Ending.PREEMPTED, StopReason.PREEMPTED)
    t.changes.replan = True


def _grant(t: Transition, placement: JobPlacement) -> None:
    job = t.state.jobs.get(placement.job_id)
    if job is None or job.state is not JobState.QUEUED or job.shape is None:
        raise StalePlan(f"job {placement.job_id} does not wait")
    variant = next(
        (n for n, variant in enumerate(job.spec.variants) if variant.model == placement.device_model), None
    )
    if variant is None:
        raise StalePlan(f"job {placement.job_id} has no variant for {placement.device_model}")
    attempt = AttemptRecord(
        firm_id=job.firm_id,
        job_id=job.job_id,
        project=job.spec.project,
        queue=job.queue,
        number=len(job.attempts) + 1,
        variant=variant,
        device_model=placement.device_model,
        why_here=dict(placement.why_here),
        allocated_ms=t.now_ms,
        time_limit_ms=job.spec.time_limit_ms,
        state=AttemptState.PREPARING,
    )
    learning.first_start(t, job)
    shape = job.shape
    queueing.leave(t.state, job, t.now_ms, running=True)
    job.placed = shape._replace(promised_nano=0)
    t.changes.no_longer_waiting.add(job.job_id)
    job.attempts.append(attempt)
    job.state = JobState.ALLOCATED
    job.reason = job.detail = None
    job.exit_code = None
    job.step_report = None
    t.state.active[job.job_id] = job
    t.touch_job(job)
    t.touch_attempt(attempt)
    workers = len(placement.tasks) - job.spec.gang.spare_nodes
    t.emit_job(
        "JobAllocated",
        job,
        attempt=attempt.number,
        device_model=placement.device_model,
        pool=placement.pool,
        devices=sum(len(task.device_ids) for task in placement.tasks[:workers]),
        nodes=[t.state.nodes[task.node_id].node.name for task in placement.tasks[:workers]],
    )
    for task in placement.tasks:
        grant(t, attempt, task, spare=task.rank >= workers)
