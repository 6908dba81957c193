"""What a device told of itself over the stretch of a segment: health, heat, power, links, errors of its memory.

Counters are those of the stretch alone, never the device's own totals: two of a firm's segments on a shared device
would tell it by their difference what its neighbour did in between. What was not told is null, never 0.
Temperatures are thousandths of a degree Celsius.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from suanli.evidence import plain
from suanli.evidence.strict_json import Fields, parse_object

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


@dataclass(frozen=True, slots=True)
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


_PLAIN = plain.record({"health": plain.choice(HEALTHS)} | dict.fromkeys(_AMOUNTS, plain.OPTIONAL_INTEGER))
_PLAIN_NAMES = sorted(Hardware.__slots__)


# Most devices of an installation tell little, so that few texts stand in most segments.
@functools.lru_cache(maxsize=4096)
def hardware_of(text: str) -> Hardware:
    """`read_hardware` of the text of an object, read once for all places where it stands. Raises EvidenceError."""
    found = _PLAIN.fullmatch(text)
    if found is not None:
        told = dict(zip(_PLAIN_NAMES, found.groups(), strict=True))
        amounts = [None if told[name] is None else int(told[name]) for name in _AMOUNTS]
        return Hardware(told["health"], *amounts)
    return read_hardware(parse_object(text.encode(), "segment.hardware"))
