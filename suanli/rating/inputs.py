"""What rating is a function of: observed usage, authorised allocations, prices, programs, firms, devices.

Plain values, however they were logged. Times are milliseconds of UTC, half-open; shares parts per million;
prices nano-CNY per device hour. `order` is the log index: of two versions in force, the later logged counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

WHOLE_PPM = 1_000_000
GRID_MS = 300_000


class ObservedUse(NamedTuple):
    """One signed stretch of one device. `state` is in_use, free, faulty or unknown."""

    device_id: str
    device_model: str
    start_ms: int
    end_ms: int
    state: str
    allocation_id: str | None
    share_ppm: int
    live_ms: int
    busy_ms: int


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Devices given to a job's task from `granted_ms` to `ended_ms` (None: still given).

    `lost`: it ended as `attribution.NODE_LOST`, which its node could not be told.
    """

    allocation_id: str
    job_id: str
    attempt: int
    rank: int
    firm_id: str
    project: str
    share_ppm_of: Mapping[str, int]
    granted_ms: int
    ended_ms: int | None
    time_limit_ms: int | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """Price of one device model in [from_ms, to_ms)."""

    price_id: str
    device_model: str
    price_nano_cny: int
    from_ms: int
    to_ms: int | None
    order: int


@dataclass(frozen=True, slots=True)
class Program:
    """One version of a subsidy program, in force in [from_ms, to_ms)."""

    program_id: str
    version: int
    rate_ppm: int
    usage_measure: str
    domestic_only: bool
    domestic_models: frozenset[str]
    per_firm_cap_fen: int | None
    from_ms: int
    to_ms: int | None
    order: int


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """A device and when it was in the register."""

    device_id: str
    device_model: str
    enrolled_ms: int
    retired_ms: int | None


@dataclass(frozen=True, slots=True)
class RatingInputs:
    """Everything below one log size, which is where a period closes."""

    usage: Sequence[ObservedUse]
    authorisations: Mapping[str, Authorisation]
    prices: Sequence[Price]
    programs: Sequence[Program]
    firm_names: Mapping[str, str]
    devices: Sequence[RegisteredDevice]
    log_size: int
    maintenance: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    """Per device, stretches in which the operator had taken it out of service."""
    reserved: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    """Per device, stretches in which the operator kept it for somebody who had booked it."""
