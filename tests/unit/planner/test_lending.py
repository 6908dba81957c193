"""What is kept for later, and when it comes: worked out of the rows that changed, the same as looked for on all."""

from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.catalogue import load_catalogue
from scheduler.planner import PlannerConfig, Shape
from scheduler.planner.backfill import earliest_opening
from scheduler.planner.cells import Cell
from scheduler.planner.demand import demand_of
from scheduler.planner.fleet import Fleet
from scheduler.planner.layouts import bits
from scheduler.planner.lending import latest_end_ms, lent_seats
from tests.unit.planner.test_engine_properties import NODE, NOW_MS, a_shape, a_view

CONFIG = PlannerConfig()
LATER_MS = [NOW_MS + 50_000, NOW_MS + 700_000]
HOLD = st.tuples(st.integers(0, 6), st.integers(1, 255), st.sampled_from([None, *LATER_MS]))
ASKED = st.fixed_dictionaries(
    {"devices": st.sampled_from([1, 2, 4, 8, 16]), "cpu": st.sampled_from([0, 0, 9_000])}
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
    return [a_shape({**wanted, **asked}) for asked in case["asked"]]


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


@settings(deadline=None, max_examples=100)
@given(CASE)
def test_the_earliest_opening_is_the_one_that_every_node_was_looked_at_for(case: dict[str, Any]) -> None:
    cell = a_cell(case)
    for held in [None, *case["holds"]]:
        if held is not None:
            hold(cell, *held)
        for shape in shapes(case, cell):
            count = min(shape.devices, 8)
            moments = sorted(moment_on(cell, row, count) for row in range(len(cell.parts)))
            expected = moments[shape.tasks - 1] if shape.tasks <= len(moments) else inf
            found = earliest_opening(shape, cell, NOW_MS, CONFIG)
            assert (inf if found is None else found.from_ms) == expected
            for row, mask in () if found is None else found.seats:
                part = cell.parts[row]
                assert mask.bit_count() == count
                assert not mask & ~(part.free | part.busy & ~part.reserved)


@settings(deadline=None, max_examples=100)
@given(CASE)
def test_what_is_kept_is_lent_to_who_ends_in_time_and_to_nobody_later(case: dict[str, Any]) -> None:
    cell = a_cell(case)
    for held in [None, *case["holds"]]:
        if held is not None:
            hold(cell, *held)
        for shape in shapes(case, cell):
            demand = demand_of(shape)
            in_time = [ms for ms in LATER_MS if lent_seats(shape, cell, demand, ms) is not None]
            latest = latest_end_ms(shape, cell, demand)
            if lent_seats(shape, cell, demand, None) is not None:
                assert (in_time, latest) == (LATER_MS, inf)
            else:
                assert latest == max(in_time, default=None)
