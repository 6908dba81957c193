"""Clusters for tests: nodes, queues, and a driver that plays the controller over the state machine."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scheduler.catalogue import load_catalogue
from scheduler.domain.allocations import Phase, desired_state
from scheduler.domain.devices import Device, Health
from scheduler.domain.features import node_features
from scheduler.domain.ids import AllocationId, DeviceId, FirmId, GatewayId, Ids, JobId, NodeId
from scheduler.domain.jobs import JobSpec
from scheduler.domain.nodes import Isolation, Node, Place
from scheduler.domain.pools import Pool
from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import EndReason
from scheduler.machine import Changes, ClusterState, MachineConfig, apply, apply_plan, take_snapshot
from scheduler.machine.messages import (
    ConfigurationChanged,
    Message,
    NodeConnected,
    NodeEnrolled,
    NodeReported,
    ObservedTask,
    Tick,
)
from scheduler.machine.state import AllocationRecord, JobRecord, NodeRecord
from scheduler.planner import PlannerConfig, Report
from scheduler.planner.cycle import plan
from scheduler.planner.feasibility import Inventory, Stock
from scheduler.planner.plan_checks import check_plan
from scheduler.planner.snapshot import DeviceView
from tests.builders.jobs import MODEL, a_spec, a_submission

FIRM = "firm-a"
POOL = "pool-a"


def a_node(
    name: str, *, devices: int = 8, model: str = MODEL, pool: str = POOL, group: int | None = None
) -> Node:
    """A node of one model; fast-link groups as the catalogue says unless `group` gives their size."""
    known = load_catalogue().models[model]
    size = group or known.fast_link_group or devices
    return Node(
        NodeId(name),
        name,
        pool,
        tuple(
            Device(
                DeviceId(f"{name}/{index}"),
                index,
                known.vendor.key,
                model,
                known.memory_bytes or 1 << 35,
                index // size,
                "simulated",
                True,
            )
            for index in range(devices)
        ),
    )


def a_queue(
    *,
    firm: str = FIRM,
    name: str = "default",
    pools: Sequence[str] = (POOL,),
    nominal: Mapping[str, int] | None = None,
    weight: int = 1,
) -> Queue:
    """A queue that may use one pool without a quota."""
    return Queue(QueueKey(FirmId(firm), name), tuple(pools), dict(nominal or {}), weight)


def seeded_ids(seed: int = 1) -> Ids:
    """Ids that are the same in every run."""
    return Ids(random.Random(seed).randbytes)


class Controller:
    """The machine and the planner as the real loop drives them, clock and wire in the test's hand."""

    def __init__(
        self,
        nodes: Sequence[Node] = (),
        queues: Sequence[Queue] = (),
        *,
        pools: Sequence[Pool] = (Pool(POOL),),
        config: PlannerConfig | None = None,
        machine_config: MachineConfig | None = None,
        connected: bool = True,
    ) -> None:
        self.now_ms = 1_700_000_000_000
        self.state = ClusterState(load_catalogue(), self.now_ms, machine_config)
        self.state.leader_term = 1
        self.config = config or PlannerConfig()
        self.ids = seeded_ids()
        self.changes: list[Changes] = []
        self.report = Report(self.now_ms, ())
        self._report_seq: dict[str, int] = {}
        configuration = ConfigurationChanged(
            {pool.name: pool for pool in pools}, tuple(queues or [a_queue()])
        )
        self.tell(configuration)
        for node in nodes:
            self.tell(NodeEnrolled(node))
            if connected:
                self.connect(node.node_id)

    @property
    def events(self) -> list[str]:
        """Kinds of all events so far."""
        return [event.kind for changes in self.changes for event in changes.events]

    @property
    def evidence(self) -> list[tuple[str, str]]:
        """(event, allocation) of all facts for the evidence log so far."""
        return [(fact.event, fact.allocation_id) for changes in self.changes for fact in changes.evidence]

    def tell(self, message: Message) -> Changes:
        """Applies one message."""
        changes = apply(self.state, message, self.now_ms, self.ids)
        self.changes.append(changes)
        return changes

    def wait(self, ms: int) -> Changes:
        """Lets time pass and ticks."""
        self.now_ms += ms
        return self.tell(Tick())

    def submit(self, job_id: str, spec: JobSpec | None = None, *, firm: str = FIRM) -> JobRecord:
        """Submits a job at the present time."""
        self.tell(a_submission(job_id, spec or a_spec(job_id), firm=firm, at_ms=self.now_ms))
        self.now_ms += 1  # ages differ, so that nothing is decided by names
        return self.state.jobs[JobId(job_id)]

    def plan(self) -> list[str]:
        """One cycle of the planner; returns the ids of jobs that were placed."""
        snapshot = take_snapshot(self.state, self.now_ms)
        proposal, self.report = plan(snapshot, self.now_ms, self.config)
        violations = check_plan(snapshot, proposal, self.now_ms)
        assert not violations, violations
        self.changes.append(apply_plan(self.state, proposal, self.now_ms, self.ids))
        return [placement.job_id for placement in proposal.placements]

    def connect(
        self,
        node_id: str,
        *,
        gateway: str = "gateway-1",
        boot: str = "boot-1",
        isolation: Isolation = Isolation.UID,
        **said: Any,
    ) -> Changes:
        """The node's agent opens its stream; `said` is more of what its hello says."""
        return self.tell(
            NodeConnected(
                NodeId(node_id), GatewayId(gateway), boot, "0.1.0", isolation, f"10.0.0.{len(node_id)}",
                {}, self.now_ms, **said,
            )
        )  # fmt: skip

    def node(self, node_id: str) -> NodeRecord:
        """A node's record."""
        return self.state.nodes[NodeId(node_id)]

    def tasks(self, job: JobRecord) -> list[AllocationRecord]:
        """Allocations of the newest attempt by rank."""
        attempt = job.attempt
        assert attempt is not None
        return attempt.allocations

    def desired(self, node_id: str) -> list[tuple[str, str]]:
        """(allocation, goal) as the node is told."""
        rows = desired_state(self.node(node_id).allocations.values())
        return [(row.allocation_id, row.goal.value) for row in rows]

    def observe(
        self,
        node_id: str,
        tasks: Sequence[ObservedTask] | None = None,
        *,
        unhealthy: Mapping[DeviceId, Health] | None = None,
        obeyed: bool = True,
    ) -> Changes:
        """The node reports tasks, by default that each desired one is where it was last seen."""
        node = self.node(node_id)
        seq = self._report_seq[node_id] = self._report_seq.get(node_id, 0) + 1
        if tasks is None:
            tasks = [observed(a, a.phase or Phase.PREPARING) for a in node.allocations.values()]
        generation = node.generation if obeyed else node.generation - 1
        return self.tell(
            NodeReported(
                NodeId(node_id), node.leader_term, generation, seq, tuple(tasks), unhealthy or {}, self.now_ms
            )
        )

    def bring_to(self, job: JobRecord, phase: Phase) -> None:
        """Every task of the job's newest attempt is reported in a phase."""
        for allocation in self.tasks(job):
            self._report_one(allocation, observed(allocation, phase))

    def run(self, job: JobRecord) -> None:
        """Takes an allocated job to running."""
        self.bring_to(job, Phase.READY)
        self.bring_to(job, Phase.RUNNING)

    def end(
        self,
        allocation: AllocationRecord,
        exit_code: int | None = 0,
        reason: EndReason = EndReason.EXITED,
        detail: str = "",
    ) -> None:
        """One task is reported as ended."""
        self._report_one(allocation, observed(allocation, Phase.ENDED, exit_code, reason, detail))

    def _report_one(self, allocation: AllocationRecord, task: ObservedTask) -> None:
        others = [
            observed(other, other.phase or Phase.PREPARING)
            for other in self.node(allocation.node_id).allocations.values()
            if other is not allocation
        ]
        self.observe(allocation.node_id, [*others, task])


def observed(
    allocation: AllocationRecord,
    phase: Phase,
    exit_code: int | None = None,
    reason: EndReason | None = None,
    detail: str = "",
) -> ObservedTask:
    """An allocation as its agent would report it in a phase."""
    started = phase is Phase.RUNNING or allocation.started_ms is not None
    return ObservedTask(
        AllocationId(allocation.allocation_id),
        phase,
        29_500 if allocation.rank == 0 and phase is not Phase.PREPARING else 0,
        1 if started else 0,
        exit_code,
        reason,
        detail,
    )


def inventory_of(
    nodes: Iterable[Node], places: Mapping[NodeId, Place] | None = None, understands: tuple[str, ...] = ()
) -> Inventory:
    """What is enrolled, whatever its state now; `understands` all of its agents. Cost: O(devices)."""
    features = node_features(understands, runs_images=False)
    places = places or {}
    inventory: dict[tuple[str, str], list[Stock]] = {}
    for node in nodes:
        by_model: dict[str, list[DeviceView]] = {}
        for device in node.devices:
            view = DeviceView(device.index, device.device_id, device.model, device.fast_link_group, free=True)
            by_model.setdefault(device.model, []).append(view)
        for model, views in by_model.items():
            stock = Stock(tuple(sorted(views)), places.get(node.node_id, Place()).domains, features)
            inventory.setdefault((node.pool, model), []).append(stock)
    return inventory


def at_step(controller: Controller, job: JobRecord, step: int, **more: object) -> None:
    """The job's first task reports a step."""
    allocation = controller.tasks(job)[0]
    report = {"step": step, "at_ms": controller.now_ms, **more}
    task: ObservedTask = replace(observed(allocation, Phase.RUNNING), step_report=report)
    controller.observe(allocation.node_id, [task])
