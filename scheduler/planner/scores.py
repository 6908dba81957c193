"""What a placement costs the rest: the loss of room for typical demands, the smallest first.

The room of a node is what typical demands, each alone, could still use of it: copies x devices, weighted by
frequency, bounded by devices, host processors and memory; less what of partly used devices will probably
stay empty. It is kept in a few arrays a row; a placement is worth the room that it leaves. This follows the
idea of fragmentation gradient descent (Weng et al., USENIX ATC 2023), which counts a device as lost for a
demand that does not fit; counting copies also sees the remainder after the last copy and scarce host cores.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.catalogue import ShapeRule
from scheduler.planner.cells import Cell, Rows
from scheduler.planner.demand import Demand, Mix
from scheduler.planner.layouts import Layout
from scheduler.planner.snapshot import WHOLE_PPM

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# A grid for shares, fine enough for vendors' smallest parts.
_GRID = 1000
_GRAIN = WHOLE_PPM // _GRID
# So many share demands are offered to a partly used device before what is left of it counts as lost.
_OFFERS = 50
_WASTE = 2.0
# How much the copies count beside whether the demand fits at all.
_COPIES = 0.4
# Between equal losses: the node with less room, and the device with the smaller remainder.
_TIGHT = 0.001
_CROSSES_GROUPS = 4.0  # devices
_DEGRADED = 1e3
_SUSPECT = 1e2
_WORTH_SORTING = 64  # rows
NO_FIT = np.float64(np.inf)
_ANY = ShapeRule()


class Weighing:
    """A mix as arrays for one cell."""

    def __init__(self, mix: Mix, model: str, devices: Mapping[str, int]) -> None:
        """`devices` says how many devices of each model there are: what may use few counts for more."""
        everywhere = sum(devices.values())
        scarce = [
            (everywhere if t.models is None else sum(devices.get(name, 0) for name in t.models)) or 1
            for t in mix
        ]
        weights = [item.weight / number**0.5 for item, number in zip(mix, scarce, strict=True)]
        total = sum(weights) or 1.0
        mine = [
            (item.demand, weight / total)
            for item, weight in zip(mix, weights, strict=True)
            if item.models is None or model in item.models
        ]
        demands = [demand for demand, _ in mine]
        self.weight = np.array([weight for _, weight in mine])
        self.cpu = np.array([float(d.cpu_milli) or 1e-9 for d in demands])
        self.memory = np.array([float(d.memory_bytes) or 1e-9 for d in demands])
        self.ppm = np.array([d.ppm for d in demands], dtype=np.int64)
        self.asked = np.array([d.asked_ppm / WHOLE_PPM for d in demands])  # devices a copy
        self.parts = np.flatnonzero(self.ppm < WHOLE_PPM)
        self.wholes = np.flatnonzero(self.ppm >= WHOLE_PPM)
        self.counts = tuple(int(demands[at].devices) for at in self.wholes)
        self.sizes = self.ppm[self.parts]
        self.of_host = any(d.cpu_milli or d.memory_bytes for d in demands)
        self.waste = _expected_waste(tuple((i.demand.ppm, i.weight) for i in mix if i.demand.devices == 1))


class Room(NamedTuple):
    """What of a row each typical demand could use, alone: (rows, typical)."""

    copies: Floats
    usable: Floats  # devices that it could use at all, whatever it leaves of them


class Scores:
    """For every row of a cell the loss of placing one demand there, and on which devices."""

    def __init__(self, cell: Cell, demand: Demand, weighing: Weighing) -> None:
        self._cell = cell
        self._demand = demand
        self._weighing = weighing
        self._seen = 0
        self._plain = demand.whole and not demand.of_host and not weighing.of_host
        self._plain = self._plain and not len(weighing.parts)
        self._weights = tuple(weighing.weight.tolist())
        rows = len(cell.parts)
        self.score = np.full(rows, NO_FIT)
        self.chosen: list[int] = [0] * rows  # masks
        self._all = True

    def catch_up(self) -> Floats:
        """Scores as of now. Cost: the rows that changed since the last call."""
        log = self._cell.log
        if self._all or len(log) - self._seen > len(self.score):
            self._all = False
            self._work_out_all()
        elif len(log) != self._seen:
            changed = log[self._seen :]
            self._work_out(np.array(sorted(set(changed)) if len(changed) > 1 else changed, dtype=np.intp))
        self._seen = len(log)
        return self.score

    def _work_out_all(self) -> None:
        """Nodes in the same state are worked out once: at first most of a fleet is idle."""
        rows = np.arange(len(self.score))
        if self._plain or len(rows) < _WORTH_SORTING:
            self._work_out(rows)
            return
        cell = self._cell
        state = np.column_stack((cell.cpu, cell.memory, cell.penalty, cell.ppm, cell.device_bytes))
        first: dict[tuple[bytes, Layout, int], int] = {}
        like = [
            first.setdefault((state[row].tobytes(), part.layout, part.degraded), row)
            for row, part in enumerate(cell.parts)
        ]
        self._work_out(np.array(list(first.values()), dtype=np.intp))
        self.score = self.score[like]
        self.chosen = [self.chosen[row] for row in like]

    def _work_out(self, rows: Rows) -> None:
        if not len(rows):
            return
        if self._plain:
            for row in rows.tolist():
                part = self._cell.parts[row]
                score, mask = _plain(
                    part.layout, part.free, part.degraded, self._demand.devices,
                    self._weighing.counts, self._weights,
                )  # fmt: skip
                self.score[row] = score + _SUSPECT * self._cell.penalty[row]
                self.chosen[row] = mask
            return
        cell, demand = self._cell, self._demand
        self.score[rows] = NO_FIT
        fits = (cell.cpu[rows] >= demand.cpu_milli) & (cell.memory[rows] >= demand.memory_bytes)
        if demand.devices and demand.ppm >= WHOLE_PPM:
            fits &= cell.whole[rows] >= demand.devices
        rows = rows[fits]
        if not len(rows):
            return
        if not demand.devices:
            self._host_only(rows)
        elif demand.ppm < WHOLE_PPM:
            self._share(rows)
        else:
            self._whole(rows)

    def _host_only(self, rows: Rows) -> None:
        room = self._room(rows)
        loss = self._worth(room, self._limits(rows)) - self._worth(room, self._limits(rows, self._demand))
        tight = _TIGHT * self._cell.ppm[rows].sum(axis=1) / WHOLE_PPM
        self.score[rows] = loss + tight + _SUSPECT * self._cell.penalty[rows]
        for row in rows.tolist():
            self.chosen[row] = 0

    def _share(self, rows: Rows) -> None:
        cell, demand = self._cell, self._demand
        ppm = cell.ppm[rows]
        fits = ppm >= demand.ppm
        if demand.device_bytes:
            fits &= cell.device_bytes[rows] >= demand.device_bytes
        # Of the wholly free devices one: they are equal.
        whole = fits & (ppm >= WHOLE_PPM)
        fits &= ~whole | (np.cumsum(whole, axis=1) == 1)
        of, at = np.nonzero(fits)  # pairs of a row and a device
        if not len(of):
            return
        now = ppm[of, at]
        left = now - demand.ppm
        room = self._room(rows)
        limits = self._limits(rows, demand)
        before = self._worth(room, self._limits(rows))
        after = self._worth(
            self._room_after(rows, room, of, now, left), None if limits is None else limits[of]
        )
        loss = before[of] - after
        waste = self._weighing.waste
        loss += _WASTE * (waste[left // _GRAIN] - waste[now // _GRAIN])
        loss += _TIGHT * (ppm.sum(axis=1)[of] + left) / WHOLE_PPM
        best = np.full(len(rows), NO_FIT)
        np.minimum.at(best, of, loss)
        self.score[rows] = best + _SUSPECT * cell.penalty[rows]
        for pair in np.flatnonzero(loss == best[of])[::-1].tolist():
            row = int(rows[of[pair]])
            self.chosen[row] = 1 << int(at[pair])
        for row in rows.tolist():
            if cell.parts[row].degraded & self.chosen[row]:
                self.score[row] += _DEGRADED

    def _room_after(self, rows: Rows, room: Room, of: Rows, now: Ints, left: Ints) -> Room:
        """The room when one device of row `of` has only `left` of what it has now."""
        weighing = self._weighing
        copies, usable = room.copies[of], room.usable[of]
        if len(weighing.parts):
            sizes = weighing.sizes
            now_, left_ = now[:, None], left[:, None]
            copies[:, weighing.parts] += left_ // sizes - now_ // sizes
            usable[:, weighing.parts] += (left_ * (left_ >= sizes) - now_ * (now_ >= sizes)) / WHOLE_PPM
        broken = np.flatnonzero(now >= WHOLE_PPM)
        if len(weighing.wholes) and len(broken):
            counts = np.array(weighing.counts, dtype=np.int64)
            fewer = (self._cell.whole[rows[of[broken]]] - 1)[:, None]
            where = np.ix_(broken, weighing.wholes)
            copies[where] = fewer // counts
            usable[where] = fewer * (fewer >= counts)
        return Room(copies, usable)

    def _whole(self, rows: Rows) -> None:
        cell, demand, weighing = self._cell, self._demand, self._weighing
        legal: list[int] = []
        extra: list[float] = []
        for number, row in enumerate(rows.tolist()):
            part = cell.parts[row]
            mask = part.layout.choose(part.free & ~part.degraded, demand.devices)
            fault = 0.0
            if not mask:
                mask, fault = part.layout.choose(part.free, demand.devices), _DEGRADED
            self.chosen[row] = mask
            if mask:
                legal.append(number)
                extra.append(fault + _CROSSES_GROUPS * (part.layout.groups(mask) > 1))
        rows = rows[legal]
        if not len(rows):
            return
        room = self._room(rows)
        before = self._worth(room, self._limits(rows))
        if len(weighing.parts):
            room.copies[:, weighing.parts] -= demand.devices * (WHOLE_PPM // weighing.sizes)
            room.usable[:, weighing.parts] -= demand.devices
        self._room_of_wholes(rows, room, self.chosen)
        loss = before - self._worth(room, self._limits(rows, demand))
        loss += _TIGHT * cell.ppm[rows].sum(axis=1) / WHOLE_PPM
        self.score[rows] = loss + np.array(extra) + _SUSPECT * cell.penalty[rows]

    def _room(self, rows: Rows) -> Room:
        """The room that the free devices give, whatever the host allows."""
        cell, weighing = self._cell, self._weighing
        shape = (len(rows), len(weighing.weight))
        room = Room(np.zeros(shape), np.zeros(shape))
        if len(weighing.parts):
            ppm = cell.ppm[rows][:, :, None]
            room.copies[:, weighing.parts] = (ppm // weighing.sizes).sum(axis=1)
            room.usable[:, weighing.parts] = (ppm * (ppm >= weighing.sizes)).sum(axis=1) / WHOLE_PPM
        self._room_of_wholes(rows, room, None)
        return room

    def _room_of_wholes(self, rows: Rows, room: Room, taken: list[int] | None) -> None:
        """Fills in the demands for whole devices, as they are or when each row has lost a set."""
        cell, weighing = self._cell, self._weighing
        if not len(weighing.wholes):
            return
        if cell.rule == _ANY:
            counts = np.array(weighing.counts, dtype=np.int64)
            whole = cell.whole[rows] - (0 if taken is None else self._demand.devices)
            copies = whole[:, None] // counts
        else:
            numbers = rows.tolist()
            masks = [cell.parts[r].free & ~(0 if taken is None else taken[r]) for r in numbers]
            layouts = [cell.parts[r].layout for r in numbers]
            whole = np.array([mask.bit_count() for mask in masks])
            copies = np.array(
                [
                    [lay.holds(mask, c) for c in weighing.counts]
                    for lay, mask in zip(layouts, masks, strict=True)
                ]
            )
        room.copies[:, weighing.wholes] = copies
        room.usable[:, weighing.wholes] = whole[:, None] * (copies > 0)

    def _limits(self, rows: Rows, less: Demand | None = None) -> Floats | None:
        """Copies that the host allows; None: it does not limit anybody."""
        weighing = self._weighing
        if not weighing.of_host:
            return None
        cpu, memory = self._cell.cpu[rows], self._cell.memory[rows]
        if less is not None:
            cpu, memory = cpu - less.cpu_milli, memory - less.memory_bytes
        limits: Floats = np.minimum(cpu[:, None] / weighing.cpu, memory[:, None] / weighing.memory)
        return np.floor(limits, out=limits)

    def _worth(self, room: Room, limits: Floats | None) -> Floats:
        weighing = self._weighing
        copies, usable = room
        if limits is not None:
            copies = np.minimum(copies, limits)
            usable = usable * (limits > 0)
        worth: Floats = copies @ (_COPIES * weighing.weight * weighing.asked)
        worth += usable @ ((1 - _COPIES) * weighing.weight)
        return worth


@cache
def _plain(
    layout: Layout,
    free: int,
    degraded: int,
    devices: int,
    counts: tuple[int, ...],
    weights: Sequence[float],
) -> tuple[float, int]:
    """Loss and set for whole devices where the host is not counted: depends on nothing but the free devices."""
    fault = 0.0
    mask = layout.choose(free & ~degraded, devices)
    if not mask:
        mask, fault = layout.choose(free, devices), _DEGRADED
    if not mask:
        return float(NO_FIT), 0
    left = free & ~mask
    loss = 0.0
    for count, weight in zip(counts, weights, strict=True):
        before, after = layout.holds(free, count), layout.holds(left, count)
        loss += weight * _COPIES * count * (before - after)
        loss += weight * (1 - _COPIES) * (free.bit_count() * (before > 0) - left.bit_count() * (after > 0))
    loss += _TIGHT * free.bit_count() + _CROSSES_GROUPS * (layout.groups(mask) > 1) + fault
    return loss, mask


@cache
def _expected_waste(shares: tuple[tuple[int, float], ...]) -> Floats:
    """What of a device with so much room (in grains) will probably stay empty, in devices.

    Share demands come at random, so many of them, and each takes its part if it still fits.
    """
    total = sum(weight for _, weight in shares)
    filled = np.zeros(_GRID + 1)
    if not total:
        return filled
    for _ in range(_OFFERS):
        later = np.zeros(_GRID + 1)
        for ppm, weight in shares:
            size = min(_GRID, -(-ppm // _GRAIN))
            later[size:] += weight / total * (size + filled[: _GRID + 1 - size])
            later[:size] += weight / total * filled[:size]
        filled = later
    waste: Floats = (np.arange(_GRID + 1) - filled) / _GRID
    return waste
