"""How long a job has run: as if all of it had been on its fastest model, and by the clock; and what it says is left."""

from scheduler.catalogue import Catalogue
from scheduler.domain.time import MINUTE_MS
from scheduler.machine.state import JobRecord
from scheduler.planner.estimates import relative_speeds, steps_take_ms
from scheduler.planner.experience import Experience
from scheduler.planner.snapshot import Shape

# Our own field of a step report that is kept: up to when its steps are believed.
BELIEVED_UNTIL_MS = "believed_until_ms"
# A job may take so many times as long as the steps that it says are left, and then so long to save. Then it has
# outlived its own word, whatever else it says in that attempt, and counts as one that says nothing.
_TIMES = 3.0
_SAVES_MS = 30 * MINUTE_MS


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


def steps_left(job: JobRecord, now_ms: int) -> float | None:
    """By its newest step report, where that says how many steps there will be, as long as its word is believed."""
    report = job.step_report or {}
    step, of, until_ms = report.get("step"), report.get("of"), report.get(BELIEVED_UNTIL_MS)
    if isinstance(until_ms, int) and until_ms < now_ms:
        return None
    if isinstance(step, int | float) and isinstance(of, int | float) and of >= step:
        return float(of - step)
    return None


def believed_until_ms(
    catalogue: Catalogue, shape: Shape, job: JobRecord, model: str, now_ms: int
) -> int | None:
    """Up to when what a job's newest step report says is left is believed; None: it says nothing that counts.

    Who says that little is left comes before others, and would for ever if he said so for ever.
    """
    left = steps_left(job, now_ms)
    if left is None or not shape.rates:
        return None
    speed = relative_speeds(shape, catalogue, None).get(model, 0.0)
    left_ms = steps_take_ms(shape, left, speed) if speed else None
    return None if left_ms is None else now_ms + _SAVES_MS + round(_TIMES * left_ms)
