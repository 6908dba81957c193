"""Accounting for the time in which the agent was not there, from what the shims of tasks wrote down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from agents.core.intervals import IntervalMaker, Moment
from agents.core.meter import RECOVERY, ClosedWindow, Meter
from agents.core.readings import UNKNOWN, WHOLE_PPM, Holding, Interval, TaskUse, share

Lane = tuple[int, str]
"""A device by index, and the allocation that holds it or a part of it."""


@dataclass(frozen=True)
class Piece:
    """What a shim vouches for: one device over [start_ms, end_ms); amounts are of the whole piece."""

    start_ms: int
    end_ms: int
    interval: Interval


@dataclass(frozen=True)
class Vouched:
    """One line of a shim's account: use up to `at_ms`, measured without a hole since `since_ms`."""

    since_ms: int
    at_ms: int
    use: TaskUse


def pieces_of_task(
    maker: IntervalMaker, holding: Holding, lines: Sequence[Vouched], before: TaskUse, from_ms: int
) -> dict[Lane, list[Piece]]:
    """The pieces of one task by device. `before` is its use at `from_ms`, up to where all is accounted for."""
    pieces: dict[Lane, list[Piece]] = {(index, holding.allocation_id): [] for index in holding.devices}
    known, known_ms = before, from_ms
    for line in lines:
        start_ms = max(known_ms, line.since_ms)
        if line.at_ms <= start_ms:
            continue
        earlier = Moment(start_ms, {}, {holding.allocation_id: known})
        later = Moment(line.at_ms, {}, {holding.allocation_id: line.use})
        made = maker.make(earlier, later, [holding], measured_by="shim")
        for index in holding.devices:
            pieces[index, holding.allocation_id].append(Piece(start_ms, line.at_ms, made[index][0]))
        known, known_ms = line.use, line.at_ms
    return pieces


def replay(
    meter: Meter,
    pieces: Mapping[Lane, Sequence[Piece]],
    to_ms: int,
    boot_at: Callable[[int], int],
    isolation: str,
) -> list[ClosedWindow]:
    """Account for [meter.last_ms, to_ms) by the pieces; what no piece covers is unknown.

    `boot_at` gives the boot clock's nanoseconds for a moment of the meter's clock.
    """
    edges = {edge for each in pieces.values() for piece in each for edge in (piece.start_ms, piece.end_ms)}
    marks = [*sorted(edge for edge in edges if meter.last_ms < edge < to_ms), to_ms]
    next_of = dict.fromkeys(pieces, 0)
    closed: list[ClosedWindow] = []
    for mark in marks:
        start_ms = meter.last_ms
        intervals: dict[int, list[Interval]] = {}
        for lane, each in pieces.items():
            while next_of[lane] < len(each) and each[next_of[lane]].end_ms <= start_ms:
                next_of[lane] += 1
            if next_of[lane] < len(each) and each[next_of[lane]].start_ms <= start_ms:
                intervals.setdefault(lane[0], []).append(part_of(each[next_of[lane]], start_ms, mark))
        for parts in intervals.values():
            rest_ppm = WHOLE_PPM - sum(part.share_ppm for part in parts)
            if rest_ppm > 0:
                parts.append(replace(UNKNOWN, share_ppm=rest_ppm))
        if intervals:
            closed += meter.advance(
                mark, boot_at(mark), intervals, isolation, sampled=True, closed_by=RECOVERY
            )
        else:
            closed += meter.skip(mark, boot_at(mark), isolation)
    return closed


def part_of(piece: Piece, start_ms: int, end_ms: int) -> Interval:
    """The part [start, end) of a piece, in proportion."""
    whole_ms = piece.end_ms - piece.start_ms
    part = (start_ms - piece.start_ms, end_ms - piece.start_ms)
    lived_ms = min(share(piece.interval.live_ms, *part, whole_ms), end_ms - start_ms)
    cpu_ms = piece.interval.cpu_ms
    return replace(
        piece.interval,
        live_ms=lived_ms,
        busy_ms=min(share(piece.interval.busy_ms, *part, whole_ms), lived_ms),
        cpu_ms=None if cpu_ms is None else share(cpu_ms, *part, whole_ms),
    )
