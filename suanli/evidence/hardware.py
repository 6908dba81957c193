"""What a device told of itself over the stretch of a segment: health, heat, power, links, errors of its memory.

Counters are those of the stretch alone, never the device's own totals: two of a firm's segments on a shared device
would tell it by their difference what its neighbour did in between. What was not told is null, never 0.
Temperatures are thousandths of a degree Celsius.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


PLAIN = plain.record(
    {"health": plain.choice(HEALTHS)} | dict.fromkeys(_AMOUNTS, plain.OPTIONAL_INTEGER)
).pattern
"""The object as we write it, within the pattern of a segment; its ten groups are for `hardware_of`."""


def hardware_of(told: Sequence[Any]) -> Hardware:
    """The readings that the groups of `PLAIN` tell, in their order; a group is None where nothing was told."""
    resets, corrected, uncorrected, health, came, went, links, power, hottest, mean = told
    return Hardware(
        health,
        power if power is None else int(power),
        mean if mean is None else int(mean),
        hottest if hottest is None else int(hottest),
        links if links is None else int(links),
        came if came is None else int(came),
        went if went is None else int(went),
        corrected if corrected is None else int(corrected),
        uncorrected if uncorrected is None else int(uncorrected),
        resets if resets is None else int(resets),
    )
