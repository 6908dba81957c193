"""How long a job has run: as if all of it had been on its fastest model, and by the clock; and what it says is left."""

from scheduler.catalogue import Catalogue
from scheduler.machine.state import JobRecord
from scheduler.planner.estimates import relative_speeds
from scheduler.planner.experience import Experience
from scheduler.planner.snapshot import Shape


def served_ms(
    catalogue: Catalogue, experience: Experience | None, shape: Shape, job: JobRecord, now_ms: int
) -> float:
    """Over all attempts; of a job that begins anew after each, of the last one. Cost: the job's attempts."""
    speeds = relative_speeds(shape, catalogue, experience)
    total = 0.0
    for attempt in job.attempts if shape.resumable else job.attempts[-1:]:
        if attempt.started_ms is not None:
            until_ms = now_ms if attempt.ended_ms is None else attempt.ended_ms
            total += max(0, until_ms - attempt.started_ms) * speeds.get(attempt.device_model, 1.0)
    return total


def held_ms(job: JobRecord) -> int:
    """In attempts that have ended, whatever came of them. Cost: the job's attempts."""
    return sum(
        max(0, attempt.ended_ms - attempt.started_ms)
        for attempt in job.attempts
        if attempt.started_ms is not None and attempt.ended_ms is not None
    )


def steps_left(job: JobRecord) -> float | None:
    """By its newest step report, where that says how many steps there will be."""
    report = job.step_report or {}
    step, of = report.get("step"), report.get("of")
    if isinstance(step, int | float) and isinstance(of, int | float) and of >= step:
        return float(of - step)
    return None
