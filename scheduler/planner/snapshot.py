"""The planner's immutable input. Snapshots share the views of nodes that did not change.

Units: shares in parts per million of a device, host processors in thousandths of a core, memory in bytes,
time in milliseconds, speed in GFLOPS (nominal FP16) or in the job's own steps per second.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from scheduler.catalogue import Catalogue
from scheduler.domain.budgets import BudgetKey, BudgetPeriod
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.features import Feature
from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.experience import Experience

# Levels of the network above a node, from the widest to the narrowest.
LEVELS = ("zone", "supernode", "leaf")
# So long before nodes are wanted their work is told to stop: it saves, ends and is cleaned up.
DRAIN_MS = 2 * MINUTE_MS
_NOTHING: frozenset[Feature] = frozenset()
_LIMIT_BITS = 4  # of a time limit that count for its class


class DeviceView(NamedTuple):
    """A device as the planner sees it."""

    number: int  # its index on the node
    device_id: DeviceId
    model: str
    group: int  # fast-link group
    free: bool  # no live allocation, and not faulty
    faulty: bool = False
    degraded: bool = False
    # When a held device comes free at the latest, by its holder's time limit; None: nobody knows.
    ends_by_ms: int | None = None
    # What is left of a device of which shares are held; None: all of it when it is free, else nothing.
    left_ppm: int | None = None
    memory_bytes: int = 0  # of the whole device; 0: nobody knows, and memory is not counted
    left_memory_bytes: int | None = None
    # Whose parts of it are given away, where its node does not keep firms apart: nobody else gets a part.
    firm_id: FirmId | None = None

    @property
    def room_ppm(self) -> int:
        """How much of the device may be given away now."""
        if self.faulty:
            return 0
        if self.left_ppm is not None:
            return self.left_ppm
        return WHOLE_PPM if self.free else 0

    @property
    def room_bytes(self) -> int:
        """How much of its memory may be given away now."""
        return self.memory_bytes if self.left_memory_bytes is None else self.left_memory_bytes


class ModelOnNode(NamedTuple):
    """The devices of one model on a node, and what of them is asked for in every cycle."""

    devices: tuple[DeviceView, ...]  # by index
    healthy: int


@dataclass(frozen=True)
class NodeView:
    """A node as the planner sees it, devices by index."""

    node_id: NodeId
    name: str
    pool: str
    usable: bool  # connected and not cordoned
    devices: tuple[DeviceView, ...]
    # Where it hangs in the network: a name for each of LEVELS, None where nobody said.
    domains: tuple[str | None, ...] = (None, None, None)
    position: int = 0  # along the wires inside its leaf; ranks follow it
    # What is left of the host for tasks; None: not counted.
    left_cpu_milli: int | None = None
    left_memory_bytes: int | None = None
    suspect: bool = False  # failed lately: used last
    one_firm: bool = False  # takes tasks of one firm only
    firm_id: FirmId | None = None  # of which; None: of the first that is placed here
    features: frozenset[Feature] = frozenset()  # what it can do that not all nodes can
    isolates: bool = False  # keeps tasks of two firms on one device apart

    def later(
        self,
        devices: tuple[DeviceView, ...],
        left_cpu_milli: int | None,
        left_memory_bytes: int | None,
        firm_id: FirmId | None,
    ) -> "NodeView":
        """The same node when tasks have come or gone. By position, in the order above: half the time of names."""
        return NodeView(
            self.node_id, self.name, self.pool, self.usable, devices, self.domains, self.position,
            left_cpu_milli, left_memory_bytes, self.suspect, self.one_firm, firm_id, self.features, self.isolates,
        )  # fmt: skip

    @cached_property
    def by_model(self) -> Mapping[str, ModelOnNode]:
        """Devices of each model; computed once for the life of the view."""
        groups: dict[str, list[DeviceView]] = {}
        for device in self.devices:
            groups.setdefault(device.model, []).append(device)
        return {model: _summary(devices) for model, devices in groups.items()}


def _summary(devices: Sequence[DeviceView]) -> ModelOnNode:
    return ModelOnNode(tuple(devices), sum([not device.faulty for device in devices]))


class Shape(NamedTuple):
    """What decides whether and where a job may start. Jobs of one shape are judged once a cycle."""

    queue: QueueKey
    priority: Priority
    devices: int
    devices_per_node: int
    models: tuple[str, ...]  # of the variants that are not benched, in the spec's order
    time_limit_ms: int | None = None
    # (model, what nodes must be able to do) where not all can
    needs: tuple[tuple[str, frozenset[Feature]], ...] = ()
    avoid_nodes: frozenset[NodeId] = frozenset()  # where an earlier attempt could not be prepared or was lost
    benched: tuple[tuple[str, str], ...] = ()  # (model, sentence) of variants that are out
    share_ppm: int = WHOLE_PPM  # of each device; less than a whole one only for a task with one device
    share_memory_bytes: int = 0  # of each device's memory, where a part is asked for
    cpu_milli: int = 0  # of the host, for each task
    memory_bytes: int = 0  # of the host, for each task
    topology: "Topology | None" = None
    sizes: Sequence[int] = ()  # other numbers of devices at which an elastic job may run, rising
    # Of the gang's tasks so many keep devices only, for a restart without waiting: the last ones.
    spares: int = 0
    groups: tuple[tuple[int, int], ...] = ()  # (tasks, devices of each) where tasks differ, by rank
    resumable: bool = False  # goes on from its model checkpoint
    restart_ms: int = 0  # without progress after every start but the first
    # Steps per second of the whole gang by model, declared or measured; models that are missing are
    # predicted from the catalogue. A speed of zero says that the job cannot run on the model.
    rates: tuple[tuple[str, float], ...] = ()
    kind: str = ""  # jobs of one kind are expected to run for similar times
    project: str = ""  # whose budget pays
    estimate_ms: int | None = None  # how long its owner believes that it takes
    left_nano: int | None = None  # what the job itself may still cost, nano CNY; None: any amount
    # What its project and firm still hold for it, nano CNY: it was stopped for others, and goes on at that price.
    promised_nano: int = 0

    @property
    def tasks(self) -> int:
        """Nodes that the gang needs; the last task may have fewer devices than the others."""
        if self.groups:
            return sum(tasks for tasks, _ in self.groups)
        return -(-self.devices // self.devices_per_node) if self.devices else 1

    def devices_of(self, rank: int) -> int:
        """How many devices a task has; the last one of an uneven gang has the rest."""
        for tasks, devices in self.groups:
            if rank < tasks:
                return devices
            rank -= tasks
        return min(self.devices_per_node, self.devices - rank * self.devices_per_node)

    def needs_on(self, model: str) -> frozenset[Feature]:
        """What a node must be able to do for tasks on devices of the model, of what not all can."""
        for name, features in self.needs:
            if name == model:
                return features
        return _NOTHING

    @property
    def whole(self) -> bool:
        """Whether it takes whole devices."""
        return self.share_ppm >= WHOLE_PPM

    @property
    def tradable(self) -> bool:
        """Whether its jobs may be moved between several models: they resume, and hold whole devices."""
        return self.resumable and len(self.models) > 1 and self.whole and self.devices > 0

    def fits(self, devices: Mapping[str, float]) -> bool:
        """Whether one of its models has enough of these devices, by model."""
        return self.devices <= max([devices.get(model, 0) for model in self.models], default=0)


def limit_class_ms(limit_ms: int | None) -> int | None:
    """A time limit rounded up to one of eight in each doubling, so that it makes no class of its own.

    At most an eighth above; what binds a running job is its own limit.
    """
    if limit_ms is None:
        return None
    low_bits = max(0, limit_ms.bit_length() - _LIMIT_BITS)
    return -(-limit_ms >> low_bits) << low_bits


class Topology(NamedTuple):
    """In which domain a gang wants to be together."""

    level: str  # of LEVELS, "node" or "fast-link-group"
    required: bool = False  # else as near as possible


class WaitingJob(NamedTuple):
    """A waiting job; sorts by age."""

    submitted_ms: int  # and later by as long as it was held or waited for others: its age counts from then
    job_id: JobId
    steps_left: float | None = None  # known from step reports or from the spec; None: estimated
    served_ms: int = 0  # run time of earlier attempts that counts as progress
    starts: int = 0  # how often it has been started
    held_ms: int = 0  # time with devices in earlier attempts, by the clock


class JobColumns(NamedTuple):
    """Waiting jobs by field, see `WaitingJob`: what the market asks of each."""

    submitted_ms: "array[int]"
    steps_left: list[float | None]
    served_ms: "array[int]"

    @classmethod
    def of(cls, jobs: Sequence[WaitingJob]) -> "JobColumns":
        """Of these jobs."""
        submitted_ms, served_ms = array("q", [job[0] for job in jobs]), array("q", [job[3] for job in jobs])
        return cls(submitted_ms, [job[2] for job in jobs], served_ms)


@dataclass(frozen=True)
class JobClass:
    """Waiting jobs of one shape, oldest first."""

    shape: Shape
    jobs: tuple[WaitingJob, ...]

    @cached_property
    def columns(self) -> JobColumns:
        """The jobs by field. Laid out once for the life of the value."""
        return JobColumns.of(self.jobs)

    @cached_property
    def alike(self) -> bool:
        """Whether nothing but the age tells the jobs apart. Looked at once for the life of the value."""
        columns = self.columns
        return columns.steps_left.count(None) == len(self.jobs) and not any(columns.served_ms)


@dataclass(frozen=True, slots=True)
class Resting:
    """A job between two attempts."""

    shape: Shape
    job: WaitingJob
    until_ms: int


class RunningJob(NamedTuple):
    """A job that holds devices. Made anew for each snapshot, of thousands: a tuple is made quickest."""

    job_id: JobId
    shape: Shape
    submitted_ms: int
    model: str
    pool: str
    tasks: tuple[tuple[NodeId, tuple[DeviceId, ...]], ...]  # by rank
    started_ms: int  # of this attempt
    steps_left: float | None = None
    served_ms: int = 0  # over all attempts, this one included
    starts: int = 1
    held_ms: int = 0  # as of a waiting job: without this attempt
    saved_ms: int | None = None  # when its newest model checkpoint was complete
    stopping: bool = False

    @property
    def devices(self) -> int:
        """How many it holds now; an elastic job may hold another number than its shape says."""
        tasks = self.tasks
        return len(tasks[0][1]) if len(tasks) == 1 else sum([len(devices) for _, devices in tasks])

    def progressed(self, steps_left: float | None, served_ms: int, saved_ms: int | None) -> "RunningJob":
        """The same job later. By position, in the order above: a third of the time of names, and a rehearsal asks it
        of each running job at each moment.
        """
        job_id, shape, submitted_ms, model, pool, tasks, started_ms, _, _, starts, held_ms, _, stopping = self
        return RunningJob(
            job_id, shape, submitted_ms, model, pool, tasks, started_ms,
            steps_left, served_ms, starts, held_ms, saved_ms, stopping,
        )  # fmt: skip

    @property
    def waiting(self) -> WaitingJob:
        """The job as it would wait."""
        return WaitingJob(
            self.submitted_ms, self.job_id, self.steps_left, self.served_ms, self.starts, self.held_ms
        )


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch of time in which nodes are not for everybody: a maintenance window or an advance reservation."""

    from_ms: int
    until_ms: int
    nodes: frozenset[NodeId]
    queue: QueueKey | None = None  # who may use the nodes meanwhile; None: nobody
    why: str = ""

    @property
    def edges_ms(self) -> tuple[int, int, int]:
        """When a plan has to look at it: at the drain, the beginning and the end."""
        return self.from_ms - DRAIN_MS, self.from_ms, self.until_ms


class Money(NamedTuple):
    """A budget with what is gone of it, nano CNY."""

    amount_nano: int
    spent_nano: int = 0  # in this period
    held_nano: int = 0  # what running jobs may still cost, and those that were stopped for others
    period: BudgetPeriod = BudgetPeriod.MONTH
    ends_ms: int | None = None  # when the next period begins

    @property
    def left_nano(self) -> int:
        """What a job that starts may cost. It may be less than nothing."""
        return self.amount_nano - self.spent_nano - self.held_nano


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the planner may know."""

    catalogue: Catalogue
    nodes: tuple[NodeView, ...]
    queues: Mapping[QueueKey, Queue]
    classes: tuple[JobClass, ...]
    held: Mapping[QueueKey, Mapping[str, int]] = field(default_factory=dict)  # devices by queue and model
    usage: Mapping[QueueKey, int] = field(default_factory=dict)  # decayed device-time, GFLOP/s x ms
    held_parts: Mapping[QueueKey, Mapping[str, int]] = field(
        default_factory=dict
    )  # the same of parts, in ppm
    resting: tuple[Resting, ...] = ()
    running: tuple[RunningJob, ...] = ()
    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    calendar: tuple[Hole, ...] = ()
    budgets: Mapping[BudgetKey, Money] = field(default_factory=dict)  # who is missing has none
    prices: Mapping[str, int] = field(default_factory=dict)  # nano CNY for a device-hour, by model
    experience: Experience | None = None  # what finished jobs taught; None: nothing yet
