"""Where a gang goes: inside fast-link groups first, then the tightest fit, so that whole nodes stay free."""

from typing import NamedTuple

from scheduler.catalogue import ShapeRule
from scheduler.domain.ids import NodeId
from scheduler.planner.capacity import ModelPool, NodeSlot
from scheduler.planner.snapshot import DeviceView, Shape
from scheduler.planner.topology import choose_devices, in_one_group

Avoid = frozenset[NodeId]


class TaskSeat(NamedTuple):
    """Devices for one task."""

    slot: NodeSlot
    devices: tuple[DeviceView, ...]


def find_seats(
    shape: Shape, model_pool: ModelPool, rule: ShapeRule, ends_ms: int | None
) -> list[TaskSeat] | None:
    """A seat for each task, on different nodes, or None: all or nothing. Changes nothing.

    `ends_ms` is when the job has surely ended, by its time limit, so that it may use devices which are held
    for somebody from later on. Cost: the nodes looked at; the tightest are looked at first.
    """
    tasks, count = shape.tasks, shape.devices_per_node
    avoid = model_pool.avoided(shape.avoid_nodes, count, tasks)
    early = ends_ms is not None and bool(model_pool.held)
    if not early and model_pool.with_room(count) < tasks:
        return None
    seats = _search(shape, model_pool, rule, avoid, allow_degraded=False)
    if len(seats) < tasks:
        seats = _search(shape, model_pool, rule, avoid, allow_degraded=True)
    if len(seats) < tasks and early:
        seats = _search_held(shape, model_pool, rule, avoid, ends_ms)
    return seats if len(seats) == tasks else None


def _search(
    shape: Shape, model_pool: ModelPool, rule: ShapeRule, avoid: Avoid, *, allow_degraded: bool
) -> list[TaskSeat]:
    """First seats inside one fast-link group, then, where the vendor allows it, across groups."""
    together: list[TaskSeat] = []
    across: list[TaskSeat] = []
    for slot in model_pool.tightest(shape.devices_per_node):
        if slot.node_id in avoid:
            continue
        free = slot.open if allow_degraded else [device for device in slot.open if not device.degraded]
        devices = choose_devices(rule, free, shape.devices_per_node)
        if devices is None:
            continue
        seat = TaskSeat(slot, devices)
        if in_one_group(devices):
            together.append(seat)
            if len(together) == shape.tasks:
                return _in_node_order(together)
        elif len(across) < shape.tasks:
            across.append(seat)
    return _in_node_order((together + across)[: shape.tasks])


def _search_held(
    shape: Shape, model_pool: ModelPool, rule: ShapeRule, avoid: Avoid, ends_ms: int | None
) -> list[TaskSeat]:
    seats: list[TaskSeat] = []
    for slot in model_pool.with_free():
        if slot.node_id in avoid:
            continue
        devices = choose_devices(rule, slot.usable_until(ends_ms), shape.devices_per_node)
        if devices is not None:
            seats.append(TaskSeat(slot, devices))
            if len(seats) == shape.tasks:
                break
    return seats


def _in_node_order(seats: list[TaskSeat]) -> list[TaskSeat]:
    """Ranks follow the order of the nodes, which follows how they were put up, and with it the wires."""
    return sorted(seats, key=lambda seat: seat.slot.order)
