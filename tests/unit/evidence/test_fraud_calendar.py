"""What an operator says it planned for its devices: maintenance and reservations, true and made up."""

import pytest

from suanli.evidence.calendar import MAINTENANCE, RESERVED, DeviceCalendar, PlannedStretch
from suanli.evidence.errors import EvidenceError
from suanli.evidence.records import encode_record, parse_record
from tests.builders.evidence import GRID, T0, honest_operator
from tests.builders.verdicts import assert_found, codes, judged

DEVICES = {"node-a": ("d-1", "d-2"), "node-b": ("d-3", "d-4")}


def plan(operator, *planned, at_ms, node="node-a"):
    """Logs what is planned for a node's devices, stated at `at_ms`; stretches as (plan, first, last grid line)."""
    stretches = tuple(
        PlannedStretch(what, T0 + first * GRID, T0 + last * GRID) for what, first, last in planned
    )
    operator.add(DeviceCalendar("calendar", node, DEVICES[node], stretches, at_ms))


def times(verdict):
    """Device time by bucket in five minutes of one device."""
    return {name: ms / GRID for name, ms in verdict.facts["device_time_ms"].items()}


def planned_operator(windows, *planned, at=0, **changes):
    """An honest operator that states the plan after `at` of its windows, at their end."""
    operator = honest_operator(at)
    plan(operator, *planned, at_ms=T0 + at * GRID, **changes)
    events = honest_operator(windows).log[len(honest_operator(at).log) :]
    for item in events:
        if item.window is None:
            operator.add(item.record)
        else:
            operator.take(operator.nodes[item.node_name], item.window)
    return operator


def test_planned_time_is_maintenance_or_reserved_and_every_millisecond_is_in_one_bucket():
    operator = honest_operator()
    plan(operator, (MAINTENANCE, 6, 8), (RESERVED, 7, 9), at_ms=T0 + 6 * GRID)
    operator.all_cut(10, start=7)
    verdict = judged(operator, period=(T0, T0 + 10 * GRID))
    assert verdict.verified
    found = times(verdict)
    assert (found["maintenance"], found["reserved"] > 2) == (4, True)
    before = times(judged(honest_operator()))
    assert found["reserved"] == before["reserved"] + 2
    assert sum(found.values()) == 4 * 10
    assert found["unknown"] == before["unknown"]


def test_a_plan_that_is_stated_again_replaces_what_was_to_come_only():
    operator = honest_operator()
    plan(operator, (MAINTENANCE, 6, 10), at_ms=T0 + 6 * GRID)
    operator.all_cut(8, start=7)
    plan(operator, at_ms=T0 + 8 * GRID)
    operator.all_cut(10, start=9)
    assert times(judged(operator, period=(T0, T0 + 10 * GRID)))["maintenance"] == 4


def test_what_was_planned_and_passed_cannot_be_taken_back():
    operator = honest_operator()
    plan(operator, (MAINTENANCE, 6, 8), at_ms=T0 + 6 * GRID)
    operator.all_cut(10, start=7)
    plan(operator, at_ms=T0 + 6 * GRID)
    assert_found(judged(operator, period=(T0, T0 + 10 * GRID)), {"calendar.back_dated"})


def test_a_device_given_while_it_was_said_to_be_out_of_service_is_named():
    operator = honest_operator()
    plan(operator, (MAINTENANCE, 6, 9), at_ms=T0 + 6 * GRID)
    operator.all_cut(7, start=7)
    operator.allocation("granted", "al-3", T0 + 7 * GRID)
    operator.all_cut(8, start=8)
    operator.allocation("ended", "al-3", T0 + 8 * GRID)
    operator.all_cut(9, start=9)
    assert_found(judged(operator, period=(T0, T0 + 9 * GRID)), {"attribution.in_maintenance"})


def test_a_job_that_runs_into_maintenance_is_noticed_and_its_time_is_allocated():
    operator = honest_operator(1)
    honest = judged(honest_operator(3), period=(T0, T0 + 3 * GRID))
    operator = planned_operator(3, (MAINTENANCE, 2, 3), at=2, node="node-b")
    verdict = judged(operator, period=(T0, T0 + 3 * GRID))
    assert verdict.verified
    assert codes(verdict, "warning") - codes(honest, "warning") == {"attribution.into_maintenance"}
    assert times(verdict)["allocated"] == times(honest)["allocated"]


def test_maintenance_made_up_after_the_devices_were_seen_idle_is_back_dated():
    operator = honest_operator()
    plan(operator, (MAINTENANCE, 4, 5), at_ms=T0 + 4 * GRID)
    assert_found(judged(operator), {"calendar.back_dated"})


def test_maintenance_made_up_before_what_the_controller_knew_is_back_dated():
    operator = honest_operator()
    plan(operator, (MAINTENANCE, 2, 3), at_ms=T0 + GRID)
    assert_found(judged(operator), {"calendar.back_dated"})


@pytest.mark.parametrize(
    ("devices", "stretch", "field"),
    [
        ((), PlannedStretch(MAINTENANCE, 0, 1), "device_ids"),
        (("d-1", "d-1"), PlannedStretch(MAINTENANCE, 0, 1), "device_ids"),
        (("d-1",), PlannedStretch(MAINTENANCE, 1, 1), "until_ms"),
        (("d-1",), PlannedStretch("holiday", 0, 1), "plan"),
    ],
)
def test_a_calendar_that_says_nothing_true_is_not_written(devices, stretch, field):
    with pytest.raises(EvidenceError, match=field):
        encode_record(DeviceCalendar("calendar", "node-a", devices, (stretch,), T0))


def test_a_calendar_is_read_as_it_was_written():
    calendar = DeviceCalendar("calendar", "n", ("d-1", "d-2"), (PlannedStretch(RESERVED, 1, 2),), 1)
    assert parse_record("device_event", encode_record(calendar)) == calendar
