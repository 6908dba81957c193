"""What usage costs: exact, rounded once, billed only where observed and authorised."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.rating.charges import charge
from suanli.rating.prices import exact_fen, price_at, round_half_away
from suanli.rating.statements import build_statement
from suanli.rating.usage import collect_usage
from tests.builders.rating import GRID, HOUR, MODEL, T0, authorisation, inputs, price, use

DAY = (T0, T0 + 24 * HOUR)


def _line(given_inputs, period=DAY):
    firms = build_statement(given_inputs, *period)["firms"]
    return firms[0]["lines"][0] if firms else None


def test_an_hour_of_a_device_costs_its_hourly_price():
    assert exact_fen(HOUR * 1_000_000, 10_000_000_000) == 1000
    line = _line(inputs([use()]))
    assert line["amount_fen"] == 1000
    assert line["billable_ms"] == HOUR
    assert (line["live_ms"], line["worked_ms"]) == (HOUR, HOUR // 2)
    assert line["held_ms"] == 24 * HOUR
    assert line["requested_ms"] == 2 * HOUR


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [("1/2", 1), ("-1/2", -1), ("3/2", 2), ("-3/2", -2), ("1/3", 0), ("2/3", 1), ("7", 7), ("0", 0)],
)
def test_halves_are_rounded_away_from_zero(amount, rounded):
    assert round_half_away(Fraction(amount)) == rounded


@given(st.fractions(-(10**9), 10**9))
def test_rounding_a_reversal_mirrors_its_original(amount):
    assert round_half_away(-amount) == -round_half_away(amount)
    assert abs(round_half_away(amount) - amount) <= Fraction(1, 2)


def test_use_before_the_grant_and_after_the_end_is_not_billable():
    grant = authorisation(granted_ms=T0 + 600_000, ended_ms=T0 + 1_200_000)
    line = _line(inputs([use()], [grant]))
    assert line["billable_ms"] == 600_000
    assert line["held_ms"] == 600_000


def test_use_without_a_grant_costs_nothing():
    assert _line(inputs([use(allocation_id="al-ghost")]))["billable_ms"] == 0
    assert _line(inputs([use(device_id="d-2")]))["billable_ms"] == 0


@pytest.mark.parametrize("state", ["free", "faulty", "unknown"])
def test_only_use_is_billed(state):
    assert _line(inputs([use(state=state)]))["billable_ms"] == 0


def test_what_was_held_but_not_observed_is_a_line_without_a_charge():
    line = _line(inputs([]))
    assert line["held_ms"] == 24 * HOUR
    assert line["amount_fen"] == 0


def test_an_open_allocation_is_held_to_the_end_of_the_period():
    line = _line(inputs([use()], [authorisation(ended_ms=None)]))
    assert line["held_ms"] == 24 * HOUR
    assert line["billable_ms"] == HOUR


def test_without_a_time_limit_the_request_is_not_known():
    assert _line(inputs([use()], [authorisation(time_limit_ms=None)]))["requested_ms"] is None


def test_part_of_a_device_costs_its_part():
    grant = authorisation(share_ppm_of={"d-1": 250_000})
    assert _line(inputs([use(share_ppm=250_000)], [grant]))["amount_fen"] == 250
    # Never more than was given.
    assert _line(inputs([use(share_ppm=1_000_000)], [grant]))["amount_fen"] == 250


def test_each_price_in_force_makes_its_own_line():
    raised = price(price_id="p-2", price_nano_cny=20_000_000_000, from_ms=T0 + HOUR // 2, order=5)
    statement = build_statement(inputs([use()], prices=[price(), raised]), *DAY)
    lines = statement["firms"][0]["lines"]
    assert [(line["price_id"], line["amount_fen"]) for line in lines] == [("p-1", 500), ("p-2", 1000)]
    assert sum(line["billable_ms"] for line in lines) == HOUR
    assert sum(line["worked_ms"] for line in lines) == HOUR // 2


def test_without_a_price_in_force_a_line_has_no_price_and_no_charge():
    line = _line(inputs([use()], prices=[price(device_model="another")]))
    assert line["price_id"] is None
    assert line["amount_fen"] == 0
    assert line["billable_ms"] == HOUR


def test_of_two_prices_the_later_begun_counts_and_then_the_later_logged():
    early, late = price(), price(price_id="p-2", from_ms=T0, order=2)
    again = price(price_id="p-3", from_ms=T0, order=3)
    assert price_at([late, again, early], T0).price_id == "p-3"
    assert price_at([late, again, early], T0 - 1).price_id == "p-1"
    assert price_at([price(to_ms=T0)], T0) is None


def test_the_registered_model_is_priced_whatever_the_node_says():
    line = _line(inputs([use(device_model="cheap")]))
    assert line["device_model"] == MODEL


def test_a_period_takes_only_its_own_time():
    period = (T0 + GRID, T0 + 2 * GRID)
    line = _line(inputs([use()]), period)
    assert line["billable_ms"] == GRID
    assert line["requested_ms"] == 0


def _cut(pieces, cuts):
    for piece in pieces:
        edges = sorted(
            {piece.start_ms, piece.end_ms, *(c for c in cuts if piece.start_ms < c < piece.end_ms)}
        )
        live, busy = piece.live_ms, piece.busy_ms
        for start, end in itertools.pairwise(edges):
            one, two = min(end - start, live), min(end - start, busy)
            live, busy = live - one, busy - two
            yield use(start - T0, end - T0, live_ms=one, busy_ms=two)


CUTS = st.lists(st.integers(T0, T0 + 3 * HOUR), max_size=30)
STRETCHES = st.lists(st.integers(0, 3 * HOUR), min_size=2, max_size=12, unique=True).map(sorted)


@given(STRETCHES, CUTS, CUTS)
def test_splitting_and_merging_windows_leaves_the_exact_charge_unchanged(edges, one_way, another_way):
    pieces = [use(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    grants = [authorisation(granted_ms=T0 + 1000, ended_ms=T0 + 2 * HOUR)]
    prices = [price(), price(price_id="p-2", price_nano_cny=7_777_777_777, from_ms=T0 + 6 * GRID, order=3)]

    def lines(usage):
        charges = charge(collect_usage(inputs(usage, grants, prices), *DAY))
        return [(line.price_id, line.charge_fen, line.quantities.billable) for line in charges.lines]

    assert lines(_cut(pieces, one_way)) == lines(_cut(pieces, another_way)) == lines(pieces)


@given(st.permutations(range(6)))
def test_the_order_of_inputs_does_not_matter(order):
    pieces = [use(n * GRID, (n + 1) * GRID) for n in range(6)]
    want = build_statement(inputs(pieces), *DAY)
    assert build_statement(inputs([pieces[n] for n in order]), *DAY) == want


@given(st.integers(1, 10 * HOUR), st.integers(1, 10 * HOUR))
def test_more_use_never_costs_less(one, two):
    small, large = sorted((one, two))
    amounts = [_line(inputs([use(0, end)]))["amount_fen"] for end in (small, large)]
    assert amounts == sorted(amounts)


def test_several_firms_are_kept_apart_and_ordered():
    other = authorisation(
        allocation_id="al-2", firm_id="firm-b", job_id="job-2", share_ppm_of={"d-2": 1_000_000}
    )
    given_inputs = inputs([use(), use(device_id="d-2", allocation_id="al-2")], [other, authorisation()])
    statement = build_statement(given_inputs, *DAY)
    assert [firm["firm_id"] for firm in statement["firms"]] == ["firm-a", "firm-b"]
    assert statement["firms"][0]["name"] == "甲公司"
    only = build_statement(given_inputs, *DAY, "firm-b")
    assert only["firms"] == statement["firms"][1:]
