"""A cluster that exists only in memory: gives snapshots to the planner and carries out its plans.

Views of nodes that did not change are the same objects from snapshot to snapshot, as in the live controller.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scheduler.catalogue import Catalogue
from scheduler.domain.budgets import BudgetKey
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import DeviceId, JobId, NodeId
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.planner import (
    DeviceView,
    Experience,
    Hole,
    JobClass,
    JobPlacement,
    NodeView,
    RunningJob,
    Shape,
    Snapshot,
    WaitingJob,
    limit_class_ms,
)
from scheduler.planner.next_cycle import started_by
from scheduler.planner.snapshot import Money
from scheduler.simulator.budgets import VirtualBudgets


class NotPossible(ValueError):
    """A plan asks for what the cluster does not have: a fault of the planner that no run may hide."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to be put up."""

    name: str
    model: str
    devices: int
    pool: str = "pool"
    cpu_milli: int | None = None
    memory_bytes: int | None = None
    domains: tuple[str | None, ...] = (None, None, None)
    position: int = 0
    fast_link_group: int = 0  # devices in one; 0: all of the node


@dataclass(slots=True)
class Holding:
    """A job that holds devices."""

    running: RunningJob
    placement: JobPlacement
    ends_by_ms: int | None


@dataclass(slots=True)
class _Class:
    jobs: list[WaitingJob] = field(default_factory=list)
    made: JobClass | None = None


class VirtualCluster:
    """Nodes, waiting jobs and running jobs. Cost of a change: the devices of the nodes that it touches."""

    def __init__(
        self,
        catalogue: Catalogue,
        nodes: Sequence[NodeSpec],
        queues: Iterable[Queue],
        *,
        cohorts: Mapping[str, Cohort] | None = None,
        calendar: tuple[Hole, ...] = (),
        budgets: VirtualBudgets | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.queues = {queue.key: queue for queue in queues}
        self.cohorts = dict(cohorts or {})
        self.calendar = calendar
        self.usage: Mapping[QueueKey, int] = {}
        self.experience: Experience | None = None
        self.budgets = budgets
        self.money: Mapping[BudgetKey, Money] = {}
        self.holdings: dict[JobId, Holding] = {}
        self._views = [view_of(spec) for spec in nodes]
        self._place = {view.node_id: number for number, view in enumerate(self._views)}
        self._numbers = {
            device.device_id: device.number for view in self._views for device in view.devices
        }  # device -> its index on the node
        self._classes: dict[Shape, _Class] = {}
        self._shape_of: dict[JobId, tuple[Shape, WaitingJob]] = {}
        self._held: dict[QueueKey, dict[str, int]] = {}

    @property
    def views(self) -> Sequence[NodeView]:
        """Nodes as they are now, in the order in which they were put up."""
        return self._views

    @property
    def waiting(self) -> Mapping[JobId, tuple[Shape, WaitingJob]]:
        """Jobs that wait."""
        return self._shape_of

    def numbers(self, device_ids: Iterable[DeviceId]) -> tuple[int, ...]:
        """Indexes of devices on their nodes."""
        return tuple(self._numbers[device_id] for device_id in device_ids)

    def submit(self, shape: Shape, job: WaitingJob) -> None:
        """A job waits, for the first time or again."""
        if job.job_id in self._shape_of or job.job_id in self.holdings:
            raise NotPossible(f"job {job.job_id} is known already")
        if self.budgets is None:  # else the limit is exact, as in the live controller: money is held for it
            shape = shape._replace(time_limit_ms=limit_class_ms(shape.time_limit_ms))
        item = self._classes.get(shape)
        if item is None:
            item = self._classes[shape] = _Class()
        insort(item.jobs, job)
        item.made = None
        self._shape_of[job.job_id] = (shape, job)

    def withdraw(self, job_id: JobId) -> WaitingJob:
        """A job waits no longer."""
        shape, job = self._shape_of.pop(job_id)
        item = self._classes[shape]
        del item.jobs[bisect_left(item.jobs, job)]
        item.made = None
        if not item.jobs:
            del self._classes[shape]
        return job

    def snapshot(self) -> Snapshot:
        """What the planner may know. Cost: pointers to nodes, classes and running jobs."""
        return Snapshot(
            catalogue=self.catalogue,
            nodes=tuple(self._views),
            queues=self.queues,
            classes=self._made_classes(),
            held=self._held,
            usage=self.usage,
            running=tuple([holding.running for holding in self.holdings.values()]),
            cohorts=self.cohorts,
            calendar=self.calendar,
            experience=self.experience,
            budgets=self.money,
            prices=self.budgets.prices if self.budgets is not None else {},
        )

    def start(self, placement: JobPlacement, now_ms: int) -> RunningJob:
        """Gives a waiting job its devices. Raises NotPossible for what is not free."""
        if placement.job_id not in self._shape_of:
            raise NotPossible(f"job {placement.job_id} does not wait")
        shape, _ = self._shape_of[placement.job_id]
        job = self.withdraw(placement.job_id)
        shape = shape._replace(promised_nano=0)
        ends_by_ms = None if shape.time_limit_ms is None else now_ms + shape.time_limit_ms
        for task in placement.tasks:
            self._change(task.node_id, task.device_ids, shape, -1, ends_by_ms)
        running = started_by(placement, shape, job, now_ms)
        self.holdings[job.job_id] = Holding(running, placement, ends_by_ms)
        models = self._held.setdefault(shape.queue, {})
        models[running.model] = models.get(running.model, 0) + running.devices
        return running

    def free(self, job_id: JobId) -> RunningJob:
        """Takes a job's devices back; it is gone."""
        holding = self.holdings.pop(job_id)
        running = holding.running
        for task in holding.placement.tasks:
            self._change(task.node_id, task.device_ids, running.shape, 1, None)
        models = self._held[running.shape.queue]
        models[running.model] -= running.devices
        if not models[running.model]:
            del models[running.model]
        return running

    def progress(
        self, job_id: JobId, *, steps_left: float | None, served_ms: int, saved_ms: int | None
    ) -> None:
        """What the planner is to know of a running job from now."""
        holding = self.holdings[job_id]
        holding.running = holding.running.progressed(steps_left, served_ms, saved_ms)

    def set_usable(self, node_id: NodeId, *, usable: bool) -> None:
        """A node fails or comes back; what runs on it is the caller's business."""
        number = self._place[node_id]
        self._views[number] = replace(self._views[number], usable=usable)

    def _made_classes(self) -> tuple[JobClass, ...]:
        made = []
        for shape, item in self._classes.items():
            if item.made is None:
                item.made = JobClass(shape, tuple(item.jobs))
            made.append(item.made)
        if len(made) > 1:
            made.sort(key=lambda job_class: job_class.jobs[0])
        return tuple(made)

    def _change(
        self, node_id: NodeId, device_ids: Sequence[DeviceId], shape: Shape, sign: int, ends_by_ms: int | None
    ) -> None:
        number = self._place[node_id]
        view = self._views[number]
        devices = list(view.devices)
        for device_id in device_ids:
            index = self._numbers[device_id]
            device = devices[index]
            left_ppm = (WHOLE_PPM if device.left_ppm is None else device.left_ppm) + sign * shape.share_ppm
            if not 0 <= left_ppm <= WHOLE_PPM:
                raise NotPossible(f"device {device_id} would have {left_ppm} ppm left")
            left_bytes = device.room_bytes + sign * shape.share_memory_bytes
            devices[index] = DeviceView(
                device.number,
                device_id,
                device.model,
                device.group,
                left_ppm == WHOLE_PPM,
                device.faulty,
                device.degraded,
                None if left_ppm == WHOLE_PPM else _later(device, ends_by_ms, sign),
                left_ppm,
                device.memory_bytes,
                left_bytes if device.memory_bytes else None,
            )
        self._views[number] = NodeView(
            view.node_id,
            view.name,
            view.pool,
            view.usable,
            tuple(devices) if device_ids else view.devices,
            view.domains,
            view.position,
            _left(view.left_cpu_milli, sign * shape.cpu_milli, node_id),
            _left(view.left_memory_bytes, sign * shape.memory_bytes, node_id),
            view.suspect,
        )


def _later(device: DeviceView, ends_by_ms: int | None, sign: int) -> int | None:
    if sign > 0:
        return device.ends_by_ms  # of those that stay: no earlier than before
    if device.left_ppm is None or device.free:
        return ends_by_ms
    if device.ends_by_ms is None or ends_by_ms is None:
        return None
    return max(device.ends_by_ms, ends_by_ms)


def _left(left: int | None, change: int, node_id: NodeId) -> int | None:
    if left is None:
        return None
    if left + change < 0:
        raise NotPossible(f"node {node_id} would have {left + change} left")
    return left + change


def view_of(spec: NodeSpec) -> NodeView:
    """The node with nothing on it, as the planner sees it."""
    size = spec.fast_link_group or max(spec.devices, 1)
    devices = tuple(
        DeviceView(n, DeviceId(f"{spec.name}/{n}"), spec.model, n // size, True) for n in range(spec.devices)
    )
    return NodeView(
        node_id=NodeId(spec.name),
        name=spec.name,
        pool=spec.pool,
        usable=True,
        devices=devices,
        domains=spec.domains,
        position=spec.position,
        left_cpu_milli=spec.cpu_milli,
        left_memory_bytes=spec.memory_bytes,
    )
