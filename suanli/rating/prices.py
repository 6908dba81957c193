"""Prices and programs in force: which version counts at a time, and where versions change."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from fractions import Fraction

from suanli.rating.inputs import WHOLE_PPM, Price, Program

HOUR_MS = 3_600_000
FOREVER_MS = 1 << 62
"""Stands for the end of what has none."""
NANO_CNY_PER_FEN = 10_000_000
"""1 fen = 0.01 CNY = 10^7 nano-CNY."""


def exact_fen(share_time_ppm_ms: int, price_nano_cny: int) -> Fraction:
    """Exact charge in fen: time x share x price per device hour, nothing rounded.

    share_time_ppm_ms is milliseconds times share in parts per million, so that parts of devices add up.
    """
    return Fraction(share_time_ppm_ms * price_nano_cny, WHOLE_PPM * HOUR_MS * NANO_CNY_PER_FEN)


def round_half_away(amount: Fraction) -> int:
    """The nearest integer, halves away from zero, so that a reversal mirrors its original exactly."""
    doubled = abs(amount) * 2
    whole = (doubled.numerator + doubled.denominator) // (2 * doubled.denominator)
    return whole if amount >= 0 else -whole


def price_at(prices: Iterable[Price], time_ms: int) -> Price | None:
    """The price in force: latest begun, and of those the latest logged. `prices` are of one device model."""
    standing = (p for p in prices if p.from_ms <= time_ms and (p.to_ms is None or time_ms < p.to_ms))
    return max(standing, key=lambda p: (p.from_ms, p.order), default=None)


def programs_at(programs: Iterable[Program], time_ms: int) -> list[Program]:
    """The version in force of each program (highest, and of those the latest logged), by program id."""
    newest: dict[str, Program] = {}
    for program in programs:
        if program.from_ms <= time_ms and (program.to_ms is None or time_ms < program.to_ms):
            held = newest.get(program.program_id)
            if held is None or (program.version, program.order) > (held.version, held.order):
                newest[program.program_id] = program
    return [newest[program_id] for program_id in sorted(newest)]


class Terms:
    """Price and programs of one device model, piecewise constant in time, looked up by bisection."""

    __slots__ = ("_edges", "_prices", "_programs")

    def __init__(self, prices: Sequence[Price], programs: Sequence[Program]) -> None:
        edges = {0}
        versions: list[Price | Program] = [*prices, *programs]
        for version in versions:
            edges.add(version.from_ms)
            if version.to_ms is not None:
                edges.add(version.to_ms)
        self._edges = sorted(edges)
        self._prices = [price_at(prices, edge) for edge in self._edges]
        self._programs = [programs_at(programs, edge) for edge in self._edges]

    def epochs(self, start_ms: int, end_ms: int) -> list[tuple[int, int, int]]:
        """[start_ms, end_ms) cut where terms change: (epoch, start_ms, end_ms) of each piece."""
        epoch = bisect.bisect_right(self._edges, start_ms) - 1
        if start_ms < end_ms and (epoch + 1 == len(self._edges) or end_ms <= self._edges[epoch + 1]):
            return [(epoch, start_ms, end_ms)]
        pieces: list[tuple[int, int, int]] = []
        while start_ms < end_ms:
            following = epoch + 1
            edge = self._edges[following] if following < len(self._edges) else end_ms
            pieces.append((epoch, start_ms, min(edge, end_ms)))
            start_ms, epoch = edge, following
        return pieces

    def bounds(self, epoch: int) -> tuple[int, int]:
        """[start_ms, end_ms) of an epoch; the last one has no end."""
        following = epoch + 1
        return self._edges[epoch], self._edges[following] if following < len(self._edges) else FOREVER_MS

    def price(self, epoch: int) -> Price | None:
        """The price in force in an epoch, if any."""
        return self._prices[epoch]

    def programs(self, epoch: int) -> list[Program]:
        """The program versions in force in an epoch."""
        return self._programs[epoch]
