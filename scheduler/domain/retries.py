"""When a job that ended badly is tried again: by the kind of end, each with a budget of its own."""

from dataclasses import dataclass
from enum import StrEnum

# What happens to a job through no fault of its own is forgiven often, what it does itself only where asked.
DEFAULT_MAX_ATTEMPTS = 10
DEFAULT_NODE_LOST = 5
DEFAULT_PREEMPTED = 1_000
DEFAULT_PREPARE_FAILED = 2
DEFAULT_IMAGE_FAILED = 2
DEFAULT_RULE_BUDGET = 3
WILDCARD = "*"


class Category(StrEnum):
    """Kinds of ends that a retry policy tells apart."""

    NODE_LOST = "node_lost"  # the node, or the task on it, is gone
    PREEMPTED = "preempted"
    REQUEUED = "requeued"  # sent back by people: as often as they like
    PREPARE_FAILED = "prepare_failed"
    IMAGE_FAILED = "image_failed"  # its container image could not be had
    OUT_OF_MEMORY = "out_of_memory"
    EXIT_CODE = "exit_code"
    LOG_PATTERN = "log_pattern"


@dataclass(frozen=True, slots=True)
class ExitCodeRule:
    """Ends with one of these exit codes are retried."""

    codes: frozenset[int]  # 1 to 255; 128 + n after signal n
    budget: int = DEFAULT_RULE_BUDGET


@dataclass(frozen=True, slots=True)
class LogPatternRule:
    """Ends after a line like this are retried, whatever the exit code."""

    pattern: str  # to be found in one line of output; * stands for anything
    budget: int = DEFAULT_RULE_BUDGET


@dataclass(frozen=True, slots=True)
class Retry:
    """Budgets are numbers of further attempts after ends of that kind; 0: such an end is final."""

    # Of all attempts, the first included; those that were preempted or sent back by people do not count.
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    node_lost: int = DEFAULT_NODE_LOST
    preempted: int = DEFAULT_PREEMPTED
    prepare_failed: int = DEFAULT_PREPARE_FAILED
    image_failed: int = DEFAULT_IMAGE_FAILED
    out_of_memory: int = 0
    on_exit_codes: tuple[ExitCodeRule, ...] = ()
    on_log_patterns: tuple[LogPatternRule, ...] = ()
