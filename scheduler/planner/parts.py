"""One node's devices of one model, as sets: what is open, what is held for whom, what is on its way out."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from scheduler.domain.ids import DeviceId, NodeId
from scheduler.domain.queues import QueueKey
from scheduler.planner.layouts import Layout, bits
from scheduler.planner.rows import EVERYBODY, firm_number
from scheduler.planner.snapshot import DeviceView, ModelOnNode, NodeView

NEVER = np.inf


@dataclass(slots=True)
class Held:
    """Devices of a row kept for a job that is before others. `from_ms` None: nobody knows from when."""

    from_ms: int | None
    mask: int
    queue: QueueKey | None = None  # who may use them nevertheless


@dataclass(slots=True, eq=False)
class Part:
    """One node's devices of one model; all of them are faulty while the node is out of service."""

    view: NodeView  # where whole devices are expected to change hands: the node before that
    on_node: ModelOnNode
    layout: Layout
    free: int  # mask of wholly free devices that are open to everybody
    degraded: int  # mask
    at_rest: int  # mask of what is free before a cycle takes any
    busy: int  # mask of healthy devices that are not
    shared: int  # mask of those of them of which parts are open
    held: list[Held] = field(default_factory=list)
    reserved: int = 0  # mask of what reservations of this cycle will use, free now or not
    _healthy: dict[DeviceId, int] | None = None  # looked up for every job that runs there

    @property
    def node_id(self) -> NodeId:
        """Whose devices these are."""
        return self.view.node_id

    @property
    def kept(self) -> int:
        """Mask of free devices that are kept for somebody."""
        mask = 0
        for held in self.held:
            mask |= held.mask
        return mask

    def mask_of(self, device_ids: Iterable[DeviceId]) -> int:
        """Healthy devices as a set."""
        if self._healthy is None:
            named = enumerate(self.on_node.devices)
            self._healthy = {d.device_id: 1 << at for at, d in named if not d.faulty}
        return sum([self._healthy.get(device_id, 0) for device_id in device_ids])

    def later(self, free: int, busy: int) -> "Part":
        """The same devices where others of them are free or busy, wholly."""
        return Part(
            self.view, self.on_node, self.layout, free, self.degraded, free, busy, self.shared, [], 0, self._healthy
        )  # fmt: skip

    def columns(self, mask: int) -> int | slice | list[int]:
        """Where a set is in arrays of devices; said so that numpy is quick about one of them, and about all."""
        if mask and not mask & (mask - 1):
            return mask.bit_length() - 1
        devices = len(self.layout.devices)
        return slice(devices) if mask == (1 << devices) - 1 else list(bits(mask))

    def usable_until(self, ends_ms: int | None, queue: QueueKey | None) -> int:
        """Mask of open devices, and held ones that are the queue's or are given back in time by `ends_ms`.

        What is held more than once must be so each time: two windows of the calendar may follow one another.
        """
        mask, shut = self.free, 0
        for held in self.held:
            in_time = ends_ms is not None and held.from_ms is not None and ends_ms <= held.from_ms
            if in_time or (queue is not None and held.queue == queue):
                mask |= held.mask
            else:
                shut |= held.mask
        return mask & ~shut

    def ids(self, mask: int) -> tuple[DeviceId, ...]:
        """Device ids of a set, by index."""
        devices = self.on_node.devices
        return tuple([devices[at].device_id for at in bits(mask)])


def part_of(view: NodeView, on_node: ModelOnNode, layout: Layout) -> Part:
    """The devices of a model on a node as its view says. Cost: the devices."""
    if not view.usable:
        on_node = on_node._replace(devices=tuple([_broken(device) for device in on_node.devices]))
    free = degraded = busy = shared = 0
    for at, device in enumerate(on_node.devices):
        free |= device.free << at
        degraded |= device.degraded << at
        if not device.free and not device.faulty:
            busy |= 1 << at
            shared |= (device.room_ppm > 0) << at
    return Part(view, on_node, layout, free, degraded, free, busy, shared)


def _broken(device: DeviceView) -> DeviceView:
    return device._replace(free=False, faulty=True, left_ppm=None)


def in_numbers(device: DeviceView) -> tuple[int, float, int, float]:
    """Its room, that of its memory, who alone may have parts of it, and when it is free."""
    ends_by_ms = NEVER if device.ends_by_ms is None or device.faulty else float(device.ends_by_ms)
    return (
        device.room_ppm,
        float(device.room_bytes) if device.memory_bytes else np.inf,
        EVERYBODY if device.firm_id is None else firm_number(device.firm_id),
        0.0 if device.free else ends_by_ms,
    )


NO_DEVICE = (0, 0.0, EVERYBODY, NEVER)
