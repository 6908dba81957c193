"""Vendor-legal sets of whole devices as bit masks: every question is answered once and remembered.

Bit i of a mask is the node's i-th device of the model (by index). Nodes of one layout (rule, numbers and
fast-link groups of their devices) share the answers; a node has few devices, so there are few questions.
"""

from functools import lru_cache
from typing import NamedTuple

from scheduler.catalogue import ShapeRule
from scheduler.domain.ids import DeviceId
from scheduler.planner.snapshot import DeviceView
from scheduler.planner.topology import choose_devices

# Answers that are kept; far more than the states of any real nodes.
_REMEMBERED = 1 << 17


class Layout(NamedTuple):
    """What of a node decides which sets are legal."""

    rule: ShapeRule
    devices: tuple[tuple[int, int], ...]  # (number, fast-link group)

    def choose(self, free: int, count: int) -> int:
        """A legal set of so many of the free devices, 0 where there is none."""
        return _choose(self, free, count)

    def holds(self, free: int, count: int) -> int:
        """How many tasks with so many devices fit one after the other."""
        return _holds(self, free, count)

    def groups(self, chosen: int) -> int:
        """How many fast-link groups a set touches."""
        return _groups(self, chosen)


def layout_of(rule: ShapeRule, devices: tuple[DeviceView, ...]) -> Layout:
    """The layout of a node's devices of one model, by index."""
    return Layout(rule, tuple((device.number, device.group) for device in devices))


def bits(mask: int) -> list[int]:
    """Positions of the set bits, ascending."""
    return [at for at in range(mask.bit_length()) if mask >> at & 1]


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
def _groups(layout: Layout, chosen: int) -> int:
    return len({layout.devices[at][1] for at in bits(chosen)})
