"""What is done for a job that does not start at its turn: of several ways the best, and what is kept for it."""

import pytest

from scheduler.domain.ids import JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.time import HOUR_MS
from scheduler.planner import PlannerConfig, Shape
from tests.builders.moments import FAST, HOUR, NOW_MS, SLOW, Moment, a_node, a_quota, asks

LOW, HIGH = Priority.LOW, Priority.HIGH


def test_of_two_models_on_which_as_much_is_lost_work_stops_on_the_one_that_is_tried_first() -> None:
    moment = Moment([a_node("n1"), a_node("n2", model=SLOW)])
    moment.runs("on fast", asks(8, priority=LOW, resumable=True), {"n1": 8}, HOUR)
    moment.runs("on slow", asks(8, priority=LOW, model=SLOW, resumable=True), {"n2": 8}, HOUR)
    moment.waits("urgent", asks(8, priority=HIGH, models=(SLOW, FAST)))
    assert moment.stops() == ["on fast"]


def test_devices_of_who_stops_already_are_counted_on_by_as_many_as_they_are_enough_for() -> None:
    moment = Moment([a_node("n1"), a_node("n2", 4)])
    moment.runs("stops already", asks(8, priority=LOW), {"n1": 8}, HOUR, stopping=True)
    moment.runs("low", asks(4, priority=LOW), {"n2": 4}, HOUR)
    for number, name in enumerate(("first", "second", "third")):  # no two of one class
        moment.waits(name, asks(4, priority=HIGH, time_limit_ms=(1 + number) * HOUR_MS), 2 - number)
    found, _ = moment.decided()
    assert [(stop.job_id, stop.for_job) for stop in found.stops] == [("low", "third")]


@pytest.mark.parametrize("opens", [("n1", 2, 20), ("n2", 20, 2)])
def test_devices_are_kept_where_work_ends_first_and_others_start_where_it_does_not(
    opens: tuple[str, int, int],
) -> None:
    first, left, right = opens
    moment = Moment([a_node("n1"), a_node("n2")])
    for node, hours in (("n1", left), ("n2", right)):
        moment.runs(f"on {node}", asks(7, rates=((FAST, 1.0),)), {node: 7}, HOUR, steps_left=hours * 3_600.0)
    moment.waits("head", asks(8), HOUR)
    moment.waits("small", asks(1, time_limit_ms=10 * HOUR_MS))
    found, _ = moment.decided()
    assert [task.node_id for placement in found.placements for task in placement.tasks] == [
        "n2" if first == "n1" else "n1"
    ]


def test_devices_are_kept_on_the_model_where_the_job_starts_first() -> None:
    for fast_h, slow_h, elsewhere in ((2, 5, SLOW), (5, 2, FAST)):
        moment = Moment([a_node("n1"), a_node("n2", model=SLOW)])
        moment.runs("on fast", asks(7, time_limit_ms=fast_h * HOUR_MS), {"n1": 7}, HOUR)
        moment.runs("on slow", asks(7, model=SLOW, time_limit_ms=slow_h * HOUR_MS), {"n2": 7}, HOUR)
        moment.waits("head", asks(8, models=(FAST, SLOW)), HOUR)
        for model in (FAST, SLOW):
            moment.waits(f"small on {model}", asks(1, model=model, time_limit_ms=30 * HOUR_MS))
        assert moment.starts() == [f"small on {elsewhere}"]


def test_two_jobs_of_a_queue_do_not_both_keep_devices_of_one_model_but_jobs_of_two_queues_do() -> None:
    for firms, kept in ((("own", "own"), 1), (("own", "other"), 2)):
        moment = Moment(
            [a_node(f"n{n}") for n in range(3)], [a_quota(firm, within=None) for firm in ("own", "other")]
        )
        for node in range(3):
            moment.runs(f"on n{node}", asks(6, time_limit_ms=(2 + node) * HOUR_MS), {f"n{node}": 6}, HOUR)
        for number, firm in enumerate(firms):
            moment.waits(f"head {number}", asks(8 - number, firm), HOUR)
        for number in range(3):
            moment.waits(f"small {number}", asks(2, time_limit_ms=30 * HOUR_MS))
        assert len(moment.starts()) == 3 - kept


def test_no_more_jobs_keep_devices_than_may() -> None:
    firms = ("own", "second", "third")
    moment = Moment(
        [a_node(f"n{n}") for n in range(3)],
        [a_quota(firm, within=None) for firm in firms],
        config=PlannerConfig(max_reservations=2),
    )
    for node, firm in enumerate(firms):
        moment.runs(f"on n{node}", asks(6, time_limit_ms=(2 + node) * HOUR_MS), {f"n{node}": 6}, HOUR)
        moment.waits(f"small {node}", asks(2, time_limit_ms=30 * HOUR_MS))
        moment.waits(f"head of {firm}", asks(8 - node % 2, firm), HOUR)
    assert len(moment.starts()) == 1


AVOIDS = asks(8, avoid_nodes=frozenset([NodeId("n1")]))


def promised_h(moment: Moment, name: str) -> int | None:
    """After how many hours a job starts at the latest; None: nobody says."""
    its = moment.decided()[1].of(JobId(name))
    return None if its is None or its.starts_by_ms is None else (its.starts_by_ms - NOW_MS) // HOUR_MS


def test_a_job_of_one_device_is_promised_when_it_starts() -> None:
    moment = Moment([a_node("n1", 1)])
    moment.runs("on n1", asks(1, time_limit_ms=3 * HOUR_MS), {"n1": 1}, HOUR)
    moment.waits("head", asks(1), HOUR)
    assert promised_h(moment, "head") == 2


@pytest.mark.parametrize(
    "first", [AVOIDS, asks(16, per_node=8), asks(12, per_node=8, groups=((1, 8), (1, 4)))]
)
def test_who_can_be_promised_nothing_keeps_nobody_from_a_promise_who_asks_for_nearly_the_same(
    first: Shape,
) -> None:
    moment = Moment(
        [a_node("n1"), a_node("n2")], [a_quota(firm, within=None) for firm in ("own", "other", "last")]
    )
    moment.runs("on n1", asks(8, "last", time_limit_ms=3 * HOUR_MS), {"n1": 8}, HOUR)
    moment.runs("on n2", asks(8, "last"), {"n2": 8}, HOUR)
    moment.waits("first", first._replace(priority=HIGH), 5)
    moment.waits("second", asks(8, "other", time_limit_ms=50 * HOUR_MS), 15)
    assert promised_h(moment, "second") == 2


def test_who_finds_no_node_to_hold_keeps_nobody_from_holding_one_that_he_avoids() -> None:
    moment = Moment(
        [a_node("n1"), a_node("n2")],
        [a_quota(firm, within=None) for firm in ("own", "second", "third", "last")],
    )
    for node in ("n1", "n2"):
        moment.runs(f"on {node}", asks(6, "last"), {node: 6}, HOUR)
    avoids = asks(8, "second", avoid_nodes=frozenset([NodeId("n2")]))
    moment.waits("first", asks(7), 3 * HOUR)
    moment.waits("second", avoids, 2 * HOUR)
    moment.waits("third", asks(8, "third"), HOUR)
    for number in range(2):
        moment.waits(f"small {number}", asks(2, "last", time_limit_ms=30 * HOUR_MS))
    assert moment.starts() == []
