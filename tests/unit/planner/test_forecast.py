"""Announced starts: as often right as they say, and in the order of the queue."""

import random

from scheduler.domain.ids import Ids, JobId
from scheduler.machine import apply, take_snapshot
from scheduler.planner import PlannerConfig
from scheduler.planner.estimates import Estimates, Memory
from scheduler.planner.experience import Starts
from scheduler.planner.forecast import SURE
from scheduler.planner.ordering import Turns
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec, a_submission

HOUR_MS = 3_600_000


def test_an_interval_holds_as_often_as_it_says_whatever_the_forecast_is_worth() -> None:
    rng = random.Random(7)
    starts = Starts()
    inside = 0
    for number in range(2_000):
        expected_ms = rng.choice([120_000.0, 2_000_000.0, 10_000_000.0])
        waited_ms = expected_ms * rng.lognormvariate(
            1.0, 0.8
        )  # a forecast that is wrong, and always too early
        low_ms, high_ms = starts.interval_ms(expected_ms, SURE)
        inside += number >= 500 and low_ms <= waited_ms <= high_ms
        starts = starts.plus(expected_ms, waited_ms)
    assert 0.77 < inside / 1_500 < 0.83


def test_jobs_of_many_devices_have_intervals_of_their_own() -> None:
    rng = random.Random(7)
    starts = Starts()
    inside = {1: 0, 64: 0}
    for number in range(2_000):
        devices = rng.choice(list(inside))
        # What needs many devices together starts late, by the same forecast by which the rest starts early.
        waited_ms = 10_000_000.0 * rng.lognormvariate(1.0 if devices == 64 else -1.0, 0.3)
        low_ms, high_ms = starts.interval_ms(10_000_000.0, SURE, devices)
        inside[devices] += number >= 500 and low_ms <= waited_ms <= high_ms
        starts = starts.plus(10_000_000.0, waited_ms, devices)
        assert number < 1_000 or high_ms < 4.0 * low_ms
    assert all(0.75 < held / 750 < 0.85 for held in inside.values())


def test_jobs_further_back_are_expected_later() -> None:
    controller = Controller([a_node("n1")])
    first = controller.submit("first", a_spec("first", devices=8, time_limit_s=3600))
    controller.plan()
    controller.run(first)
    for name in ("second", "third", "fourth"):
        controller.submit(name, a_spec(name, devices=8, time_limit_s=3600))
    controller.plan()
    told = [controller.report.starts(JobId(name)) for name in ("second", "third", "fourth")]
    expected = [interval.expected_ms for interval in told if interval is not None]
    assert len(expected) == 3
    assert expected == sorted(expected)
    assert expected[1] - expected[0] > HOUR_MS // 2
    assert all(i.low_ms <= i.expected_ms <= i.high_ms for i in told if i is not None)


def test_a_job_that_fits_nowhere_is_told_nothing() -> None:
    controller = Controller([a_node("n1")])
    controller.submit("large", a_spec("large", devices=64, per_node=8))
    controller.plan()
    assert controller.report.starts(JobId("large")) is None


def test_places_of_jobs_that_are_alike_are_those_of_each_by_itself() -> None:
    controller = Controller([a_node("n1")])
    config = PlannerConfig()
    for number, age in enumerate((0.0, 0.5, 1.0, 1.5, 2.5)):
        for priority in ("low", "normal"):
            job_id = f"{priority}-{number}"
            at_ms = controller.now_ms - round(age * config.ageing_ms)
            apply(
                controller.state,
                a_submission(job_id, a_spec(devices=8, priority=priority, time_limit_s=3600), at_ms=at_ms),
                controller.now_ms,
                Ids(random.Random(number).randbytes),
            )
    snapshot = take_snapshot(controller.state, controller.now_ms)
    turns = Turns(controller.now_ms, config, Estimates(snapshot, Memory()))
    for item in snapshot.classes:
        one_by_one = [
            (-turns.rank(item.shape, job), turns.turn(item.shape, job), job, "x") for job in item.jobs
        ]
        assert turns.places(item, "x") == one_by_one
    assert sum(len(item.jobs) for item in snapshot.classes) == 10
