"""What a job has cost, as far as its grants tell: the most that can be charged for it, in whole numbers.

Charges follow from what was observed in use; a grant is authorised from its first to its last millisecond, so
that this is never less than what is charged. Unit: nano CNY x ms x ppm of a device-hour, exact.
"""

from collections.abc import Iterable

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.reasons import StopReason
from scheduler.domain.time import HOUR_MS
from scheduler.machine.messages import PriceFrom
from scheduler.machine.state import AllocationRecord, JobRecord


def cost_of(prices: Iterable[PriceFrom], model: str, from_ms: int, to_ms: int) -> int:
    """Of one whole device for a stretch of time, nano CNY x ms; `prices` by model and beginning.

    Cost: O(price versions).
    """
    total = 0
    versions = [price for price in prices if price.model == model]
    for number, price in enumerate(versions):
        until_ms = versions[number + 1].from_ms if number + 1 < len(versions) else to_ms
        total += max(min(until_ms, to_ms) - max(price.from_ms, from_ms), 0) * price.price_nano_cny
    return total


def spent(prices: tuple[PriceFrom, ...], job: JobRecord, now_ms: int) -> int:
    """Of every task of every attempt up to now. Cost: O(tasks x price versions)."""
    return sum(
        len(allocation.device_ids)
        * allocation.share_ppm
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


def budget_of(job: JobRecord) -> int | None:
    """What the job may cost, in the unit of `spent`; None: any amount."""
    return None if job.spec.budget is None else job.spec.budget.amount_nano * HOUR_MS * WHOLE_PPM


def left_nano(prices: tuple[PriceFrom, ...], job: JobRecord, now_ms: int) -> int | None:
    """What of the budget is left, nano CNY, rounded down; None: there is none. It may be less than nothing."""
    budget = budget_of(job)
    return None if budget is None else (budget - spent(prices, job, now_ms)) // (HOUR_MS * WHOLE_PPM)
