"""Held time: what a firm was given of the devices of a model in a period, and what they did meanwhile.

Closing a period states it in the firm's entry of the log. Held and allocated time follow from what a firm is shown; how
the rest divides into reserved, faulty and unknown follows from the windows of everybody's free devices, which only an
auditor is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from suanli.rating.balance import BalanceCollector, Unused
from suanli.rating.inputs import WHOLE_PPM
from suanli.rating.usage import Quantities, Usage


@dataclass(frozen=True, slots=True)
class HeldTime:
    """Of one firm and device model, whole milliseconds of whole devices, rounded down; unknown is what is left.

    held = allocated + reserved + faulty + unknown; live and worked are parts of allocated. Where the firm held
    a part of a device, what it did not use of it is unknown.
    """

    device_model: str
    held_ms: int
    allocated_ms: int
    live_ms: int
    worked_ms: int
    reserved_ms: int
    faulty_ms: int
    unknown_ms: int

    @property
    def unused_ms(self) -> int:
        """What is stated of the time in which nobody used what was held."""
        return self.reserved_ms + self.faulty_ms + self.unknown_ms


def state_held(usage: Usage, balance: BalanceCollector) -> dict[str, tuple[HeldTime, ...]]:
    """By firm, one of each device model that it held, in the order of their names.

    `usage` counts everything that was authorised. Of a balance over what a firm is shown, all unused time is unknown.
    """
    sums: dict[tuple[str, str], Quantities] = {}
    for key, quantities in usage.quantities.items():
        sums.setdefault((key.firm_id, key.device_model), Quantities()).add(quantities)
    unused = balance.unused()
    stated: dict[str, list[HeldTime]] = {}
    for (firm_id, model), of_model in sorted(sums.items()):
        if of_model.held:
            held = _held_time(model, of_model, unused.get((firm_id, model), Unused()))
            stated.setdefault(firm_id, []).append(held)
    return {firm_id: tuple(models) for firm_id, models in stated.items()}


def _held_time(model: str, quantities: Quantities, unused: Unused) -> HeldTime:
    held_ms, allocated_ms = quantities.held // WHOLE_PPM, quantities.billable // WHOLE_PPM
    reserved_ms, faulty_ms = unused.reserved // WHOLE_PPM, unused.faulty // WHOLE_PPM
    return HeldTime(
        device_model=model,
        held_ms=held_ms,
        allocated_ms=allocated_ms,
        live_ms=quantities.live // WHOLE_PPM,
        worked_ms=quantities.worked // WHOLE_PPM,
        reserved_ms=reserved_ms,
        faulty_ms=faulty_ms,
        unknown_ms=max(held_ms - allocated_ms - reserved_ms - faulty_ms, 0),
    )
