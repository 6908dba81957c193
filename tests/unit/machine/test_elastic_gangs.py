"""Gangs that run with now more and now fewer nodes."""

from dataclasses import replace

from scheduler.domain.gangs import Elastic
from scheduler.domain.ids import GatewayId, NodeId
from scheduler.domain.jobs import JobSpec, JobState
from scheduler.domain.reasons import EndReason
from scheduler.machine.invariants import violations
from scheduler.machine.messages import NodeDisconnected
from scheduler.planner.variants import sizes_to_try
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec

PATIENCE_MS = 60_000
HOUR_MS = 3_600_000


def elastic(asked: int = 16, least: int = 8, most: int = 24, **more: object) -> JobSpec:
    """A gang of 8 devices a node, of which it takes from `least` to `most`."""
    spec = a_spec(devices=asked, per_node=8, **more)  # type: ignore[arg-type]
    return replace(spec, gang=replace(spec.gang, elastic=Elastic(least, most)))


def size(controller: Controller, job_id: str) -> int:
    """Nodes of the newest attempt."""
    return len(controller.tasks(next(j for j in controller.state.jobs.values() if j.job_id == job_id)))


def test_it_starts_smaller_where_there_is_no_room_for_all_and_not_below_its_least() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    controller.submit("other", a_spec("other", devices=8))
    controller.submit("gang", elastic())
    assert controller.plan() == ["other", "gang"]
    assert size(controller, "gang") == 1
    controller.submit("least", elastic(least=16))
    assert controller.plan() == []
    assert violations(controller.state) == []


def test_it_takes_more_than_it_asked_for_only_where_nobody_else_waits() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    controller.submit("gang", elastic())
    assert controller.plan() == ["gang"]
    assert size(controller, "gang") == 3
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    controller.submit("gang", elastic())
    controller.submit("other", a_spec("other", devices=8))
    assert sorted(controller.plan()) == ["gang", "other"]
    assert size(controller, "gang") == 2
    assert violations(controller.state) == []


def test_of_a_hundred_thousand_sizes_few_are_tried_and_the_best_that_there_is_room_for_is_found() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    controller.submit("gang", elastic(asked=80_000, most=100_000))
    controller.submit("least", elastic(asked=80_000, least=24, most=100_000))
    assert controller.plan() == ["gang"]  # with every size a question this takes minutes
    assert size(controller, "gang") == 2
    assert sizes_to_try(range(8, 41, 8), 39) == [32, 24, 16, 8]
    assert sizes_to_try((4, 8), 2) == [4]
    assert sizes_to_try((), 8) == []
    tried = sizes_to_try(range(1, 100_001), 90_000)
    assert tried[:32] == list(range(90_000, 89_968, -1))
    assert tried[-1] == 1
    assert len(tried) < 64


def test_it_goes_on_smaller_when_it_has_lost_a_node() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    job = controller.submit("gang", elastic())
    controller.plan()
    controller.run(job)
    lost, stays = controller.tasks(job)
    controller.tell(NodeDisconnected(NodeId(lost.node_id), GatewayId("gateway-1"), controller.now_ms))
    controller.wait(PATIENCE_MS)
    controller.end(stays, 143, EndReason.STOPPED)
    assert job.state is JobState.QUEUED
    assert controller.plan() == ["gang"]
    assert [task.node_id for task in controller.tasks(job)] == [stays.node_id]
    assert violations(controller.state) == []
    controller.run(job)
    controller.end(controller.tasks(job)[0])
    assert job.state is JobState.SUCCEEDED


def test_it_grows_when_devices_are_free_and_nobody_waits_and_then_comes_to_rest() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    other = controller.submit("other", a_spec("other", devices=16, per_node=8))
    job = controller.submit("gang", elastic(estimate_seconds=24 * 3_600))
    controller.plan()
    controller.run(other)
    controller.run(job)
    assert size(controller, "gang") == 1
    for task in list(controller.tasks(other)):
        controller.end(task)
    controller.wait(HOUR_MS)
    assert controller.plan() == []
    (task,) = controller.tasks(job)
    assert job.state is JobState.STOPPING
    controller.end(task, 143, EndReason.STOPPED)
    assert controller.plan() == ["gang"]
    assert size(controller, "gang") == 3
    controller.run(job)
    controller.wait(HOUR_MS)
    assert controller.plan() == []
    assert job.state is JobState.RUNNING
    assert violations(controller.state) == []


def test_it_does_not_grow_while_somebody_waits() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    other = controller.submit("other", a_spec("other", devices=16, per_node=8))
    job = controller.submit("gang", elastic(estimate_seconds=24 * 3_600))
    controller.plan()
    controller.run(other)
    controller.run(job)
    for task in list(controller.tasks(other)):
        controller.end(task)
    controller.submit("waits", a_spec("waits", devices=24, per_node=8))
    controller.wait(HOUR_MS)
    assert controller.plan() == []
    assert job.state is JobState.RUNNING
