"""What one job met is told to those after it who ask for the same, but for what is so of itself alone."""

from typing import Any

import pytest

from scheduler.domain.ids import NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.reasons import Reason
from scheduler.domain.time import HOUR_MS
from scheduler.planner import Hole
from tests.builders.moments import FAST, HOUR, NOW_MS, SLOW, Moment, a_node, a_quota, asks

MAINTENANCE = Hole(NOW_MS + 2 * HOUR_MS, NOW_MS + 3 * HOUR_MS, frozenset([NodeId("n1")]))


def test_who_ends_before_the_maintenance_starts_after_who_does_not() -> None:
    moment = Moment([a_node("n1")], calendar=(MAINTENANCE,))
    for minutes, name, limit_h in ((3, "long", 5.0), (2, "short", 1.0), (1, "longer", 9.0)):
        moment.waits(name, asks(2, time_limit_ms=round(limit_h * HOUR_MS)), minutes)
    assert moment.starts() == ["short"]


def test_who_ends_before_kept_devices_are_needed_starts_after_who_does_not() -> None:
    moment = Moment([a_node("n1")], [a_quota(firm, within=None) for firm in ("own", "head")])
    moment.runs("runs", asks(4, time_limit_ms=3 * HOUR_MS), {"n1": 4}, HOUR)
    moment.waits("head", asks(8, "head"), HOUR)
    for minutes, name, limit_h in ((3, "long", 5.0), (2, "short", 1.0), (1, "longer", 9.0)):
        moment.waits(name, asks(2, time_limit_ms=round(limit_h * HOUR_MS)), minutes)
    assert moment.starts() == ["short"]


@pytest.mark.parametrize("first", ["resumes", "begins anew"])
def test_who_resumes_starts_before_the_maintenance_though_who_begins_anew_does_not(first: str) -> None:
    far_off = MAINTENANCE.from_ms + 28 * HOUR_MS
    moment = Moment([a_node("n1")], calendar=(Hole(far_off, far_off + HOUR_MS, MAINTENANCE.nodes),))
    for name in ("resumes", "begins anew"):
        shape = asks(4, rates=((FAST, 1.0),), resumable=name == "resumes")
        moment.waits(name, shape, 5 if name == first else 1, steps_left=40 * 3_600.0)
    assert moment.starts() == ["resumes"]


@pytest.mark.parametrize(
    "its",
    [
        {"devices": 2, "devices_per_node": 2},
        {"models": (SLOW,)},
        {"models": (FAST, SLOW)},
        {"avoid_nodes": frozenset([NodeId("n1")]), "devices": 1, "devices_per_node": 1},
        {"queue": a_quota("other").key},
    ],
    ids=["fewer devices", "another model", "one model more", "one device", "another queue"],
)
def test_who_asks_for_something_else_starts_though_those_before_did_not(its: dict[str, Any]) -> None:
    moment = Moment(
        [a_node("n1"), a_node("n2", 4, SLOW), a_node("n3", 4)],
        [a_quota("own", {FAST: 6, SLOW: 4}, within=None), a_quota("other", {FAST: 16, SLOW: 8}, within=None)],
    )
    moment.runs("runs", asks(4), {"n1": 4}, HOUR)
    moment.waits("first", asks(4), 5)
    moment.waits("second", asks(4)._replace(**its), 1)
    assert moment.starts() == ["second"]


def test_a_job_whose_other_model_is_benched_is_told_so_beside_what_those_before_it_met() -> None:
    moment = Moment([a_node("n1")])
    moment.runs("runs", asks(8, priority=Priority.HIGH), {"n1": 8}, HOUR)
    moment.waits("first", asks(8), 5)
    moment.waits("second", asks(8, benched=((SLOW, "it failed there twice"),)), 1)
    report = moment.decided()[1]
    told = {str(item.jobs[0].job_id): {why.reason for why in item.reasons} for item in report.classes}
    assert told["second"] - told["first"] == {Reason.VARIANT_BENCHED}
    assert told["first"] == {Reason.DEVICES_BUSY}


def test_who_has_waited_as_long_as_he_would_lose_starts_though_a_newer_one_before_him_does_not() -> None:
    far_off = MAINTENANCE.from_ms + 28 * HOUR_MS
    moment = Moment([a_node("n1")], calendar=(Hole(far_off, far_off + HOUR_MS, MAINTENANCE.nodes),))
    job = asks(4, rates=((FAST, 1.0),))
    moment.waits("new", job._replace(priority=Priority.HIGH), 5, steps_left=40 * 3_600.0)
    moment.waits("old", job._replace(priority=Priority.LOW), 35 * HOUR, steps_left=40 * 3_600.0)
    assert moment.starts() == ["old"]


@pytest.mark.parametrize(("hours", "starts"), [(2.9, []), (3.0, ["old"])])
def test_who_has_waited_long_enough_for_a_faster_model_starts_though_a_newer_one_before_him_goes_on_waiting(
    hours: float, starts: list[str]
) -> None:
    moment = Moment([a_node("n1"), a_node("n2", model=SLOW)])
    moment.runs("on fast", asks(8, rates=((FAST, 1.0),)), {"n1": 8}, HOUR, steps_left=600.0)
    job = asks(8, models=(FAST, SLOW), rates=((FAST, 4.0), (SLOW, 1.0)))
    moment.waits("new", job._replace(priority=Priority.HIGH), 5, steps_left=4 * 3_600.0)
    moment.waits("old", job._replace(priority=Priority.LOW), hours * HOUR, steps_left=4 * 3_600.0)
    assert moment.starts() == starts
