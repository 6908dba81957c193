"""What agents say of tasks need not be true: it changes nothing that the controller alone decides."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.allocations import AttemptState, Goal, Phase
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, EndReason
from scheduler.machine.invariants import violations
from scheduler.machine.messages import ObservedTask
from scheduler.machine.state import AllocationRecord, JobRecord
from tests.builders.cluster import Controller, a_node, observed
from tests.builders.jobs import a_spec


def a_gang(nodes: int = 2) -> tuple[Controller, JobRecord]:
    """A gang with a task on each node, not told to run yet."""
    controller = Controller([a_node(f"n{n}") for n in range(1, nodes + 1)])
    job = controller.submit("gang", a_spec(devices=8 * nodes, per_node=8))
    controller.plan()
    return controller, job


def say(controller: Controller, task: AllocationRecord, phase: Phase, **ended: object) -> None:
    """The agent of one task reports it in a phase, whatever it was told."""
    controller.observe(task.node_id, [observed(task, phase, **ended)])  # type: ignore[arg-type]


@pytest.mark.parametrize("started_ms", [0, 5])
def test_a_task_that_says_it_runs_before_it_was_told_to_has_not_started(started_ms: int) -> None:
    controller, job = a_gang()
    liar, honest = controller.tasks(job)
    phase = Phase.PREPARING if started_ms else Phase.RUNNING
    controller.observe(liar.node_id, [ObservedTask(liar.allocation_id, phase, 0, started_ms)])
    assert violations(controller.state) == []
    assert (job.state, job.started_ms, liar.started_ms) == (JobState.ALLOCATED, None, None)
    assert "started" not in [event for event, _ in controller.evidence]
    assert controller.desired(honest.node_id) == [(honest.allocation_id, "prepare")]


def test_tasks_that_ran_before_the_controller_knew_it_have_started_once_all_are_told_to_run() -> None:
    controller, job = a_gang()  # as after a restore to a moment before they were told
    first, second = controller.tasks(job)
    say(controller, first, Phase.RUNNING)
    say(controller, second, Phase.RUNNING)
    assert {task.goal for task in (first, second)} == {Goal.RUN}
    say(controller, first, Phase.RUNNING)
    assert (job.state, first.started_ms, second.started_ms) == (JobState.RUNNING, controller.now_ms, None)
    assert violations(controller.state) == []


def test_a_task_that_ended_well_before_it_was_told_to_run_stops_its_gang() -> None:
    controller, job = a_gang()
    liar, honest = controller.tasks(job)
    say(controller, liar, Phase.ENDED, exit_code=0, reason=EndReason.EXITED)
    assert (job.state, honest.goal) == (JobState.STOPPING, Goal.STOP)
    assert violations(controller.state) == []
    controller.end(honest, None, EndReason.STOPPED)
    assert (job.state, job.attempts[0].reason) == (JobState.QUEUED, Ending.TASK_LOST)


def test_a_gang_that_ended_well_before_the_controller_knew_that_it_ran_has_succeeded() -> None:
    controller, job = a_gang()
    for task in list(controller.tasks(job)):
        say(controller, task, Phase.ENDED, exit_code=0, reason=EndReason.EXITED)
    assert job.state is JobState.SUCCEEDED


def test_a_task_that_ended_well_after_it_was_told_to_run_has_started() -> None:
    controller, job = a_gang()
    first, second = controller.tasks(job)
    controller.bring_to(job, Phase.READY)
    say(controller, first, Phase.ENDED, exit_code=0, reason=EndReason.EXITED)  # names no time of its start
    attempt = job.attempts[0]
    assert (attempt.state, second.goal) == (AttemptState.RUNNING, Goal.RUN)
    assert violations(controller.state) == []


WORDS = st.tuples(
    st.integers(0, 2),  # which node says it
    st.integers(0, 5),  # of which allocation, its own or another's
    st.sampled_from(Phase),
    st.sampled_from([0, 5]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([None, *EndReason]),
    st.booleans(),  # as one that has obeyed the newest desired state
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=20))
def test_whatever_agents_say_no_invariant_breaks(
    words: list[tuple[int, int, Phase, int, int | None, EndReason | None, bool]],
) -> None:
    controller, job = a_gang(3)
    known = list(controller.tasks(job))
    for node, which, phase, started_ms, exit_code, reason, obeyed in words:
        task = known[which % len(known)]
        said = ObservedTask(task.allocation_id, phase, which, started_ms, exit_code, reason)
        controller.observe(f"n{node + 1}", [said], obeyed=obeyed)
        assert violations(controller.state) == []
        controller.wait(1_500)
        if controller.plan():
            known += controller.tasks(job)
        assert violations(controller.state) == []
