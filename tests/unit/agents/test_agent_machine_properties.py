"""The agent's machine in a world that loses, delays, repeats and crashes: its promises hold."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.fence import Fence
from agents.core.machine import AgentMachine
from agents.core.messages import (
    Adopted,
    CancelPrepare,
    DesiredArrived,
    Instruction,
    Launch,
    Message,
    Prepare,
    PrepareFailed,
    Stop,
)
from agents.core.tasks import DesiredTask, EndReason, Goal, Phase
from tests.builders.agents import ended, launched, prepared

ALLOCATIONS = [f"allocation-{n}" for n in range(5)]


class World:
    """A host and a controller around the machine: what is durable survives `crash`, the rest does not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fence = Fence()  # durable
        self.noted: set[str] = set()  # durable: launches
        self.shims: dict[str, str] = {}  # on the host: allocation -> running or ended
        self.starts: Counter[str] = Counter()
        self.wanted: dict[str, Goal] = {}
        self.history: list[DesiredArrived] = []
        self.latest = DesiredArrived(Fence(1, 0), ())
        self.crash()

    def crash(self) -> None:
        """Memory and everything under way is gone; shims run on and are found again."""
        self.machine = AgentMachine(self.fence, self.noted)
        self.preparing: set[str] = set()
        self.launching: list[str] = []
        self.stopping: set[str] = set()
        for allocation_id, state in self.shims.items():
            phase = Phase.RUNNING if state == "running" else Phase.ENDED
            reason = None if state == "running" else EndReason.EXITED
            adopted = Adopted(allocation_id, phase, self.devices(allocation_id), 0, 1, (), end_reason=reason)
            self.tell(adopted)

    def devices(self, allocation_id: str) -> tuple[int, ...]:
        """Two neighbours share a device, so that conflicts happen."""
        return (ALLOCATIONS.index(allocation_id) // 2,)

    def tell(self, message: Message) -> None:
        """As the agent does it: durable first."""
        if isinstance(message, DesiredArrived) and self.machine.would_obey(message.fence):
            self.fence = message.fence
        for instruction in self.machine.handle(message):
            self.carry_out(instruction)

    def carry_out(self, instruction: Instruction) -> None:
        """Begin what the machine asks for."""
        match instruction:
            case Prepare(allocation_id):
                self.preparing.add(allocation_id)
            case CancelPrepare(allocation_id):
                if allocation_id in self.preparing:
                    self.preparing.discard(allocation_id)
                    self.tell(PrepareFailed(allocation_id, 0, "cancelled"))
            case Launch():
                self.noted.add(instruction.allocation_id)
                self.launching.append(instruction.allocation_id)
            case Stop(allocation_id, _):
                self.stopping.add(allocation_id)

    def step(self) -> None:
        """Something happens."""
        happenings = [
            self.decide,
            self.deliver,
            self.deliver_old,
            self.prepare,
            self.launch,
            self.end,
            self.stop,
        ]
        self.random.choice([*happenings, *happenings, self.crash])()

    def decide(self) -> None:
        allocation_id = self.random.choice(ALLOCATIONS)
        goal = self.random.choice([Goal.PREPARE, Goal.RUN, Goal.RUN, Goal.STOP, None])
        if goal is None:
            self.wanted.pop(allocation_id, None)
        else:
            self.wanted[allocation_id] = goal
        fence = self.latest.fence
        anew = self.random.random() < 0.1
        fence = Fence(fence.leader_term + 1, 1) if anew else Fence(fence.leader_term, fence.generation + 1)
        tasks = tuple(DesiredTask(a, g, "cancelled", "h", 1) for a, g in self.wanted.items())
        self.latest = DesiredArrived(fence, tasks)
        self.history.append(self.latest)

    def deliver(self) -> None:
        self.tell(self.latest)

    def deliver_old(self) -> None:
        if self.history:
            old = self.random.choice(self.history)
            before = (self.machine.fence, {a: t.phase for a, t in self.machine.tasks.items()})
            stale = old.fence < self.machine.fence
            self.tell(old)
            if stale:
                assert (self.machine.fence, {a: t.phase for a, t in self.machine.tasks.items()}) == before

    def prepare(self) -> None:
        for allocation_id in sorted(self.preparing)[:1]:
            self.preparing.discard(allocation_id)
            if self.random.random() < 0.1:
                self.tell(PrepareFailed(allocation_id, 0, "no such program"))
            else:
                self.tell(prepared(allocation_id, *self.devices(allocation_id)))

    def launch(self) -> None:
        if self.launching:
            allocation_id = self.launching.pop()
            self.starts[allocation_id] += 1
            self.shims[allocation_id] = "running"
            if self.random.random() < 0.9:  # else the agent dies between the start and its noticing
                self.tell(launched(allocation_id))
            else:
                self.crash()

    def end(self) -> None:
        running = [a for a, state in self.shims.items() if state == "running"]
        if running:
            self.finish(self.random.choice(running))

    def stop(self) -> None:
        for allocation_id in sorted(self.stopping):
            self.stopping.discard(allocation_id)
            if self.shims.get(allocation_id) == "running":
                self.finish(allocation_id)

    def finish(self, allocation_id: str) -> None:
        self.shims[allocation_id] = "ended"
        self.tell(ended(allocation_id))

    def settle(self) -> None:
        """The controller's last word arrives, and everything under way is finished."""
        for _ in range(50):
            self.deliver()
            while self.preparing:
                self.prepare()
            while self.launching:
                self.launch()
            self.stop()

    def check(self) -> None:
        """What holds at every moment."""
        assert max(self.starts.values(), default=0) <= 1, "started twice"
        bindings: Counter[int] = Counter()
        for task in self.machine.tasks.values():
            if task.holds_devices:
                bindings.update(task.devices)
        assert max(bindings.values(), default=0) <= 1, "a device held twice"
        assert self.machine.fence >= Fence()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 120))
def test_promises_hold_in_every_world(seed: int, steps: int) -> None:
    world = World(seed)
    for _ in range(steps):
        world.step()
        world.check()
    world.settle()
    world.check()
    for allocation_id, state in world.shims.items():
        if allocation_id not in world.wanted:
            assert state == "ended", "absent, and still running"
        if world.wanted.get(allocation_id) is Goal.STOP:
            assert state == "ended"
    for allocation_id in world.machine.tasks:
        assert allocation_id in world.wanted


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_same_seed_makes_the_same_run(seed: int) -> None:
    first, second = World(seed), World(seed)
    for _ in range(60):
        first.step()
        second.step()
    assert first.machine.tasks == second.machine.tasks
    assert first.starts == second.starts
