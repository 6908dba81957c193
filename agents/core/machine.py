"""The agent's state machine: messages in, instructions out.

It holds three promises, whatever is lost, doubled, delayed or restarted around it:
- a desired state older than one it has obeyed changes nothing;
- a task is launched at most once in the life of its allocation id;
- what no desired state names any more is stopped, and forgotten when it has ended.

It works on levels, not on edges: the same desired state twice has one effect. Whoever carries out the
instructions makes the fence durable before telling the machine of a desired state (`would_obey`), and
notes a launch durably before starting it (`launched_before` is those notes).
"""

from collections.abc import Iterable

from agents.core.fence import Fence
from agents.core.messages import (
    Adopted,
    CancelPrepare,
    DesiredArrived,
    Ended,
    Forget,
    Instruction,
    Launch,
    Launched,
    LaunchFailed,
    Message,
    Prepare,
    Prepared,
    PrepareFailed,
    Preparing,
    Release,
    Report,
    StepReported,
    Stop,
    Stopping,
)
from agents.core.readings import WHOLE_PPM
from agents.core.tasks import DesiredTask, EndReason, Goal, Phase, Task

ABSENT = "absent"


class AgentMachine:
    """The live tasks of one node."""

    def __init__(self, fence: Fence, launched_before: Iterable[str] = ()) -> None:
        self.fence = fence
        self.tasks: dict[str, Task] = {}
        self._goals: dict[str, DesiredTask] = {}
        self._launched_before = set(launched_before)

    def would_obey(self, fence: Fence) -> bool:
        """False for a desired state that is older than one obeyed before."""
        return fence >= self.fence

    def bindings(self) -> dict[int, dict[str, int]]:
        """How much of each device each allocation holds, in ppm, by the device's index on the node."""
        held: dict[int, dict[str, int]] = {}
        for task in self.tasks.values():
            for device in task.devices if task.holds_devices else ():
                held.setdefault(device, {})[task.allocation_id] = task.share_ppm
        return held

    def handle(self, message: Message) -> list[Instruction]:
        """Take one message in; returns what is to be done, in that order."""
        match message:
            case DesiredArrived():
                return self._desired(message)
            case Adopted():
                return self._adopted(message)
            case _:
                task = self.tasks.get(message.allocation_id)
                return [] if task is None else self._of_task(task, message)

    def _of_task(self, task: Task, message: Message) -> list[Instruction]:
        match message:
            case Prepared():
                return self._prepared(task, message)
            case PrepareFailed():
                return self._prepare_failed(task, message)
            case Launched():
                return self._launched(task, message)
            case LaunchFailed():
                return self._launch_failed(task, message)
            case Stopping():
                return self._stopping(task)
            case Ended():
                return self._ended(task, message)
            case Preparing() | StepReported():
                return self._goes_on(task, message)
        raise TypeError(f"the machine knows no message {type(message).__name__}")

    def _goes_on(self, task: Task, message: Preparing | StepReported) -> list[Instruction]:
        if isinstance(message, StepReported):
            if task.step_report == message.report:
                return []
            task.step_report = message.report
        elif task.phase is not Phase.ENDED:
            task.detail = message.detail
        return [Report()]

    # --- desired state ---------------------------------------------------------------------------------

    def _desired(self, message: DesiredArrived) -> list[Instruction]:
        if not self.would_obey(message.fence):
            return []
        self.fence = message.fence
        self._goals = {desired.allocation_id: desired for desired in message.tasks}
        out: list[Instruction] = []
        for task in list(self.tasks.values()):
            if task.allocation_id not in self._goals:
                task.wanted = False
                out += self._stop(task, ABSENT)
        for desired in message.tasks:
            out += self._toward(desired)
        return [*out, Report()]

    def _toward(self, desired: DesiredTask) -> list[Instruction]:
        task = self.tasks.get(desired.allocation_id)
        if task is None:
            return self._new(desired)
        task.wanted = True
        if desired.goal is Goal.STOP:
            return self._stop(task, desired.reason)
        if desired.goal is Goal.RUN and task.phase is Phase.READY:
            return self._launch(task, desired)
        return []

    def _new(self, desired: DesiredTask) -> list[Instruction]:
        task = Task(desired.allocation_id)
        self.tasks[desired.allocation_id] = task
        if desired.allocation_id in self._launched_before:
            self._end(
                task, 0, None, EndReason.LOST, "this node has run this task before and nothing is left of it"
            )
            return []
        if desired.goal is Goal.STOP:
            self._end(task, 0, None, EndReason.STOPPED, "stopped before it was prepared")
            return []
        return [Prepare(task.allocation_id)]

    def _launch(self, task: Task, desired: DesiredTask) -> list[Instruction]:
        if task.launching or task.stopping or task.allocation_id in self._launched_before:
            return []
        task.launching = True
        self._launched_before.add(task.allocation_id)
        return [Launch(task.allocation_id, desired.master_address, desired.master_port)]

    def _stop(self, task: Task, reason: str) -> list[Instruction]:
        """Whatever the task is doing, make it end."""
        if task.phase is Phase.ENDED:
            return self._forget_if_unwanted(task)
        if task.phase is Phase.READY and not task.launching:
            self._end(task, 0, None, EndReason.STOPPED, "stopped before it was started")
            return [Release(task.allocation_id), Report(), *self._forget_if_unwanted(task)]
        if task.stopping:
            return []
        task.stopping = True
        if task.phase is Phase.PREPARING:
            return [CancelPrepare(task.allocation_id)]
        if task.launching:
            return []  # Launched or LaunchFailed comes first
        task.phase = Phase.STOPPING
        return [Stop(task.allocation_id, reason), Report()]

    # --- what became of it -----------------------------------------------------------------------------

    def _adopted(self, message: Adopted) -> list[Instruction]:
        self._launched_before.add(message.allocation_id)
        self.tasks[message.allocation_id] = Task(
            allocation_id=message.allocation_id,
            phase=message.phase,
            devices=message.devices,
            share_ppm=message.share_ppm,
            image_digest=message.image_digest,
            rendezvous_port=message.rendezvous_port,
            stopping=message.phase is Phase.STOPPING,
            started_ms=message.started_ms,
            ended_ms=message.ended_ms,
            exit_code=message.exit_code,
            end_reason=message.end_reason,
            detail=message.detail,
            log_pattern=message.log_pattern,
            process_ids=message.process_ids,
        )
        return [Report()]

    def _prepared(self, task: Task, message: Prepared) -> list[Instruction]:
        if task.phase is not Phase.PREPARING:
            return []
        holders = self.bindings()
        most_ppm = WHOLE_PPM - message.share_ppm
        taken = next((d for d in message.devices if sum(holders.get(d, {}).values()) > most_ppm), None)
        if task.stopping:
            self._end(task, 0, None, EndReason.STOPPED, "stopped before it was started")
        elif taken is not None:
            detail = f"device {taken} of the node is in use by allocation {', '.join(holders[taken])}"
            self._end(task, 0, None, EndReason.PREPARE_FAILED, detail)
        else:
            task.phase = Phase.READY
            task.devices = message.devices
            task.share_ppm = message.share_ppm
            task.image_digest = message.image_digest
            task.rendezvous_port = message.rendezvous_port
            goal = self._goals.get(task.allocation_id)
            run = goal is not None and goal.goal is Goal.RUN
            return [*(self._launch(task, goal) if run and goal is not None else []), Report()]
        return [Release(task.allocation_id), Report(), *self._forget_if_unwanted(task)]

    def _prepare_failed(self, task: Task, message: PrepareFailed) -> list[Instruction]:
        if task.phase is not Phase.PREPARING:
            return []
        reason = EndReason.STOPPED if task.stopping else message.reason
        self._end(task, message.at_ms, None, reason, message.detail)
        return [Report(), *self._forget_if_unwanted(task)]

    def _launched(self, task: Task, message: Launched) -> list[Instruction]:
        if task.phase is not Phase.READY:
            return []
        task.launching = False
        task.started_ms = message.started_ms
        task.detail = ""
        task.process_ids = message.process_ids
        task.phase = Phase.RUNNING
        if task.stopping:
            task.phase = Phase.STOPPING
            goal = self._goals.get(task.allocation_id)
            return [Stop(task.allocation_id, goal.reason if goal else ABSENT), Report()]
        return [Report()]

    def _launch_failed(self, task: Task, message: LaunchFailed) -> list[Instruction]:
        if task.phase is not Phase.READY:
            return []
        task.launching = False
        self._end(task, message.at_ms, None, EndReason.PREPARE_FAILED, message.detail)
        return [Release(task.allocation_id), Report(), *self._forget_if_unwanted(task)]

    def _stopping(self, task: Task) -> list[Instruction]:
        if task.phase is not Phase.RUNNING:
            return []
        task.phase = Phase.STOPPING
        task.stopping = True
        return [Report()]

    def _ended(self, task: Task, message: Ended) -> list[Instruction]:
        if task.phase is Phase.ENDED:
            return []
        self._end(task, message.ended_ms, message.exit_code, message.end_reason, message.detail)
        task.log_pattern = message.log_pattern
        return [Report(), *self._forget_if_unwanted(task)]

    def _end(self, task: Task, ended_ms: int, exit_code: int | None, reason: EndReason, detail: str) -> None:
        task.phase = Phase.ENDED
        task.launching = False
        task.ended_ms = ended_ms
        task.exit_code = exit_code
        task.end_reason = reason
        task.detail = detail
        task.process_ids = ()

    def _forget_if_unwanted(self, task: Task) -> list[Instruction]:
        if task.wanted:
            return []
        del self.tasks[task.allocation_id]
        return [Forget(task.allocation_id), Report()]
