"""The plain scheduler that most sites run: weighted fair share between queues, EASY backfill, no preemption.

It is called as the shipped planner is, so that the same harness runs both. Queues go in order of decayed
usage / weight, jobs within one by age; a job takes the fastest model that has room; the first that has none
reserves nodes of its fastest model from the moment at which time limits free them, and later jobs may start
where they end before that moment or stay off those nodes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import DeviceId, NodeId
from scheduler.planner import (
    JobPlacement,
    NodeView,
    Plan,
    Report,
    Shape,
    Snapshot,
    TaskPlacement,
    WaitingJob,
)


@dataclass(slots=True)
class _Node:
    view: NodeView
    left_ppm: dict[DeviceId, int] = field(default_factory=dict)

    @property
    def whole(self) -> list[DeviceId]:
        """Devices that nobody holds."""
        return [device_id for device_id, left in self.left_ppm.items() if left >= WHOLE_PPM]


def decide(snapshot: Snapshot, now_ms: int) -> tuple[Plan, Report]:
    """What starts now; says nothing of those that wait."""
    nodes: dict[str, list[_Node]] = {}
    for view in snapshot.nodes:
        if view.usable and view.devices and not _closed(snapshot, view.node_id, now_ms):
            node = _Node(view, {device.device_id: device.room_ppm for device in view.devices})
            nodes.setdefault(view.devices[0].model, []).append(node)
    placements: list[JobPlacement] = []
    shadow_ms: int | None = None
    reserved: set[NodeId] = set()
    for shape, job in _in_order(snapshot):
        models = _models(shape, nodes)
        seats = None
        for model in models:
            ends_ms = None if shape.time_limit_ms is None else now_ms + shape.time_limit_ms
            early = shadow_ms is None or (ends_ms is not None and ends_ms <= shadow_ms)
            usable = [n for n in nodes[model] if early or n.view.node_id not in reserved]
            seats = _seats(shape, usable)
            if seats is not None:
                placements.append(_placed(shape, job, model, seats))
                break
        if seats is None and shadow_ms is None and models:
            shadow_ms, reserved = _reservation(shape, nodes[models[0]], now_ms)
    return Plan(tuple(placements)), Report(now_ms, ())


def _in_order(snapshot: Snapshot) -> Iterable[tuple[Shape, WaitingJob]]:
    def key(item: tuple[Shape, WaitingJob]) -> tuple[float, WaitingJob]:
        shape, job = item
        queue = snapshot.queues.get(shape.queue)
        return snapshot.usage.get(shape.queue, 0) / (queue.weight if queue else 1), job

    return sorted(((item.shape, job) for item in snapshot.classes for job in item.jobs), key=key)


def _models(shape: Shape, nodes: dict[str, list[_Node]]) -> list[str]:
    rates = dict(shape.rates)
    return sorted((m for m in shape.models if m in nodes), key=lambda m: -rates.get(m, 1.0))


def _seats(shape: Shape, nodes: Sequence[_Node]) -> list[tuple[_Node, list[DeviceId]]] | None:
    if not shape.whole:
        fitting = [
            (left, n, device_id)
            for n, node in enumerate(nodes)
            for device_id, left in node.left_ppm.items()
            if left >= shape.share_ppm
        ]
        if not fitting:
            return None
        _, n, device_id = min(fitting)
        return [(nodes[n], [device_id])]
    seats = []
    left = shape.devices
    for node in sorted(nodes, key=lambda node: len(node.whole)):
        want = min(shape.devices_per_node, left)
        if len(node.whole) >= want:
            seats.append((node, node.whole[:want]))
            left -= want
            if not left:
                return seats
    return None


def _placed(
    shape: Shape, job: WaitingJob, model: str, seats: Sequence[tuple[_Node, list[DeviceId]]]
) -> JobPlacement:
    tasks = []
    for rank, (node, devices) in enumerate(seats):
        for device_id in devices:
            node.left_ppm[device_id] -= shape.share_ppm
        tasks.append(TaskPlacement(rank, node.view.node_id, tuple(devices), shape.share_ppm))
    return JobPlacement(job.job_id, model, seats[0][0].view.pool, tuple(tasks))


def _reservation(shape: Shape, nodes: Sequence[_Node], now_ms: int) -> tuple[int | None, set[NodeId]]:
    """From when the job surely has its nodes, by time limits, and which."""
    want = min(shape.devices_per_node, shape.devices)
    soonest = []
    for node in nodes:
        ends = sorted(
            now_ms if node.left_ppm[device.device_id] >= WHOLE_PPM else (device.ends_by_ms or now_ms) + 1
            for device in node.view.devices
        )
        if len(ends) >= want:
            soonest.append((max(ends[want - 1], now_ms), node.view.node_id))
    soonest.sort()
    chosen = soonest[: shape.tasks]
    if len(chosen) < shape.tasks:
        return None, set()
    return chosen[-1][0], {node_id for _, node_id in chosen}


def _closed(snapshot: Snapshot, node_id: NodeId, now_ms: int) -> bool:
    return any(
        hole.queue is None and node_id in hole.nodes and hole.from_ms <= now_ms < hole.until_ms
        for hole in snapshot.calendar
    )
