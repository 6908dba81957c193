"""What a device told of itself over the stretch of a segment: health, heat, power, links, errors of its memory.

Counters are those of the stretch alone, never the device's own totals: two of a firm's segments on a shared device
would tell it by their difference what its neighbour did in between. What was not told is null, never 0.
Temperatures are thousandths of a degree Celsius.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from suanli.evidence import plain
from suanli.evidence.strict_json import Fields

HEALTHS = frozenset({"ok", "degraded", "faulty", "unknown"})
_AMOUNTS = (
    "power_mean_mw",
    "temperature_mean_mc",
    "temperature_max_mc",
    "links_up_min",
    "link_in_bytes",
    "link_out_bytes",
    "ecc_corrected",
    "ecc_uncorrected",
    "counter_resets",
)


# Not frozen, as windows and their segments are not: one is made for nearly every segment of a device that tells much.
# Nobody changes it all the same: it may be hashed, and be a default.
@dataclass(slots=True, unsafe_hash=True)
class Hardware:
    """Readings of one stretch: health at its worst, fast links at their fewest, and what the counters rose by.

    `counter_resets` says how often a counter of the device was found below its last reading: the vendor's driver was
    loaded anew, or the counter was set back, and what was counted in between is not in the sums.
    """

    health: str = "unknown"
    power_mean_mw: int | None = None
    temperature_mean_mc: int | None = None
    temperature_max_mc: int | None = None
    links_up_min: int | None = None
    link_in_bytes: int | None = None
    link_out_bytes: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    counter_resets: int | None = None

    def as_json(self) -> dict[str, object]:
        """The JSON object in a segment."""
        return {name: getattr(self, name) for name in Hardware.__slots__}


UNKNOWN_HARDWARE = Hardware()


def read_hardware(fields: Fields) -> Hardware:
    """The readings in `fields`, every key of which must be there and known. Raises EvidenceError."""
    hardware = Hardware(
        fields.choice("health", HEALTHS), *[fields.optional_integer(name) for name in _AMOUNTS]
    )
    fields.done()
    return hardware


PLAIN = {"health": plain.choice(*HEALTHS)} | dict.fromkeys(_AMOUNTS, plain.optional(plain.INTEGER))
"""The object within the plain form of a segment."""


_in_order: Callable[[Any], tuple[Any, ...]] = attrgetter(*Hardware.__slots__)


def hardware_of(told: Any) -> Hardware:
    """The readings that are attributes of `told`."""
    return Hardware(*_in_order(told))
