"""What is left out of a plan where several parts trip the planner, alone or together, or only the forecast."""

from dataclasses import replace
from typing import Any

import pytest

from scheduler.domain.ids import JobId
from scheduler.planner import PlannerConfig, Snapshot
from scheduler.planner.cycle import plan
from scheduler.planner.sifting import Part, parts_of, sifted, sifted_plan
from scheduler.planner.snapshot import Resting
from tests.builders.moments import HOUR, NOW_MS, Moment, a_node, asks

WAITS = [asks(devices) for devices in range(1, 6)]


def a_snapshot() -> Snapshot:
    """Two jobs run, one rests, five of different shapes wait."""
    moment = Moment([a_node("n1")])
    for number in range(2):
        moment.runs(f"runs {number}", asks(1), {"n1": 1}, HOUR)
    for number, shape in enumerate(WAITS):
        moment.waits(f"waits {number}", shape, 9 - number)
    snapshot = moment.snapshot
    job = snapshot.classes[0].jobs[0]._replace(job_id=JobId("rests"))
    return replace(snapshot, resting=(Resting(asks(2), job, NOW_MS),))


@pytest.mark.parametrize(
    "together",
    [
        [JobId("runs 0"), WAITS[0]],
        [JobId("runs 1"), JobId("rests")],
        [JobId("rests"), WAITS[4]],
        [WAITS[1], WAITS[3]],
        [JobId("runs 0"), JobId("runs 1")],
    ],
    ids=["runs and waits", "runs and rests", "rests and waits", "both wait", "both run"],
)
def test_of_two_that_trip_the_planner_together_who_holds_devices_or_comes_first_is_planned_for(
    together: list[Part],
) -> None:
    def make(snapshot: Snapshot) -> list[Part]:
        made = parts_of(snapshot)
        assert not set(together) <= set(made)
        return made

    snapshot = a_snapshot()
    made, found = sifted(make, snapshot, lambda: True)
    assert found == {together[1]}
    assert set(made) == set(parts_of(snapshot)) - found


def test_who_trips_the_forecast_alone_is_left_out_too() -> None:
    snapshot = a_snapshot()
    unhashable: Any = []  # asked for only where starts are foretold
    running = [one._replace(shape=one.shape._replace(kind=unhashable)) for one in snapshot.running[:1]]
    snapshot = replace(snapshot, running=(*running, snapshot.running[1]), resting=())
    config = PlannerConfig(max_placements=2)  # who is left waits, so that a start is foretold
    assert len(plan(snapshot, NOW_MS, config)[0].placements) == 2
    proposal, report = sifted_plan(snapshot, NOW_MS, config, lambda: True)
    assert len(proposal.placements) == 2
    assert report.starts(JobId("waits 4")) is not None
