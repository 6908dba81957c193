"""Where the jobs of a firm wait, with the pools it may use and its quota."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.domain.ids import FirmId


class QueueKey(NamedTuple):
    """A queue belongs to a firm; its name is unique within the firm."""

    firm_id: FirmId
    name: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its policy."""

    key: QueueKey
    pools: tuple[str, ...]  # in order of preference
    nominal: Mapping[str, int] = field(default_factory=dict)  # device model -> devices; absent: no limit
    weight: int = 1
