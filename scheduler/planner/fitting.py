"""On which nodes the tasks of a gang would fit if running jobs gave their devices back."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from scheduler.planner.cells import Cell
from scheduler.planner.demand import Demand, sizes_of
from scheduler.planner.layouts import bits
from scheduler.planner.reach import Inside, closed_rows, in_one_group
from scheduler.planner.rows import Ints, firm_number
from scheduler.planner.snapshot import RunningJob, Shape


class Fitting:
    """Rows on which tasks would fit, as victims are added and removed; each task on a row of its own."""

    def __init__(self, cell: Cell, shape: Shape, coming: dict[int, int], inside: Inside) -> None:
        self._cell = cell
        self._sizes = sizes_of(shape)
        self._avoid = set(closed_rows(shape, cell))
        self._inside = inside
        self._together = in_one_group(shape)
        self._masks: dict[int, int] = {}
        self._rows: dict[int, set[int]] = {size: set() for _, size in self._sizes}  # by size of task
        whole = np.flatnonzero(cell.whole >= 1).tolist()
        for row in {*whole, *coming}:
            self._set(row, cell.parts[row].free | coming.get(row, 0))

    @property
    def enough(self) -> bool:
        """Whether there are rows for all tasks, where one that holds a larger task holds a smaller one too."""
        tasks = 0
        for number, size in self._sizes:
            tasks += number
            if len(self._rows[size]) < tasks:
                return False
        return True

    def add(self, masks: Iterable[tuple[int, int]]) -> None:
        """A victim gives its devices."""
        for row, mask in masks:
            base = self._masks.get(row, self._cell.parts[row].free)
            self._set(row, base | mask & ~self._cell.parts[row].reserved)

    def uses(self, masks: Iterable[tuple[int, int]]) -> bool:
        """Whether a victim is on a row on which a task would fit."""
        return any(row in rows for row, _ in masks for rows in self._rows.values())

    def remove(self, masks: Iterable[tuple[int, int]]) -> None:
        """A victim keeps them after all."""
        for row, mask in masks:
            self._set(row, self._masks[row] & ~mask)

    def seats(self) -> tuple[tuple[int, int], ...] | None:
        """(row, mask) of every task, the largest first, where the least is still to come free; None: not for all."""
        seats: list[tuple[int, int]] = []
        left = set(self._masks)
        for number, size in self._sizes:
            rows = sorted(self._rows[size] & left, key=lambda row: (self._waits(row), row))[:number]
            if len(rows) < number:
                return None
            left.difference_update(rows)
            seats += [(row, self._choose(row, size)) for row in rows]
        return tuple(seats)

    def _waits(self, row: int) -> int:
        """How many devices of a row are still to come free."""
        return (self._masks[row] & ~self._cell.parts[row].free).bit_count()

    def _set(self, row: int, mask: int) -> None:
        self._masks[row] = mask
        open_ = row not in self._avoid and (self._inside is None or row in self._inside)
        for size, rows in self._rows.items():
            (rows.add if open_ and self._choose(row, size) else rows.discard)(row)

    def _choose(self, row: int, size: int) -> int:
        layout, mask = self._cell.parts[row].layout, self._masks[row]
        return layout.choose_joined(mask, size) if self._together else layout.choose(mask, size)


def nodes_by_devices(
    cell: Cell, coming: Mapping[int, int], given: Iterable[tuple[Ints, Ints]]
) -> Sequence[int]:
    """How many nodes have so many devices or more: what is free and coming, and what is given (rows, devices there)."""
    room = cell.whole.copy()
    for row, mask in coming.items():
        room[row] += mask.bit_count()
    for rows, devices in given:
        np.add.at(room, rows, devices)
    nodes: list[int] = np.bincount(room)[::-1].cumsum()[::-1].tolist()
    return nodes


def too_few(nodes: Sequence[int], sizes: Iterable[tuple[int, int]]) -> bool:
    """Whether nodes, so many with as many devices or more, are too few for a gang, see `sizes_of`."""
    tasks = 0
    for number, size in sizes:
        tasks += number
        if tasks > (nodes[size] if size < len(nodes) else 0):
            return True
    return False


def seat_on(
    cell: Cell,
    running: RunningJob,
    masks: Iterable[tuple[int, int]],
    demand: Demand,
    closed: frozenset[int],
) -> tuple[int, int] | None:
    """A device on which a part fits once the running job, which has the masks, is gone; (row, mask)."""
    for row, mask in masks:
        part = cell.parts[row]
        for at in bits(mask & ~part.reserved) if row not in closed else ():
            firm = cell.firm[row, at]
            ours = running.shape.whole or firm < 0 or firm == firm_number(demand.firm)
            if ours and int(cell.ppm[row, at]) + running.shape.share_ppm >= demand.ppm:
                return row, 1 << at
    return None
