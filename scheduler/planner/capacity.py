"""What is still free while a plan is being made: one `ModelPool` for each pool and device model.

Nodes lie in buckets by their number of open devices, so that the tightest fit is found without looking at
the others. Everything here lives for one cycle.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.domain.ids import DeviceId, NodeId
from scheduler.planner.snapshot import DeviceView, ModelOnNode, NodeView, Snapshot


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
    on_node: ModelOnNode
    open: list[DeviceView]
    held: list[Held] = field(default_factory=list)
    # Devices that a reservation of this cycle will use later, free now or not.
    reserved: set[DeviceId] = field(default_factory=set)

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
        # How many nodes have so many devices: all of them, and the healthy ones of usable nodes.
        self.nodes_by_devices: dict[int, int] = {}
        self.nodes_by_healthy: dict[int, int] = {}
        self.open_devices = 0
        self.free_devices = 0  # open or held
        self.held: list[NodeSlot] = []
        self._views: list[tuple[NodeView, ModelOnNode]] = []  # of usable nodes
        self._slots: dict[int, NodeSlot] = {}  # made for nodes with free devices, and where asked for
        self._buckets: dict[int, dict[int, NodeSlot]] = {}
        self._bounds: dict[int, list[tuple[int, int]]] = {}

    def add(self, view: NodeView, on_node: ModelOnNode) -> None:
        """Counts a node in. In a busy cluster most nodes are full, and cost a few additions."""
        devices = len(on_node.devices)
        self.nodes_by_devices[devices] = self.nodes_by_devices.get(devices, 0) + 1
        if not view.usable:
            return
        healthy = on_node.healthy
        self.nodes_by_healthy[healthy] = self.nodes_by_healthy.get(healthy, 0) + 1
        order = len(self._views)
        self._views.append((view, on_node))
        free = len(on_node.free)
        if free:
            self.open_devices += free
            self.free_devices += free
            self._buckets.setdefault(free, {})[order] = self.slot(order)

    def slot(self, order: int) -> NodeSlot:
        """The slot of a usable node by its place in the pool."""
        slot = self._slots.get(order)
        if slot is None:
            view, on_node = self._views[order]
            slot = self._slots[order] = NodeSlot(order, view, on_node, list(on_node.free))
        return slot

    def tightest(self, least: int) -> Iterator[NodeSlot]:
        """Slots with at least so many open devices, the fewest first."""
        for count in sorted(self._buckets):
            if count >= least:
                yield from self._buckets[count].values()

    def roomiest(self) -> Iterator[NodeSlot]:
        """Every usable node, the one with the most open devices first."""
        seen = set()
        for count in sorted(self._buckets, reverse=True):
            for order in sorted(self._buckets[count]):
                seen.add(order)
                yield self._slots[order]
        for order in range(len(self._views)):
            if order not in seen:
                yield self.slot(order)

    def with_free(self) -> Iterator[NodeSlot]:
        """Slots with devices that are free now, or were at the cycle's beginning."""
        for order in sorted(self._slots):
            yield self._slots[order]

    def soonest(self, count: int) -> list[tuple[int, int]]:
        """(moment in ms, order) from when a node may have so many devices free, the soonest first.

        A lower bound for the whole cycle: placements and reservations only make it later. Nodes where nobody
        knows are left out. Cost: O(nodes log nodes) once a cycle for each count.
        """
        bounds = self._bounds.get(count)
        if bounds is None:
            bounds = [
                (on_node.ends_by_ms[count - 1], order)
                for order, (_, on_node) in enumerate(self._views)
                if len(on_node.ends_by_ms) >= count
            ]
            bounds.sort()
            self._bounds[count] = bounds
        return bounds

    def with_room(self, least: int) -> int:
        """How many nodes have at least so many open devices."""
        return sum(len(slots) for count, slots in self._buckets.items() if count >= least)

    def with_room_counting_held(self, least: int) -> int:
        """The same, as if nothing were held for anybody."""
        return self.with_room(least) + sum(len(slot.open) < least <= slot.free for slot in self.held)

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
        if slot.open:
            del self._buckets[len(slot.open)][slot.order]
        self.open_devices += len(devices) - len(slot.open)
        slot.open = devices
        if devices:
            self._buckets.setdefault(len(devices), {})[slot.order] = slot


def nodes_with(histogram: Mapping[int, int], least: int) -> int:
    """Nodes with at least so many devices."""
    return sum(nodes for devices, nodes in histogram.items() if devices >= least)


class Capacity:
    """The model pools of a snapshot. Cost to build: O(nodes)."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._pools: dict[tuple[str, str], ModelPool] = {}
        self._models: dict[str, list[str]] = {}  # pool -> models in it
        for view in snapshot.nodes:
            for model, on_node in view.by_model.items():
                key = (view.pool, model)
                model_pool = self._pools.get(key)
                if model_pool is None:
                    model_pool = self._pools[key] = ModelPool(*key)
                    self._models.setdefault(view.pool, []).append(model)
                model_pool.add(view, on_node)

    def get(self, pool: str, model: str) -> ModelPool | None:
        """The model pool, or None where the pool has no such device."""
        return self._pools.get((pool, model))

    def models_in(self, pool: str) -> list[str]:
        """Models of a pool, by name."""
        return sorted(self._models.get(pool, []))
