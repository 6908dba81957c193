"""Charges: usage x price as an exact fraction of a fen, and the lines into which they are summed.

Charge = share-weighted time x price / 3,600,000 ms / 10^7 nano-CNY, exact. Rounded once, per line, half away
from zero. Splitting or merging windows does not change a charge (R2): time is added before it is priced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from suanli.rating.inputs import WHOLE_PPM, Program
from suanli.rating.prices import exact_fen, round_half_away
from suanli.rating.usage import Quantities, Usage


@dataclass(slots=True)
class Line:
    """One line of a statement: a job's use of one device model at one price (None: no price in force)."""

    firm_id: str
    job_id: str
    device_model: str
    price_id: str | None
    quantities: Quantities = field(default_factory=Quantities)
    charge_fen: Fraction = Fraction(0)
    program_base_fen: dict[tuple[str, int], Fraction] = field(default_factory=dict)

    @property
    def amount_fen(self) -> int:
        """The rounded charge."""
        return round_half_away(self.charge_fen)

    def as_json(self) -> dict[str, object]:
        """The line as a statement shows it; times in whole milliseconds of whole devices."""
        quantities = self.quantities
        requested = quantities.requested
        return {
            "job_id": self.job_id,
            "device_model": self.device_model,
            "price_id": self.price_id,
            "requested_ms": None if requested is None else requested // WHOLE_PPM,
            "held_ms": quantities.held // WHOLE_PPM,
            "billable_ms": quantities.billable // WHOLE_PPM,
            "live_ms": quantities.live // WHOLE_PPM,
            "worked_ms": quantities.worked // WHOLE_PPM,
            "charge": {"num": self.charge_fen.numerator, "den": self.charge_fen.denominator},
            "amount_fen": self.amount_fen,
        }


@dataclass(frozen=True, slots=True)
class Charges:
    """Lines in their order (firm, job, device model, price), and the program versions met on the way."""

    lines: list[Line]
    programs: dict[tuple[str, int], Program]


def charge(usage: Usage) -> Charges:
    """Prices usage. Exact: the only rounding is `Line.amount_fen`."""
    lines: dict[tuple[str, str, str, str], Line] = {}
    programs: dict[tuple[str, int], Program] = {}
    for key, quantities in usage.quantities.items():
        terms = usage.terms[key.device_model]
        price = terms.price(key.epoch)
        price_id = price.price_id if price else None
        line_key = (key.firm_id, key.job_id, key.device_model, price_id or "")
        line = lines.setdefault(line_key, Line(key.firm_id, key.job_id, key.device_model, price_id))
        line.quantities.add(quantities)
        if price is None:
            continue
        line.charge_fen += exact_fen(quantities.billable, price.price_nano_cny)
        for program in terms.programs(key.epoch):
            version = (program.program_id, program.version)
            programs[version] = program
            base = exact_fen(_measured(quantities, program.usage_measure), price.price_nano_cny)
            line.program_base_fen[version] = line.program_base_fen.get(version, Fraction(0)) + base
    return Charges([lines[key] for key in sorted(lines)], programs)


def _measured(quantities: Quantities, measure: str) -> int:
    """The time a program pays for: all billable, that with a live process, or that with a busy device."""
    return {"allocated": quantities.billable, "live": quantities.live, "busy": quantities.worked}[measure]
