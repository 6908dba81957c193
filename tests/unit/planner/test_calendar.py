"""Maintenance windows and advance reservations: what may start before them, and what has to leave."""

from dataclasses import replace

import pytest

from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.jobs import Variant
from scheduler.domain.pools import Pool
from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import Reason
from scheduler.domain.time import to_rfc3339
from scheduler.machine import take_snapshot
from scheduler.machine.messages import ConfigurationChanged
from scheduler.planner import Hole, PlannerConfig
from scheduler.planner.calendar import drained
from scheduler.planner.cycle import plan
from scheduler.planner.snapshot import DRAIN_MS
from tests.builders.cluster import FIRM, POOL, Controller, a_node
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

HOUR_MS = 3_600_000


def booked(
    nodes: int = 2, firm: str | None = None, hours: int = 2, why: str = "a new power supply"
) -> Controller:
    """Nodes n0, n1 …; the first is booked in some hours for an hour."""
    controller = Controller([a_node(f"n{n}") for n in range(nodes)])
    keys = [QueueKey(FirmId(name), "default") for name in (FIRM, "firm-b")]
    begin_ms = controller.now_ms + hours * HOUR_MS
    whose = None if firm is None else QueueKey(FirmId(firm), "default")
    hole = Hole(begin_ms, begin_ms + HOUR_MS, frozenset({NodeId("n0")}), whose, why)
    queues = tuple(Queue(key, (POOL,)) for key in keys)
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, queues, (), (hole,)))
    return controller


def placed_on(controller: Controller, name: str) -> str:
    attempt = controller.state.jobs[JobId(name)].attempt
    assert attempt is not None
    return attempt.allocations[0].node_id


def test_only_work_that_ends_before_maintenance_starts_on_its_nodes() -> None:
    controller = booked(nodes=1)
    controller.submit("long", a_spec("long", devices=8, time_limit_s=3 * 3600))
    controller.submit("short", a_spec("short", devices=8, time_limit_s=3600))
    assert controller.plan() == ["short"]


def test_a_job_that_waits_for_a_booked_node_is_told_so() -> None:
    controller = booked(nodes=1)
    controller.submit("long", a_spec("long", devices=8, time_limit_s=3 * 3600))
    assert controller.plan() == []
    report = controller.report.of(JobId("long"))
    assert report is not None
    assert report.reasons[0].reason is Reason.MAINTENANCE
    assert "8 are free" in report.reasons[0].sentence
    assert "a new power supply" in report.reasons[0].sentence


def test_who_begins_anew_keeps_off_a_node_that_is_booked_long_before_he_has_ended_where_he_can() -> None:
    controller = booked(nodes=2, hours=60)
    for name in ("one", "other"):
        spec = replace(a_spec(name, devices=8, time_limit_s=72 * 3600), model_checkpoint=None)
        controller.submit(name, spec)
    assert controller.plan() == ["one"]
    controller.wait(30 * HOUR_MS)
    assert controller.plan() == ["other"]
    assert [placed_on(controller, name) for name in ("one", "other")] == ["n1", "n0"]
    saves = booked(nodes=2, hours=48)
    saves.submit("one", a_spec("one", devices=8, time_limit_s=72 * 3600))
    saves.plan()
    assert placed_on(saves, "one") == "n0"


def test_a_node_that_is_booked_later_is_taken_rather_than_one_on_which_an_attempt_failed() -> None:
    controller = booked(nodes=2, hours=60)
    controller.submit("one", replace(a_spec("one", devices=8, time_limit_s=72 * 3600), model_checkpoint=None))
    controller.wait(30 * HOUR_MS)
    snapshot = take_snapshot(controller.state, controller.now_ms)
    for failed, other in (("n0", "n1"), ("n1", "n0")):
        hole = replace(snapshot.calendar[0], nodes=frozenset({NodeId(other)}))
        shape = snapshot.classes[0].shape._replace(avoid_nodes=frozenset({NodeId(failed)}))
        classes = (replace(snapshot.classes[0], shape=shape),)
        decided, _ = plan(
            replace(snapshot, classes=classes, calendar=(hole,)), controller.now_ms, PlannerConfig()
        )
        assert [task.node_id for placed in decided.placements for task in placed.tasks] == [other]


def test_what_still_runs_is_drained_before_maintenance_and_goes_on_elsewhere() -> None:
    controller = booked(nodes=1)
    job = controller.submit("short", a_spec("short", devices=8, time_limit_s=3600))
    assert controller.plan() == ["short"]
    controller.run(job)
    assert job.attempt is not None
    job.attempt.time_limit_ms = None  # as if it had been given more time since
    due_ms = controller.state.calendar[0].from_ms - DRAIN_MS
    assert not controller.wait(due_ms - controller.now_ms - 1_000).replan
    controller.plan()
    assert job.state.value == "running"
    assert controller.wait(1_000).replan  # time alone makes the controller look at the calendar
    controller.plan()
    assert job.state.value == "stopping"
    said = next(e for c in controller.changes for e in c.events if e.kind == "JobPreempted")
    assert said.data["cause"] == "maintenance"
    assert "a new power supply" in said.data["detail"]


@pytest.mark.parametrize(
    ("firm", "why", "said"),
    [
        (None, "a new fan", "a new fan"),
        (None, "", "maintenance"),
        ("firm-b", "a new fan", "they are reserved"),
    ],
)
def test_who_leaves_a_node_is_told_for_what(firm: str | None, why: str, said: str) -> None:
    controller = booked(nodes=1, firm=firm, why=why)
    job = controller.submit("short", a_spec("short", devices=8, time_limit_s=3600))
    assert controller.plan() == ["short"]
    controller.run(job)
    (hole,) = take_snapshot(controller.state, controller.now_ms).calendar
    stops = list(drained(take_snapshot(controller.state, controller.now_ms), hole.from_ms))
    assert [stop.sentence for stop in stops] == [
        f"its nodes are wanted from {to_rfc3339(hole.from_ms)}: {said}"
    ]


def test_the_owner_of_a_reservation_starts_in_it_and_nobody_else() -> None:
    controller = booked(nodes=1, firm="firm-b")
    controller.wait(2 * HOUR_MS)
    controller.submit("other", a_spec("other", devices=8))
    controller.submit("owner", a_spec("owner", devices=8), firm="firm-b")
    assert controller.plan() == ["owner"]
    controller.wait(HOUR_MS)
    assert controller.plan() == []


def booked_twice(
    *windows: tuple[float, float, str | None], hours: float, firm: str = "firm-b"
) -> tuple[Controller, list[str]]:
    """One node and what the calendar says of it, (from, until, whose) in hours from now; who of a firm starts now."""
    controller = Controller([a_node("n0")])
    queues = {name: Queue(QueueKey(FirmId(name), "default"), (POOL,)) for name in (FIRM, "firm-b", "firm-c")}
    now_ms, node = controller.now_ms, frozenset({NodeId("n0")})
    calendar = [
        Hole(
            now_ms + int(begin * HOUR_MS),
            now_ms + int(end * HOUR_MS),
            node,
            None if whose is None else queues[whose].key,
        )
        for begin, end, whose in windows
    ]
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, tuple(queues.values()), (), tuple(calendar)))
    controller.submit("job", a_spec("job", devices=8, time_limit_s=int(hours * 3600)), firm=firm)
    return controller, [str(job) for job in controller.plan()]


def test_of_two_windows_of_one_node_each_binds() -> None:
    own, others, out = (0, 6, "firm-b"), (6, 9, "firm-c"), (6, 9, None)
    for after in (others, out):
        assert booked_twice(own, after, hours=5)[1] == ["job"]
        controller, started = booked_twice(own, after, hours=7)
        assert started == [], "it would still run in what follows its reservation"
        report = controller.report.of(JobId("job"))
        assert report is not None
        assert [why.reason for why in report.reasons] == [Reason.MAINTENANCE]
    assert booked_twice(own, (6, 9, "firm-b"), hours=8)[1] == ["job"], "both are its own"
    for at_once in ((-1, 5, None), (-1, 7, "firm-c")):
        assert booked_twice(own, at_once, hours=1)[1] == booked_twice(at_once, own, hours=1)[1] == []
    for whose in (FIRM, "firm-c"):  # before the first of both nobody needs to own anything
        assert booked_twice((2, 4, "firm-b"), (4, 6, None), hours=1, firm=whose)[1] == ["job"]
        assert booked_twice((2, 4, "firm-b"), (4, 6, None), hours=3, firm=whose)[1] == []


def test_who_would_begin_anew_waits_for_other_nodes_and_no_longer_than_he_would_lose() -> None:
    controller = booked(nodes=1, hours=48)
    spec = a_spec("anew", devices=8, estimate_seconds=72 * 3600)
    controller.submit("anew", replace(spec, model_checkpoint=None))
    controller.state.learning.finished("", 72.0 * HOUR_MS, None)
    assert controller.plan() == []
    report = controller.report.of(JobId("anew"))
    assert report is not None
    assert [why.reason for why in report.reasons] == [Reason.MAINTENANCE]
    (hole,) = take_snapshot(controller.state, controller.now_ms).calendar
    latest = to_rfc3339((hole.from_ms + controller.state.jobs[JobId("anew")].submitted_ms) // 2)
    assert report.reasons[0].sentence.endswith(f"waits for others, until {latest} at the latest")
    assert report.reasons[0].available is None, "nodes are free: they are not what is short"
    controller.submit("resumes", spec)  # as large and as long
    assert controller.plan() == ["resumes"]


def test_who_has_waited_as_long_as_he_would_lose_starts_before_maintenance() -> None:
    controller = booked(nodes=1, hours=50)
    spec = replace(a_spec("anew", devices=8, estimate_seconds=72 * 3600), model_checkpoint=None)
    controller.submit("anew", spec)
    controller.state.learning.finished("", 72.0 * HOUR_MS, None)
    assert controller.plan() == []
    controller.wait(25 * HOUR_MS)
    assert controller.plan() == ["anew"]


def test_who_is_expected_to_end_before_maintenance_starts_whatever_its_limit_is() -> None:
    controller = booked(nodes=1, hours=48)
    spec = a_spec("anew", devices=8, estimate_seconds=3600, time_limit_s=72 * 3600)
    controller.submit("anew", replace(spec, model_checkpoint=None))
    controller.state.learning.finished("", 1.0 * HOUR_MS, HOUR_MS)
    assert controller.plan() == ["anew"]


def test_nobody_waits_for_a_faster_model_whose_devices_the_calendar_takes() -> None:
    def waits(begins_in_h: int, *, owner: bool = False) -> list[Reason]:
        """A job of an hour on the fast node, which is booked; on the free one it takes ten."""
        controller = Controller([a_node("fast", model=MODEL), a_node("slow", model=OTHER_MODEL)])
        key = QueueKey(FirmId(FIRM), "default")
        begin_ms = controller.now_ms + begins_in_h * HOUR_MS
        whose = key if owner else None
        hole = Hole(begin_ms, begin_ms + 24 * HOUR_MS, frozenset({NodeId("fast")}), whose)
        controller.tell(
            ConfigurationChanged({POOL: Pool(POOL)}, (Queue(key, (POOL,)),), (), (hole,)),
        )
        holder = controller.submit("holder", a_spec("holder", models=[MODEL], devices=8, time_limit_s=1_500))
        controller.plan()
        if controller.state.jobs[JobId("holder")].attempt is not None:
            controller.run(holder)
        spec = replace(a_spec("job", devices=8, estimate_seconds=3_600), model_checkpoint=None)
        speeds = [(MODEL, 36_000), (OTHER_MODEL, 3_600)]
        spec = replace(spec, variants=tuple(Variant(m, ("/bin/true",), steps_per_hour=r) for m, r in speeds))
        controller.submit("job", spec)
        if "job" in controller.plan():
            return []
        report = controller.report.of(JobId("job"))
        assert report is not None
        return [why.reason for why in report.reasons]

    assert Reason.FASTER_LATER in waits(begins_in_h=100)
    assert waits(begins_in_h=1) == [], "the window comes before it could have ended there"
    assert waits(begins_in_h=0) == [], "the window is open"
    assert Reason.FASTER_LATER in waits(begins_in_h=1, owner=True), "the reservation is its own"
