"""Timelines: whether stretches tile a period, and where they leave holes or lie over each other."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from suanli.evidence.windows import WHOLE_PPM
from suanli.rating.intervals import Stretch, overlap


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


class Cover:
    """Time that is covered, as stretches that neither touch nor overlap; keeps nothing of what they were."""

    __slots__ = ("_stretches",)

    def __init__(self) -> None:
        self._stretches: list[tuple[int, int, int]] = []
        """(start_ms, end_ms, log index of what reaches to the end), in order."""

    def add(self, start_ms: int, end_ms: int, index: int) -> Stretch | None:
        """Covers a stretch; gives the first part of it that was covered before. At the end: constant time."""
        stretches = self._stretches
        if stretches and stretches[-1][1] == start_ms:
            stretches[-1] = (stretches[-1][0], end_ms, index)
            return None
        low = bisect.bisect_left(stretches, start_ms, key=lambda s: s[1])
        high = bisect.bisect_right(stretches, end_ms, key=lambda s: s[0])
        again: Stretch | None = None
        last = index
        for start, end, by in stretches[low:high]:
            again = again or overlap((start, end), (start_ms, end_ms))
            start_ms = min(start_ms, start)
            if end > end_ms:
                end_ms, last = end, by
        stretches[low:high] = [(start_ms, end_ms, last)]
        return again

    def holes(self, period: Stretch) -> list[Hole]:
        """Stretches of `period` that are not covered."""
        holes: list[Hole] = []
        reached_ms, before = period[0], None
        for start_ms, end_ms, index in self._stretches:
            if start_ms >= period[1]:
                break
            if start_ms > reached_ms:
                holes.append(Hole(reached_ms, start_ms, before))
            reached_ms, before = max(reached_ms, end_ms), index
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
