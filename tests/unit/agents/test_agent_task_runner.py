"""The runner of tasks beside its machine: what is told when work is cut short."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agents.content import Content
from agents.core.fence import Fence
from agents.core.machine import AgentMachine
from agents.core.messages import DesiredArrived, Message, Report
from agents.core.tasks import DesiredTask, EndReason, Goal, Phase
from agents.devices.enrolled import EnrolledDevices
from agents.devices.simulated import SimulatedDriver, parse_simulation
from agents.launcher import Launcher
from agents.log_upload import LogUpload
from agents.results import Results
from agents.runtime.isolation import Isolation, UidRange
from agents.runtime.prepare import Preparer
from agents.runtime.spec import TaskSpec
from agents.spool import Spool
from agents.start import let_go
from agents.tasks import TaskRunner
from agents.workers import Workers
from tests.builders.waiting import until

A = "allocation-a"


async def never_asked(allocation_id: str) -> TaskSpec:
    """The gateway: nobody should ask it."""
    raise AssertionError(f"{allocation_id} was asked for")


def no_channel() -> None:
    """Content has nowhere to go."""
    raise AssertionError("content was asked for")


class Runner:
    """A machine with its runner, and no gateway to ask."""

    def __init__(self, folder: Path, fetch: Callable[[str], Awaitable[TaskSpec]] = never_asked) -> None:
        (folder / "tasks").mkdir()
        self.spool = Spool(folder / "spool")
        self.machine = AgentMachine(Fence())
        isolation = Isolation(self.spool, UidRange(400_000, 400_999), accept_none=True, root=False)
        content = Content(no_channel)  # type: ignore[arg-type]
        self.runner = TaskRunner(
            folder / "tasks",
            Preparer(folder / "tasks", folder / "checkpoints", 1, "127.0.0.1", isolation, lambda _: ()),
            Launcher(EnrolledDevices(SimulatedDriver(parse_simulation("ascend-910b3:1"), "node-a"), ()), 100),
            self.spool,
            LogUpload(),
            Results(content),
            content,
            fetch=fetch,
            tell=self.tell,
            now_ms=lambda: 1_000,
        )

    def tell(self, message: Message) -> None:
        """Into the machine, and what it asks for out of it."""
        for instruction in self.machine.handle(message):
            if not isinstance(instruction, Report):
                self.runner.carry_out(instruction)

    def want(self, generation: int, goal: Goal) -> None:
        """A desired state of one task arrives."""
        self.tell(DesiredArrived(Fence(1, generation), (DesiredTask(A, goal, "cancelled", "", 0),)))


async def test_a_stop_before_the_preparation_took_its_first_step_ends_the_task(tmp_path: Path) -> None:
    host = Runner(tmp_path)
    for generation, goal in ((1, Goal.PREPARE), (2, Goal.STOP)):  # in one turn of the event loop
        host.want(generation, goal)

    async def over() -> bool:
        return host.machine.tasks[A].phase is Phase.ENDED

    await until(over)
    assert host.machine.tasks[A].end_reason is EndReason.STOPPED
    await host.runner.close(stop_tasks=False)
    host.spool.close()


async def test_a_firm_that_waits_in_all_its_threads_keeps_no_other_from_one() -> None:
    workers = Workers(threads=4, of_one_firm=2)
    slow = threading.Event()

    async def work(firm_id: str, what: Callable[[], object]) -> object:
        async with workers.place(firm_id) as executor:
            return await asyncio.get_running_loop().run_in_executor(executor, what)

    waiting = [asyncio.create_task(work("slow", slow.wait)) for _ in range(5)]
    assert await work("quick", lambda: "done") == "done"
    waiting[-1].cancel()  # it had no place yet
    slow.set()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert ends[:4] == [True] * 4
    assert isinstance(ends[4], asyncio.CancelledError)


async def test_an_agent_that_ends_its_tasks_does_not_wait_for_one_that_is_being_prepared(
    tmp_path: Path,
) -> None:
    asked = asyncio.Event()

    async def hanging(allocation_id: str) -> TaskSpec:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError(f"{allocation_id} was prepared")

    host = Runner(tmp_path, hanging)
    host.want(1, Goal.PREPARE)
    async with asyncio.timeout(20):
        await asked.wait()
        await host.runner.close(stop_tasks=True)
    assert host.machine.tasks[A].phase is Phase.ENDED
    host.spool.close()


async def test_an_agent_ends_without_a_driver_that_does_not_close(caplog: pytest.LogCaptureFixture) -> None:
    answered = threading.Event()
    driver = SimulatedDriver(parse_simulation("ascend-910b3:1"), "node-a")
    driver.close = answered.wait  # type: ignore[method-assign,assignment]
    try:
        await let_go(driver, patience_s=0.05)
    finally:
        answered.set()
    assert "does not close" in caplog.text


async def test_an_order_that_comes_while_the_agent_ends_begins_nothing(tmp_path: Path) -> None:
    host = Runner(tmp_path)
    await host.runner.close(stop_tasks=True)
    before = asyncio.all_tasks()
    host.want(1, Goal.PREPARE)  # the control stream is still open
    assert asyncio.all_tasks() == before
    assert host.machine.tasks[A].phase is Phase.PREPARING  # and the next life of the agent goes on from there
    host.spool.close()
