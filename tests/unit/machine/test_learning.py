"""What the machine learns for the planner, and the starts that waiting jobs are told."""

import math
from dataclasses import replace

import pytest

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import JobState, ModelCheckpointSpec
from scheduler.domain.reasons import EndReason
from scheduler.machine import announce, take_snapshot
from scheduler.machine.invariants import violations
from scheduler.machine.messages import (
    CancelRequested,
    HoldRequested,
    JobRevised,
    RequeueRequested,
)
from scheduler.machine.served import BELIEVED_UNTIL_MS, steps_left
from scheduler.machine.state import JobRecord
from scheduler.planner.experience import Learned, Learning
from tests.builders.cluster import Controller, a_node, at_step
from tests.builders.jobs import MODEL, a_spec, with_speeds

HOUR_MS = 3_600_000


def started(controller: Controller, name: str, **spec: object) -> JobRecord:
    job = controller.submit(name, a_spec(name, devices=8, **spec))  # type: ignore[arg-type]
    assert name in controller.plan()
    controller.run(job)
    return job


def test_a_job_that_succeeds_teaches_how_long_its_kind_runs() -> None:
    controller = Controller([a_node("n1")])
    job = started(controller, "first")
    controller.wait(2 * HOUR_MS)
    controller.end(controller.tasks(job)[0])
    experience = take_snapshot(controller.state, controller.now_ms).experience
    assert experience is not None
    again = controller.submit("again", a_spec("again", devices=8))
    assert again.shape is not None
    guess = experience.predict(again.shape.kind)
    assert guess is not None
    assert math.isclose(guess.median_ms, 2 * HOUR_MS, rel_tol=0.01)
    learned = set().union(*(changes.learned for changes in controller.changes))
    assert Learned("run", again.shape.kind, "") in learned


def test_a_job_that_resumes_keeps_what_it_has_run_and_one_that_does_not_begins_anew() -> None:
    for checkpoint, kept_ms in ((ModelCheckpointSpec(grace_seconds=30), 2 * HOUR_MS), (None, 0)):
        controller = Controller([a_node("n1")])
        job = controller.submit("job", replace(a_spec("job", devices=8), model_checkpoint=checkpoint))
        controller.plan()
        controller.run(job)
        controller.wait(2 * HOUR_MS)
        controller.tell(RequeueRequested(job.firm_id, job.job_id, "somebody"))
        for allocation in controller.tasks(job):
            controller.end(allocation, None, EndReason.STOPPED)
        assert job.state is JobState.QUEUED
        waiting = take_snapshot(controller.state, controller.now_ms).classes[0].jobs[0]
        assert (waiting.served_ms, waiting.starts) == (kept_ms, 1)
        assert waiting.held_ms == 2 * HOUR_MS  # by the clock, whatever is left of it
        assert violations(controller.state) == []


@pytest.mark.parametrize("resumes", [True, False])
def test_a_job_that_resumes_has_as_many_steps_left_while_it_waits_as_it_said_while_it_ran(
    *, resumes: bool
) -> None:
    controller = Controller([a_node("n1")])
    spec = a_spec("job", devices=8)
    job = controller.submit("job", spec if resumes else replace(spec, model_checkpoint=None))
    controller.plan()
    controller.run(job)
    at_step(controller, job, 100, of=1_000)
    assert take_snapshot(controller.state, controller.now_ms).running[0].steps_left == 900.0
    controller.tell(RequeueRequested(job.firm_id, job.job_id, "somebody"))
    controller.end(controller.tasks(job)[0], None, EndReason.STOPPED)
    waiting = take_snapshot(controller.state, controller.now_ms).classes[0].jobs[0]
    assert waiting.steps_left == (900.0 if resumes else None)
    assert violations(controller.state) == []


def test_step_reports_teach_how_fast_a_kind_is_on_a_model() -> None:
    controller = Controller([a_node("n1")])
    job = started(controller, "first")
    controller.wait(60_000)
    at_step(controller, job, 100)  # what was before is warming up
    controller.wait(HOUR_MS)
    at_step(controller, job, 100 + 7200, model_checkpoint="step-7300")
    view = take_snapshot(controller.state, controller.now_ms).running[0]
    assert view.saved_ms == controller.now_ms
    assert view.served_ms == HOUR_MS + 60_000
    controller.end(controller.tasks(job)[0])
    experience = controller.state.learning.experience()
    kind = next(kind for kind, _ in experience.rates)
    assert math.isclose(experience.rates_of(kind, (MODEL,))[MODEL], 2.0, rel_tol=0.01)


def test_a_waiting_job_is_told_its_start_once_and_its_start_is_held_against_it() -> None:
    controller = Controller([a_node("n1")])
    first = started(controller, "first", time_limit_s=3600)
    second = controller.submit("second", a_spec("second", devices=8, time_limit_s=3600))
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)
    assert second.announced is not None
    at_ms, low_ms, forecast_ms, high_ms = second.announced
    assert at_ms <= low_ms <= forecast_ms <= high_ms
    assert HOUR_MS // 2 < forecast_ms - at_ms < 2 * HOUR_MS
    told = second.announced
    controller.wait(HOUR_MS // 2)
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)
    assert second.announced == told
    controller.wait(forecast_ms - controller.now_ms)
    controller.end(controller.tasks(first)[0])
    assert controller.plan() == ["second"]
    assert controller.changes[-1].kept_word == [True]
    assert {what.subject for what in controller.changes[-1].learned} == {"told_by"}


def test_who_was_told_a_start_counts_as_waiting_until_it_starts_or_ends() -> None:
    controller = Controller([a_node("n1")])
    first = started(controller, "first", time_limit_s=3600)
    for name in ("second", "third"):
        controller.submit(name, a_spec(name, devices=8, time_limit_s=3600))
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)

    def waiting() -> int:
        return sum(map(len, controller.state.learning.experience().starts.waiting))

    assert waiting() == 2
    controller.tell(CancelRequested(first.firm_id, JobId("third"), "somebody"))
    assert waiting() == 1
    controller.end(controller.tasks(first)[0])
    assert controller.plan() == ["second"]
    assert waiting() == 0


def test_who_is_held_waits_for_no_start_and_is_told_another_once_it_is_released() -> None:
    controller = Controller([a_node("n1")])
    first = started(controller, "first", time_limit_s=3600)
    parked = controller.submit("parked", a_spec("parked", devices=8, time_limit_s=3600))
    controller.plan()
    early = controller.report
    announce(controller.state, early, controller.now_ms, controller.ids)
    controller.tell(HoldRequested(first.firm_id, parked.job_id, True, "somebody"))
    announce(controller.state, early, controller.now_ms, controller.ids)  # of a plan that was made before
    assert not any(controller.state.learning.experience().starts.waiting)
    assert parked.announced is None
    controller.wait(72 * HOUR_MS)
    controller.tell(HoldRequested(first.firm_id, parked.job_id, False, "somebody"))
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)
    assert parked.announced is not None
    assert parked.announced[0] == controller.now_ms
    controller.wait(60_000)
    controller.end(controller.tasks(first)[0])
    assert controller.plan() == ["parked"]
    (size,) = (of for firms in controller.state.learning.experience().starts.sizes for of in firms.values())
    ((_, waited),) = size.starts
    assert waited < math.log(HOUR_MS), "the time that it was held is no time that it waited"


def test_a_job_that_was_revised_is_told_another_start() -> None:
    """Who makes himself late at will is no reason to tell others that they might be."""
    controller = Controller([a_node("n1")])
    started(controller, "first", time_limit_s=3600)
    job = controller.submit("job", a_spec("job", devices=8, time_limit_s=3600))
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)
    assert job.announced is not None
    controller.wait(60_000)
    spec = replace(job.spec, time_limit_seconds=30 * 86_400)
    controller.tell(JobRevised(job.firm_id, job.job_id, 2, spec, "somebody"))
    assert job.announced is None
    assert not any(controller.state.learning.experience().starts.waiting)
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)
    assert job.announced is not None
    assert job.announced[0] == controller.now_ms


def test_what_was_learned_is_the_same_after_it_was_stored_and_read() -> None:
    learning = Learning()
    touched = learning.finished("a/b", 1000.0, 3000.0) | learning.ran("a/b", MODEL, 2.5)
    touched |= learning.started(FirmId("x"), JobId("a"), (0, 60_000, HOUR_MS), 90_000, 1)
    touched |= learning.started(FirmId("x"), JobId("b"), (HOUR_MS // 2, HOUR_MS, 2 * HOUR_MS), 60_000, 64)
    touched |= learning.started(FirmId("y"), JobId("c"), (HOUR_MS // 2, HOUR_MS, 2 * HOUR_MS), 60_000, 1)
    again = Learning()
    for what in touched:
        again.remember(what, learning.numbers(what))
    assert again.experience() == learning.experience()


# --- what a job says of its steps --------------------------------------------------------------------


def says_its_steps(controller: Controller) -> JobRecord:
    """A job of 3,600 steps an hour that runs."""
    job = controller.submit("says", with_speeds(a_spec("says", devices=8), {MODEL: 3_600}))
    controller.plan()
    controller.run(job)
    return job


def left_of(controller: Controller) -> float | None:
    [running] = take_snapshot(controller.state, controller.now_ms).running
    return running.steps_left


def test_a_job_that_is_as_slow_as_it_says_is_believed_to_its_end() -> None:
    controller = Controller([a_node("n1")])
    job = says_its_steps(controller)
    for hour in range(101):
        at_step(controller, job, 3_600 * hour, of=360_000)
        controller.wait(HOUR_MS // 4)  # and so long it saves in the end
        assert left_of(controller) == 3_600 * (100 - hour)
        controller.wait(HOUR_MS * 3 // 4)


@pytest.mark.parametrize("left", [0, 1, 3_600])
def test_a_job_that_takes_far_longer_than_it_says_is_no_longer_believed_whatever_it_says(left: int) -> None:
    controller = Controller([a_node("n1")])
    job = says_its_steps(controller)
    said_ms, longest_ms = controller.now_ms, 3_000 * left + HOUR_MS // 2
    while controller.now_ms <= said_ms + longest_ms:
        at_step(controller, job, 1_000_000, of=1_000_000 + left)
        assert left_of(controller) == left
        controller.wait(60_000)
    at_step(controller, job, 0, of=1_000_000)
    assert left_of(controller) is None


def test_whom_nobody_believes_waits_as_one_who_said_nothing_also_for_a_leader_that_has_just_loaded() -> None:
    controller = Controller([a_node("n1")])
    job = says_its_steps(controller)
    at_step(controller, job, 100, of=100)
    controller.wait(HOUR_MS)
    assert job.attempt is not None
    controller.tell(RequeueRequested(job.firm_id, job.job_id, "somebody"))
    controller.end(controller.tasks(job)[0], None, EndReason.STOPPED)
    assert job.state is JobState.QUEUED
    [item] = take_snapshot(controller.state, controller.now_ms).classes
    assert item.jobs[0].steps_left is None
    assert not violations(controller.state)
    stored = JobRecord(
        job.firm_id,
        job.job_id,
        job.spec,
        job.submitted_ms,
        step_report=job.step_report,
        attempts=job.attempts,
    )
    assert steps_left(stored, job.attempt.ended_ms or 0) is None


def test_up_to_when_a_job_is_believed_is_no_part_of_what_it_said() -> None:
    controller = Controller([a_node("n1")])
    at_step(controller, says_its_steps(controller), 100, of=100)
    progressed = [e for changes in controller.changes for e in changes.events if e.kind == "JobProgressed"]
    assert [event.data.keys() & {"step", "of", BELIEVED_UNTIL_MS} for event in progressed] == [{"step", "of"}]
