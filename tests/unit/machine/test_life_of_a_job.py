"""From submission to the end: every way through the states."""

from dataclasses import replace

import pytest

from scheduler.domain.allocations import AttemptState, Goal, Phase
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Dependencies, Input, JobState
from scheduler.domain.reasons import Ending, EndReason, Outcome, StopReason
from scheduler.domain.retries import LogPatternRule, Retry
from scheduler.machine import MachineConfig
from scheduler.machine.invariants import violations
from scheduler.machine.messages import CancelRequested, HoldRequested, ObservedTask, RequeueRequested
from scheduler.machine.state import JobRecord
from scheduler.planner import PlannerConfig
from tests.builders.cluster import FIRM, Controller, a_node, observed
from tests.builders.jobs import a_spec


def two_nodes() -> Controller:
    """Two nodes of eight devices."""
    return Controller([a_node("n1"), a_node("n2")])


def running_gang(controller: Controller, **spec: object) -> JobRecord:
    """A gang over both nodes, running."""
    job = controller.submit("gang", a_spec(devices=16, per_node=8, **spec))  # type: ignore[arg-type]
    assert controller.plan() == ["gang"]
    controller.run(job)
    return job


def cancel(controller: Controller, job_id: str) -> None:
    """Somebody cancels a job."""
    controller.tell(CancelRequested(FirmId(FIRM), JobId(job_id), "ana"))


def last_event(controller: Controller) -> dict[str, object]:
    """Data of the newest event."""
    return dict(controller.changes[-1].events[-1].data)


def test_a_gang_is_prepared_everywhere_before_any_task_is_told_to_run() -> None:
    controller = two_nodes()
    job = controller.submit("gang", a_spec(devices=16, per_node=8))
    controller.plan()
    first, second = controller.tasks(job)
    assert (job.state, first.goal, second.goal) == (JobState.ALLOCATED, Goal.PREPARE, Goal.PREPARE)
    controller.observe("n1", [observed(first, Phase.READY)])
    assert first.goal is Goal.PREPARE
    controller.observe("n2", [observed(second, Phase.READY)])
    assert [goal for _, goal in controller.desired("n1") + controller.desired("n2")] == ["run", "run"]
    assert second.master_address == controller.node("n1").rendezvous_address
    assert second.master_port == 29_500
    assert job.state is JobState.ALLOCATED
    controller.observe("n1", [observed(first, Phase.RUNNING)])
    assert job.state is JobState.RUNNING
    assert violations(controller.state) == []


def test_a_job_succeeds_when_every_task_has_exited_well_and_its_devices_are_free_again() -> None:
    controller = two_nodes()
    job = running_gang(controller)
    first, second = controller.tasks(job)
    controller.end(first)
    assert job.state is JobState.RUNNING
    controller.end(second)
    assert (job.state, job.exit_code, job.reason) == (JobState.SUCCEEDED, 0, Ending.COMPLETED)
    assert controller.state.jobs == {}
    assert controller.state.allocations == {}
    assert controller.desired("n1") == []
    assert controller.events[-3:] == ["TaskEnded", "TaskEnded", "JobSucceeded"]
    for allocation in (first, second):
        facts = [
            event for event, allocation_id in controller.evidence if allocation_id == allocation.allocation_id
        ]
        assert facts == ["granted", "started", "ended"]


def test_one_failing_task_stops_the_rest_and_its_exit_code_is_the_jobs() -> None:
    controller = two_nodes()
    job = running_gang(controller)
    first, second = controller.tasks(job)
    controller.end(second, 3, detail="ValueError: loss is nan")
    assert job.state is JobState.STOPPING
    assert (first.goal, first.stop_reason) == (Goal.STOP, StopReason.GANG_FAILED)
    controller.end(first, 143, EndReason.STOPPED)
    assert (job.state, job.reason) == (JobState.FAILED, Ending.EXITED_NONZERO)
    assert (job.exit_code, job.detail) == (3, "ValueError: loss is nan")
    assert last_event(controller)["exit_code"] == 3


def test_a_nonzero_exit_is_retried_only_where_the_spec_names_its_code() -> None:
    controller = two_nodes()
    job = running_gang(controller, on_exit_codes=[75], max_attempts=2)
    for allocation in list(controller.tasks(job)):
        controller.end(allocation, 75)
    assert (job.state, job.attempts[0].outcome) == (JobState.QUEUED, Outcome.FAILED)
    controller.wait(2_000)
    controller.plan()
    controller.run(job)
    assert [attempt.number for attempt in job.attempts] == [1, 2]
    for allocation in list(controller.tasks(job)):
        controller.end(allocation, 75)
    assert job.state is JobState.FAILED
    assert violations(controller.state) == []


def test_a_waiting_job_is_cancelled_at_once() -> None:
    controller = two_nodes()
    job = controller.submit("j", a_spec())
    cancel(controller, "j")
    assert job.state is JobState.CANCELLED
    assert controller.plan() == []
    assert controller.events[-2:] == ["CancelRequested", "JobCancelled"]


def test_a_running_job_is_cancelled_when_its_last_task_has_ended_and_is_not_retried() -> None:
    controller = two_nodes()
    job = running_gang(controller, on_exit_codes=[143])
    cancel(controller, "gang")
    cancel(controller, "gang")
    assert controller.events.count("CancelRequested") == 1
    assert job.state is JobState.STOPPING
    for allocation in list(controller.tasks(job)):
        assert allocation.stop_reason is StopReason.CANCELLED
        controller.end(allocation, 143, EndReason.STOPPED)
    assert (job.state, job.attempts[0].outcome) == (JobState.CANCELLED, Outcome.CANCELLED)


def test_a_job_that_ended_well_before_it_heard_of_the_cancel_has_succeeded() -> None:
    controller = two_nodes()
    job = running_gang(controller)
    cancel(controller, "gang")
    for allocation in list(controller.tasks(job)):
        controller.end(allocation, 0)
    assert job.state is JobState.SUCCEEDED


def test_a_job_is_stopped_at_its_time_limit_counted_from_its_start_and_fails() -> None:
    controller = two_nodes()
    job = controller.submit("gang", a_spec(devices=16, per_node=8, time_limit_s=60))
    controller.plan()
    controller.now_ms += 50_000  # being prepared
    controller.run(job)
    controller.wait(59_000)
    assert job.state is JobState.RUNNING
    controller.wait(1_000)
    assert [a.stop_reason for a in controller.tasks(job)] == [StopReason.TIME_LIMIT] * 2
    for allocation in list(controller.tasks(job)):
        controller.end(allocation, 143, EndReason.STOPPED)
    assert (job.state, job.reason) == (JobState.FAILED, Ending.TIME_LIMIT)


def test_preparation_that_never_comes_to_an_end_is_given_up() -> None:
    controller = Controller([a_node("n1")], machine_config=MachineConfig(prepare_limit_ms=5_000))
    job = controller.submit("j", a_spec(max_attempts=1))
    controller.plan()
    controller.wait(5_000)
    assert job.state is JobState.STOPPING
    controller.end(controller.tasks(job)[0], None, EndReason.STOPPED)
    assert (job.state, job.reason) == (JobState.FAILED, Ending.PREPARE_FAILED)


def test_a_task_that_ran_between_two_reports_has_started_and_ended() -> None:
    controller = two_nodes()
    job = controller.submit("j", a_spec())
    controller.plan()
    [task] = controller.tasks(job)
    controller.bring_to(job, Phase.READY)
    ended = ObservedTask(task.allocation_id, Phase.ENDED, 0, 5, 0, EndReason.EXITED)
    controller.observe(task.node_id, [ended])
    assert job.state is JobState.SUCCEEDED
    assert [event for event, _ in controller.evidence] == ["granted", "started", "ended"]


def test_an_older_report_and_a_repeated_one_change_nothing() -> None:
    controller = two_nodes()
    job = running_gang(controller)
    first, _ = controller.tasks(job)
    node = controller.node("n1")
    seq, events = node.report_seq, len(controller.events)
    controller._report_seq["n1"] = seq - 2
    changes = controller.observe("n1", [observed(first, Phase.ENDED, 1, EndReason.EXITED)])
    assert not changes
    assert (first.phase, job.state) == (Phase.RUNNING, JobState.RUNNING)
    assert len(controller.events) == events


def test_a_task_that_the_agent_does_not_have_is_lost_only_when_it_obeys_the_newest_generation() -> None:
    controller = two_nodes()
    job = running_gang(controller)
    first, _ = controller.tasks(job)
    controller.observe("n1", [], obeyed=False)
    assert first.live
    controller.observe("n1", [])
    assert not first.live
    assert (job.state, job.attempts[0].reason) == (JobState.STOPPING, Ending.TASK_LOST)


@pytest.mark.parametrize("port", [0, 31_000])
def test_a_gang_of_one_task_needs_no_address_of_its_node(port: int) -> None:
    controller = Controller([a_node("n1")])
    controller.node("n1").rendezvous_address = None
    job = controller.submit("j", a_spec(devices=2))
    controller.plan()
    [task] = controller.tasks(job)
    controller.observe("n1", [ObservedTask(task.allocation_id, Phase.READY, port)])
    assert (task.goal, task.master_address, task.master_port) == (Goal.RUN, "127.0.0.1", port)


def test_a_gang_of_two_whose_first_node_gives_no_address_is_tried_elsewhere() -> None:
    controller = two_nodes()
    controller.node("n1").rendezvous_address = None
    job = controller.submit("gang", a_spec(devices=16, per_node=8))
    controller.plan()
    controller.bring_to(job, Phase.READY)
    assert (job.state, job.attempts[0].reason) == (JobState.STOPPING, Ending.PREPARE_FAILED)
    for allocation in list(controller.tasks(job)):
        controller.end(allocation, None, EndReason.STOPPED)
    assert job.state is JobState.QUEUED
    assert job.detail is not None
    assert "address" in job.detail


def test_progress_is_an_event_at_most_once_a_second_and_the_newest_is_not_lost() -> None:
    controller = Controller([a_node("n1")])
    job = controller.submit("j", a_spec())
    controller.plan()
    controller.run(job)
    [task] = controller.tasks(job)
    for step in range(1, 11):
        controller.now_ms += 100
        report = {"step": step, "of": 10, "at_ms": controller.now_ms}
        controller.observe("n1", [ObservedTask(task.allocation_id, Phase.RUNNING, 0, 1, step_report=report)])
    assert controller.events.count("JobProgressed") == 1
    controller.wait(1_000)
    assert controller.events.count("JobProgressed") == 2
    assert last_event(controller)["step"] == 10
    assert job.step_report is not None
    assert job.step_report["step"] == 10


def test_how_far_files_are_is_an_event_at_most_once_a_second_and_is_gone_when_the_task_runs() -> None:
    controller = Controller([a_node("n1")])
    job = controller.submit("j", a_spec())
    controller.plan()
    [task] = controller.tasks(job)
    for part in range(5):
        controller.now_ms += 300
        moving = ObservedTask(task.allocation_id, Phase.PREPARING, detail=f"inputs[0]: {part} of 5 GiB")
        controller.observe("n1", [moving])
    assert controller.events.count("TaskPreparing") == 2
    assert task.detail == "inputs[0]: 4 of 5 GiB"
    controller.run(job)
    assert task.detail is None


def test_what_a_store_refuses_is_final_and_inputs_from_a_store_may_take_long() -> None:
    limits = MachineConfig(prepare_limit_ms=5_000)
    controller = Controller([a_node("n1")], connected=False, machine_config=limits)
    controller.connect("n1", understands=("object_stores",))
    fetching = replace(a_spec(), inputs=(Input("data", object="s3://corpora/wudao"),))
    job = controller.submit("j", fetching)
    controller.plan()
    controller.wait(3_600_000)
    assert job.state is JobState.ALLOCATED
    controller.end(controller.tasks(job)[0], None, EndReason.STORE_REFUSED)
    assert (job.state, job.reason, len(job.attempts)) == (JobState.FAILED, Ending.STORE_REFUSED, 1)


def test_a_task_that_ended_well_and_whose_output_no_store_took_has_not_succeeded() -> None:
    controller = Controller([a_node("n1")])
    job = controller.submit("j", a_spec())
    controller.plan()
    controller.run(job)
    controller.end(controller.tasks(job)[0], 0, EndReason.OUTPUT_FAILED)
    assert (job.state, job.reason, len(job.attempts)) == (JobState.FAILED, Ending.OUTPUT_FAILED, 1)


def test_events_are_numbered_without_a_gap_and_every_change_of_desired_is_a_new_generation() -> None:
    controller = two_nodes()
    running_gang(controller)
    cancel(controller, "gang")
    numbers = [event.seq for changes in controller.changes for event in changes.events]
    assert numbers == list(range(1, len(numbers) + 1))
    assert controller.node("n1").generation == 3  # prepare, run, stop
    assert controller.state.jobs[JobId("gang")].attempts[0].state is AttemptState.STOPPING


def test_a_line_of_its_output_brings_a_job_another_attempt_as_often_as_its_rule_allows() -> None:
    controller = two_nodes()
    rules = (LogPatternRule("link down", 1), LogPatternRule("timeout", 5))
    job = controller.submit("patient", replace(a_spec(), retry=Retry(on_log_patterns=rules)))
    states = []
    for found in (0, 1, 9, None):
        controller.wait(120_000)
        if not controller.plan():
            break
        controller.run(job)
        (task,) = controller.tasks(job)
        ended = replace(observed(task, Phase.ENDED, 1, EndReason.EXITED), log_pattern=found)
        controller.observe(task.node_id, [ended])
        states.append(job.state)
    # The third names a rule that there is not: an agent's word for it is not enough.
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert violations(controller.state) == []


def test_a_job_grows_no_older_while_it_is_held() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("parked", a_spec("parked", devices=8, hold=True))
    controller.wait(3 * PlannerConfig().ageing_ms)
    controller.submit("honest", a_spec("honest", devices=8))
    controller.wait(60_000)
    controller.tell(HoldRequested(FirmId(FIRM), JobId("parked"), False, "ana"))
    assert controller.plan() == ["honest"]


def test_a_job_that_was_held_keeps_the_age_that_it_had() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("first", a_spec("first", devices=8))
    controller.wait(3_600_000)
    controller.submit("second", a_spec("second", devices=8))
    for held in (True, False):
        controller.tell(HoldRequested(FirmId(FIRM), JobId("first"), held, "ana"))
        controller.wait(1_800_000)
    assert controller.plan() == ["first"]


@pytest.mark.parametrize("ends", [True, False], ids=["its gate ends", "its gate is cancelled"])
def test_a_job_grows_no_older_while_it_waits_for_others(ends: bool) -> None:
    controller = Controller([a_node("n1")])
    gate = controller.submit("gate", a_spec("gate", devices=1, hold=True))
    behind = Dependencies(after_any=("gate",))
    parked = controller.submit("parked", a_spec("parked", devices=8, dependencies=behind))
    controller.wait(3 * PlannerConfig().ageing_ms)
    if ends:
        controller.tell(HoldRequested(FirmId(FIRM), gate.job_id, False, "ana"))
        controller.plan()
        controller.run(gate)
    controller.submit("honest", a_spec("honest", devices=8))
    controller.wait(60_000)
    if ends:
        controller.end(controller.tasks(gate)[0])
    else:
        cancel(controller, "gate")
    assert controller.plan() == ["honest"]
    assert parked.ages_from_ms == controller.now_ms
    assert violations(controller.state) == []


def test_time_in_which_a_job_was_held_and_waited_for_others_counts_once() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("gate", a_spec("gate", devices=1, hold=True))
    job = controller.submit("job", a_spec("job", dependencies=Dependencies(after_any=("gate",))))
    controller.wait(60_000)
    controller.tell(HoldRequested(FirmId(FIRM), job.job_id, True, "ana"))
    controller.wait(60_000)
    cancel(controller, "gate")
    controller.wait(60_000)
    controller.tell(HoldRequested(FirmId(FIRM), job.job_id, False, "ana"))
    released_ms = controller.now_ms
    controller.wait(60_000)
    assert job.ages_from_ms == released_ms
    assert violations(controller.state) == []


def test_a_job_that_waited_for_others_and_is_sent_back_keeps_its_place_before_later_ones() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("gate", a_spec("gate", devices=1, hold=True))
    job = controller.submit("job", a_spec("job", devices=8, dependencies=Dependencies(after_any=("gate",))))
    controller.wait(3_600_000)
    cancel(controller, "gate")
    assert controller.plan() == ["job"]
    controller.run(job)
    controller.wait(60_000)
    controller.submit("later", a_spec("later", devices=8))
    controller.wait(60_000)
    controller.tell(RequeueRequested(FirmId(FIRM), job.job_id, "ana"))
    controller.end(controller.tasks(job)[0], 143)
    assert controller.plan() == ["job"]
