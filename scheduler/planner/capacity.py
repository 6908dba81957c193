"""What is still free while a plan is being made: one `ModelPool` for each pool and device model.

Nodes lie in buckets by their number of open devices, so that the tightest fit is found without looking at
the others. Everything here lives for one cycle.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.domain.ids import NodeId
from scheduler.planner.snapshot import DeviceView, NodeView, Snapshot


@dataclass(slots=True)
class Held:
    """Free devices of a node kept for a job that is before others. `from_ms` None: nobody knows from when."""

    from_ms: int | None
    devices: list[DeviceView]


@dataclass(slots=True)
class NodeSlot:
    """The open devices of one model on one usable node."""

    order: int
    view: NodeView
    devices: tuple[DeviceView, ...]  # all of the model
    open: list[DeviceView]
    held: list[Held] = field(default_factory=list)
    # Devices that a reservation of this cycle will use later, free now or not.
    reserved: set[str] = field(default_factory=set)

    @property
    def node_id(self) -> NodeId:
        """Whose devices these are."""
        return self.view.node_id

    @property
    def free(self) -> int:
        """Devices that are free, kept for somebody or not."""
        return len(self.open) + sum(len(held.devices) for held in self.held)

    def usable_until(self, ends_ms: int | None) -> Sequence[DeviceView]:
        """Open devices, and held ones that a job ending by `ends_ms` gives back in time."""
        if not self.held or ends_ms is None:
            return self.open
        early = [
            device
            for held in self.held
            if held.from_ms is not None and ends_ms <= held.from_ms
            for device in held.devices
        ]
        return sorted(self.open + early) if early else self.open


class ModelPool:
    """Every usable node of one pool that has one model."""

    def __init__(self, pool: str, model: str) -> None:
        self.pool = pool
        self.model = model
        self.slots: list[NodeSlot] = []
        self.total_devices = 0
        # How many nodes have so many devices: all of them, and the healthy ones of usable nodes.
        self.nodes_by_devices: dict[int, int] = {}
        self.nodes_by_healthy: dict[int, int] = {}
        self.open_devices = 0
        self.free_devices = 0  # open or held
        self.held: list[NodeSlot] = []
        self._buckets: dict[int, dict[int, NodeSlot]] = {}

    def add(self, view: NodeView, devices: tuple[DeviceView, ...]) -> None:
        """Counts a node in, and makes a slot of it when it is usable."""
        self.total_devices += len(devices)
        _count(self.nodes_by_devices, len(devices))
        if not view.usable:
            return
        _count(self.nodes_by_healthy, sum(not device.faulty for device in devices))
        slot = NodeSlot(len(self.slots), view, devices, list(view.free_by_model[self.model]))
        self.slots.append(slot)
        self.open_devices += len(slot.open)
        self.free_devices += len(slot.open)
        self._buckets.setdefault(len(slot.open), {})[slot.order] = slot

    def tightest(self, least: int) -> Iterator[NodeSlot]:
        """Slots with at least so many open devices, the fewest first."""
        for count in sorted(self._buckets):
            if count >= least:
                yield from self._buckets[count].values()

    def with_room(self, least: int) -> int:
        """How many nodes have at least so many open devices."""
        return sum(len(slots) for count, slots in self._buckets.items() if count >= least)

    def with_room_counting_held(self, least: int) -> int:
        """The same, as if nothing were held for anybody."""
        more = sum(len(slot.open) < least <= slot.free for slot in self.held)
        return self.with_room(least) + more

    def avoided(self, nodes: frozenset[NodeId], count: int, tasks: int) -> frozenset[NodeId]:
        """The nodes that a gang should avoid; none when it could otherwise never start."""
        if nodes and nodes_with(self.nodes_by_healthy, count) - len(nodes) < tasks:
            return frozenset()
        return nodes

    def take(self, slot: NodeSlot, devices: Iterable[DeviceView]) -> None:
        """Removes devices from the slot: from what is open, else from what is held."""
        taken = set(devices)
        self.free_devices -= len(taken)
        was_open = len(slot.open)
        still_open = [device for device in slot.open if device not in taken]
        if len(still_open) != was_open - len(taken):
            for held in slot.held:
                held.devices = [device for device in held.devices if device not in taken]
        self._set_open(slot, still_open)

    def hold(self, slot: NodeSlot, devices: Iterable[DeviceView], from_ms: int | None) -> None:
        """Keeps devices for a later start: free ones are no longer open, the others are remembered."""
        chosen = set(devices)
        kept = [device for device in slot.open if device in chosen]
        slot.reserved.update(device.device_id for device in chosen)
        if not kept:
            return
        if not slot.held:
            self.held.append(slot)
        slot.held.append(Held(from_ms, kept))
        self._set_open(slot, [device for device in slot.open if device not in chosen])

    def _set_open(self, slot: NodeSlot, devices: list[DeviceView]) -> None:
        del self._buckets[len(slot.open)][slot.order]
        self.open_devices += len(devices) - len(slot.open)
        slot.open = devices
        self._buckets.setdefault(len(devices), {})[slot.order] = slot


def nodes_with(histogram: Mapping[int, int], least: int) -> int:
    """Nodes with at least so many devices."""
    return sum(nodes for devices, nodes in histogram.items() if devices >= least)


def _count(histogram: dict[int, int], devices: int) -> None:
    histogram[devices] = histogram.get(devices, 0) + 1


class Capacity:
    """The model pools of a snapshot. Cost to build: O(nodes)."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._pools: dict[tuple[str, str], ModelPool] = {}
        self._models: dict[str, list[str]] = {}  # pool -> models in it
        for view in snapshot.nodes:
            for model, devices in view.by_model.items():
                key = (view.pool, model)
                model_pool = self._pools.get(key)
                if model_pool is None:
                    model_pool = self._pools[key] = ModelPool(*key)
                    self._models.setdefault(view.pool, []).append(model)
                model_pool.add(view, devices)

    def get(self, pool: str, model: str) -> ModelPool | None:
        """The model pool, or None where the pool has no such device."""
        return self._pools.get((pool, model))

    def models_in(self, pool: str) -> list[str]:
        """Models of a pool, by name."""
        return sorted(self._models.get(pool, []))
