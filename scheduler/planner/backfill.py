"""Reservations: what is kept for a blocked job, so that nobody behind it overtakes it for ever.

Where time limits say when devices come free, the start is known, and shorter work may fill the hole until
then. Where they do not, a job that has waited long enough holds the nodes that are closest to having room.
"""

from bisect import insort
from dataclasses import dataclass

from scheduler.catalogue import ShapeRule
from scheduler.planner.capacity import ModelPool, NodeSlot
from scheduler.planner.config import PlannerConfig
from scheduler.planner.snapshot import DeviceView, Shape
from scheduler.planner.topology import choose_devices


@dataclass(frozen=True, slots=True)
class Opening:
    """A gang's place in the future."""

    from_ms: int
    seats: tuple[tuple[NodeSlot, tuple[DeviceView, ...]], ...]


def earliest_opening(
    shape: Shape, model_pool: ModelPool, rule: ShapeRule, now_ms: int, config: PlannerConfig
) -> Opening | None:
    """The earliest start that time limits promise, or None where they promise none.

    Cost: nodes in the order of the soonest they could have room, until no later one can be sooner.
    """
    bounds = model_pool.soonest(shape.devices_per_node)
    if len(bounds) < shape.tasks:
        return None
    avoid = model_pool.avoided(shape.avoid_nodes, shape.devices_per_node, shape.tasks)
    found: list[tuple[int, int, NodeSlot, tuple[DeviceView, ...]]] = []  # the soonest ones, sorted
    for ends_by_ms, order in bounds:
        earliest_ms = now_ms if ends_by_ms <= 0 else max(ends_by_ms, now_ms) + config.stop_margin_ms
        if len(found) == shape.tasks and earliest_ms >= found[-1][0]:
            break
        slot = model_pool.slot(order)
        opening = None if slot.node_id in avoid else _opening_on(slot, shape, rule, now_ms, config)
        if opening is not None:
            insort(found, (opening[0], order, slot, opening[1]), key=lambda item: item[:2])
            del found[shape.tasks :]
    if len(found) < shape.tasks:
        return None
    return Opening(found[-1][0], tuple((slot, devices) for _, _, slot, devices in found))


def _opening_on(
    slot: NodeSlot, shape: Shape, rule: ShapeRule, now_ms: int, config: PlannerConfig
) -> tuple[int, tuple[DeviceView, ...]] | None:
    """When the node has room for a task, and on which devices."""
    at: list[tuple[int, DeviceView]] = []
    open_now = set(slot.open)
    for device in slot.on_node.devices:
        if device in open_now:
            at.append((now_ms, device))
        elif device.free or device.faulty or device.device_id in slot.reserved or device.ends_by_ms is None:
            continue  # kept for another job, broken, or nobody knows
        else:
            at.append((max(device.ends_by_ms, now_ms) + config.stop_margin_ms, device))
    if len(at) < shape.devices_per_node:
        return None
    at.sort()
    times = sorted({time for time, _ in at[shape.devices_per_node - 1 :]})
    for time in times:
        free = sorted(device for free_at, device in at if free_at <= time)
        devices = choose_devices(rule, free, shape.devices_per_node)
        if devices is not None:
            return time, devices
    return None


def nodes_to_hold(
    shape: Shape, model_pool: ModelPool, rule: ShapeRule
) -> list[tuple[NodeSlot, tuple[DeviceView, ...]]]:
    """The nodes with the most room for the gang, with all their healthy devices of the model.

    Held nodes only gain free devices, so the choice of the next cycle is no worse: the job comes closer to
    its start with every task that ends there. Cost: the nodes looked at, the roomiest first.
    """
    avoid = model_pool.avoided(shape.avoid_nodes, shape.devices_per_node, shape.tasks)
    chosen: list[tuple[NodeSlot, tuple[DeviceView, ...]]] = []
    for slot in model_pool.roomiest():
        if len(chosen) == shape.tasks:
            break
        healthy = tuple(
            device
            for device in slot.on_node.devices
            if not device.faulty and device.device_id not in slot.reserved
        )
        usable = slot.node_id not in avoid
        if usable and choose_devices(rule, healthy, shape.devices_per_node) is not None:
            chosen.append((slot, healthy))
    return chosen
