"""Told starts that are read when some of their moments may have passed."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.told_intervals import still_to_come

moments = st.integers(min_value=0, max_value=10**13)


@given(told=st.tuples(moments, moments, moments).map(lambda told: tuple(sorted(told))), now_ms=moments)
def test_no_moment_has_passed_and_the_most_likely_one_is_not_now(
    told: tuple[int, int, int], now_ms: int
) -> None:
    left = still_to_come(told, now_ms)
    if left is None:
        assert told[2] <= now_ms
        return
    low_ms, expected_ms, high_ms = left
    assert max(told[0], now_ms) == low_ms <= expected_ms <= high_ms == told[2]
    assert expected_ms > now_ms
    if told[1] > now_ms:
        assert expected_ms == told[1], "what is still to come stays"
