"""The meter's clock never goes back."""

from hypothesis import given
from hypothesis import strategies as st

from agents.core.clock import JUMP_MS, MeterClock

MS = 1_000_000


def test_it_runs_with_the_boot_clock() -> None:
    clock = MeterClock(1_000, 0)
    assert clock.read(1_500, 500 * MS) == (1_500, None)
    assert clock.off_ms == 0


def test_it_leans_towards_the_wall_by_a_tenth_at_most() -> None:
    clock = MeterClock(0, 0)
    assert clock.read(5_000, 1_000 * MS) == (1_100, None)
    assert clock.read(1_000, 2_000 * MS) == (2_000, None)
    assert clock.off_ms == 1_000


def test_a_wall_that_was_set_back_never_takes_it_back() -> None:
    clock = MeterClock(3_600_000, 0)
    now_ms, jumped = clock.read(0, 1_000 * MS)
    assert (now_ms, jumped) == (3_600_900, None)


def test_it_jumps_to_a_wall_that_is_far_ahead_and_says_from_where() -> None:
    clock = MeterClock(0, 0)
    assert clock.read(1_000 + JUMP_MS + 1, 1_000 * MS) == (1_000 + JUMP_MS + 1, 1_000)


def test_it_tells_what_it_showed_at_another_moment() -> None:
    clock = MeterClock(0, 0)
    clock.read(1_000, 1_000 * MS)
    assert clock.of_boot(400 * MS) == 400
    assert clock.of_boot(1_250 * MS) == 1_250


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(-(10**7), 10**7)), max_size=50))
def test_it_never_goes_back(readings: list[tuple[int, int]]) -> None:
    clock = MeterClock(10**9, 0)
    boot_ms, last_ms = 0, 10**9
    for step_ms, off_ms in readings:
        boot_ms += step_ms
        now_ms, _ = clock.read(10**9 + boot_ms + off_ms, boot_ms * MS)
        assert now_ms >= last_ms
        last_ms = now_ms
