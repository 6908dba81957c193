"""Hosts of the simulated installation: the agent's own machine, over processes that outlive it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from agents.core.fence import Fence
from agents.core.machine import AgentMachine
from agents.core.messages import (
    Adopted,
    CancelPrepare,
    DesiredArrived,
    Ended,
    Forget,
    Instruction,
    Launch,
    Launched,
    Message,
    Prepare,
    Prepared,
    PrepareFailed,
    Stop,
)
from agents.core.tasks import DesiredTask as AgentTask
from agents.core.tasks import EndReason, Goal, Phase
from scheduler.domain.allocations import DesiredTask
from scheduler.domain.allocations import Phase as ControlPhase
from scheduler.domain.ids import AllocationId
from scheduler.domain.reasons import EndReason as ControlEndReason
from scheduler.machine.messages import ObservedTask

# Given to a local event: when it happens (after so many ms) and what the machine is then told.
Later = Callable[[int, str, Message], None]


@dataclass
class Process:
    """What a shim and its processes leave on the host, whoever watches them."""

    allocation_id: str
    devices: tuple[int, ...]
    started_ms: int
    ends_ms: int | None  # by itself; None: only when stopped
    exit_code: int = 0
    stop_ms: int | None = None  # told to end, gone at this time
    ended_ms: int | None = None
    end_reason: EndReason = EndReason.EXITED

    def advance(self, now_ms: int) -> None:
        """Ends it when its time has come."""
        if self.ended_ms is not None:
            return
        due = [t for t in (self.ends_ms, self.stop_ms) if t is not None and t <= now_ms]
        if due:
            self.ended_ms = min(due)
            if self.ends_ms != self.ended_ms:
                self.exit_code, self.end_reason = 143, EndReason.STOPPED


@dataclass
class Host:
    """A host: what survives the agent (fence, notes, processes), and the agent while it is up."""

    node_id: str
    rng: random.Random
    devices_of: Callable[[str], tuple[int, ...]]  # what FetchTask answers
    fence: Fence = field(default_factory=Fence)
    launched: dict[str, Process] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    report_seq: int = 0
    boot: int = 1
    agent: AgentMachine | None = None
    obeyed_once: bool = False
    lifetime_ms: Callable[[], tuple[int | None, int]] = lambda: (1_000, 0)
    later: Later | None = None

    def start_agent(self) -> None:
        """A new agent process finds what an earlier one has left."""
        self.agent = AgentMachine(self.fence, self.notes)
        self.obeyed_once = False
        for process in self.launched.values():
            ended = process.ended_ms is not None
            self.agent.handle(
                Adopted(
                    process.allocation_id,
                    Phase.ENDED if ended else Phase.RUNNING,
                    process.devices,
                    0,
                    process.started_ms,
                    (),
                    process.ended_ms or 0,
                    process.exit_code if ended else None,
                    process.end_reason if ended else None,
                )
            )

    def kill_agent(self) -> None:
        """The agent is gone; its processes go on."""
        self.agent = None

    def reboot(self, now_ms: int) -> None:
        """Power fails: nothing runs any more."""
        self.kill_agent()
        self.boot += 1
        for process in self.launched.values():
            if process.ended_ms is None:
                process.ended_ms, process.end_reason, process.exit_code = now_ms, EndReason.LOST, 0

    def desired(self, term: int, generation: int, tasks: list[DesiredTask], now_ms: int) -> None:
        """A desired state arrives over the stream."""
        fence = Fence(term, generation)
        if self.agent is None or not self.agent.would_obey(fence):
            return
        self.fence = fence  # made durable first
        self.obeyed_once = True
        wanted = tuple(
            AgentTask(t.allocation_id, Goal(t.goal.value), t.reason, t.master_address, t.master_port)
            for t in tasks
        )
        self.tell(DesiredArrived(fence, wanted), now_ms)

    def tell(self, message: Message, now_ms: int) -> None:
        """Feeds the agent's machine and carries out what it asks for."""
        if self.agent is None:
            return
        for instruction in self.agent.handle(message):
            self._carry_out(instruction, now_ms)

    def advance(self, now_ms: int) -> None:
        """Processes end; the agent notices."""
        for process in list(self.launched.values()):
            running = process.ended_ms is None
            process.advance(now_ms)
            if running and process.ended_ms is not None and self.agent is not None:
                self.tell(_end_of(process), now_ms)

    def observed(self) -> tuple[ObservedTask, ...]:
        """The agent's report."""
        assert self.agent is not None
        return tuple(
            ObservedTask(
                AllocationId(task.allocation_id),
                ControlPhase(task.phase.value),
                task.rendezvous_port,
                task.started_ms,
                task.exit_code,
                None if task.end_reason is None else ControlEndReason(task.end_reason.value),
                task.detail,
            )
            for task in self.agent.tasks.values()
        )

    def running_on(self) -> dict[int, list[str]]:
        """Device index -> allocations whose processes are there now: never more than one."""
        found: dict[int, list[str]] = {}
        for process in self.launched.values():
            if process.ended_ms is None:
                for device in process.devices:
                    found.setdefault(device, []).append(process.allocation_id)
        return found

    def _carry_out(self, instruction: Instruction, now_ms: int) -> None:
        assert self.later is not None
        match instruction:
            case Prepare(allocation_id) | CancelPrepare(allocation_id):
                self.later(self.rng.randint(1, 400), self.node_id, self._prepared(allocation_id))
            case Launch(allocation_id):
                self.notes.add(allocation_id)
                length_ms, exit_code = self.lifetime_ms()
                self.launched[allocation_id] = Process(
                    allocation_id,
                    self.devices_of(allocation_id),
                    now_ms,
                    None if length_ms is None else now_ms + length_ms,
                    exit_code,
                )
                self.later(self.rng.randint(0, 50), self.node_id, Launched(allocation_id, now_ms, ()))
            case Stop(allocation_id):
                process = self.launched[allocation_id]
                process.stop_ms = process.stop_ms or now_ms + self.rng.randint(1, 3_000)
            case Forget(allocation_id):
                self.launched.pop(allocation_id, None)
            case _:
                pass  # Release holds nothing here, Report is sent every step

    def _prepared(self, allocation_id: str) -> Message:
        if self.rng.random() < 0.03:
            return PrepareFailed(allocation_id, 0, "the simulated image is broken")
        return Prepared(allocation_id, self.devices_of(allocation_id), self.rng.randint(20_000, 60_000))


def _end_of(process: Process) -> Ended:
    assert process.ended_ms is not None
    return Ended(process.allocation_id, process.ended_ms, process.exit_code, process.end_reason, "")
