"""Subsidy programs: what a firm may be granted on its lines by each program version in force.

The base of a version is the sum of the firm's lines as far as they fall under it, each rounded to fen; the
amount is rate x base, rounded half away from zero, at most what the cap of the program leaves. A cap is
applied within one statement: what earlier periods used of it is settled where claims are reviewed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from suanli.rating.charges import Line
from suanli.rating.inputs import WHOLE_PPM, Program
from suanli.rating.prices import round_half_away


@dataclass(frozen=True, slots=True)
class Subsidy:
    """What one program version comes to for one firm. `calculated_fen` is the amount before the cap."""

    program_id: str
    version: int
    base_fen: int
    calculated_fen: int
    amount_fen: int

    def as_json(self) -> dict[str, object]:
        """The subsidy as a statement shows it."""
        return {
            "program_id": self.program_id,
            "version": self.version,
            "base_fen": self.base_fen,
            "amount_fen": self.amount_fen,
        }


def evaluate_programs(lines: Iterable[Line], programs: Mapping[tuple[str, int], Program]) -> list[Subsidy]:
    """Subsidies on the lines of one firm, by program and version; versions of a program share its cap."""
    bases: dict[tuple[str, int], int] = {}
    for line in lines:
        for version, base in line.program_base_fen.items():
            bases[version] = bases.get(version, 0) + round_half_away(base)
    subsidies: list[Subsidy] = []
    granted: dict[str, int] = {}
    for version in sorted(bases):
        program = programs[version]
        calculated = round_half_away(Fraction(bases[version] * program.rate_ppm, WHOLE_PPM))
        amount = calculated
        if program.per_firm_cap_fen is not None:
            left = program.per_firm_cap_fen - granted.get(program.program_id, 0)
            amount = min(amount, max(left, 0))
        granted[program.program_id] = granted.get(program.program_id, 0) + amount
        subsidies.append(Subsidy(*version, bases[version], calculated, amount))
    return subsidies
