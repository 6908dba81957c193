"""What a job has cost, as far as its grants tell: the most that can be charged for it, in whole numbers.

Charges follow from what was observed in use; a grant is authorised from its first to its last millisecond, so
that this is never less than what is charged. Unit: nano CNY x ms x ppm of a device-hour, exact.
"""

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, StopReason
from scheduler.domain.time import HOUR_MS
from scheduler.machine.messages import PriceFrom
from scheduler.machine.spending import cost_of
from scheduler.machine.state import AllocationRecord, JobRecord


def spent(prices: tuple[PriceFrom, ...], job: JobRecord, now_ms: int) -> int:
    """Of every task of every attempt up to now. Cost: O(tasks x price versions)."""
    return sum(
        allocation.devices_ppm
        * cost_of(prices, attempt.device_model, allocation.granted_ms, _until_ms(allocation, now_ms))
        for attempt in job.attempts
        for allocation in attempt.allocations
        if not allocation.spare  # what is only kept is metered as reserved, and costs nothing
    )


def _until_ms(allocation: AllocationRecord, now_ms: int) -> int:
    lost = allocation.stop_reason is StopReason.NODE_LOST
    return authorised_until(allocation.ended_ms, allocation.owner.ended_ms, now_ms, lost=lost)


def authorised_until(ended_ms: int | None, attempt_ended_ms: int | None, now_ms: int, *, lost: bool) -> int:
    """A lost task is authorised no longer than its attempt, though its devices stay taken."""
    if lost and attempt_ended_ms is not None:
        return attempt_ended_ms
    return now_ms if ended_ms is None else ended_ms


def reserved_nano(per_hour: int, time_limit_ms: int | None, started_ms: int | None, now_ms: int) -> int:
    """What a running attempt may still cost up to its time limit, nano CNY, rounded up; an hour's worth without one.

    `per_hour`: price x parts per million of devices. What was asked for when it started, less what has passed.
    """
    left_ms = HOUR_MS if time_limit_ms is None else time_limit_ms
    if time_limit_ms is not None and started_ms is not None:
        left_ms = max(0, started_ms + time_limit_ms - now_ms)
    return -(-per_hour * left_ms // (HOUR_MS * WHOLE_PPM))


def promised_nano(prices: tuple[PriceFrom, ...], job: JobRecord) -> int:
    """What a queued job that was stopped for others may cost when it goes on as it ran, nano CNY; 0 of any other.

    At the prices of its stop, so that a reload agrees.
    """
    attempt = job.attempt
    if attempt is None or attempt.reason is not Ending.PREEMPTED or job.state is not JobState.QUEUED:
        return 0
    ended_ms = attempt.ended_ms or 0
    ppm = sum(one.devices_ppm for one in attempt.allocations if not one.spare)
    per_hour = cost_of(prices, attempt.device_model, ended_ms, ended_ms + 1) * ppm
    return reserved_nano(per_hour, job.spec.time_limit_ms, None, ended_ms)


def budget_of(job: JobRecord) -> int | None:
    """What the job may cost, in the unit of `spent`; None: any amount."""
    return None if job.spec.budget is None else job.spec.budget.amount_nano * HOUR_MS * WHOLE_PPM


def left_nano(prices: tuple[PriceFrom, ...], job: JobRecord, now_ms: int) -> int | None:
    """What of the budget is left, nano CNY, rounded down; None: there is none. It may be less than nothing."""
    budget = budget_of(job)
    return None if budget is None else (budget - spent(prices, job, now_ms)) // (HOUR_MS * WHOLE_PPM)
