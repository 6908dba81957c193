"""The agent's machine, message by message."""

import pytest

from agents.core.fence import Fence
from agents.core.machine import AgentMachine
from agents.core.messages import (
    Adopted,
    CancelPrepare,
    DesiredArrived,
    Ended,
    Forget,
    Launch,
    LaunchFailed,
    Prepare,
    PrepareFailed,
    Release,
    Report,
    StepReported,
    Stop,
    Stopping,
)
from agents.core.tasks import DesiredTask, EndReason, Goal, Phase, StepReport
from tests.builders.agents import ended, launched, prepared

A = "allocation-a"
B = "allocation-b"


def desired(generation: int, *tasks: DesiredTask, term: int = 1) -> DesiredArrived:
    """A desired state."""
    return DesiredArrived(Fence(term, generation), tasks)


def want(allocation_id: str, goal: Goal) -> DesiredTask:
    """One task of it."""
    return DesiredTask(allocation_id, goal, "cancelled", "10.0.0.1", 29_500)


def machine_with(phase: Phase) -> AgentMachine:
    """A machine whose one task is there."""
    machine = AgentMachine(Fence())
    machine.handle(desired(1, want(A, Goal.PREPARE)))
    if phase is not Phase.PREPARING:
        machine.handle(prepared(A))
    if phase in {Phase.RUNNING, Phase.ENDED}:
        machine.handle(desired(2, want(A, Goal.RUN)))
        machine.handle(launched(A))
    if phase is Phase.ENDED:
        machine.handle(ended(A))
    assert machine.tasks[A].phase is phase
    return machine


def test_a_task_goes_from_prepare_to_its_end_and_is_forgotten() -> None:
    machine = AgentMachine(Fence())
    assert machine.handle(desired(1, want(A, Goal.PREPARE))) == [Prepare(A), Report()]
    assert machine.handle(prepared(A, 0, 1)) == [Report()]
    assert machine.tasks[A].rendezvous_port == 29_500
    assert machine.bindings() == {0: {A: 1_000_000}, 1: {A: 1_000_000}}
    assert machine.handle(desired(2, want(A, Goal.RUN))) == [Launch(A, "10.0.0.1", 29_500), Report()]
    assert machine.handle(launched(A)) == [Report()]
    assert machine.tasks[A].phase is Phase.RUNNING
    assert machine.handle(ended(A, 3)) == [Report()]
    assert (machine.tasks[A].exit_code, machine.tasks[A].end_reason) == (3, EndReason.EXITED)
    assert machine.bindings() == {}
    assert machine.handle(desired(3)) == [Forget(A), Report(), Report()]
    assert machine.tasks == {}


def test_the_same_desired_state_twice_has_one_effect() -> None:
    machine = machine_with(Phase.READY)
    assert machine.handle(desired(2, want(A, Goal.RUN))) == [Launch(A, "10.0.0.1", 29_500), Report()]
    assert machine.handle(desired(2, want(A, Goal.RUN))) == [Report()]


@pytest.mark.parametrize("stale", [Fence(1, 4), Fence(0, 99)])
def test_an_older_desired_state_changes_nothing(stale: Fence) -> None:
    machine = machine_with(Phase.RUNNING)
    machine.handle(desired(5, want(A, Goal.RUN)))
    assert machine.handle(DesiredArrived(stale, ())) == []
    assert machine.tasks[A].phase is Phase.RUNNING
    assert machine.fence == Fence(1, 5)


def test_a_newer_term_begins_its_generations_anew() -> None:
    machine = machine_with(Phase.RUNNING)
    machine.handle(desired(50, want(A, Goal.RUN)))
    assert machine.handle(desired(1, term=2)) == [Stop(A, "absent"), Report(), Report()]


def test_run_may_be_wanted_before_the_task_is_ready() -> None:
    machine = machine_with(Phase.PREPARING)
    assert machine.handle(desired(2, want(A, Goal.RUN))) == [Report()]
    assert machine.handle(prepared(A)) == [Launch(A, "10.0.0.1", 29_500), Report()]


def test_a_stop_while_preparing_waits_for_the_preparation_to_give_up() -> None:
    machine = machine_with(Phase.PREPARING)
    assert machine.handle(desired(2, want(A, Goal.STOP))) == [CancelPrepare(A), Report()]
    assert machine.handle(PrepareFailed(A, 5, "cancelled")) == [Report()]
    assert machine.tasks[A].end_reason is EndReason.STOPPED


def test_a_stop_that_comes_too_late_for_the_preparation_releases_what_it_holds() -> None:
    machine = machine_with(Phase.PREPARING)
    machine.handle(desired(2))
    assert machine.handle(prepared(A)) == [Release(A), Report(), Forget(A), Report()]


def test_a_stop_of_a_ready_task_starts_nothing() -> None:
    machine = machine_with(Phase.READY)
    assert machine.handle(desired(2, want(A, Goal.STOP))) == [Release(A), Report(), Report()]
    assert machine.tasks[A].phase is Phase.ENDED
    assert machine.handle(desired(3, want(A, Goal.RUN))) == [Report()]


def test_a_stop_while_launching_is_carried_out_when_it_has_launched() -> None:
    machine = machine_with(Phase.READY)
    machine.handle(desired(2, want(A, Goal.RUN)))
    assert machine.handle(desired(3, want(A, Goal.STOP))) == [Report()]
    assert machine.handle(launched(A)) == [Stop(A, "cancelled"), Report()]
    assert machine.tasks[A].phase is Phase.STOPPING


def test_a_task_that_could_not_be_launched_has_ended() -> None:
    machine = machine_with(Phase.READY)
    machine.handle(desired(2, want(A, Goal.RUN)))
    assert machine.handle(LaunchFailed(A, 9, "no memory")) == [Release(A), Report()]
    assert machine.tasks[A].detail == "no memory"
    assert machine.handle(desired(3, want(A, Goal.RUN))) == [Report()]


def test_a_stop_is_asked_for_once() -> None:
    machine = machine_with(Phase.RUNNING)
    assert machine.handle(desired(3, want(A, Goal.STOP))) == [Stop(A, "cancelled"), Report(), Report()]
    assert machine.handle(desired(4, want(A, Goal.STOP))) == [Report()]


def test_a_device_in_use_is_not_given_to_a_second_task() -> None:
    machine = machine_with(Phase.RUNNING)
    machine.handle(desired(3, want(A, Goal.RUN), want(B, Goal.PREPARE)))
    assert machine.handle(prepared(B, 0)) == [Release(B), Report()]
    assert machine.tasks[B].end_reason is EndReason.PREPARE_FAILED
    assert machine.tasks[B].detail == f"device 0 of the node is in use by allocation {A}"
    assert machine.bindings() == {0: {A: 1_000_000}}


def test_what_was_launched_before_is_never_started_again() -> None:
    machine = AgentMachine(Fence(1, 1), launched_before=[A])
    assert machine.handle(desired(2, want(A, Goal.PREPARE))) == [Report()]
    assert machine.tasks[A].end_reason is EndReason.LOST


def test_a_task_that_is_to_stop_before_it_is_known_has_ended() -> None:
    machine = AgentMachine(Fence())
    assert machine.handle(desired(1, want(A, Goal.STOP))) == [Report()]
    assert (machine.tasks[A].phase, machine.tasks[A].end_reason) == (Phase.ENDED, EndReason.STOPPED)


def test_an_adopted_task_is_known_by_its_processes() -> None:
    machine = AgentMachine(Fence(1, 7))
    machine.handle(Adopted(A, Phase.RUNNING, (2, 3), 0, 1_000, (77,)))
    assert machine.bindings() == {2: {A: 1_000_000}, 3: {A: 1_000_000}}
    assert machine.handle(desired(7, want(A, Goal.RUN))) == [Report()]
    assert machine.handle(desired(8)) == [Stop(A, "absent"), Report(), Report()]


def test_a_shim_that_ends_its_task_by_itself_is_seen_stopping() -> None:
    machine = machine_with(Phase.RUNNING)
    assert machine.handle(Stopping(A)) == [Report()]
    assert machine.handle(Stopping(A)) == []
    assert machine.handle(desired(3, want(A, Goal.STOP))) == [Report()]


def test_an_end_is_told_once() -> None:
    machine = machine_with(Phase.ENDED)
    late = Ended(A, 9_999, 1, EndReason.LOST, "late")
    assert machine.handle(late) == []
    assert machine.tasks[A].exit_code == 0


def test_messages_of_unknown_tasks_change_nothing() -> None:
    machine = AgentMachine(Fence())
    for message in (prepared(B), launched(B), ended(B), Stopping(B)):
        assert machine.handle(message) == []


def test_a_step_report_is_told_when_it_is_new() -> None:
    machine = machine_with(Phase.RUNNING)
    report = StepReported(A, StepReport(step=4))
    assert machine.handle(report) == [Report()]
    assert machine.handle(report) == []
