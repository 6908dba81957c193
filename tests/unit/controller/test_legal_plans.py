"""A plan with a placement that `plan_checks` refuses: the others start as if it did not wait."""

from dataclasses import replace

from scheduler.controller.legal_plans import legal_plan
from scheduler.domain.ids import JobId
from scheduler.machine import take_snapshot
from scheduler.planner import Plan, Report, Snapshot
from scheduler.planner.cycle import Planner
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import OTHER_MODEL, a_spec


class WithADefect:
    """Plans as the planner does, but says of one job a model that it has no variant for."""

    def __init__(self, controller: Controller, wrong: str) -> None:
        self._planner = Planner(controller.state.catalogue, controller.config)
        self._wrong = wrong
        self.plans = 0

    def plan(self, snapshot: Snapshot, now_ms: int) -> tuple[Plan, Report]:
        self.plans += 1
        decided, report = self._planner.plan(snapshot, now_ms)
        placements = tuple(
            replaced._replace(device_model=OTHER_MODEL) if replaced.job_id == self._wrong else replaced
            for replaced in decided.placements
        )
        return replace(decided, placements=placements), report


def test_who_comes_behind_a_refused_placement_starts_on_what_it_would_have_had() -> None:
    controller = Controller([a_node("n1")])
    for name in ("wrong", "behind", "last"):
        controller.submit(name, a_spec(name, devices=8, time_limit_s=3600))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    made = legal_plan(WithADefect(controller, "wrong"), snapshot, controller.now_ms)
    assert [placement.job_id for placement in made.plan.placements] == ["behind"]
    assert made.refused == {"wrong"}
    assert {violation.job_id for violation in made.violations} == {"wrong"}
    waiting = [job.job_id for item in made.report.classes for job in item.jobs]
    assert sorted(waiting) == ["last", "wrong"], "who was refused waits, too, and is told why"
    assert made.report.starts(JobId("wrong")) is None
    assert made.report.starts(JobId("last")) is not None


def test_a_legal_plan_is_made_once() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("one", a_spec("one", devices=4))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    planner = WithADefect(controller, "nobody")
    made = legal_plan(planner, snapshot, controller.now_ms)
    assert ([placement.job_id for placement in made.plan.placements], planner.plans) == (["one"], 1)
    assert (made.violations, made.refused) == ((), frozenset())
