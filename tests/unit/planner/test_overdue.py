"""Which borrower has waited for too long: one of a tree, of those who can have what they ask for at all."""

from typing import Any

import pytest

from scheduler.domain.queues import Cohort
from scheduler.domain.time import DAY_MS, HOUR_MS
from scheduler.planner import PlannerConfig, RunningJob, Shape, WaitingJob
from scheduler.planner.budgets import Budgets
from scheduler.planner.fleet import Fleet
from scheduler.planner.overdue import PATIENT, Overdue
from scheduler.planner.sharing import Sharing
from tests.builders.moments import DAY, FAST, NOW_MS, TREE, Moment, a_node, a_quota, asks, queue_of

ONCE = PlannerConfig().ageing_ms // DAY_MS * DAY  # in minutes
PATIENCE = PATIENT * ONCE
BORROWS = asks(8, "guest")


def a_moment() -> Moment:
    """Two trees with an owner of 16 devices each, and with a guest who has to borrow; three nodes."""
    queues = [
        a_quota(f"{firm}{tree[-1:] if tree != TREE else ''}", {FAST: own}, within=tree)
        for tree in (TREE, "tree 2")
        for firm, own in (("own", 16), ("guest", 0), ("friend", 0))
    ]
    return Moment([a_node(f"n{n}") for n in range(3)], queues, cohorts=[Cohort(TREE), Cohort("tree 2")])


def overdue_at(moment: Moment) -> Overdue:
    snapshot, config = moment.snapshot, moment.config
    fleet = Fleet(snapshot.catalogue)
    fleet.sync(snapshot.nodes)
    return Overdue(snapshot, fleet, Sharing(snapshot, config), Budgets(snapshot), NOW_MS, config)


def have_the_turn(moment: Moment) -> list[str]:
    """Who comes before all, or keeps what he has."""
    overdue, snapshot = overdue_at(moment), moment.snapshot
    jobs: list[tuple[Shape, WaitingJob | RunningJob]] = [
        (item.shape, job) for item in snapshot.classes for job in item.jobs
    ]
    jobs += [(running.shape, running) for running in snapshot.running]
    return sorted(job.job_id for shape, job in jobs if overdue.has(shape, job))


def test_who_has_waited_the_longest_has_the_turn_one_of_each_tree_and_nobody_who_waits_within_his_quota() -> (
    None
):
    moment = a_moment()
    moment.waits("first", BORROWS, PATIENCE + 2)
    moment.waits("second", asks(8, "friend"), PATIENCE + 1)
    moment.waits("of the other tree", asks(8, "guest2"), PATIENCE)
    moment.waits("owner's", asks(8, "own"), PATIENCE + 9)
    assert have_the_turn(moment) == ["first", "of the other tree"]
    assert overdue_at(moment).anybody_waits(queue_of("own"))


def test_nobody_has_the_turn_before_he_has_waited_for_long() -> None:
    moment = a_moment()
    moment.waits("job", BORROWS, PATIENCE - 1)
    assert have_the_turn(moment) == []
    assert not overdue_at(moment).anybody_waits(queue_of("own"))


@pytest.mark.parametrize(
    "shape",
    [
        BORROWS._replace(devices=24),
        BORROWS._replace(devices=9, devices_per_node=9),
        BORROWS._replace(models=("no such",)),
    ],
)
def test_who_could_never_start_keeps_nobody_from_his_turn(shape: Shape) -> None:
    moment = a_moment()
    moment.waits("impossible", shape, PATIENCE + 2)
    moment.waits("possible", BORROWS, PATIENCE + 1)
    assert have_the_turn(moment) == ["possible"]


@pytest.mark.parametrize(
    ("its", "held_h", "minutes", "expected"),
    [
        ({"resumable": True}, 23, PATIENCE, False),
        ({"resumable": True}, 23, PATIENCE + 23 * 60, True),
        ({"resumable": True}, 24, PATIENCE + DAY, False),
        ({"resumable": True}, 24, 2 * PATIENCE + DAY, True),
        ({}, 24, PATIENCE + DAY, False),
        ({"resumable": True, "time_limit_ms": 99 * HOUR_MS}, 24, PATIENCE + DAY, False),
        ({"time_limit_ms": 99 * HOUR_MS}, 24, PATIENCE + DAY, True),
    ],
    ids=[
        "had some",
        "waited as long beside",
        "had his turn",
        "waited again",
        "no end",
        "resumes and has an end",
        "has an end",
    ],
)
def test_who_has_had_devices_waits_as_long_again_but_who_does_not_resume_and_ends(
    its: dict[str, Any], held_h: int, minutes: float, expected: bool
) -> None:
    moment = a_moment()
    moment.waits("job", BORROWS._replace(**its), minutes, held_ms=held_h * HOUR_MS)
    assert have_the_turn(moment) == (["job"] if expected else [])


@pytest.mark.parametrize(("runs_h", "expected"), [(23, ["runs"]), (24, ["waits"])])
def test_who_has_his_turn_keeps_what_he_has_for_a_while_before_the_next_one(
    runs_h: int, expected: list[str]
) -> None:
    moment = a_moment()
    since_ms = NOW_MS - round(PATIENCE + DAY) * 60_000
    moment.runs("runs", BORROWS._replace(resumable=True), {"n0": 8}, runs_h * 60, submitted_ms=since_ms)
    moment.waits("waits", asks(8, "friend"), PATIENCE + 2 * DAY)
    assert have_the_turn(moment) == expected


def test_of_a_class_he_comes_first_whose_turn_it_is() -> None:
    moment = a_moment()
    moment.waits("older", BORROWS._replace(resumable=True), PATIENCE + 2 * DAY, held_ms=DAY_MS)
    for number, minutes in enumerate((PATIENCE + 1, 5)):
        moment.waits(f"job {number}", BORROWS._replace(resumable=True), minutes)
    (item,) = moment.snapshot.classes
    assert [job.job_id for job in overdue_at(moment).foremost(item, item.jobs)] == ["job 0", "older", "job 1"]


def test_two_who_are_due_at_the_same_moment_have_the_turn_by_age() -> None:
    moment = a_moment()
    moment.waits("b older", BORROWS, PATIENCE + DAY, held_ms=HOUR_MS)
    moment.waits("a", asks(8, "friend"), PATIENCE + DAY - 60)
    assert have_the_turn(moment) == ["b older"]
