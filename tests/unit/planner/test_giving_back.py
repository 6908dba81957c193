"""Who gives back what a blocked job needs: as few as that takes, who loses least of them, and nobody in vain."""

import pytest

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.gangs import Domain
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import COMPUTE, Cohort
from scheduler.planner import Topology
from scheduler.planner.claims import MAKES_ROOM
from tests.builders.moments import FAST, HOUR, SLOW, TREE, Moment, a_node, a_quota, asks

LOW, HIGH = Priority.LOW, Priority.HIGH


def test_of_two_models_work_stops_on_the_one_where_less_device_time_is_lost() -> None:
    moment = Moment([a_node("n1"), a_node("n2", 4, SLOW)])
    moment.runs("wide", asks(8, priority=LOW), {"n1": 8}, 60)
    moment.runs("narrow", asks(4, priority=LOW, model=SLOW), {"n2": 4}, 90)
    moment.waits("urgent", asks(4, priority=HIGH, models=(FAST, SLOW)))
    assert moment.stops() == ["narrow"]


@pytest.mark.parametrize(("left", "right", "stops"), [(20, 10, "b"), (10, 20, "a")])
def test_of_two_domains_work_stops_in_the_one_where_less_is_lost(left: int, right: int, stops: str) -> None:
    moment = Moment([a_node(f"n{n}", domains=(None, None, f"leaf {n // 2}")) for n in range(4)])
    for name, node, minutes in (
        ("a1", "n0", left),
        ("a2", "n1", left),
        ("b1", "n2", right),
        ("b2", "n3", right),
    ):
        moment.runs(name, asks(8, priority=LOW), {node: 8}, minutes)
    moment.waits("urgent", asks(16, priority=HIGH, topology=Topology(Domain.LEAF.value, required=True)))
    assert moment.stops() == [f"{stops}1", f"{stops}2"]


def test_an_owner_takes_back_what_he_lent_before_work_of_his_own_queue_stops() -> None:
    moment = Moment([a_node("n1")], [a_quota("own", {FAST: 8}), a_quota("other", {FAST: 0})])
    moment.runs("borrower", asks(4, "other", resumable=True), {"n1": 4}, HOUR, saved=2)
    moment.runs("low", asks(4, priority=LOW, resumable=True), {"n1": 4}, HOUR, saved=0)
    moment.waits("urgent", asks(4, priority=HIGH))
    assert moment.stops() == ["borrower"]


def test_a_borrower_gives_back_no_more_than_he_borrowed_though_others_lose_more() -> None:
    quotas = {"own": 12, "half": 4, "none": 0}
    moment = Moment(
        [a_node(f"n{n}") for n in range(3)], [a_quota(firm, {FAST: own}) for firm, own in quotas.items()]
    )
    moment.runs("older", asks(4, "half", resumable=True), {"n0": 4}, 2 * HOUR, saved=1)
    moment.runs("younger", asks(4, "half", resumable=True), {"n0": 4}, HOUR, saved=1)
    moment.runs("nothing is his", asks(4, "none", resumable=True), {"n1": 4}, HOUR, saved=2)
    moment.runs("mine", asks(4), {"n1": 4}, HOUR)
    moment.waits("mine too", asks(8))
    assert moment.stops() == ["nothing is his", "younger"]


def test_nobody_gives_back_quota_where_all_that_may_come_back_is_not_enough() -> None:
    moment = Moment(
        [a_node(f"n{n}") for n in range(3)], [a_quota("own", {FAST: 8}), a_quota("other", {FAST: 8})]
    )
    moment.runs("old", asks(4, "other", resumable=True), {"n0": 4}, HOUR, saved=1)
    moment.runs("young", asks(12, "other", resumable=True), {"n0": 4, "n1": 8}, 1, saved=1)
    moment.waits("mine", asks(8))
    assert moment.stops() == []


def test_of_two_who_need_not_both_stop_the_one_who_loses_less_stops() -> None:
    moment = Moment([a_node("n1")])
    moment.runs("stays", asks(2, priority=HIGH), {"n1": 2}, HOUR)
    for name, devices, minutes in (("least", 1, 10), ("more", 1, 20), ("most", 4, 10)):
        moment.runs(name, asks(devices, priority=LOW), {"n1": devices}, minutes)
    moment.waits("urgent", asks(5, priority=HIGH))
    assert moment.stops() == ["least", "most"]


def test_for_a_part_of_a_device_only_he_stops_whose_device_then_has_room() -> None:
    moment = Moment([a_node("n1", 2)])
    half = asks(1, share_ppm=WHOLE_PPM // 2)
    moment.runs("stays", half._replace(priority=HIGH), {"n1": [0]}, HOUR)
    moment.runs("beside", half._replace(priority=LOW), {"n1": [0]}, 10)
    moment.runs("alone", asks(1, priority=LOW), {"n1": [1]}, HOUR)
    moment.waits("urgent", asks(1, priority=HIGH, share_ppm=WHOLE_PPM * 3 // 4))
    assert moment.stops() == ["alone"]


def test_quota_that_somebody_who_stops_already_gives_back_is_what_the_owner_waits_for() -> None:
    moment = Moment([a_node("n1"), a_node("n2")], [a_quota("own", {FAST: 4}), a_quota("other", {FAST: 0})])
    moment.runs("borrower", asks(4, "other"), {"n1": 4}, HOUR, stopping=True)
    moment.waits("mine", asks(4))
    found, report = moment.decided()
    assert found.stops == ()
    assert [item.counterfactual for item in report.classes] == [MAKES_ROOM]


def test_nobody_starts_on_what_who_is_to_stop_still_holds_beside_what_has_started_just_now() -> None:
    # The house may not borrow: of it a guest gives back quota, and another from outside gives devices.
    house = Cohort("house", parent=TREE, borrowing={COMPUTE: 0})
    fast, slow = 200_000, 100_000
    queues = [
        a_quota("own", {FAST: 8, COMPUTE: 8 * fast}, within="house"),
        a_quota("guest", {COMPUTE: 0}, within="house"),
        a_quota("other", {FAST: 0, COMPUTE: 8 * fast + 5 * slow // 2}, borrowing={COMPUTE: 0}),
        a_quota("lends", {FAST: 9, COMPUTE: 9 * fast}),
    ]
    moment = Moment(
        [a_node("n1"), a_node("n2", 1), a_node("n3", model=SLOW)], queues, cohorts=[Cohort(TREE), house]
    )
    moment.runs("borrower", asks(8, "other", resumable=True), {"n1": 8}, HOUR, saved=0)
    moment.runs("guest's", asks(1, "guest", resumable=True), {"n2": 1}, HOUR, saved=2)
    moment.waits("before", asks(1, "other", model=SLOW, priority=HIGH))
    moment.waits("mine", asks(8))
    for minutes, name in ((2, "next"), (1, "last")):
        moment.waits(name, asks(1, "other", model=SLOW, priority=LOW), minutes)
    assert moment.stops() == ["borrower", "guest's"]
    assert moment.starts() == ["before", "next"], "with three of them it would hold more than its quota"
