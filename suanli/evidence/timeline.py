"""Timelines: whether stretches tile a period, and where they leave holes or lie over each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from suanli.evidence.windows import WHOLE_PPM
from suanli.rating.intervals import Stretch


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a device's time with the share that it covers, and the log index it comes from."""

    start_ms: int
    end_ms: int
    share_ppm: int
    index: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Time that no piece covers; `before` is the log index of the piece before it, if any."""

    start_ms: int
    end_ms: int
    before: int | None


@dataclass(frozen=True, slots=True)
class Overlap:
    """Time in which pieces sum to more than a whole device; `index` is the log index of the later one."""

    start_ms: int
    end_ms: int
    share_ppm: int
    index: int


def find_holes(pieces: Iterable[Piece], period: Stretch) -> list[Hole]:
    """Stretches of `period` that no piece covers. Sorts, then one pass."""
    holes: list[Hole] = []
    reached_ms, before = period[0], None
    for piece in sorted(pieces, key=lambda p: (p.start_ms, p.end_ms)):
        if piece.end_ms <= reached_ms:
            if piece.end_ms <= period[0]:
                before = piece.index
            continue
        if piece.start_ms >= period[1]:
            break
        if piece.start_ms > reached_ms:
            holes.append(Hole(reached_ms, piece.start_ms, before))
        reached_ms, before = piece.end_ms, piece.index
    if reached_ms < period[1]:
        holes.append(Hole(reached_ms, period[1], before))
    return holes


def find_overlaps(pieces: Iterable[Piece]) -> list[Overlap]:
    """Stretches in which shares sum to more than a whole device, each named once."""
    edges: list[tuple[int, int, int]] = []
    for piece in pieces:
        edges.append((piece.start_ms, piece.share_ppm, piece.index))
        edges.append((piece.end_ms, -piece.share_ppm, piece.index))
    # At one instant, ends come before beginnings: stretches are half-open.
    edges.sort()
    overlaps: list[Overlap] = []
    share, began_ms, worst, culprit = 0, -1, 0, -1
    for time_ms, change, index in edges:
        share += change
        if share > WHOLE_PPM:
            if began_ms < 0:
                began_ms, culprit = time_ms, index
            worst = max(worst, share)
        elif began_ms >= 0:
            if began_ms < time_ms:
                overlaps.append(Overlap(began_ms, time_ms, worst, culprit))
            began_ms, worst = -1, 0
    return overlaps
