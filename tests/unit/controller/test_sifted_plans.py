"""What trips the planner is left out of plans: the others start, and whoever is left out is told why it waits."""

from collections.abc import Collection, Set
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from scheduler.controller.sifted_plans import AGAIN_MS, LOOKING_S, SiftedPlan, Sifter
from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.reasons import Reason
from scheduler.machine import announce
from scheduler.machine.messages import CancelRequested
from scheduler.planner import Plan, Report, Snapshot
from scheduler.planner.cycle import Planner
from scheduler.planner.sifting import StillLooking
from tests.builders.cluster import FIRM, Controller, a_node
from tests.builders.jobs import a_spec

MANY = 200


class Tripping:
    """Plans as the planner does, and raises where one of these jobs is in the snapshot; counts plans and planners.

    Each plan takes so long by its clock.
    """

    def __init__(self, controller: Controller, over: Collection[str], plan_s: float = 0.0) -> None:
        self._controller = controller
        self.over = set(over)
        self.only_together = False
        self.planners = self.plans = 0
        self._plan_s = plan_s
        self.now_s = 0.0

    def sifter(self) -> Sifter:
        return Sifter(self.make, lambda: self.now_s)

    def make(self) -> "Tripping._Planner":
        self.planners += 1
        return self._Planner(self, Planner(self._controller.state.catalogue, self._controller.config))

    def trips(self, jobs: Set[str]) -> bool:
        return self.over <= jobs if self.only_together else not self.over.isdisjoint(jobs)

    class _Planner:
        def __init__(self, of: "Tripping", planner: Planner) -> None:
            self._of, self._planner = of, planner

        def plan(self, snapshot: Snapshot, now_ms: int) -> tuple[Plan, Report]:
            self._of.plans += 1
            self._of.now_s += self._of._plan_s
            jobs = {job.job_id for item in snapshot.classes for job in item.jobs}
            jobs |= {job.job_id for job in snapshot.running} | {one.job.job_id for one in snapshot.resting}
            if self._of.trips(jobs):
                raise ZeroDivisionError("a defect")
            return self._planner.plan(snapshot, now_ms)


def controller_with(jobs: int) -> Controller:
    """Two nodes, and jobs of one device each, no two of a shape."""
    controller = Controller([a_node("n1"), a_node("n2")])
    for number in range(jobs):
        controller.submit(f"j{number}", a_spec(f"j{number}", devices=1, time_limit_s=3600 + number))
    return controller


def placed(plan: Plan) -> list[str]:
    return [placement.job_id for placement in plan.placements]


def test_where_nothing_trips_the_planner_there_is_one_plan() -> None:
    controller = controller_with(4)
    tripping = Tripping(controller, ())
    planned = tripping.sifter().plan(controller.state, controller.now_ms)
    assert placed(planned.made.plan) == ["j0", "j1", "j2", "j3"]
    assert (tripping.plans, tripping.planners, planned.left_out, planned.news) == (1, 1, (), ())


def test_a_job_that_trips_the_planner_waits_and_the_others_start() -> None:
    controller = controller_with(4)
    sifter = Tripping(controller, {"j1"}).sifter()
    planned = sifter.plan(controller.state, controller.now_ms)
    assert placed(planned.made.plan) == ["j0", "j2", "j3"]
    assert planned.news == (("j1", 1),)
    told = planned.made.report.of(JobId("j1"))
    assert told is not None
    assert [why.reason for why in told.reasons] == [Reason.PLAN_FAILED]
    assert planned.made.report.starts(JobId("j1")) is None
    announce(controller.state, planned.made.report, controller.now_ms, controller.ids)


def test_waiting_jobs_of_one_shape_are_left_out_together() -> None:
    controller = Controller([a_node("n1")])
    for name in ("a", "b", "other"):
        controller.submit(name, a_spec(devices=2 if name == "other" else 1))
    planned = Tripping(controller, {"b"}).sifter().plan(controller.state, controller.now_ms)
    assert placed(planned.made.plan) == ["other"]
    assert planned.news == (("a", 2),)


def test_it_is_found_in_a_number_of_plans_that_hardly_grows_with_the_queue() -> None:
    controller = controller_with(MANY)
    tripping = Tripping(controller, {"j77", "j178"})
    sifter = tripping.sifter()
    planned = sifter.plan(controller.state, controller.now_ms)
    assert [job_id for job_id, _ in planned.news] == ["j77", "j178"]
    assert tripping.plans <= 2 * 2 * MANY.bit_length()
    tripping.plans = 0
    again = sifter.plan(controller.state, controller.now_ms + 1)
    assert (tripping.plans, again.news) == (1, ()), "it is known, and told of once"
    assert len(again.left_out) == 2


def test_what_was_left_out_is_planned_for_again_after_a_while() -> None:
    controller = controller_with(2)
    tripping = Tripping(controller, {"j0"})
    sifter = tripping.sifter()
    assert placed(sifter.plan(controller.state, controller.now_ms).made.plan) == ["j1"]
    tripping.over.clear()
    assert placed(sifter.plan(controller.state, controller.now_ms + AGAIN_MS - 1).made.plan) == ["j1"]
    assert placed(sifter.plan(controller.state, controller.now_ms + AGAIN_MS).made.plan) == ["j0", "j1"]


def test_what_trips_the_planner_again_is_told_of_again() -> None:
    controller = controller_with(2)
    sifter = Tripping(controller, {"j0"}).sifter()
    for later_ms, news in ((0, (("j0", 1),)), (1, ()), (AGAIN_MS, (("j0", 1),))):
        assert sifter.plan(controller.state, controller.now_ms + later_ms).news == news


def test_what_was_left_out_first_is_planned_for_again_first() -> None:
    controller = controller_with(3)
    tripping = Tripping(controller, {"j1"})
    sifter = tripping.sifter()
    sifter.plan(controller.state, controller.now_ms)
    tripping.over = {"j0"}
    sifter.plan(controller.state, controller.now_ms + 1)
    tripping.over.clear()
    planned = sifter.plan(controller.state, controller.now_ms + AGAIN_MS + 1)
    assert placed(planned.made.plan) == ["j1", "j2"]


def test_a_running_job_that_trips_the_planner_runs_on_and_keeps_its_devices() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("runs", a_spec(devices=6, time_limit_s=3600))
    assert controller.plan() == ["runs"]
    for name, devices in (("too-large", 4), ("fits", 2)):
        controller.submit(name, a_spec(devices=devices, time_limit_s=600))
    planned = Tripping(controller, {"runs"}).sifter().plan(controller.state, controller.now_ms)
    assert planned.made.plan.stops == ()
    assert placed(planned.made.plan) == ["fits"]
    assert planned.left_out == ("runs",)


def test_a_job_between_two_attempts_that_trips_the_planner_is_told_so() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("rests", a_spec(devices=1, max_attempts=3, on_exit_codes=(1,)))
    controller.submit("other", a_spec(devices=2))
    controller.plan()
    controller.run(controller.state.jobs[JobId("rests")])
    controller.end(controller.tasks(controller.state.jobs[JobId("rests")])[0], exit_code=1)
    assert controller.state.resting
    planned = Tripping(controller, {"rests"}).sifter().plan(controller.state, controller.now_ms)
    told = planned.made.report.of(JobId("rests"))
    assert told is not None
    assert [why.reason for why in told.reasons] == [Reason.PLAN_FAILED]


def test_a_job_of_which_no_picture_can_be_made_is_left_out_of_the_snapshot() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("runs", a_spec(devices=6, time_limit_s=3600))
    controller.plan()
    controller.submit("fits", a_spec(devices=2))
    attempt = controller.state.jobs[JobId("runs")].attempt
    assert attempt is not None
    attempt.allocations[0].node_id = NodeId("nowhere")
    sifter = Tripping(controller, ()).sifter()
    with capture_logs() as log:
        planned = sifter.plan(controller.state, controller.now_ms)
        assert placed(planned.made.plan) == ["fits"]
        assert (planned.left_out, planned.news) == (("runs",), (("runs", 1),))
        assert sifter.plan(controller.state, controller.now_ms + 1).news == ()
    assert [entry["event"] for entry in log] == ["snapshot_failed"], "once for these jobs"


def looked_for(sifter: Sifter, controller: Controller, most: int) -> tuple[int, SiftedPlan]:
    """Calls until there is a plan, and the plan."""
    for calls in range(1, most + 1):
        try:
            return calls, sifter.plan(controller.state, controller.now_ms + calls)
        except StillLooking:
            continue
    raise AssertionError(f"no plan in {most} calls")


def left_out_of(planned: SiftedPlan) -> set[str]:
    failing = [item for item in planned.made.report.classes if item.reasons[0].reason is Reason.PLAN_FAILED]
    return {job.job_id for item in failing for job in item.jobs}


def test_more_than_is_found_in_one_cycle_is_found_in_the_next_ones() -> None:
    controller = controller_with(60)
    over = {f"j{number}" for number in range(0, 60, 5)}
    calls, planned = looked_for(Tripping(controller, over, plan_s=LOOKING_S / 20).sifter(), controller, 12)
    assert calls > 1
    assert left_out_of(planned) == over


@pytest.mark.parametrize("plan_s", [LOOKING_S / 3, LOOKING_S, 2 * LOOKING_S])
def test_no_call_tries_plans_for_long_and_each_goes_on_where_the_one_before_ended(plan_s: float) -> None:
    controller = controller_with(MANY)
    over = {"j77", "j178"}
    tripping = Tripping(controller, over, plan_s)
    sifter = tripping.sifter()
    for calls in range(1, 2 * 2 * MANY.bit_length()):
        begun_s = tripping.now_s
        try:
            planned = sifter.plan(controller.state, controller.now_ms + calls)
        except StillLooking:
            # The plan that is tried last, and of the first call the whole one, the one without any, and one more.
            assert tripping.now_s - begun_s <= max(LOOKING_S + plan_s, 3 * plan_s)
            continue
        break
    assert calls > 1
    assert left_out_of(planned) == over
    assert planned.news == (("j77", 1), ("j178", 1))


def test_a_search_that_goes_on_ends_although_jobs_come_and_go() -> None:
    controller = controller_with(MANY)
    tripping = Tripping(controller, {"j77", "late"}, plan_s=2 * LOOKING_S)
    sifter = tripping.sifter()
    for calls in range(1, 4 * MANY.bit_length()):
        controller.submit(f"n{calls}", a_spec(f"n{calls}", devices=1, time_limit_s=9_000 + calls))
        if calls == 3:
            controller.submit("late", a_spec("late", devices=1, time_limit_s=8_000))
        controller.tell(CancelRequested(FirmId(FIRM), JobId(f"j{calls}"), "somebody"))
        try:
            planned = sifter.plan(controller.state, controller.now_ms + calls)
        except StillLooking:
            continue
        break
    assert left_out_of(planned) == {"j77"}
    assert planned.made.plan.placements
    assert planned.made.report.unfinished, "who came meanwhile is planned for at once"
    _, planned = looked_for(sifter, controller, 4 * MANY.bit_length())
    assert left_out_of(planned) == {"j77", "late"}


def test_who_submits_a_job_that_trips_the_planner_in_each_cycle_keeps_no_plan_from_being_made() -> None:
    controller = controller_with(8)
    tripping = Tripping(controller, {"j3"}, plan_s=LOOKING_S)
    sifter = tripping.sifter()
    made = []
    for cycle in range(30):
        with suppress(StillLooking):
            made.append(placed(sifter.plan(controller.state, controller.now_ms + cycle).made.plan))
        tripping.over.add(f"late{cycle}")
        controller.submit(f"late{cycle}", a_spec(devices=1, time_limit_s=9_000 + cycle))
    assert len(made) >= 2, "neither the first search nor those that follow go on for ever"
    assert len(made[0]) == 7


def test_a_search_begins_anew_where_what_was_good_trips_the_planner() -> None:
    controller = controller_with(MANY)
    tripping = Tripping(controller, {"j177"}, plan_s=2 * LOOKING_S)
    sifter = tripping.sifter()
    for call in range(3):
        with pytest.raises(StillLooking):
            sifter.plan(controller.state, controller.now_ms + call)
    tripping.over = {"j1"}
    _, planned = looked_for(sifter, controller, 2 * MANY.bit_length())
    assert left_out_of(planned) == {"j1"}


def test_of_two_jobs_that_trip_the_planner_only_together_the_older_one_starts() -> None:
    controller = controller_with(4)
    tripping = Tripping(controller, {"j1", "j2"})
    tripping.only_together = True
    planned = tripping.sifter().plan(controller.state, controller.now_ms)
    assert placed(planned.made.plan) == ["j0", "j1", "j3"]


def test_what_is_no_jobs_fault_is_raised() -> None:
    controller = controller_with(2)

    class Broken:
        def plan(self, _snapshot: Snapshot, _now_ms: int) -> tuple[Plan, Report]:
            raise ZeroDivisionError("always")

    with pytest.raises(ZeroDivisionError, match="always"):
        Sifter(Broken).plan(controller.state, controller.now_ms)


def test_what_takes_several_calls_to_find_is_told_of_once_it_is_planned_without() -> None:
    controller = controller_with(MANY)
    many = {f"j{number}" for number in range(0, MANY, 20)}
    tripping = Tripping(controller, many, plan_s=LOOKING_S / 20)
    sifter = tripping.sifter()
    calls, planned = looked_for(sifter, controller, MANY)
    assert calls > 1
    assert sorted(job_id for job_id, _ in planned.news) == sorted(many)
    tripping.plans = 0
    assert sifter.plan(controller.state, controller.now_ms + MANY).news == ()
    assert tripping.plans == 1, "nothing is looked for any more"


def test_however_long_it_takes_to_find_all_a_plan_is_made_and_goes_on_being_made() -> None:
    controller = controller_with(60)
    over = {f"j{number}" for number in range(0, 60, 5)}
    sifter = Tripping(controller, over, plan_s=LOOKING_S / 20).sifter()
    made = []
    for cycle in range(12):  # each takes half as long as what is found stays left out
        try:
            sifter.plan(controller.state, controller.now_ms + cycle * AGAIN_MS // 2)
            made.append(cycle)
        except StillLooking:
            continue
    assert made, "what was found first is not looked for again before the last is"
    assert made == list(range(made[0], 12))
