"""Vendor-legal sets of whole devices as bit masks: every question is answered once and remembered.

Bit i of a mask is the node's i-th device of the model (by index). Nodes of one layout (rule, numbers and
fast-link groups of their devices) share the answers; a node has few devices, so there are few questions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scheduler.catalogue import ShapeRule
from scheduler.domain.ids import DeviceId
from scheduler.planner.snapshot import DeviceView
from scheduler.planner.topology import choose_devices

# Answers that are kept; far more than the states of any real nodes.
_REMEMBERED = 1 << 17
# What a set costs by itself, in devices.
CROSSES_GROUPS = 4.0
DEGRADED = 1e3
NO_FIT = np.float64(np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What of a node decides which sets are legal. Equal layouts are one object."""

    rule: ShapeRule
    devices: tuple[tuple[int, int], ...]  # (number, fast-link group)

    def choose(self, free: int, count: int) -> int:
        """A legal set of so many of the free devices, 0 where there is none."""
        return _choose(self, free, count)

    def choose_joined(self, free: int, count: int) -> int:
        """The same of a set that fast links join."""
        for group in sorted({group for _, group in self.devices}):
            members = sum(1 << at for at, (_, other) in enumerate(self.devices) if other == group)
            mask = self.choose(free & members, count)
            if mask:
                return mask
        return 0

    def holds(self, free: int, count: int) -> int:
        """How many tasks with so many devices fit one after the other."""
        return _holds(self, free, count)

    def groups(self, chosen: int) -> int:
        """How many fast-link groups a set touches."""
        return _groups(self, chosen)

    def numbers(self, chosen: int) -> tuple[int, ...]:
        """Indexes on the node of a set."""
        return _numbers(self, chosen)

    def healthiest(self, free: int, degraded: int, count: int) -> tuple[int, float]:
        """A legal set, without degraded devices where that is possible, and what it costs by itself."""
        fault = 0.0
        mask = self.choose(free & ~degraded, count)
        if not mask:
            mask, fault = self.choose(free, count), DEGRADED
        if not mask:
            return 0, float(NO_FIT)
        return mask, fault + CROSSES_GROUPS * (self.groups(mask) > 1)


@lru_cache(maxsize=1 << 14)
def bits(mask: int) -> tuple[int, ...]:
    """Positions of the set bits, ascending."""
    return tuple([at for at in range(mask.bit_length()) if mask >> at & 1])


class States:
    """Free sets of nodes, each interned once, with what they hold as arrays.

    Columns are numbers of devices that tasks ask for. Cost of a new state or column: the questions above.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[Layout, int, int], int] = {}
        self._keys: list[tuple[Layout, int, int]] = []
        self._masks: list[list[int]] = []  # of each state the best set by column
        self.counts: list[int] = [1]
        self._columns: dict[int, int] = {1: 0}
        self.copies = np.zeros((0, 1))  # tasks that fit one after the other
        self.left = np.zeros((0, 1, 1))  # the same, when a set of another column's size is taken
        self.cost = np.zeros((0, 1))  # of the best set by itself; NO_FIT: there is none
        self.whole = np.zeros(0)  # free devices

    def number(self, layout: Layout, free: int, degraded: int) -> int:
        """The state of a node with these free devices."""
        key = (layout, free, degraded & free)
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self._keys)
            self._keys.append(key)
            self._masks.append([])
            if known >= len(self.whole):
                self._widen(max(64, 2 * len(self.whole)))
            self._fill(known, range(len(self.counts)))
        return known

    def columns(self, counts: Sequence[int]) -> list[int]:
        """The columns of these numbers of devices."""
        new = sorted({count for count in counts if count not in self._columns})
        if new:
            for count in new:
                self._columns[count] = len(self.counts)
                self.counts.append(count)
            self._widen(len(self.whole))
            for number in range(len(self._keys)):
                self._fill(number, range(len(self.counts)))
        return [self._columns[count] for count in counts]

    def chosen(self, number: int, column: int) -> int:
        """The set that a task with a column's number of devices would take."""
        return self._masks[number][column]

    def _widen(self, states: int) -> None:
        columns = len(self.counts)
        self.copies = _grown(self.copies, (states, columns))
        self.left = _grown(self.left, (states, columns, columns))
        self.cost = _grown(self.cost, (states, columns))
        self.whole = _grown(self.whole, (states,))

    def _fill(self, number: int, columns: Iterable[int]) -> None:
        layout, free, degraded = self._keys[number]
        self.whole[number] = free.bit_count()
        self._masks[number] = []
        for column in columns:
            count = self.counts[column]
            mask, self.cost[number, column] = layout.healthiest(free, degraded, count)
            self._masks[number].append(mask)
            self.copies[number, column] = layout.holds(free, count)
            for other, theirs in enumerate(self.counts):
                self.left[number, column, other] = layout.holds(free & ~mask, theirs)


def _grown(old: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    new = np.zeros(shape)
    new[tuple(slice(size) for size in old.shape)] = old
    return new


@lru_cache(maxsize=1 << 14)
def layout_of(rule: ShapeRule, devices: tuple[tuple[int, int], ...]) -> Layout:
    """The layout of a node's devices of one model: (number, fast-link group) of each, by index."""
    return Layout(rule, devices)


@lru_cache(maxsize=_REMEMBERED)
def _choose(layout: Layout, free: int, count: int) -> int:
    views = [
        DeviceView(number, DeviceId(""), str(at), group, free=True)
        for at, (number, group) in enumerate(layout.devices)
        if free >> at & 1
    ]
    chosen = choose_devices(layout.rule, views, count)
    return 0 if chosen is None else sum(1 << int(view.model) for view in chosen)


@lru_cache(maxsize=_REMEMBERED)
def _holds(layout: Layout, free: int, count: int) -> int:
    fitted = 0
    while chosen := _choose(layout, free, count):
        free &= ~chosen
        fitted += 1
    return fitted


@lru_cache(maxsize=_REMEMBERED)
def _numbers(layout: Layout, chosen: int) -> tuple[int, ...]:
    return tuple([layout.devices[at][0] for at in bits(chosen)])


@lru_cache(maxsize=_REMEMBERED)
def _groups(layout: Layout, chosen: int) -> int:
    return len({layout.devices[at][1] for at in bits(chosen)})
