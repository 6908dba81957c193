"""Gangs that keep a node beside them, to go on at once when they lose one."""

from dataclasses import replace

from scheduler.domain.allocations import Goal, Phase
from scheduler.domain.ids import GatewayId, NodeId
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, EndReason, Reason
from scheduler.machine.grants import spares_of, workers_of
from scheduler.machine.invariants import violations
from scheduler.machine.messages import NodeDisconnected
from scheduler.machine.state import JobRecord
from tests.builders.cluster import Controller, a_node, observed
from tests.builders.jobs import MODEL, a_spec

PATIENCE_MS = 60_000


def with_spare(nodes: int = 3, **more: object) -> tuple[Controller, JobRecord]:
    """A gang of two nodes with one beside it, running."""
    controller = Controller([a_node(f"n{n}") for n in range(1, nodes + 1)])
    spec = a_spec(devices=16, per_node=8, **more)  # type: ignore[arg-type]
    job = controller.submit("gang", replace(spec, gang=replace(spec.gang, spare_nodes=1)))
    assert controller.plan() == ["gang"]
    for phase in ("ready", "running"):
        bring(controller, job, phase)
    assert job.state is JobState.RUNNING
    return controller, job


def bring(controller: Controller, job: JobRecord, phase: str) -> None:
    """The tasks are reported in a phase; nobody reports the spare, of which no agent knows."""
    assert job.attempt is not None
    for task in workers_of(job.attempt):
        controller.observe(task.node_id, [observed(task, Phase(phase))])


def lose(controller: Controller, node_id: str) -> None:
    """A node is silent for longer than its pool's patience."""
    controller.tell(NodeDisconnected(NodeId(node_id), GatewayId("gateway-1"), controller.now_ms))
    controller.wait(PATIENCE_MS)


def nodes(job: JobRecord) -> list[str]:
    """Where the tasks of the newest attempt are, by rank."""
    assert job.attempt is not None
    return [task.node_id for task in workers_of(job.attempt)]


def test_a_spare_holds_its_devices_and_no_agent_hears_of_it() -> None:
    controller, job = with_spare()
    assert job.attempt is not None
    (spare,) = spares_of(job.attempt)
    assert (spare.goal, len(spare.device_ids), spare.node_id in nodes(job)) == (Goal.RESERVE, 8, False)
    assert controller.desired(spare.node_id) == []
    controller.observe(spare.node_id, [])
    assert spare.live
    controller.submit("waits")
    assert controller.plan() == []
    assert ("granted", spare.allocation_id) in controller.evidence
    assert violations(controller.state) == []


def test_a_gang_that_loses_a_node_goes_on_with_its_spare_before_anybody_else() -> None:
    controller, job = with_spare()
    assert job.attempt is not None
    (spare,) = spares_of(job.attempt)
    lost, stays = workers_of(job.attempt)
    controller.submit("waits", a_spec("waits", devices=8, priority="high"))
    lose(controller, lost.node_id)
    assert controller.plan() == []
    controller.end(stays, 143, EndReason.STOPPED)
    assert (job.state, job.attempts[0].reason, len(job.attempts)) == (JobState.ALLOCATED, Ending.NODE_LOST, 2)
    assert nodes(job) == [spare.node_id, stays.node_id]
    assert spares_of(job.attempts[1]) == []
    assert job.attempts[1].why_here["spares_used"] == 1
    assert violations(controller.state) == []
    bring(controller, job, "ready")
    bring(controller, job, "running")
    assert controller.plan() == []
    for task in workers_of(job.attempts[1]):
        controller.end(task)
    assert job.state is JobState.SUCCEEDED
    assert controller.plan() == ["waits"]
    assert violations(controller.state) == []


def test_a_second_loss_is_met_without_a_spare_as_ever() -> None:
    controller, job = with_spare()
    first, second = nodes(job)
    lose(controller, first)
    controller.end(controller.tasks(job)[1], 143, EndReason.STOPPED)
    bring(controller, job, "ready")
    bring(controller, job, "running")
    assert job.attempt is not None
    lose(controller, second)
    controller.end(workers_of(job.attempt)[0], 143, EndReason.STOPPED)
    assert (job.state, job.reason) == (JobState.QUEUED, Ending.NODE_LOST.value)
    assert controller.plan() == []
    assert violations(controller.state) == []


def test_a_lost_spare_does_not_stop_the_gang() -> None:
    controller, job = with_spare()
    assert job.attempt is not None
    (spare,) = spares_of(job.attempt)
    lose(controller, spare.node_id)
    assert (job.state, spare.live, spares_of(job.attempt)) == (JobState.RUNNING, False, [])
    assert violations(controller.state) == []


def test_a_spare_is_free_as_soon_as_the_gang_ends_for_another_reason() -> None:
    for exit_code in (0, 1):
        controller, job = with_spare()
        assert job.attempt is not None
        (spare,) = spares_of(job.attempt)
        controller.submit("waits", a_spec("waits", devices=8))
        first, second = workers_of(job.attempt)
        controller.end(first, exit_code)
        controller.end(second, exit_code)
        assert job.state is (JobState.FAILED if exit_code else JobState.SUCCEEDED)
        assert not spare.live
        assert controller.plan() == ["waits"]
        assert violations(controller.state) == []


def test_a_gang_waits_for_its_spare_too() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    controller.submit("other")
    assert controller.plan() == ["other"]
    spec = a_spec(devices=16, per_node=8)
    controller.submit("gang", replace(spec, gang=replace(spec.gang, spare_nodes=1)))
    assert controller.plan() == []
    (item,) = controller.report.classes
    assert item.reasons[0].reason in (Reason.DEVICES_BUSY, Reason.DEVICES_FRAGMENTED)
    assert MODEL in item.reasons[0].sentence
