"""Tasks that leave a node or come to it, and the node after that."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import DeviceId, FirmId, NodeId
from scheduler.planner.snapshot import DeviceView, NodeView, Shape


class Change(NamedTuple):
    """A job has left devices (1) or come to them (-1)."""

    shape: Shape
    sign: int
    ends_by_ms: int | None
    whole: bool  # whether nothing but whole devices come free or are taken by it, and parts of the host


Changes = Sequence[tuple[tuple[DeviceId, ...], Change]]
"""What happens to which devices of a node, who leaves first."""
Turnover = Mapping[NodeId, Changes]


def change_of(shape: Shape, sign: int, ends_by_ms: int | None) -> Change:
    """Of a job of a shape, who leaves (1) or comes (-1)."""
    return Change(shape, sign, ends_by_ms, shape.whole and not shape.share_memory_bytes)


def node_after(view: NodeView, changes: Changes) -> NodeView:
    """The node after that."""
    devices = list(view.devices)
    place = {device.device_id: at for at, device in enumerate(devices)}
    cpu, memory, firm_id = view.left_cpu_milli, view.left_memory_bytes, view.firm_id
    for device_ids, (shape, sign, ends_by_ms, _) in changes:
        its_firm = None if view.isolates else shape.queue.firm_id
        for device_id in device_ids:
            at = place.get(device_id)
            if at is not None and not devices[at].faulty:
                devices[at] = _device(devices[at], shape, sign, ends_by_ms, its_firm)
        cpu = None if cpu is None else cpu + sign * shape.cpu_milli
        memory = None if memory is None else memory + sign * shape.memory_bytes
        if sign < 0 and view.one_firm:
            firm_id = shape.queue.firm_id  # for good: nobody else gets it once it is empty, either
    return view.later(tuple(devices), cpu, memory, firm_id)


def _device(
    device: DeviceView, shape: Shape, sign: int, ends_by_ms: int | None, its_firm: FirmId | None
) -> DeviceView:
    number, device_id, model, group, free, _, degraded, until_ms, _, all_bytes, left_bytes, firm_id = device
    left_ppm = min(WHOLE_PPM, max(0, device.room_ppm + sign * shape.share_ppm))
    empty = left_ppm == WHOLE_PPM
    return DeviceView(
        number, device_id, model, group, empty, False, degraded,
        # Of those that stay: no earlier than before; who comes to others may be the last to go.
        None if empty else until_ms if sign > 0 else ends_by_ms if free else None,
        left_ppm if 0 < left_ppm < WHOLE_PPM else None,
        all_bytes,
        None if left_bytes is None else left_bytes + sign * shape.share_memory_bytes,
        None if empty else firm_id or its_firm,
    )  # fmt: skip
