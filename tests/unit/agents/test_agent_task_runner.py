"""The runner of tasks beside its machine: what is told when work is cut short."""

from pathlib import Path

from agents.content import Content
from agents.core.fence import Fence
from agents.core.machine import AgentMachine
from agents.core.messages import DesiredArrived, Message, Report
from agents.core.tasks import DesiredTask, EndReason, Goal, Phase
from agents.devices.simulated import SimulatedDriver, parse_simulation
from agents.log_upload import LogUpload
from agents.results import Results
from agents.runtime.isolation import Isolation, UidRange
from agents.runtime.prepare import Preparer
from agents.runtime.spec import TaskSpec
from agents.spool import Spool
from agents.tasks import TaskRunner
from tests.builders.gateway import until

A = "allocation-a"


async def never_asked(allocation_id: str) -> TaskSpec:
    """The gateway: nobody should ask it."""
    raise AssertionError(f"{allocation_id} was asked for")


def no_channel() -> None:
    """Content has nowhere to go."""
    raise AssertionError("content was asked for")


async def test_a_stop_before_the_preparation_took_its_first_step_ends_the_task(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    spool = Spool(tmp_path / "spool")
    machine = AgentMachine(Fence())
    isolation = Isolation(spool, UidRange(400_000, 400_999), accept_none=True, root=False)
    content = Content(no_channel)  # type: ignore[arg-type]

    def tell(message: Message) -> None:
        for instruction in machine.handle(message):
            if not isinstance(instruction, Report):
                runner.carry_out(instruction)

    runner = TaskRunner(
        tmp_path / "tasks",
        Preparer(tmp_path / "tasks", tmp_path / "checkpoints", 1, "127.0.0.1", isolation, lambda _: ()),
        SimulatedDriver(parse_simulation("ascend-910b3:1"), "node-a"),
        spool,
        LogUpload(),
        Results(content),
        content,
        fetch=never_asked,
        tell=tell,
        now_ms=lambda: 1_000,
        account_ms=100,
    )
    for generation, goal in ((1, Goal.PREPARE), (2, Goal.STOP)):  # in one turn of the event loop
        tell(DesiredArrived(Fence(1, generation), (DesiredTask(A, goal, "cancelled", "", 0),)))

    async def over() -> bool:
        return machine.tasks[A].phase is Phase.ENDED

    await until(over)
    assert machine.tasks[A].end_reason is EndReason.STOPPED
    await runner.close(stop_tasks=False)
    spool.close()
