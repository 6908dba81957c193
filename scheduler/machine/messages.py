"""What the machine is told. Inbox messages, with what they point at already read from the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.domain.allocations import Phase
from scheduler.domain.budgets import ProjectBudget
from scheduler.domain.devices import Health
from scheduler.domain.ids import AllocationId, DeviceId, FirmId, GatewayId, JobId, NodeId
from scheduler.domain.jobs import JobSpec
from scheduler.domain.nodes import Isolation, Node, Place
from scheduler.domain.pools import Pool
from scheduler.domain.queues import Cohort, Queue
from scheduler.domain.reasons import EndReason
from scheduler.machine.references import Progress
from scheduler.planner.snapshot import Hole


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """A job waits. Only for jobs that have no state yet: the reader of the inbox sees to that."""

    firm_id: FirmId
    job_id: JobId
    spec: JobSpec
    submitted_ms: int
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0
    array_id: JobId | None = None
    array_index: int | None = None
    # Of what it depends on: counts of the jobs that had ended when the database was read.
    progress: Mapping[str, Progress] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobUnreadable:
    """A job was submitted, and what is stored of it cannot be read. Only for jobs that have no state yet."""

    firm_id: FirmId
    job_id: JobId
    submitted_ms: int
    problem: str
    array_id: JobId | None = None
    array_index: int | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the job to end."""

    firm_id: FirmId
    job_id: JobId
    by: str


@dataclass(frozen=True, slots=True)
class JobAttached:
    """Somebody opened a terminal in the job's allocation: nothing changes, and the job's history says so."""

    firm_id: FirmId
    job_id: JobId
    by: str


@dataclass(frozen=True, slots=True)
class HoldRequested:
    """Somebody wants the job not to start (again), or releases it."""

    firm_id: FirmId
    job_id: JobId
    held: bool
    by: str


@dataclass(frozen=True, slots=True)
class RequeueRequested:
    """Somebody wants the job's attempt to be stopped and the job to wait again."""

    firm_id: FirmId
    job_id: JobId
    by: str


@dataclass(frozen=True, slots=True)
class JobRevised:
    """The job's spec has a new revision: its priority, time limit, deadline or budget."""

    firm_id: FirmId
    job_id: JobId
    revision: int
    spec: JobSpec
    by: str


@dataclass(frozen=True, slots=True)
class NodeEnrolled:
    """A node with its devices is new."""

    node: Node


@dataclass(frozen=True, slots=True)
class NodeConnected:
    """An agent opened its stream."""

    node_id: NodeId
    gateway_id: GatewayId
    boot_id: str
    agent_version: str
    isolation: Isolation | None
    rendezvous_address: str
    unhealthy: Mapping[DeviceId, Health]
    at_ms: int
    place: Place = field(default_factory=Place)  # as the agent was told
    one_firm: bool = False  # takes tasks of one firm only
    firm_id: FirmId | None = None  # of which, where it has served one
    container_engine: str | None = None  # what it runs container images with; None: it runs none
    understands: tuple[str, ...] = ()  # what the agent can do that older ones cannot (domain/features.py)


@dataclass(frozen=True, slots=True)
class NodeDisconnected:
    """A gateway has lost an agent's stream, or has not heard of it for too long."""

    node_id: NodeId
    gateway_id: GatewayId
    at_ms: int


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """One task as its agent sees it."""

    allocation_id: AllocationId
    phase: Phase
    rendezvous_port: int = 0
    started_ms: int = 0
    exit_code: int | None = None
    end_reason: EndReason | None = None
    detail: str = ""
    log_pattern: int | None = None  # which of the job's patterns stands in its output
    image_digest: str | None = None  # of the container image that it runs in
    step_report: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class NodeReported:
    """Everything that is on a node, as its agent saw it after obeying (leader_term, generation)."""

    node_id: NodeId
    leader_term: int
    generation: int
    report_seq: int
    tasks: tuple[ObservedTask, ...]
    unhealthy: Mapping[DeviceId, Health] = field(default_factory=dict)
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class CordonRequested:
    """An operator wants no new work on a node, or wants it again."""

    node_id: NodeId
    cordoned: bool


@dataclass(frozen=True, slots=True)
class PriceFrom:
    """What a device-hour of a model costs from a moment on, nano CNY."""

    model: str
    from_ms: int
    price_nano_cny: int


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """A budget, and what was spent of it in its period until this was read, in the unit of `SpendingLedger`."""

    budget: ProjectBudget
    spent: int = 0


@dataclass(frozen=True, slots=True)
class ConfigurationChanged:
    """What is configured now, whole."""

    pools: Mapping[str, Pool]
    queues: tuple[Queue, ...]
    cohorts: tuple[Cohort, ...] = ()
    calendar: tuple[Hole, ...] = ()  # by beginning
    prices: tuple[PriceFrom, ...] = ()  # by model and beginning
    places: Mapping[str, Place] = field(default_factory=dict)  # of nodes by name, as the operator says
    budgets: tuple[BudgetSpent, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayLost:
    """A gateway has not been seen for too long; its nodes are silent from now."""

    gateway_id: GatewayId


@dataclass(frozen=True, slots=True)
class GatewaySeen:
    """A gateway that was lost is back with its streams; those that broke are reported one by one."""

    gateway_id: GatewayId


@dataclass(frozen=True, slots=True)
class GatewayStarted:
    """A gateway process began: it has no streams yet."""

    gateway_id: GatewayId


@dataclass(frozen=True, slots=True)
class LeaderStarted:
    """A new leader. Nobody could report while nobody led: the silence of nodes is counted from now."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Message = (
    JobSubmitted
    | JobUnreadable
    | CancelRequested
    | JobAttached
    | HoldRequested
    | RequeueRequested
    | JobRevised
    | NodeEnrolled
    | NodeConnected
    | NodeDisconnected
    | NodeReported
    | CordonRequested
    | ConfigurationChanged
    | GatewayLost
    | GatewaySeen
    | GatewayStarted
    | LeaderStarted
    | Tick
)
