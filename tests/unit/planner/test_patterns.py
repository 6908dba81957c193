"""What a remainder of a device is worth to parts that come with some frequency."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planner.patterns import best_use

WHOLE = 100

parts = st.dictionaries(st.integers(1, WHOLE - 1), st.floats(0.01, 1.0), min_size=1, max_size=8)


def test_room_in_which_nothing_fits_is_worth_nothing() -> None:
    worth = best_use(((30, 1.0), (60, 1.0)), WHOLE)
    assert worth[29] == 0
    assert worth[60] > worth[59]


def test_halves_and_quarters_are_worth_their_size() -> None:
    worth = best_use(((25, 3.0), (50, 1.0)), WHOLE)
    assert worth[[25, 50, 75, 100]] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_who_leaves_what_nothing_fits_costs_a_whole_device() -> None:
    worth = best_use(((81, 1.0),), WHOLE)
    assert worth[80] == 0
    assert worth[81] == pytest.approx(1.0)


def test_room_that_goes_well_with_what_comes_often_is_worth_more() -> None:
    """Of 65 and 32 there are as many: together they fill a device, so that 35 is kept for a 32."""
    often = best_use(((32, 1.0), (65, 1.0)), WHOLE)
    assert often[35] + often[65] == pytest.approx(1.0)


@given(parts)
def test_more_room_is_worth_no_less_and_no_way_to_fill_a_device_is_worth_more_than_it(
    asked: dict[int, float],
) -> None:
    worth = best_use(tuple(sorted(asked.items())), WHOLE)
    assert (np.diff(worth) >= 0).all()
    assert worth[WHOLE] == pytest.approx(1.0)
    assert (worth + worth[::-1] <= 1.0 + 1e-6).all()
