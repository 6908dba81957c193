"""A plan although a job trips the planner: whoever does is told so, and the others are planned for."""

from scheduler.domain.ids import JobId
from scheduler.domain.reasons import Reason
from scheduler.machine import take_snapshot
from scheduler.machine.queueing import as_it_waits
from scheduler.planner.cycle import plan
from scheduler.planner.sifting import sifted_plan
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec


def test_a_shape_that_trips_the_planner_keeps_nobody_else_from_starting() -> None:
    controller = Controller([a_node("n1")])
    for number in range(6):
        controller.submit(f"j{number}", a_spec(devices=1, time_limit_s=600 + number))
    job = controller.state.jobs[JobId("j3")]
    assert job.shape is not None
    controller.state.waiting.remove(job.shape, job.ages_from_ms, job.job_id)
    job.shape = job.shape._replace(devices_per_node=0)
    controller.state.waiting.add(job.shape, as_it_waits(controller.state, job, job.shape))
    proposal, report = sifted_plan(
        take_snapshot(controller.state, controller.now_ms),
        controller.now_ms,
        controller.config,
        lambda: True,
    )
    assert [placement.job_id for placement in proposal.placements] == ["j0", "j1", "j2", "j4", "j5"]
    told = report.of(JobId("j3"))
    assert told is not None
    assert [why.reason for why in told.reasons] == [Reason.PLAN_FAILED]
    assert report.starts(JobId("j3")) is None


def test_where_nothing_trips_it_the_plan_is_that_of_the_planner() -> None:
    controller = Controller([a_node("n1")])
    for number in range(3):
        controller.submit(f"j{number}", a_spec(devices=4))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    made = sifted_plan(snapshot, controller.now_ms, controller.config, lambda: False)
    assert made == plan(snapshot, controller.now_ms, controller.config)
