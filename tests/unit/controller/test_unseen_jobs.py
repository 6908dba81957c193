"""A job of which no picture can be made is planned for again a while after that was first so, once one can be made."""

from scheduler.controller.sifted_plans import AGAIN_MS, Sifter
from scheduler.domain.ids import JobId, NodeId
from scheduler.planner.cycle import Planner
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec


def test_who_was_without_a_picture_for_long_is_planned_for_a_while_after_the_first_time() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("runs", a_spec(devices=6, time_limit_s=3600))
    assert controller.plan() == ["runs"]
    attempt = controller.state.jobs[JobId("runs")].attempt
    assert attempt is not None
    (allocation,) = attempt.allocations
    node_id, allocation.node_id = allocation.node_id, NodeId("nowhere")
    sifter = Sifter(lambda: Planner(controller.state.catalogue, controller.config))
    for later_ms in (0, AGAIN_MS - 1):
        assert sifter.plan(controller.state, controller.now_ms + later_ms).left_out == ("runs",)
    allocation.node_id = node_id
    assert sifter.plan(controller.state, controller.now_ms + AGAIN_MS - 1).left_out == ("runs",)
    assert sifter.plan(controller.state, controller.now_ms + AGAIN_MS).left_out == ()
