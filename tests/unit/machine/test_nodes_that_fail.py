"""Silence, loss and return of nodes, and of gateways between them and us."""

from scheduler.domain.allocations import Goal, Phase
from scheduler.domain.ids import GatewayId, NodeId
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import NodeState
from scheduler.domain.reasons import Ending, EndReason, Outcome, StopReason
from scheduler.machine.invariants import violations
from scheduler.machine.messages import (
    GatewayLost,
    GatewaySeen,
    GatewayStarted,
    LeaderStarted,
    NodeDisconnected,
)
from scheduler.machine.state import JobRecord
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec

PATIENCE_MS = 60_000


def three_nodes_with_a_gang() -> tuple[Controller, JobRecord]:
    """A gang on n1 and n2, a spare n3."""
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    job = controller.submit("gang", a_spec(devices=16, per_node=8))
    controller.plan()
    controller.run(job)
    return controller, job


def disconnect(controller: Controller, node_id: str, gateway: str = "gateway-1") -> None:
    """The node's stream breaks."""
    controller.tell(NodeDisconnected(NodeId(node_id), GatewayId(gateway), controller.now_ms))


def test_a_silent_node_keeps_its_tasks_until_the_pools_patience_has_passed() -> None:
    controller, job = three_nodes_with_a_gang()
    disconnect(controller, "n1")
    assert controller.node("n1").state is NodeState.SILENT
    controller.wait(PATIENCE_MS - 1)
    assert job.state is JobState.RUNNING
    controller.connect("n1")
    controller.wait(PATIENCE_MS)
    assert (controller.node("n1").state, job.state) == (NodeState.CONNECTED, JobState.RUNNING)


def test_when_a_node_is_lost_its_gang_is_stopped_elsewhere_and_started_again_on_healthy_nodes() -> None:
    controller, job = three_nodes_with_a_gang()
    on_lost, elsewhere = controller.tasks(job)
    disconnect(controller, "n1")
    controller.wait(PATIENCE_MS)
    assert controller.node("n1").state is NodeState.LOST
    assert (elsewhere.goal, elsewhere.stop_reason) == (Goal.STOP, StopReason.GANG_FAILED)
    assert (on_lost.lost, job.state) == (True, JobState.STOPPING)
    controller.end(elsewhere, 143, EndReason.STOPPED)
    assert (job.state, job.attempts[0].outcome) == (JobState.QUEUED, Outcome.LOST)
    assert job.attempts[0].reason is Ending.NODE_LOST
    assert controller.plan() == ["gang"]
    assert {allocation.node_id for allocation in controller.tasks(job)} == {"n2", "n3"}
    assert violations(controller.state) == []


def test_devices_of_a_lost_node_are_given_to_nobody_before_it_says_that_they_are_free() -> None:
    controller, job = three_nodes_with_a_gang()
    on_lost, elsewhere = controller.tasks(job)
    disconnect(controller, "n1")
    controller.wait(PATIENCE_MS)
    controller.end(elsewhere, 143, EndReason.STOPPED)
    controller.plan()
    waits = controller.submit("waits", a_spec(devices=1))
    controller.connect("n1")
    assert controller.plan() == []
    assert controller.desired("n1") == [(on_lost.allocation_id, "stop")]
    controller.observe("n1")  # it still runs
    assert controller.plan() == []
    assert on_lost.live
    controller.end(on_lost, 143, EndReason.STOPPED)
    assert controller.plan() == ["waits"]
    assert controller.tasks(waits)[0].node_id == "n1"
    assert violations(controller.state) == []


def test_a_lost_node_that_returns_empty_frees_its_devices() -> None:
    controller, job = three_nodes_with_a_gang()
    on_lost, _ = controller.tasks(job)
    disconnect(controller, "n1")
    controller.wait(PATIENCE_MS)
    controller.connect("n1", boot="boot-2")
    controller.observe("n1", [])
    assert not on_lost.live
    assert controller.desired("n1") == []


def test_time_of_a_lost_task_is_closed_when_it_is_lost_and_closed_once() -> None:
    controller, job = three_nodes_with_a_gang()
    on_lost, _ = controller.tasks(job)
    disconnect(controller, "n1")
    controller.wait(PATIENCE_MS)
    facts = [event for event, allocation_id in controller.evidence if allocation_id == on_lost.allocation_id]
    assert facts == ["granted", "started", "ended"]
    controller.connect("n1")
    controller.end(on_lost, 0)
    assert [e for e, a in controller.evidence if a == on_lost.allocation_id] == facts


def test_a_job_whose_nodes_are_lost_too_often_fails() -> None:
    controller = Controller([a_node("n1"), a_node("n2"), a_node("n3")])
    job = controller.submit("j", a_spec(devices=8, max_attempts=2))
    for node_id in ("n1", "n2"):
        assert controller.plan() == ["j"]
        controller.run(job)
        assert controller.tasks(job)[0].node_id == node_id
        disconnect(controller, node_id)
        controller.wait(PATIENCE_MS)
    assert (job.state, job.reason) == (JobState.FAILED, Ending.NODE_LOST)
    assert len(controller.state.allocations) == 2  # their devices are still taken
    assert violations(controller.state) == []


def test_a_task_that_ends_on_a_silent_node_ends_when_the_report_comes() -> None:
    controller, job = three_nodes_with_a_gang()
    disconnect(controller, "n1")
    disconnect(controller, "n2")
    for allocation in list(controller.tasks(job)):
        controller.end(allocation, 0)
    assert job.state is JobState.SUCCEEDED


def test_a_late_disconnect_of_another_gateway_does_not_silence_a_node() -> None:
    controller = Controller([a_node("n1")])
    controller.now_ms += 1
    controller.connect("n1", gateway="gateway-2")
    disconnect(controller, "n1", "gateway-1")
    assert controller.node("n1").state is NodeState.CONNECTED


def test_an_agent_that_moves_to_a_gateway_whose_clock_is_behind_is_connected_there() -> None:
    controller = Controller([a_node("n1")])
    controller.now_ms -= 5_000
    controller.connect("n1", gateway="gateway-2")
    controller.now_ms += 5_000
    disconnect(controller, "n1", "gateway-1")
    assert controller.node("n1").state is NodeState.CONNECTED
    assert controller.node("n1").gateway_id == "gateway-2"


def test_the_same_connection_told_twice_has_one_effect() -> None:
    controller, _ = three_nodes_with_a_gang()
    controller.now_ms += 1
    assert controller.connect("n1")
    generation = controller.node("n1").generation
    assert not controller.connect("n1")
    assert controller.node("n1").generation == generation


def test_a_dead_gateway_makes_its_nodes_silent_and_its_return_makes_them_connected() -> None:
    controller = Controller([a_node("n1"), a_node("n2")])
    controller.connect("n2", gateway="gateway-2")
    controller.tell(GatewayLost(GatewayId("gateway-1")))
    assert [controller.node(n).state for n in ("n1", "n2")] == [NodeState.SILENT, NodeState.CONNECTED]
    controller.tell(GatewaySeen(GatewayId("gateway-1")))
    assert controller.node("n1").state is NodeState.CONNECTED
    controller.tell(GatewayLost(GatewayId("gateway-1")))
    controller.wait(PATIENCE_MS)
    assert controller.node("n1").state is NodeState.LOST


def test_a_gateway_that_was_started_anew_has_none_of_its_old_streams() -> None:
    controller = Controller([a_node("n1")])
    controller.tell(GatewayStarted(GatewayId("gateway-1")))
    assert controller.node("n1").state is NodeState.SILENT
    controller.tell(GatewaySeen(GatewayId("gateway-1")))
    assert controller.node("n1").state is NodeState.SILENT
    controller.connect("n1")
    assert controller.node("n1").state is NodeState.CONNECTED


def test_after_an_outage_of_the_control_plane_no_healthy_task_is_given_up() -> None:
    controller, job = three_nodes_with_a_gang()
    disconnect(controller, "n1")
    controller.now_ms += 3_600_000  # nobody led for an hour
    controller.tell(LeaderStarted())
    controller.wait(PATIENCE_MS - 1)
    assert job.state is JobState.RUNNING
    controller.connect("n1")
    controller.wait(PATIENCE_MS)
    assert job.state is JobState.RUNNING


def test_a_reconnect_asks_for_a_report_that_has_seen_the_desired_state() -> None:
    controller, job = three_nodes_with_a_gang()
    first, _ = controller.tasks(job)
    generation = controller.node("n1").generation
    controller.now_ms += 1
    controller.connect("n1")
    assert controller.node("n1").generation == generation + 1
    controller.observe("n1", [], obeyed=False)  # sent by a new agent before it was told anything
    assert (first.live, first.phase) == (True, Phase.RUNNING)
