"""Whether a job whose attempt ended badly is tried again: by the kind of end, each with a budget.

Judged from the attempts themselves, so that a leader that has just loaded them judges alike.
"""

from collections.abc import Sequence

from scheduler.domain.reasons import Ending
from scheduler.domain.retries import Category, Retry
from scheduler.machine.state import AllocationRecord, AttemptRecord

_CATEGORIES = {
    Ending.NODE_LOST: Category.NODE_LOST,
    Ending.TASK_LOST: Category.NODE_LOST,
    Ending.PREEMPTED: Category.PREEMPTED,
    Ending.PREPARE_FAILED: Category.PREPARE_FAILED,
    Ending.IMAGE_FAILED: Category.IMAGE_FAILED,
    Ending.REQUEUED: Category.REQUEUED,
}
# Ends that say nothing of the job or its devices: they do not count against its attempts.
_UNCOUNTED = frozenset({Ending.PREEMPTED, Ending.REQUEUED})

# A budget's key: the kind of end, and which rule of the spec where several are of one kind.
Kind = tuple[Category, int]


def kind_of(attempt: AttemptRecord, retry: Retry) -> Kind | None:
    """What an ended attempt is counted as; None where nothing of it is ever retried."""
    ending = attempt.reason
    if ending in _CATEGORIES:
        return _CATEGORIES[ending], 0
    failure = attempt.first_failure
    if ending not in (Ending.EXITED_NONZERO, Ending.OUT_OF_MEMORY) or failure is None:
        return None
    line = _log_pattern(attempt, failure, retry)
    if line is not None:
        return Category.LOG_PATTERN, line
    for number, rule in enumerate(retry.on_exit_codes):
        if failure.exit_code in rule.codes:
            return Category.EXIT_CODE, number
    return (Category.OUT_OF_MEMORY, 0) if ending is Ending.OUT_OF_MEMORY else None


def _log_pattern(attempt: AttemptRecord, failure: AllocationRecord, retry: Retry) -> int | None:
    """The rule whose line stands in the output: that of the task that failed first, else of any other.

    What an agent says is not trusted: a place that no rule has is none.
    """
    said = [failure.log_pattern, *(allocation.log_pattern for allocation in attempt.allocations)]
    known = [number for number in said if number is not None and 0 <= number < len(retry.on_log_patterns)]
    return known[0] if known else None


def budget_of(kind: Kind, retry: Retry) -> int:
    """How many further attempts ends of this kind may bring."""
    category, number = kind
    match category:
        case Category.EXIT_CODE:
            return retry.on_exit_codes[number].budget
        case Category.LOG_PATTERN:
            return retry.on_log_patterns[number].budget
        case _:
            return int(getattr(retry, category.value))


def counted(attempts: Sequence[AttemptRecord]) -> int:
    """How many attempts count against `max_attempts`."""
    return sum(attempt.reason not in _UNCOUNTED for attempt in attempts)


def is_retried(attempts: Sequence[AttemptRecord], retry: Retry) -> bool:
    """Whether another attempt follows the last of these, all of which have ended. Cost: O(attempts)."""
    kind = kind_of(attempts[-1], retry)
    if kind is None:
        return False
    if kind[0] is Category.REQUEUED:
        return True
    used = sum(kind_of(attempt, retry) == kind for attempt in attempts)
    if used > budget_of(kind, retry):
        return False
    return kind[0] is Category.PREEMPTED or counted(attempts) < retry.max_attempts
