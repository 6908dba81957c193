"""The live cluster in memory. Finished jobs leave it; allocations leave it when their devices are free.

Records are changed in place by the rules beside this file; storage/tables says what of them is stored.
Fields marked "memory" are derived: loading builds them again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.catalogue import Catalogue
from scheduler.domain.allocations import AttemptState, Goal, Phase
from scheduler.domain.devices import WHOLE_PPM, Health
from scheduler.domain.ids import AllocationId, DeviceId, FirmId, GatewayId, JobId, NodeId
from scheduler.domain.jobs import JobSpec, JobState
from scheduler.domain.nodes import Isolation, Node, NodeState, Place
from scheduler.domain.pools import DEFAULT_PATIENCE_MS, Pool
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.reasons import Ending, EndReason, Outcome, StopReason
from scheduler.domain.stored_specs import StoredSpecs
from scheduler.domain.time import MINUTE_MS
from scheduler.machine.arrays import ArrayMembers
from scheduler.machine.messages import PriceFrom
from scheduler.machine.references import References
from scheduler.machine.spending import SpendingLedger
from scheduler.machine.usage import UsageLedger
from scheduler.machine.waiting import WaitingJobs
from scheduler.planner.experience import Learning
from scheduler.planner.snapshot import Hole, NodeView, Shape


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """Times of the machine's own rules."""

    # From the grant until every task is ready. Image pulls are slow; agents that never answer are not.
    prepare_limit_ms: int = 60 * MINUTE_MS
    fetch_limit_ms: int = 48 * 60 * MINUTE_MS  # instead, where inputs come from object stores
    progress_event_ms: int = 1_000  # at most one JobProgressed per job in this time
    retry_backoff_ms: int = 1_000  # doubles with each failed attempt
    retry_backoff_most_ms: int = 60_000
    unknown_fp16_gflops: int = 100_000  # counted in usage for a model whose speed nobody published


@dataclass(slots=True)
class AllocationRecord:
    """One task of one attempt on one node."""

    allocation_id: AllocationId
    owner: "AttemptRecord"
    rank: int
    node_id: NodeId
    device_ids: tuple[DeviceId, ...]  # by index
    granted_ms: int
    share_ppm: int = WHOLE_PPM  # of each device
    goal: Goal = Goal.PREPARE
    stop_reason: StopReason | None = None
    phase: Phase | None = None
    live: bool = True  # holds its devices
    rendezvous_port: int | None = None
    exit_code: int | None = None
    end_reason: EndReason | None = None
    detail: str | None = None
    log_pattern: int | None = None  # which of the job's patterns stands in its output
    started_ms: int | None = None
    ended_ms: int | None = None  # devices free again
    moved_ms: int = field(default=0, compare=False)  # memory: last event of what is being done

    @property
    def lost(self) -> bool:
        """Its node is lost: the attempt goes on without it, but its devices are not given away yet."""
        return self.live and self.stop_reason is StopReason.NODE_LOST

    @property
    def devices_ppm(self) -> int:
        """Millionths of devices that it holds."""
        return len(self.device_ids) * self.share_ppm

    @property
    def spare(self) -> bool:
        """It has no task: its devices are kept for the gang."""
        return self.goal is Goal.RESERVE

    # What `desired_state` asks of a row.
    @property
    def master_address(self) -> str | None:
        """Where rank 0 of the gang listens."""
        return self.owner.master_address

    @property
    def master_port(self) -> int | None:
        """The port that rank 0 reserved."""
        return self.owner.master_port


@dataclass(slots=True)
class AttemptRecord:
    """One try at running a job."""

    firm_id: FirmId
    job_id: JobId
    project: str
    queue: QueueKey
    number: int
    variant: int
    device_model: str
    why_here: dict[str, Any]
    allocated_ms: int
    time_limit_ms: int | None
    state: AttemptState = AttemptState.PREPARING
    outcome: Outcome | None = None
    reason: Ending | None = None  # set when the end begins
    master_address: str | None = None
    master_port: int | None = None
    image_digest: str | None = None  # of its container image, once a node has found it
    started_ms: int | None = None
    ended_ms: int | None = None
    first_report: tuple[float, int] | None = None  # memory: (step, ms) of its first step report
    saved_ms: int | None = None  # memory: when it said that its newest model checkpoint was complete
    allocations: list[AllocationRecord] = field(default_factory=list, repr=False)  # by rank

    @property
    def told_to_run(self) -> bool:
        """Every task was ready once, and all were told to run."""
        return self.master_address is not None

    @property
    def first_failure(self) -> AllocationRecord | None:
        """The task that failed first without having been told to stop."""
        failed = [a for a in self.allocations if failed_by_itself(a)]
        return min(failed, key=lambda a: (a.ended_ms or 0, a.rank), default=None)

    @property
    def ends_by_ms(self) -> int | None:
        """When the time limit stops it; counted from the grant until it has started."""
        if self.time_limit_ms is None:
            return None
        return (self.started_ms or self.allocated_ms) + self.time_limit_ms


def failed_by_itself(allocation: AllocationRecord) -> bool:
    """Whether a task ended badly without having been told to stop."""
    if allocation.live or allocation.stop_reason is not None:
        return False
    return allocation.end_reason is not EndReason.EXITED or bool(allocation.exit_code)


@dataclass(slots=True)
class JobRecord:
    """A job that has not ended."""

    firm_id: FirmId
    job_id: JobId
    spec: JobSpec  # shared with jobs that are alike: name, labels, commands and environments are not in it
    submitted_ms: int
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    state: JobState = JobState.QUEUED
    version: int = 0
    reason: str | None = None
    detail: str | None = None
    exit_code: int | None = None
    step_report: dict[str, Any] | None = None
    changed_ms: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    cancel_requested: bool = False
    held: bool = False  # by somebody, until it is released
    ineligible_since_ms: int | None = None  # it is held or waits for others; None: neither
    ineligible_before_ms: int = 0  # for how long in all, up to when it might start again
    revision: int = 0  # of the spec, as far as it has been taken over
    # When it was told its start, and between which moments: (told, low, by the forecast, high), ms.
    announced: tuple[int, int, int, int] | None = None
    array_id: JobId | None = None
    array_index: int | None = None
    attempts: list[AttemptRecord] = field(default_factory=list, repr=False)
    shape: Shape | None = None  # memory: under which it waits
    unmet: frozenset[str] = frozenset()  # memory: the dependencies that it waits for
    progress_ms: int = 0  # memory: last JobProgressed
    placed: Shape | None = field(default=None, repr=False, compare=False)  # memory: under which it runs
    unreadable: str | None = None  # memory: what is wrong with its stored spec, for which `spec` stands in

    @property
    def ages_from_ms(self) -> int:
        """From when on its age counts: it grows no older while it is held or waits for other jobs.

        As Slurm counts a job's age only while it may start: else a job parked behind a gate would overtake.
        """
        return self.submitted_ms + self.ineligible_before_ms

    def count_ineligible(self, now_ms: int) -> None:
        """It is held or waits for others from now on, or does so no longer: to be told of every such change."""
        since_ms = self.ineligible_since_ms
        if not self.held and not self.unmet:
            self.ineligible_before_ms += 0 if since_ms is None else max(0, now_ms - since_ms)
            self.ineligible_since_ms = None
        elif since_ms is None:
            self.ineligible_since_ms = now_ms

    @property
    def queue(self) -> QueueKey:
        """Where it waits."""
        return QueueKey(self.firm_id, self.spec.queue)

    @property
    def attempt(self) -> AttemptRecord | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None


@dataclass(slots=True)
class NodeRecord:
    """A node with what is known of its agent."""

    node: Node
    state: NodeState = NodeState.SILENT
    cordoned: bool = False
    generation: int = 0  # rises with every change of the desired set
    leader_term: int = 0  # of that change
    boot_id: str | None = None
    agent_version: str | None = None
    isolation: Isolation | None = None
    rendezvous_address: str | None = None
    place: Place = field(default_factory=Place)  # as the agent says
    one_firm: bool = False  # takes tasks of one firm only
    firm_id: FirmId | None = None  # of which, once it has served one
    container_engine: str | None = None  # what it runs container images with
    understands: tuple[str, ...] = ()  # what its agent can do that older ones cannot
    report_seq: int = 0
    gateway_id: GatewayId | None = None
    unhealthy: dict[DeviceId, Health] = field(default_factory=dict)
    silent_since_ms: int | None = None
    changed_ms: int = 0
    connected_ms: int = 0  # memory: newest NodeConnected
    allocations: dict[AllocationId, AllocationRecord] = field(
        default_factory=dict, repr=False
    )  # memory: live
    # Memory: who holds each device, or parts of it.
    holders: dict[DeviceId, tuple[AllocationRecord, ...]] = field(default_factory=dict, repr=False)
    view: NodeView | None = field(default=None, repr=False)  # memory: as the planner saw it last


class ClusterState:
    """Everything that is not finished."""

    def __init__(self, catalogue: Catalogue, now_ms: int, config: MachineConfig | None = None) -> None:
        self.catalogue = catalogue
        self.config = config or MachineConfig()
        self.began_ms = now_ms
        self.leader_term = 0
        self.event_seq = 0  # of the newest event
        self.pools: dict[str, Pool] = {}
        self.queues: dict[QueueKey, Queue] = {}
        self.cohorts: dict[str, Cohort] = {}
        self.calendar: tuple[Hole, ...] = ()
        self.prices: tuple[PriceFrom, ...] = ()
        self.ticked_ms = now_ms  # memory: when time was last looked at
        self.places: dict[str, Place] = {}  # of nodes by name, as the operator says
        self.nodes: dict[NodeId, NodeRecord] = {}
        self.jobs: dict[JobId, JobRecord] = {}
        self.allocations: dict[AllocationId, AllocationRecord] = {}  # live ones
        # Derived.
        self.active: dict[JobId, JobRecord] = {}  # jobs with an attempt that has not ended
        self.waiting = WaitingJobs()
        self.resting: dict[JobId, int] = {}  # between two attempts, until when
        self.blocked: set[JobId] = set()  # queued, and not for the planner's eyes: machine/queueing.py
        self.references = References()
        self.arrays: dict[JobId, ArrayMembers] = {}  # those with a bound on concurrency
        self.array_jobs: dict[JobId, set[JobId]] = {}  # of every array, by its id
        self.deadlines: dict[JobId, int] = {}
        self.usage = UsageLedger(now_ms)
        self.spending = SpendingLedger()
        self.learning = Learning()
        self.specs = StoredSpecs()
        self.shapes: dict[tuple[FirmId, bytes], Shape] = {}  # of jobs not tried yet: machine/queueing.py
        self.held: dict[QueueKey, dict[str, int]] = {}  # devices by queue and model, lost ones not counted
        self.held_parts: dict[QueueKey, dict[str, int]] = {}  # the same of parts of devices, in ppm
        self.progress_pending: set[JobId] = set()
        self._node_order: list[NodeRecord] | None = None

    def add_job(self, job: JobRecord) -> None:
        """Takes a job in."""
        self.jobs[job.job_id] = job
        if job.array_id is not None:
            self.array_jobs.setdefault(job.array_id, set()).add(job.job_id)
        self.note_deadline(job)

    def note_deadline(self, job: JobRecord) -> None:
        """The job's deadline may be another."""
        self.deadlines.pop(job.job_id, None)
        if job.spec.deadline_ms is not None:
            self.deadlines[job.job_id] = job.spec.deadline_ms

    def remove_job(self, job: JobRecord) -> None:
        """Lets an ended job go."""
        del self.jobs[job.job_id]
        self.active.pop(job.job_id, None)
        self.progress_pending.discard(job.job_id)
        self.deadlines.pop(job.job_id, None)
        if job.array_id is not None:
            members = self.array_jobs[job.array_id]
            members.discard(job.job_id)
            if not members:
                del self.array_jobs[job.array_id]

    def patience_ms(self, node: NodeRecord) -> int:
        """How long the node may be silent."""
        pool = self.pools.get(node.node.pool)
        return DEFAULT_PATIENCE_MS if pool is None else pool.patience_ms

    def place_of(self, node: NodeRecord) -> Place:
        """Where a node hangs in the network: the operator's word over the agent's."""
        return self.places.get(node.node.name, Place()).over(node.place)

    def gflops_of(self, model: str, devices: int) -> int:
        """Nominal speed of so many devices of a model together."""
        return (self.catalogue.fp16_gflops(model) or self.config.unknown_fp16_gflops) * devices

    def begin_use(self, allocation: AllocationRecord, now_ms: int) -> None:
        """From now its devices count in the fair share and cost money."""
        model, ppm = allocation.owner.device_model, allocation.devices_ppm
        self.usage.start(allocation.owner.queue, self.gflops_of_ppm(model, ppm), now_ms)
        self._count_money(allocation, ppm, now_ms)

    def end_use(self, allocation: AllocationRecord, now_ms: int) -> None:
        """From now they do not."""
        model, ppm = allocation.owner.device_model, allocation.devices_ppm
        self.usage.stop(allocation.owner.queue, self.gflops_of_ppm(model, ppm), now_ms)
        self._count_money(allocation, -ppm, now_ms)

    def _count_money(self, allocation: AllocationRecord, ppm: int, now_ms: int) -> None:
        owner = allocation.owner
        if not allocation.spare:  # what is only kept is metered as reserved, and costs nothing
            held = (owner.device_model, ppm)
            self.spending.change(owner.firm_id, owner.project, held, self.prices, now_ms)

    def gflops_of_ppm(self, model: str, ppm: int) -> int:
        """Nominal speed of so many millionths of devices of a model."""
        return self.gflops_of(model, 1) * ppm // WHOLE_PPM

    def nodes_in_order(self) -> list[NodeRecord]:
        """By node id, which is the order of enrolment."""
        if self._node_order is None:
            self._node_order = [self.nodes[node_id] for node_id in sorted(self.nodes)]
        return self._node_order

    def add_node(self, node: NodeRecord) -> None:
        """Takes a node in."""
        self.nodes[node.node.node_id] = node
        self._node_order = None

    def attach(self, allocation: AllocationRecord) -> None:
        """Enters a live allocation into every index that devices and quotas are read from."""
        self.allocations[allocation.allocation_id] = allocation
        node = self.nodes[allocation.node_id]
        node.allocations[allocation.allocation_id] = allocation
        for device_id in allocation.device_ids:
            node.holders[device_id] = (*node.holders.get(device_id, ()), allocation)
        node.view = None
        if not allocation.lost:
            self.count_held(allocation, 1)

    def detach(self, allocation: AllocationRecord) -> None:
        """Takes an ended allocation out: its devices are free."""
        del self.allocations[allocation.allocation_id]
        node = self.nodes[allocation.node_id]
        del node.allocations[allocation.allocation_id]
        for device_id in allocation.device_ids:
            left = tuple(holder for holder in node.holders[device_id] if holder is not allocation)
            if left:
                node.holders[device_id] = left
            else:
                del node.holders[device_id]
        node.view = None

    def count_held(self, allocation: AllocationRecord, sign: int) -> None:
        """Counts devices, or millionths of them, against the quota of the queue."""
        whole = allocation.share_ppm == WHOLE_PPM
        queues = self.held if whole else self.held_parts
        models = queues.setdefault(allocation.owner.queue, {})
        model = allocation.owner.device_model
        amount = len(allocation.device_ids) * (1 if whole else allocation.share_ppm)
        models[model] = models.get(model, 0) + sign * amount
        if not models[model]:
            del models[model]
        if not models:
            del queues[allocation.owner.queue]

    def forget_views(self, allocations: Iterable[AllocationRecord]) -> None:
        """What the planner saw of these allocations' nodes is no longer true."""
        for allocation in allocations:
            self.nodes[allocation.node_id].view = None
