"""What a device tells of itself, from two readings to what a stretch of many intervals adds up to."""

from dataclasses import dataclass

from agents.core.readings import DeviceSample, share
from suanli.evidence.hardware import UNKNOWN_HARDWARE, Hardware

_COUNTERS = ("link_in_bytes", "link_out_bytes", "ecc_corrected", "ecc_uncorrected")
_WORST_FIRST = ("faulty", "degraded", "ok", "unknown")


def told_between(before: DeviceSample | None, after: DeviceSample | None) -> Hardware:
    """What one device told of the time between two readings; unknown where it was not read at the end."""
    if after is None:
        return UNKNOWN_HARDWARE
    rose: dict[str, int | None] = {}
    resets: int | None = None
    for name in (*_COUNTERS, "energy_mj"):
        now, then = getattr(after, name), getattr(before, name, None)
        known = now is not None and then is not None
        rose[name] = now - then if known and now >= then else None
        if known:
            resets = (resets or 0) | (now < then)  # one reload sets all of them back
    return Hardware(
        health=str(after.health),
        power_mean_mw=after.power_mw,
        temperature_mean_mc=after.temperature_mc,
        temperature_max_mc=after.temperature_mc,
        links_up_min=after.links_up,
        counter_resets=resets,
        **{name: rose[name] for name in _COUNTERS},
    )


@dataclass
class HardwareTally:
    """The sum over one stretch; `*_ms` are weighted by time."""

    health: str = "unknown"
    power_mw_ms: int = 0
    power_known_ms: int = 0
    temperature_mc_ms: int = 0
    temperature_known_ms: int = 0
    temperature_max_mc: int | None = None
    links_up_min: int | None = None
    link_in_bytes: int | None = None
    link_out_bytes: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    counter_resets: int | None = None

    def add(self, told: Hardware, part: tuple[int, int], whole_ms: int, *, at_end: bool) -> None:
        """Add the part [a, b) of an interval of `whole_ms`. What is counted in ones stands in its last part."""
        length_ms = part[1] - part[0]
        self.health = min(self.health, told.health, key=_WORST_FIRST.index)
        if told.power_mean_mw is not None:
            self.power_mw_ms += told.power_mean_mw * length_ms
            self.power_known_ms += length_ms
        if told.temperature_mean_mc is not None:
            self.temperature_mc_ms += told.temperature_mean_mc * length_ms
            self.temperature_known_ms += length_ms
            self.temperature_max_mc = max(self.temperature_max_mc or 0, told.temperature_mean_mc)
        if told.links_up_min is not None:
            before = told.links_up_min if self.links_up_min is None else self.links_up_min
            self.links_up_min = min(before, told.links_up_min)
        for name in ("link_in_bytes", "link_out_bytes"):
            amount = getattr(told, name)
            if amount is not None:
                setattr(self, name, (getattr(self, name) or 0) + share(amount, *part, whole_ms))
        for name in ("ecc_corrected", "ecc_uncorrected", "counter_resets"):
            amount = getattr(told, name)
            if amount is not None:
                setattr(self, name, (getattr(self, name) or 0) + (amount if at_end else 0))

    def told(self) -> Hardware:
        """As it stands in a segment."""
        power_ms, temperature_ms = self.power_known_ms, self.temperature_known_ms
        return Hardware(
            health=self.health,
            power_mean_mw=self.power_mw_ms // power_ms if power_ms else None,
            temperature_mean_mc=self.temperature_mc_ms // temperature_ms if temperature_ms else None,
            temperature_max_mc=self.temperature_max_mc,
            links_up_min=self.links_up_min,
            link_in_bytes=self.link_in_bytes,
            link_out_bytes=self.link_out_bytes,
            ecc_corrected=self.ecc_corrected,
            ecc_uncorrected=self.ecc_uncorrected,
            counter_resets=self.counter_resets,
        )
