"""What the machine learns for the planner: run times, speeds on device models, and how announced starts came out.

Everything learned is stored with the change that taught it, so that a leader that has just loaded knows the same.
"""

from collections.abc import Iterable
from typing import Any

from scheduler.domain.allocations import AttemptState
from scheduler.machine.queueing import shape_of
from scheduler.machine.served import BELIEVED_UNTIL_MS, believed_until_ms, served_ms
from scheduler.machine.state import AttemptRecord, ClusterState, JobRecord
from scheduler.machine.transition import Transition
from scheduler.planner.report import Report

# So many waiting jobs are told their start in one cycle; the rest in the next ones.
_TOLD_A_CYCLE = 500
# Speeds from less are noise: warming up, the first compilation.
_LEAST_STEPS, _LEAST_MS = 2.0, 1_000


def job_succeeded(t: Transition, job: JobRecord) -> None:
    """How long jobs of its kind run, as if all its attempts had been on its fastest model."""
    shape = job.placed or shape_of(t.state, job)
    run_ms = served_ms(t.state.catalogue, t.state.learning.experience(), shape, job, t.now_ms)
    if run_ms >= _LEAST_MS:  # what ends at once says nothing of those that do their work
        asked_ms = shape.time_limit_ms if shape.estimate_ms is None else shape.estimate_ms
        t.changes.learned |= t.state.learning.finished(shape.kind, run_ms, asked_ms)


def attempt_ended(t: Transition, job: JobRecord, attempt: AttemptRecord) -> None:
    """How many steps a second jobs of its kind do on the model, from the step reports of the attempt."""
    first, last = attempt.first_report, _report(job)
    if first is None or last is None or attempt.state is not AttemptState.ENDED:
        return
    steps, took_ms = last[0] - first[0], last[1] - first[1]
    if steps >= _LEAST_STEPS and took_ms >= _LEAST_MS:
        shape = job.placed or shape_of(t.state, job)
        t.changes.learned |= t.state.learning.ran(shape.kind, attempt.device_model, 1000 * steps / took_ms)


def reported(
    state: ClusterState, job: JobRecord, attempt: AttemptRecord, before: dict[str, Any] | None, now_ms: int
) -> None:
    """A step report came in."""
    if attempt.first_report is None:
        attempt.first_report = _report(job)
    new = job.step_report or {}
    shape = job.placed or shape_of(state, job)
    until_ms = believed_until_ms(state.catalogue, shape, job, attempt.device_model, now_ms)
    known = [ms for ms in ((before or {}).get(BELIEVED_UNTIL_MS), until_ms) if ms is not None]
    if known:
        new[BELIEVED_UNTIL_MS] = min(known)
    if new.get("model_checkpoint") and new.get("model_checkpoint") != (before or {}).get("model_checkpoint"):
        at_ms = new.get("at_ms")
        attempt.saved_ms = at_ms if isinstance(at_ms, int) else None


def _report(job: JobRecord) -> tuple[float, int] | None:
    report = job.step_report or {}
    step, at_ms = report.get("step"), report.get("at_ms")
    if isinstance(step, int | float) and isinstance(at_ms, int):
        return float(step), at_ms
    return None


def announce(t: Transition, report: Report) -> None:
    """Tells waiting jobs, once each, between which moments they start, in the order of their turns.

    Cost: O(waiting jobs of which that is known).
    """
    newly: list[JobRecord] = []
    for job_id in report.expected:
        job = t.state.jobs.get(job_id)
        if job is None or job.announced is not None or job.attempts or job.held:
            continue
        told = report.starts(job_id)
        if told is None:
            continue
        job.announced = (t.now_ms, told.low_ms, told.forecast_ms, told.high_ms)
        t.touch_job(job)
        newly.append(job)
        if len(newly) == _TOLD_A_CYCLE:
            break
    told_starts(t.state, newly)


def told_starts(state: ClusterState, jobs: Iterable[JobRecord]) -> None:
    """Jobs that were told their starts wait for them: now, or again after they were loaded.

    Only the newest count, and many are told theirs at one moment: in one order, so that it is the same ones.
    """
    waits = [
        (at_ms, forecast_ms, job.job_id, job.firm_id, job.spec.gang.devices)
        for job in jobs
        if job.announced is not None and not job.attempts and not job.held
        for at_ms, _, forecast_ms, _ in (job.announced,)
    ]
    for at_ms, forecast_ms, job_id, firm, devices in sorted(waits):
        state.learning.told(firm, job_id, at_ms, forecast_ms - at_ms, devices)


def taken_back(state: ClusterState, job: JobRecord) -> None:
    """What a job was told of its start is void, as it is held, released or revised: it is told anew."""
    if not job.attempts:
        job.announced = None
        state.learning.withdrawn(job.job_id)


def first_start(t: Transition, job: JobRecord) -> None:
    """A job is given devices for the first time: was it told so?"""
    if job.announced is not None and not job.attempts:
        at_ms, low_ms, forecast_ms, high_ms = job.announced
        t.changes.kept_word.append(low_ms <= t.now_ms <= high_ms)
        told_ms = [moment_ms - at_ms for moment_ms in (low_ms, forecast_ms, high_ms)]
        devices, waited_ms = job.spec.gang.devices, t.now_ms - at_ms
        t.changes.learned |= t.state.learning.started(job.firm_id, job.job_id, told_ms, waited_ms, devices)
