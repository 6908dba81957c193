"""Where the jobs of a firm wait, with the pools it may use and its quota."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.domain.ids import FirmId


class QueueKey(NamedTuple):
    """A queue belongs to a firm; its name is unique within the firm."""

    firm_id: FirmId
    name: str


def firm_and_name(typed: str) -> tuple[str | None, str]:
    """(firm, name) of a queue or a job: `firm/name`, or its name alone where the firm goes without saying."""
    firm, slash, name = typed.rpartition("/")
    return firm if slash else None, name


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its policy."""

    key: QueueKey
    pools: tuple[str, ...]  # in order of preference
    # Device model -> devices, and COMPUTE -> GFLOPS held at once over all models; absent: no limit.
    nominal: Mapping[str, int] = field(default_factory=dict)
    weight: int = 1
    # In a cohort the nominal quota is a guarantee: what it does not use, others borrow until it comes back.
    cohort: str | None = None
    borrowing: Mapping[str, int] = field(default_factory=dict)  # the most above nominal; absent: no limit
    lending: Mapping[str, int] = field(default_factory=dict)  # the most lent of nominal; absent: all of it


COMPUTE = "compute"  # a quota's key beside the device models: nominal FP16 speed, in GFLOPS


def told_amount(key: str, amount: int) -> str:
    """The number of an amount of quota for people: devices, or of COMPUTE what it is in TFLOPS, as they set it."""
    return f"{amount / 1000:.3f}".rstrip("0").rstrip(".") if key == COMPUTE else str(amount)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Queues and cohorts that lend each other unused quota; a tree."""

    name: str
    parent: str | None = None
    nominal: Mapping[str, int] = field(default_factory=dict)  # its own, beside what its members bring
    borrowing: Mapping[str, int] = field(default_factory=dict)
    lending: Mapping[str, int] = field(default_factory=dict)
    weight: int = 1
