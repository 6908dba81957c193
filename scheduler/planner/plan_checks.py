"""Proves a plan legal before it is applied. Written apart from the planner: it shares no decision with it."""

from dataclasses import dataclass

from scheduler.domain.ids import DeviceId, JobId, NodeId
from scheduler.planner.plan import JobPlacement, Plan, TaskPlacement
from scheduler.planner.snapshot import DeviceView, NodeView, Shape, Snapshot
from scheduler.planner.topology import allowed_set


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one placement."""

    job_id: JobId
    what: str


def check_plan(snapshot: Snapshot, plan: Plan) -> list[Violation]:
    """Every way in which the plan breaks a rule; empty for a legal plan.

    Cost: O(waiting jobs + nodes) when the plan is not empty, else nothing.
    """
    return _Checker(snapshot, plan).check(plan) if plan.placements else []


class _Checker:
    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self._snapshot = snapshot
        jobs = {placement.job_id for placement in plan.placements}
        nodes = {task.node_id for placement in plan.placements for task in placement.tasks}
        self._nodes: dict[NodeId, NodeView] = {
            node.node_id: node for node in snapshot.nodes if node.node_id in nodes
        }
        self._shapes: dict[JobId, Shape] = {
            job.job_id: item.shape for item in snapshot.classes for job in item.jobs if job.job_id in jobs
        }
        self._taken: dict[DeviceId, int] = {}  # ppm given away
        self._placed: set[JobId] = set()
        self._held = {key: dict(models) for key, models in snapshot.held.items()}
        self._found: list[Violation] = []

    def check(self, plan: Plan) -> list[Violation]:
        for placement in plan.placements:
            shape = self._shapes.get(placement.job_id)
            if shape is None:
                self._wrong(placement, "the job does not wait")
            elif placement.job_id in self._placed:
                self._wrong(placement, "the job is placed twice")
            else:
                self._placed.add(placement.job_id)
                self._gang(placement, shape)
                self._quota(placement, shape)
                for task in placement.tasks:
                    self._task(placement, task, shape)
        return self._found

    def _wrong(self, placement: JobPlacement, what: str) -> None:
        self._found.append(Violation(placement.job_id, what))

    def _gang(self, placement: JobPlacement, shape: Shape) -> None:
        if [task.rank for task in placement.tasks] != list(range(shape.tasks)):
            self._wrong(placement, f"the gang is not whole: wants {shape.tasks} tasks by rank")
        if len({task.node_id for task in placement.tasks}) != len(placement.tasks):
            self._wrong(placement, "two tasks of the gang are on one node")
        if placement.device_model not in shape.models:
            self._wrong(placement, f"the job has no variant for {placement.device_model}")

    def _quota(self, placement: JobPlacement, shape: Shape) -> None:
        queue = self._snapshot.queues.get(shape.queue)
        if queue is None or placement.pool not in queue.pools:
            self._wrong(placement, f"the queue may not use pool {placement.pool}")
            return
        held = self._held.setdefault(shape.queue, {})
        held[placement.device_model] = held.get(placement.device_model, 0) + shape.devices
        nominal = queue.nominal.get(placement.device_model)
        if nominal is not None and held[placement.device_model] > nominal:
            self._wrong(placement, f"the queue would hold more than its quota of {nominal}")

    def _task(self, placement: JobPlacement, task: TaskPlacement, shape: Shape) -> None:
        node = self._nodes.get(task.node_id)
        if node is None or not node.usable:
            self._wrong(placement, f"node {task.node_id} is not usable")
            return
        if node.pool != placement.pool:
            self._wrong(placement, f"node {task.node_id} is not in pool {placement.pool}")
        if task.share_ppm != shape.share_ppm:
            self._wrong(placement, f"a task wants {shape.share_ppm} ppm of each device")
        views = {view.device_id: view for view in node.devices}
        devices: list[DeviceView] = []
        for device_id in task.device_ids:
            device = views.get(device_id)
            if device is None or not device.room_ppm or device.model != placement.device_model:
                self._wrong(
                    placement, f"device {device_id} is not a free {placement.device_model} of the node"
                )
            else:
                devices.append(device)
            taken = self._taken.get(device_id, 0) + task.share_ppm
            if device is not None and device.room_ppm and taken > device.room_ppm:
                self._wrong(placement, f"device {device_id} is given twice")
            self._taken[device_id] = taken
        if len(task.device_ids) != _devices_of(placement, task, shape):
            self._wrong(placement, f"a task wants {shape.devices_per_node} devices")
        rule = self._snapshot.catalogue.shape(placement.device_model)
        if shape.whole and shape.devices and not allowed_set(rule, devices):
            self._wrong(placement, f"the vendor does not allow these devices together on {task.node_id}")


def _devices_of(placement: JobPlacement, task: TaskPlacement, shape: Shape) -> int:
    """How many devices a task has; the last one of an uneven gang has the rest."""
    if task.rank == shape.tasks - 1:
        return shape.devices - shape.devices_per_node * (shape.tasks - 1)
    return shape.devices_per_node
