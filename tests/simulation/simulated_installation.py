"""Controller, planner, agents and the wire between them, in one process, under one seed and one clock.

Production code decides on both sides; simulated are the clock, the network (loss, duplication, delay,
order), crashes of the controller around its commit, of agents and of hosts, and the processes themselves.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from agents.core.messages import Message as AgentMessage
from scheduler.domain.allocations import desired_state
from scheduler.domain.ids import FirmId, GatewayId, Ids, JobId, NodeId
from scheduler.domain.jobs import Array, Dependencies, JobSpec
from scheduler.domain.nodes import Isolation
from scheduler.domain.pools import Pool
from scheduler.domain.stored_specs import StoredSpecs
from scheduler.domain.time import to_rfc3339
from scheduler.machine import Changes, ClusterState, apply, apply_plan, take_snapshot
from scheduler.machine.invariants import violations
from scheduler.machine.messages import (
    CancelRequested,
    ConfigurationChanged,
    GatewayLost,
    GatewaySeen,
    GatewayStarted,
    HoldRequested,
    JobRevised,
    JobSubmitted,
    LeaderStarted,
    Message,
    NodeConnected,
    NodeDisconnected,
    NodeEnrolled,
    NodeReported,
    RequeueRequested,
    Tick,
)
from scheduler.machine.references import Progress
from scheduler.planner import PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.plan_checks import check_plan
from tests.builders.cluster import a_node, a_queue
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec
from tests.builders.state_content import content
from tests.simulation.simulated_hosts import Host
from tests.simulation.simulated_store import Store

FIRMS = ("firm-a", "firm-b")
STEP_MS = 100
GATEWAY = GatewayId("gateway-1")


@dataclass(frozen=True)
class Faults:
    """Probabilities, per message or per step and thing."""

    drop: float = 0.1
    double: float = 0.1
    delay_ms: int = 2_000
    kill_agent: float = 0.002
    reboot: float = 0.0005
    partition: float = 0.002
    crash_controller: float = 0.01
    lose_commit: float = 0.01
    restart_gateway: float = 0.001
    unseen_gateway: float = 0.002


NO_FAULTS = Faults(0, 0, 50, 0, 0, 0, 0, 0, 0, 0)


class Installation:
    """Steps through time; every step checks every invariant."""

    def __init__(self, seed: int, faults: Faults, nodes: int = 6) -> None:
        self.rng = random.Random(seed)
        self.faults = faults
        self.now_ms = 1_700_000_000_000
        self.ids = Ids(self.rng.randbytes)
        models = [MODEL if number % 3 else OTHER_MODEL for number in range(nodes)]
        self.store = Store(
            ConfigurationChanged(
                {"pool-a": Pool("pool-a", 10_000)},
                tuple(a_queue(firm=firm, nominal={MODEL: 24} if firm == "firm-b" else {}) for firm in FIRMS),
            )
        )
        self.term = 1
        self.state: ClusterState = self.store.load(self.now_ms, self.term)
        self.inbox: list[Message] = []
        self.hosts: dict[str, Host] = {}
        self.streams: dict[str, bool] = {}  # node -> has a stream that works
        self.down_until: dict[str, int] = {}
        self.cut_until: dict[str, int] = {}
        self._wire: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._specs = StoredSpecs()
        self.reloads = 0
        self.gateway_unseen_until = 0
        for number, model in enumerate(models):
            node = a_node(f"n{number}", model=model)
            self.store.nodes[node.node_id] = node
            self.inbox.append(NodeEnrolled(node))
            host = Host(node.node_id, self.rng, self._devices_of, lifetime_ms=self._lifetime)
            host.later = self._later
            self.hosts[node.node_id] = host
            self.streams[node.node_id] = False
        self._first = True

    # --- the world -----------------------------------------------------------------------------------------

    def submit(self, job_id: str, spec: JobSpec, firm: str) -> None:
        """A job is submitted, or an array of them."""
        count = 1 if spec.array is None else spec.array.count
        stored = self._specs.read(orjson.dumps(spec.to_json()).decode())
        for index in range(count):
            one = job_id if spec.array is None else f"{job_id}.{index}"
            array = (None, None) if spec.array is None else (JobId(job_id), index)
            message = JobSubmitted(
                FirmId(firm), JobId(one), stored.spec, self.now_ms, stored.name, stored.labels, 0, *array
            )
            self.store.submitted[one] = message
            self.inbox.append(message)

    def meddle(self) -> None:
        """Somebody holds, releases, sends back or revises a job."""
        if not self.store.submitted:
            return
        job_id = self.rng.choice(list(self.store.submitted))
        firm = self.store.submitted[job_id].firm_id
        match self.rng.randrange(4):
            case 0:
                self.inbox.append(HoldRequested(firm, JobId(job_id), True, "ana"))
            case 1:
                self.inbox.append(RequeueRequested(firm, JobId(job_id), "ana"))
            case 2:
                self.inbox.append(HoldRequested(firm, JobId(job_id), False, "ana"))
            case _:
                revision = 1 + max((n for job, n in self.store.revisions if job == job_id), default=0)
                limit_s = self.rng.choice([None, 5, 30, 120])
                deadline = self.rng.choice([None, to_rfc3339(self.now_ms + self.rng.choice([5_000, 60_000]))])
                spec = replace(
                    self.store.submitted[job_id].spec, time_limit_seconds=limit_s, deadline=deadline
                )
                self.store.revisions[job_id, revision] = spec
                self.inbox.append(JobRevised(firm, JobId(job_id), revision, spec, "ana"))

    def release_all(self) -> None:
        """Nobody holds anything any more."""
        for job_id, job in self.store.submitted.items():
            self.inbox.append(HoldRequested(job.firm_id, JobId(job_id), False, "ana"))

    def _before(self, number: int) -> Dependencies:
        """Some earlier jobs or arrays that the next one waits for; a later one may be named too."""
        if number == 0 or self.rng.random() < 0.6:
            return Dependencies()
        numbers = {self.rng.randrange(number) for _ in range(self.rng.choice([1, 1, 2, 3]))}
        kinds: dict[str, tuple[str, ...]] = {"after": (), "after_ok": (), "after_any": ()}
        for job_id in (f"job-{one}" for one in sorted(numbers)):
            kinds[self.rng.choice(list(kinds))] += (job_id,)
        return Dependencies(**kinds)

    def cancel(self, job_id: str) -> None:
        """Somebody cancels it."""
        firm = self.store.submitted[job_id].firm_id
        self.inbox.append(CancelRequested(firm, JobId(job_id), "ana"))

    def random_job(self, number: int) -> None:
        """A job that fits."""
        per_node = self.rng.choice([1, 1, 2, 4, 8])
        tasks = self.rng.choice([1, 1, 1, 2, 3])
        models = self.rng.choice([(MODEL,), (MODEL, OTHER_MODEL), (OTHER_MODEL,)])
        tasks = min(tasks, 2) if models == (OTHER_MODEL,) else tasks
        spec = a_spec(
            f"job-{number}",
            devices=per_node * tasks,
            per_node=per_node,
            models=models,
            priority=self.rng.choice(["low", "normal", "normal", "high"]),
            time_limit_s=self.rng.choice([None, 5, 30, 120]),
            on_exit_codes=(7,),
            dependencies=self._before(number),
            array=self.rng.choice([None, None, None, Array(3), Array(5, 2)]),
            hold=self.rng.random() < 0.05,
            deadline=self.rng.choice([None, None, None, to_rfc3339(self.now_ms + 40_000)]),
        )
        self.submit(f"job-{number}", spec, self.rng.choice(FIRMS))

    def step(self) -> None:
        """A tenth of a second in the life of everything."""
        self.now_ms += STEP_MS
        self._gateway()
        self._hosts()
        while self._wire and self._wire[0][0] <= self.now_ms:
            heapq.heappop(self._wire)[2]()
        self._controller()
        self._push()
        self._check()

    def _lifetime(self) -> tuple[int | None, int]:
        """How long a task runs by itself, and its exit code."""
        length = self.rng.choice([100, 1_000, 5_000, 20_000, None])
        return length, self.rng.choices([0, 1, 7], [0.85, 0.1, 0.05])[0]

    def _devices_of(self, allocation_id: str) -> tuple[int, ...]:
        """What FetchTask answers."""
        return tuple(int(device.split("/")[1]) for device in self.store.devices[allocation_id])

    def _later(self, delay_ms: int, node_id: str, message: AgentMessage) -> None:
        agent = self.hosts[node_id].agent

        def tell() -> None:
            if self.hosts[node_id].agent is agent:  # the same life of the agent
                self.hosts[node_id].tell(message, self.now_ms)

        self._at(self.now_ms + delay_ms, tell)

    def _at(self, at_ms: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._wire, (at_ms, next(self._order), what))

    def _send(self, what: Callable[[], None]) -> None:
        """Over the network."""
        if self.rng.random() < self.faults.drop:
            return
        for _ in range(2 if self.rng.random() < self.faults.double else 1):
            self._at(self.now_ms + self.rng.randint(0, self.faults.delay_ms), what)

    # --- hosts ---------------------------------------------------------------------------------------------

    def _gateway(self) -> None:
        """It may begin anew, without its streams, or not be seen for a while, with them."""
        if self.rng.random() < self.faults.restart_gateway:
            self.streams = dict.fromkeys(self.streams, False)
            self.inbox.append(GatewayStarted(GATEWAY))
        if self.gateway_unseen_until and self.gateway_unseen_until <= self.now_ms:
            self.gateway_unseen_until = 0
            self.inbox.append(GatewaySeen(GATEWAY))
        elif not self.gateway_unseen_until and self.rng.random() < self.faults.unseen_gateway:
            self.gateway_unseen_until = self.now_ms + self.rng.randint(100, 15_000)
            self.inbox.append(GatewayLost(GATEWAY))

    def _hosts(self) -> None:
        for node_id, host in self.hosts.items():
            host.advance(self.now_ms)
            if host.agent is not None and self.rng.random() < self.faults.kill_agent:
                host.kill_agent()
                self.down_until[node_id] = self.now_ms + self.rng.randint(100, 25_000)
            if self.rng.random() < self.faults.reboot:
                host.reboot(self.now_ms)
                self.down_until[node_id] = self.now_ms + self.rng.randint(1_000, 40_000)
            if self.rng.random() < self.faults.partition:
                self.cut_until[node_id] = self.now_ms + self.rng.randint(1_000, 40_000)
            if host.agent is None and self.down_until.get(node_id, 0) <= self.now_ms:
                host.start_agent()
                self._break(node_id)
            cut = self.cut_until.get(node_id, 0) > self.now_ms
            if host.agent is None or cut:
                self._break(node_id)
            elif not self.streams[node_id]:
                self._connect(node_id)
            if self.streams[node_id]:
                self._report(node_id)

    def _connect(self, node_id: str) -> None:
        """The gateway notes it in the inbox; its messages keep their order, though they may come twice."""
        self.streams[node_id] = True
        message = NodeConnected(
            NodeId(node_id), GATEWAY, f"boot-{self.hosts[node_id].boot}", "0.1.0",
            Isolation.UID, "10.0.0.1", {}, self.now_ms,
        )  # fmt: skip
        self.inbox += [message] * self.rng.choice([1, 1, 2])

    def _break(self, node_id: str) -> None:
        if self.streams[node_id]:
            self.streams[node_id] = False
            message = NodeDisconnected(NodeId(node_id), GATEWAY, self.now_ms)
            self.inbox += [message] * self.rng.choice([1, 1, 2])

    def _report(self, node_id: str) -> None:
        host = self.hosts[node_id]
        assert host.agent is not None
        host.report_seq += 1
        fence = host.agent.fence
        report = NodeReported(
            NodeId(node_id), fence.leader_term, fence.generation, host.report_seq, host.observed(), {},
            self.now_ms,
        )  # fmt: skip
        self._send(lambda: self.inbox.append(report))

    # --- the controller ------------------------------------------------------------------------------------

    def _controller(self) -> None:
        if self.rng.random() < self.faults.crash_controller:
            self._reload()
        taken = list(self.inbox)
        changes = Changes()
        messages: list[Message] = [LeaderStarted()] if self._first else []
        self._first = False
        # The reader of the inbox drops submissions of jobs that have a state.
        fresh = [
            self._with_progress(m) if isinstance(m, JobSubmitted) else m
            for m in taken
            if not isinstance(m, JobSubmitted) or m.job_id not in self.store.job_states
        ]
        for message in [*messages, *fresh, Tick()]:
            apply(self.state, message, self.now_ms, self.ids, changes)
        if changes.replan:
            snapshot = take_snapshot(self.state, self.now_ms)
            proposal, report = plan(snapshot, self.now_ms, PlannerConfig(hold_back_after_ms=5_000))
            assert (proposal, report) == plan(snapshot, self.now_ms, PlannerConfig(hold_back_after_ms=5_000))
            assert check_plan(snapshot, proposal, self.now_ms) == []
            apply_plan(self.state, proposal, self.now_ms, self.ids, changes)
        lost = self.rng.random() < self.faults.lose_commit
        if not lost or self.rng.random() < 0.5:  # a commit whose answer is lost may have happened, or not
            self.store.commit(changes)
            self.inbox = self.inbox[len(taken) :]
        if lost:
            self._reload()

    def _with_progress(self, message: JobSubmitted) -> JobSubmitted:
        """With the counts of what had ended when the batch was read."""
        ended = {
            reference: Progress(counts["total"], counts["ended"], counts["ended"], counts["failed"])
            for reference in message.spec.dependencies.all
            if (counts := self.store.ended_of(reference))["total"]
        }
        return replace(message, progress=ended)

    def _reload(self) -> None:
        """The controller dies, or throws its memory away; another leads."""
        self.reloads += 1
        self.term += 1
        self.state = self.store.load(self.now_ms, self.term)
        self._first = True

    def _push(self) -> None:
        """Gateways read what is committed and push it, again and again: level-triggered."""
        for node_id, row in self.store.node_states.items():
            if not self.streams[node_id] or self.rng.random() < 0.5:
                continue
            allocations = self.state.nodes[NodeId(node_id)].allocations.values()
            tasks = desired_state(allocations)
            term, generation, host = row["leader_term"], row["generation"], self.hosts[node_id]
            if self.state.nodes[NodeId(node_id)].generation != generation:
                continue
            self._send(lambda h=host, t=term, g=generation, d=tasks: h.desired(t, g, d, self.now_ms))  # type: ignore[misc]

    # --- what must hold ------------------------------------------------------------------------------------

    def _check(self) -> None:
        found = violations(self.state)
        assert not found, found
        for host in self.hosts.values():
            for device, allocations in host.running_on().items():
                assert len(allocations) == 1, f"{host.node_id}/{device} runs {allocations}"
                # Devices are not free before nothing of the task is left on them.
                assert self.store.allocations[allocations[0]]["live"], f"{allocations[0]} still runs"
        for facts in self.store.evidence.values():
            assert facts[0].event == "granted", facts

    def check_reload(self) -> None:
        """What a new leader would load is what this one has."""
        loaded = self.store.load(self.now_ms, self.term)
        stored, held = content(loaded, self.now_ms), content(self.state, self.now_ms)
        del (
            stored["experience"],
            held["experience"],
        )  # which this store does not keep; PostgreSQL's is tested by itself
        assert stored == held

    @property
    def quiet(self) -> bool:
        """Nothing is left to do."""
        return not self.state.jobs and not self.state.allocations and not self.inbox
