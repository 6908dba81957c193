"""Who is behind a blocked job, and may be stopped for it: in its cell, its tree, its queue, and not too soon."""

from typing import Any

import pytest

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import COMPUTE, Cohort
from scheduler.domain.time import HOUR_MS
from scheduler.planner import PlannerConfig
from tests.builders.moments import DAY, FAST, HOUR, SLOW, TREE, Moment, a_node, a_quota, asks

LOW, HIGH = Priority.LOW, Priority.HIGH


def test_an_owner_takes_back_what_he_lent_on_whichever_of_his_models_that_is() -> None:
    for mine, lent in ((FAST, SLOW), (SLOW, FAST)):
        moment = Moment(
            [a_node("n1", model=mine), a_node("n2", model=lent)],
            [a_quota("own", {FAST: 8, SLOW: 8}), a_quota("other", {FAST: 0, SLOW: 0})],
        )
        moment.runs("mine", asks(8, model=mine), {"n1": 8}, HOUR)
        moment.runs("borrower", asks(8, "other", model=lent, resumable=True), {"n2": 8}, HOUR, saved=0)
        moment.waits("next", asks(8, models=(FAST, SLOW)))
        assert moment.stops() == ["borrower"]


def test_nobody_gives_back_what_was_lent_in_another_tree() -> None:
    own, other = {FAST: 8}, {FAST: 0}
    queues = [
        a_quota("own", own), a_quota("guest", other),
        a_quota("own of others", own, within="others"), a_quota("guest of others", other, within="others"),
    ]  # fmt: skip
    moment = Moment([a_node("n1"), a_node("n2")], queues, cohorts=[Cohort(TREE), Cohort("others")])
    moment.runs("of ours", asks(4, "guest", resumable=True), {"n1": 4}, HOUR, saved=2)
    moment.runs("of others", asks(8, "guest of others", resumable=True), {"n2": 8}, HOUR, saved=0)
    moment.runs("mine", asks(4), {"n1": 4}, HOUR)
    moment.waits("mine too", asks(4))
    assert moment.stops() == ["of ours"]


def test_who_lent_nothing_and_finds_nobody_keeps_no_owner_of_another_tree_from_taking_back() -> None:
    own = {FAST: 8}
    queues = [a_quota(firm, own, within="others") for firm in ("first", "neighbour")]
    queues += [a_quota("own", own), a_quota("other", {FAST: 0})]
    moment = Moment([a_node("n1"), a_node("n2")], queues, cohorts=[Cohort(TREE), Cohort("others")])
    moment.runs("borrower", asks(8, "other", resumable=True), {"n1": 8}, HOUR, saved=0)
    moment.runs("neighbour's", asks(8, "neighbour"), {"n2": 8}, HOUR)
    moment.waits("first", asks(8, "first", priority=HIGH), 5)
    moment.waits("mine", asks(8))
    assert moment.stops() == ["borrower"]


def test_work_elsewhere_gives_back_its_quota_and_not_devices_here() -> None:
    fast, slow = 200_000, 100_000
    quotas = {"own": 16 * fast, "neighbour": 8 * fast, "borrower": 0}
    moment = Moment(
        [a_node("n1"), a_node("n2", model=SLOW), a_node("n3")],
        [a_quota(firm, {COMPUTE: own}) for firm, own in quotas.items()],
    )
    moment.runs("neighbour's", asks(8, "neighbour"), {"n1": 8}, HOUR)
    moment.runs("mine", asks(8), {"n3": 8}, HOUR)
    moment.runs("lent", asks(8, "borrower", model=SLOW, resumable=True), {"n2": 8}, HOUR, saved=0)
    assert 16 * fast + 8 * slow + 8 * fast > sum(quotas.values()), "it lacks quota"
    moment.waits("next", asks(8))
    assert moment.stops() == []


def test_no_more_stop_in_a_cycle_than_may_though_each_stops_for_another() -> None:
    moment = Moment([a_node("n1", 4)], config=PlannerConfig(max_stops=2))
    for number in range(4):
        moment.runs(f"low {number}", asks(1, priority=LOW), {"n1": 1}, HOUR)
        moment.waits(f"urgent {number}", asks(1, priority=HIGH, time_limit_ms=(number + 1) * HOUR_MS))
    assert len(moment.stops()) == 2


RESUMES = asks(8, rates=((FAST, 1.0),), resumable=True)  # a step a second
SHORT, LONG = 2 * 3_600.0, 7 * 24 * 3_600.0


@pytest.mark.parametrize(
    ("its", "minutes", "steps", "stops"),
    [
        ({}, 6.0, LONG, ["long"]),
        ({}, 4.0, LONG, []),
        ({}, 61.0, LONG, []),
        ({}, 6.0, 1.25 * SHORT, []),
        ({"resumable": False}, 6.0, LONG, []),
        ({"restart_ms": 48 * HOUR_MS}, 6.0, LONG, []),
        ({"priority": HIGH}, 6.0, LONG, []),
    ],
    ids=[
        "much longer",
        "just started",
        "waited longer",
        "hardly longer",
        "begins anew",
        "restarts for days",
        "higher",
    ],
)
def test_for_a_job_that_is_done_much_sooner_a_later_one_stops_that_soon_goes_on(
    its: dict[str, Any], minutes: float, steps: float, stops: list[str]
) -> None:
    moment = Moment([a_node("n1")])
    moment.runs("long", RESUMES._replace(**its), {"n1": 8}, minutes, saved=0, steps_left=steps)
    moment.waits("short", RESUMES, HOUR, steps_left=SHORT)
    assert moment.stops() == stops


def test_work_on_a_part_of_a_device_stops_for_no_whole_one_that_is_done_sooner() -> None:
    moment = Moment([a_node("n1", 1)])
    one = RESUMES._replace(devices=1, devices_per_node=1)
    moment.runs("half", one._replace(share_ppm=WHOLE_PPM // 2), {"n1": 1}, 6.0, saved=0, steps_left=LONG)
    moment.waits("short", one, HOUR, steps_left=SHORT)
    assert moment.stops() == []


def test_who_asked_in_vain_on_one_model_keeps_nobody_from_another() -> None:
    moment = Moment([a_node("n1"), a_node("n2", model=SLOW)])
    moment.runs("too young", asks(8, priority=LOW), {"n1": 8}, 1)
    moment.runs("low", asks(8, priority=LOW, model=SLOW), {"n2": 8}, HOUR)
    moment.waits("first", asks(8, priority=HIGH), 5)
    moment.waits("second", asks(8, priority=HIGH, model=SLOW))
    assert moment.stops() == ["low"]


@pytest.mark.parametrize(
    ("runs", "days", "waits", "waits_days", "stops"),
    [
        (LOW, 0.1, Priority.NORMAL, 0.0, ["runs"]),
        (LOW, 1.1, Priority.NORMAL, 0.0, []),
        (LOW, 1.1, HIGH, 0.0, ["runs"]),
        (LOW, 2.1, HIGH, 0.0, []),
        (Priority.NORMAL, 0.1, Priority.NORMAL, 1.1, []),
    ],
    ids=["lower", "raised by age", "still lower", "raised twice", "of the same class as who was raised"],
)
def test_a_lower_class_stops_unless_age_has_raised_it_to_the_rank_of_who_waits(
    runs: Priority, days: float, waits: Priority, waits_days: float, stops: list[str]
) -> None:
    moment = Moment([a_node("n1")])
    moment.runs("runs", asks(8, priority=runs), {"n1": 8}, days * DAY)
    moment.waits("waits", asks(8, priority=waits), waits_days * DAY)
    assert moment.stops() == stops
