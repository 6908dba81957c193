"""Reservations: what is kept for a blocked job, so that nobody behind it overtakes it for ever.

Where time limits say when devices come free, the start is known, and shorter work may fill the hole until
then. Where they do not, a job that has waited long enough holds the nodes that are closest to having room.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import sizes_of
from scheduler.planner.layouts import bits
from scheduler.planner.parts import Part
from scheduler.planner.reach import closed_rows, domains, in_one_group, open_rows, without
from scheduler.planner.rows import Bools, Floats, Ints
from scheduler.planner.snapshot import Shape


@dataclass(frozen=True, slots=True)
class Opening:
    """A gang's place in the future."""

    from_ms: int
    seats: tuple[tuple[int, int], ...]  # (row, mask of devices)


def earliest_opening(shape: Shape, cell: Cell, now_ms: int, config: PlannerConfig) -> Opening | None:
    """The earliest start that time limits promise or predictions expect, or None where they say nothing.

    Cost: for each size of task one pass over the nodes of the cell, and the devices of those that it would take.
    """
    sizes = sizes_of(shape)
    if not shape.whole or not 0 < sizes[0][1] <= cell.ends.shape[1] or shape.tasks > len(cell.parts):
        return None
    asked = [(tasks, _openings(shape, cell, devices, now_ms, config)) for tasks, devices in sizes]
    closed = closed_rows(shape, cell)
    best: Opening | None = None
    for inside in domains(shape, cell):
        opening = _soonest_of_all(asked, cell, open_rows(cell, closed, inside), now_ms)
        if opening is not None and (best is None or opening.from_ms < best.from_ms):
            best = opening
    return best


def promised(opening: Opening, cell: Cell, config: PlannerConfig) -> bool:
    """Whether the place is free by then whatever anybody predicts: each device is free, or a time limit ends its work.

    Of a device with open parts nobody says so: whoever else has come to it in this cycle may stay longer.
    """
    by_ms = opening.from_ms - config.stop_margin_ms
    for row, mask in opening.seats:
        part = cell.parts[row]
        for at in bits(mask & ~part.at_rest):
            if cell.ends_at_rest(row, at) > by_ms or part.shared >> at & 1:
                return False
    return True


def _soonest_of_all(
    asked: Sequence[tuple[int, "_Openings"]], cell: Cell, rows: Bools | None, now_ms: int
) -> Opening | None:
    """The largest tasks choose first: where and when they fit the others do too."""
    from_ms = now_ms
    seats: tuple[tuple[int, int], ...] = ()
    for tasks, openings in asked:
        left = without([row for row, _ in seats], cell, rows) if seats else rows
        opening = openings.soonest(cell, tasks, left)
        if opening is None:
            return None
        from_ms = max(from_ms, opening.from_ms)
        seats += opening.seats
    return Opening(from_ms, seats)


def opens_ms(shape: Shape, cell: Cell, until_ms: int, now_ms: int, config: PlannerConfig) -> Floats:
    """When each row has room for a task of the gang, for the largest where they differ; later than `until_ms`: a bound.

    Cost: as of `earliest_opening`, and the devices of rows that have room by then.
    """
    return _openings(shape, cell, sizes_of(shape)[0][1], now_ms, config).by(cell, until_ms)


def _openings(shape: Shape, cell: Cell, devices: int, now_ms: int, config: PlannerConfig) -> "_Openings":
    joined = in_one_group(shape)
    key = ("openings", devices, joined)
    openings: _Openings | None = cell.derived.get(key)
    if openings is None:
        openings = cell.derived[key] = _Openings(cell, devices, joined=joined)
    openings.follow(cell, now_ms, config)
    return openings


class _Openings:
    """When each row of a cell has room for so many devices.

    Of a row that nobody has looked at since it changed only a bound is known: then so many of its devices are
    free, legal or not. What was found of a row that no cycle has touched holds as long as its view.
    """

    def __init__(self, cell: Cell, count: int, *, joined: bool) -> None:
        """`joined`: by fast links."""
        self._count = count
        self._joined = joined
        self._ends_ms = np.full(len(cell.parts), inf)  # 0: now; inf: nobody knows
        self._starts_ms = np.full(len(cell.parts), inf)  # the same as a start, as of now
        self._now_ms = self._margin_ms = 0
        self._looked_at = np.zeros(len(cell.parts), dtype=np.bool_)
        self._masks: dict[int, int] = {}  # of rows that were looked at
        self._at_rest: dict[int, tuple[Part, float, int]] = {}
        self._seen = -1

    def follow(self, cell: Cell, now_ms: int, config: PlannerConfig) -> None:
        """Takes over what changed. Cost: one comparison a row, the devices of those that changed."""
        ends_ms = self._ends_ms
        rows = None
        if self._seen < cell.ends_clock:
            rows = np.flatnonzero(cell.ends_changed > self._seen)
            ends = np.partition(cell.ends[rows], self._count - 1, axis=1)
            ends_ms[rows] = np.floor(ends[:, self._count - 1])
            self._looked_at[rows] = False
            self._seen = cell.ends_clock
        if (now_ms, config.stop_margin_ms) != (self._now_ms, self._margin_ms):
            self._now_ms, self._margin_ms = now_ms, config.stop_margin_ms
            rows = np.arange(len(ends_ms))
        if rows is not None:
            later = np.maximum(ends_ms[rows], now_ms) + config.stop_margin_ms
            self._starts_ms[rows] = np.where(ends_ms[rows] > 0, later, now_ms)

    def soonest(self, cell: Cell, tasks: int, rows: Bools | None) -> Opening | None:
        """The rows on which a gang could start first, ties in their order; None where too few ever have room."""
        while True:
            starts = self._starts_ms if rows is None else np.where(rows, self._starts_ms, inf)
            chosen, last = _first(starts, tasks)
            if last == inf:
                return None
            unknown = chosen[~self._looked_at[chosen]].tolist()
            if not unknown:
                return Opening(int(last), tuple([(row, self._masks[row]) for row in chosen.tolist()]))
            for row in unknown:
                self._look_at(cell, row)

    def by(self, cell: Cell, until_ms: int) -> Floats:
        """When each row has room, looked at where that may be by a moment."""
        for row in np.flatnonzero((self._starts_ms <= until_ms) & ~self._looked_at).tolist():
            self._look_at(cell, row)
        return self._starts_ms.copy()

    def _look_at(self, cell: Cell, row: int) -> None:
        part = cell.parts[row]
        at_rest = row not in cell.touched
        known = self._at_rest.get(row) if at_rest else None
        if known is None or known[0] is not part:
            known = (part, *_look_for_room(part, cell.ends[row].tolist(), self._count, joined=self._joined))
            if at_rest:
                self._at_rest[row] = known
        _, ends_ms, self._masks[row] = known
        self._ends_ms[row] = ends_ms
        self._starts_ms[row] = max(ends_ms, self._now_ms) + self._margin_ms if ends_ms else self._now_ms
        self._looked_at[row] = True


def _first(starts: Floats, tasks: int) -> tuple[Ints, float]:
    """The rows with the earliest starts, ties in their order, and the last of these starts.

    What is free already is kept first: with what comes free last instead, a gang depends wholly on others' ends, and
    starts later than it was told nearly twice as often.
    """
    soonest = starts.min()
    alike = (starts == soonest).nonzero()[0]
    if len(alike) >= tasks:  # as a rule, and much cheaper
        return alike[:tasks], float(soonest)
    last = np.partition(starts, tasks - 1)[tasks - 1]
    sooner = (starts < last).nonzero()[0]
    alike = (starts == last).nonzero()[0]
    return np.concatenate([sooner, alike[: tasks - len(sooner)]]), float(last)


def _look_for_room(part: Part, ends: list[float], count: int, *, joined: bool) -> tuple[float, int]:
    """(when the last device comes free, 0 for now; mask) of the soonest legal set; (inf, 0): nobody knows one."""
    coming = part.busy & ~part.reserved  # neither broken nor kept for another job
    usable = part.free
    if (usable | coming).bit_count() < count:
        return inf, 0
    choose = part.layout.choose_joined if joined else part.layout.choose
    mask = choose(usable, count)
    if mask:
        return 0.0, mask
    at_ms: dict[float, int] = {}  # moment -> what comes free then
    for at in bits(coming):
        at_ms[ends[at]] = at_ms.get(ends[at], 0) | 1 << at
    at_ms.pop(inf, None)
    for moment in sorted(at_ms):
        usable |= at_ms[moment]
        if usable.bit_count() >= count and (mask := choose(usable, count)):
            return float(max(1, int(moment))), mask
    return inf, 0


def nodes_to_hold(shape: Shape, cell: Cell) -> list[tuple[int, int]]:
    """(row, mask): the nodes with the most room for the gang, with all their healthy devices of the model.

    Held nodes only gain free devices, so the choice of the next cycle is no worse: the job comes closer to
    its start with every task that ends there. Cost: the cell's nodes, sorted once, the roomiest first.
    """
    closed = frozenset(closed_rows(shape, cell))
    rows = cell.roomiest()
    rank = {row: at for at, row in enumerate(rows)}
    best: list[tuple[int, int]] = []
    for inside in domains(shape, cell):
        among = rows if inside is None else sorted(inside, key=rank.__getitem__)
        chosen = _first_with_room(shape, cell, [row for row in among if row not in closed])
        room = sum(cell.parts[row].free.bit_count() for row, _ in chosen)
        if (len(chosen), room) > (len(best), sum(cell.parts[row].free.bit_count() for row, _ in best)):
            best = chosen
    return best


def _first_with_room(shape: Shape, cell: Cell, rows: Iterable[int]) -> list[tuple[int, int]]:
    count, joined = min(shape.devices, shape.devices_per_node), in_one_group(shape)
    chosen: list[tuple[int, int]] = []
    for row in rows:
        if len(chosen) == shape.tasks:
            break
        part = cell.parts[row]
        healthy = (part.at_rest | part.busy) & ~part.reserved
        choose = part.layout.choose_joined if joined else part.layout.choose
        if choose(healthy, count):
            chosen.append((row, healthy))
    return chosen
