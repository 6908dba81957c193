"""What is read from a host at one moment, and what a device did between two such moments.

Times are milliseconds of the meter's clock unless a name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from suanli.evidence.hardware import UNKNOWN_HARDWARE, Hardware

WHOLE_PPM = 1_000_000


class Health(StrEnum):
    """What a device says of its own health."""

    OK = "ok"
    DEGRADED = "degraded"
    FAULTY = "faulty"


@dataclass(frozen=True)
class DeviceSample:
    """One reading of one device. Energy, link traffic and errors of its memory are counters since the driver was
    loaded, not rates; `temperature_mc` is in thousandths of a degree Celsius; `processes` are bytes of its memory by
    the process of the host that has them. What it does not tell is None.
    """

    index: int
    health: Health = Health.OK
    utilisation_ppm: int | None = None
    memory_bytes: int | None = None
    power_mw: int | None = None
    energy_mj: int | None = None
    processes: Mapping[int, int | None] | None = None
    temperature_mc: int | None = None
    links_up: int | None = None
    link_in_bytes: int | None = None
    link_out_bytes: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None


@dataclass(frozen=True)
class RankUse:
    """One local rank of a task with all that it started. `cpu_ms` is cumulative since the task's start; `pids` are
    of what lives, and empty where a shim's account is all that is known.
    """

    live: bool
    cpu_ms: int
    memory_bytes: int
    processes: int
    ended_ms: int | None = None
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class TaskUse:
    """All local ranks of a task; `started_ms` None before its processes run."""

    started_ms: int | None = None
    ranks: Mapping[int, RankUse] = field(default_factory=dict)


@dataclass(frozen=True)
class Holding:
    """An allocation holds these devices of the node, with this many local processes."""

    allocation_id: str
    devices: tuple[int, ...]
    processes: int
    share_ppm: int = WHOLE_PPM  # of each device


@dataclass(frozen=True)
class Interval:
    """What one device did between two readings; amounts are of the interval alone."""

    observed: str
    allocation_id: str | None = None
    measured_by: str = "agent"
    live_ms: int = 0
    busy_ms: int = 0
    cpu_ms: int | None = None
    utilisation_ppm: int | None = None
    memory_bytes: int | None = None
    processes: int = 0
    energy_mj: int | None = None
    energy_method: str = "none"
    hardware: Hardware = UNKNOWN_HARDWARE
    share_ppm: int = WHOLE_PPM  # of the device; the intervals of one device at one time sum to the whole


UNKNOWN = Interval(observed="unknown", measured_by="nobody")


def share(amount: int, part_start: int, part_end: int, whole: int) -> int:
    """The part [part_start, part_end) of an amount spread evenly over [0, whole); parts sum to the amount."""
    return amount * part_end // whole - amount * part_start // whole
