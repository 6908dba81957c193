"""What is kept for a later start is lent until then: how long a job may last to have its devices on each node."""

from math import inf

import numpy as np

from scheduler.domain.queues import QueueKey
from scheduler.planner.cells import Cell
from scheduler.planner.demand import Demand, demand_of, sizes_of
from scheduler.planner.layouts import NO_FIT
from scheduler.planner.parts import Part
from scheduler.planner.reach import closed_rows, domains, in_one_group, open_rows, without
from scheduler.planner.rows import Floats
from scheduler.planner.snapshot import Shape

_NEVER = -1.0


def lent_seats(shape: Shape, cell: Cell, ends_ms: int | None) -> dict[int, list[tuple[int, int]]] | None:
    """(row, mask) of the tasks of a gang of whole devices that has ended by `ends_ms`, by devices of a task.

    None: too few rows. Where the largest tasks fit the others do too, so that they choose first. Cost: for each size of
    task one pass over the rows, and what is held on those that changed.
    """
    sizes = [(tasks, demand_of(shape, devices)) for tasks, devices in sizes_of(shape)]
    until = inf if ends_ms is None else ends_ms
    in_time = [_latest_on_rows(shape, cell, demand) >= until for _, demand in sizes]
    closed, together = closed_rows(shape, cell), in_one_group(shape)
    for inside in domains(shape, cell):
        left = open_rows(cell, closed, inside)
        found: dict[int, list[tuple[int, int]]] = {}
        for (tasks, demand), fits in zip(sizes, in_time, strict=True):
            rows = np.flatnonzero(fits if left is None else fits & left)[:tasks].tolist()
            if len(rows) < tasks:
                break
            found[demand.devices] = [
                (row, _mask_until(cell.parts[row], demand.devices, ends_ms, shape.queue, together=together))
                for row in rows
            ]
            left = without(rows, cell, left) if len(sizes) > 1 else left
        else:
            return found
    return None


def latest_end_ms(shape: Shape, cell: Cell) -> float | None:
    """By when such a gang must have ended to start now; inf: at any time; None: that does not help.

    As where a task fits smaller ones do too, it is the least of what each size needs with all that are larger.
    Cost: as of `lent_seats`.
    """
    sizes = sizes_of(shape)
    latest_ms = [_latest_on_rows(shape, cell, demand_of(shape, devices)) for _, devices in sizes]
    closed = closed_rows(shape, cell)
    best = _NEVER
    for inside in domains(shape, cell):
        some = open_rows(cell, closed, inside)
        tasks, until = 0, inf
        for (more, _), latest in zip(sizes, latest_ms, strict=True):
            tasks += more
            those = latest if some is None else latest[some]
            until = min(until, _latest_but(tasks, those))
        best = max(best, until)
    return best if best > _NEVER else None


def _latest_but(tasks: int, latest_ms: Floats) -> float:
    """The least of the so many latest."""
    those = latest_ms[latest_ms > _NEVER]  # few as a rule
    return float(np.partition(those, -tasks)[-tasks]) if tasks <= len(those) else _NEVER


def _latest_on_rows(shape: Shape, cell: Cell, demand: Demand) -> Floats:
    """By when a task must have ended on each row to have its devices and its part of the host."""
    queue = shape.queue if cell.holds_for(shape.queue) else None
    key = ("lent", demand.devices, queue, in_one_group(shape))
    lent = cell.derived.get(key)
    if lent is None:
        lent = cell.derived[key] = _Lent(cell, demand.devices, queue, together=in_one_group(shape))
    latest_ms: Floats = lent.follow(cell)
    if not demand.of_host:
        return latest_ms
    enough = (cell.cpu >= demand.cpu_milli) & (cell.memory >= demand.memory_bytes)
    return np.where(enough, latest_ms, _NEVER)


class _Lent:
    """By when who takes so many devices of a row must have ended; inf: at any time, below 0: never."""

    def __init__(self, cell: Cell, devices: int, queue: QueueKey | None, *, together: bool) -> None:
        self._devices = devices
        self._queue = queue
        self._together = together
        self._latest_ms = np.full(len(cell.parts), _NEVER)
        self._column = cell.states.columns([devices])[0]
        self._seen = -1

    def follow(self, cell: Cell) -> Floats:
        """Takes over what changed. Cost: one comparison a row, and what is held on those that changed."""
        if self._seen < cell.changed_at:
            rows = np.flatnonzero(cell.changed > self._seen)
            self._latest_ms[rows] = _NEVER
            rows = rows[(cell.cpu[rows] >= 0) & (cell.memory[rows] >= 0)]  # in service
            fits = cell.states.cost[cell.state[rows], self._column] < NO_FIT
            if not self._together:
                self._latest_ms[rows[fits]] = inf
                rows = rows[~fits]
            for row in rows.tolist():
                if row in cell.held_rows or self._together:
                    self._latest_ms[row] = self._latest_on(cell.parts[row])
            self._seen = cell.changed_at
        return self._latest_ms

    def _latest_on(self, part: Part) -> float:
        if self._mask(part, None):
            return inf
        moments = {held.from_ms for held in part.held if held.mask and held.from_ms is not None}
        for moment in sorted(moments, reverse=True):
            if self._mask(part, moment):
                return float(moment)
        return _NEVER

    def _mask(self, part: Part, ends_ms: int | None) -> int:
        return _mask_until(part, self._devices, ends_ms, self._queue, together=self._together)


def _mask_until(
    part: Part, devices: int, ends_ms: int | None, queue: QueueKey | None, *, together: bool
) -> int:
    usable = part.usable_until(ends_ms, queue)
    if together:
        return part.layout.choose_joined(usable, devices)
    return part.layout.choose(usable, devices)
