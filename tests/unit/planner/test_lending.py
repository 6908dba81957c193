"""What is kept for later, and when it comes: worked out of the rows that changed, the same as looked for on all."""

from collections.abc import Iterable
from itertools import chain
from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.catalogue import load_catalogue
from scheduler.planner import PlannerConfig, Shape
from scheduler.planner.backfill import earliest_opening
from scheduler.planner.cells import Cell
from scheduler.planner.fleet import Fleet
from scheduler.planner.layouts import bits
from scheduler.planner.lending import latest_end_ms, lent_seats
from tests.unit.planner.test_engine_properties import NODE, NOW_MS, a_shape, a_view

CONFIG = PlannerConfig()
LATER_MS = [NOW_MS + 50_000, NOW_MS + 700_000]
HOLD = st.tuples(st.integers(0, 6), st.integers(1, 255), st.sampled_from([None, *LATER_MS]))
ASKED = st.fixed_dictionaries(
    {
        "devices": st.sampled_from([1, 2, 4, 8, 12, 16, 20]),
        "groups": st.sampled_from([(), (), ((1, 2), (1, 8)), ((1, 4), (2, 1), (1, 4))]),
        "cpu": st.sampled_from([0, 0, 9_000]),
    }
)
CASE = st.fixed_dictionaries(
    {
        "nodes": st.lists(NODE, min_size=1, max_size=7),
        "holds": st.lists(HOLD, max_size=6),
        "asked": st.lists(ASKED, min_size=1, max_size=4),
    }
)


def a_cell(case: dict[str, Any]) -> Cell:
    """Nodes of one model."""
    model = case["nodes"][0]["model"]
    fleet = Fleet(load_catalogue())
    fleet.sync([a_view(n, {**node, "model": model}) for n, node in enumerate(case["nodes"])])
    cell = fleet.get("pool", model)
    assert cell is not None
    return cell


def shapes(case: dict[str, Any], cell: Cell) -> list[Shape]:
    wanted = {"ppm": 1_000_000, "models": [cell.model], "limit": None, "firm": "firm"}
    found = []
    for asked in case["asked"]:
        groups = asked["groups"]
        devices = sum(tasks * each for tasks, each in groups) or asked["devices"]
        found.append(a_shape({**wanted, **asked, "devices": devices})._replace(groups=groups))
    return found


def hold(cell: Cell, number: int, mask: int, from_ms: int | None) -> None:
    row = number % len(cell.parts)
    part = cell.parts[row]
    cell.hold([(row, mask & (part.free | part.busy) & ~part.reserved)], from_ms)


def moment_on(cell: Cell, row: int, count: int) -> float:
    """When the row has room, looked for at every moment."""
    part = cell.parts[row]
    coming = bits(part.busy & ~part.reserved)
    ends = {at: part.on_node.devices[at].ends_by_ms for at in coming}
    for moment in [0, *sorted({end for end in ends.values() if end is not None})]:
        usable = part.free | sum(1 << at for at, end in ends.items() if end is not None and end <= moment)
        if part.layout.choose(usable, count):
            return max(moment, NOW_MS) + CONFIG.stop_margin_ms if moment else NOW_MS
    return inf


def opening_by_trial(shape: Shape, cell: Cell) -> float:
    """The first moment at which every task has a row of its own, the largest tasks first."""
    rows = range(len(cell.parts))
    sizes = sorted((shape.devices_of(rank) for rank in range(shape.tasks)), reverse=True)
    moments = {size: [moment_on(cell, row, size) for row in rows] for size in set(sizes)}
    for moment in sorted({ms for of_size in moments.values() for ms in of_size if ms < inf}):
        left = set(rows)
        for size in sizes:
            row = next((row for row in sorted(left) if moments[size][row] <= moment), None)
            if row is None:
                break
            left.discard(row)
        else:
            return moment
    return inf


def assert_one_row_a_task(shape: Shape, seats: Iterable[tuple[int, int]]) -> None:
    rows, masks = zip(*seats, strict=True)
    assert len(set(rows)) == shape.tasks
    sizes = sorted(shape.devices_of(rank) for rank in range(shape.tasks))
    assert sorted(mask.bit_count() for mask in masks) == sizes


@settings(deadline=None, max_examples=100)
@given(CASE)
def test_the_earliest_opening_is_the_one_that_every_node_was_looked_at_for(case: dict[str, Any]) -> None:
    cell = a_cell(case)
    for held in [None, *case["holds"]]:
        if held is not None:
            hold(cell, *held)
        for shape in shapes(case, cell):
            found = earliest_opening(shape, cell, NOW_MS, CONFIG)
            assert (inf if found is None else found.from_ms) == opening_by_trial(shape, cell)
            seats = () if found is None else found.seats
            for row, mask in seats:
                part = cell.parts[row]
                assert not mask & ~(part.free | part.busy & ~part.reserved)
                assert found is not None
                assert moment_on(cell, row, mask.bit_count()) <= found.from_ms
            if found is not None:
                assert_one_row_a_task(shape, seats)


@settings(deadline=None, max_examples=100)
@given(CASE)
def test_what_is_kept_is_lent_to_who_ends_in_time_and_to_nobody_later(case: dict[str, Any]) -> None:
    cell = a_cell(case)
    for held in [None, *case["holds"]]:
        if held is not None:
            hold(cell, *held)
        for shape in shapes(case, cell):
            lent = {ms: lent_seats(shape, cell, ms) for ms in [None, *LATER_MS]}
            in_time = [ms for ms in LATER_MS if lent[ms] is not None]
            latest = latest_end_ms(shape, cell)
            if lent[None] is not None:
                assert (in_time, latest) == (LATER_MS, inf)
            else:
                assert latest == max(in_time, default=None)
            for seats in filter(None, lent.values()):
                assert_one_row_a_task(shape, chain.from_iterable(seats.values()))


def test_what_is_free_already_is_kept_before_what_others_have_to_end_for() -> None:
    busy_until = {"model": "ascend-910b3", "share_left": None, "cpu": None, "leaf": None, "ends": None}
    early, late = busy_until | {"taken": 255, "ends": 20_000}, busy_until | {"taken": 255, "ends": 400_000}
    cell = a_cell({"nodes": [busy_until | {"taken": 0}, early, late, late]})
    shape = a_shape(
        {"ppm": 1_000_000, "models": [cell.model], "limit": None, "firm": "firm", "devices": 24, "cpu": 0}
    )
    found = earliest_opening(shape, cell, NOW_MS, CONFIG)
    assert found is not None
    assert [row for row, _ in found.seats] == [0, 1, 2]
    two = earliest_opening(shape._replace(devices=8), cell, NOW_MS, CONFIG)
    assert two is not None
    assert two.seats == ((0, 255),)
