"""Half-open stretches of time in milliseconds: cutting, overlapping, subtracting."""

from __future__ import annotations

from collections.abc import Iterable

Stretch = tuple[int, int]
"""(start_ms, end_ms), end not included."""


def overlap(one: Stretch, other: Stretch) -> Stretch | None:
    """What two stretches share, or None."""
    start_ms, end_ms = max(one[0], other[0]), min(one[1], other[1])
    return (start_ms, end_ms) if start_ms < end_ms else None


def length_ms(stretches: Iterable[Stretch]) -> int:
    """Sum of lengths."""
    return sum(end_ms - start_ms for start_ms, end_ms in stretches)


def merge(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time as sorted stretches that neither touch nor overlap."""
    merged: list[Stretch] = []
    for start_ms, end_ms in sorted(stretches):
        if merged and start_ms <= merged[-1][1]:
            if end_ms > merged[-1][1]:
                merged[-1] = (merged[-1][0], end_ms)
        elif start_ms < end_ms:
            merged.append((start_ms, end_ms))
    return merged


def subtract(stretch: Stretch, taken: Iterable[Stretch]) -> list[Stretch]:
    """What is left of `stretch` without `taken`."""
    left: list[Stretch] = []
    position_ms = stretch[0]
    for start_ms, end_ms in merge(taken):
        if end_ms <= position_ms:
            continue
        if start_ms >= stretch[1]:
            break
        if start_ms > position_ms:
            left.append((position_ms, start_ms))
        position_ms = end_ms
    if position_ms < stretch[1]:
        left.append((position_ms, stretch[1]))
    return left
