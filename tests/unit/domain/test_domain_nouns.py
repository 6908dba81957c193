"""Ids, times, and the desired state of a node."""

import random
import uuid
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.allocations import Goal, desired_state
from scheduler.domain.ids import Ids, is_uuid, uuid7
from scheduler.domain.time import from_rfc3339, on_grid, to_rfc3339


class Row(NamedTuple):
    """An allocation as the gateway reads it."""

    allocation_id: str
    goal: str = "prepare"
    stop_reason: str | None = None
    live: bool = True
    master_address: str | None = None
    master_port: int | None = None


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_of_version_7_that_carries_its_time(now_ms: int, random_bytes: bytes) -> None:
    made = uuid.UUID(uuid7(now_ms, random_bytes))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ms
    assert is_uuid(str(made))


def test_ids_of_a_later_millisecond_sort_later_and_are_never_the_same() -> None:
    ids = Ids(random.Random(1).randbytes)
    made = [ids.new(now_ms) for now_ms in range(1_000) for _ in range(2)]
    assert len(set(made)) == 2_000
    assert made[::2] == sorted(made[::2])


@pytest.mark.parametrize(("now_ms", "random_bytes"), [(-1, b"0" * 10), (1 << 48, b"0" * 10), (0, b"0" * 9)])
def test_an_id_out_of_range_is_refused(now_ms: int, random_bytes: bytes) -> None:
    with pytest.raises(ValueError):
        uuid7(now_ms, random_bytes)


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_reads_back_from_its_text(at_ms: int) -> None:
    text = to_rfc3339(at_ms)
    assert text.endswith("Z")
    assert from_rfc3339(text) == at_ms


def test_the_grid_is_five_minutes_of_utc() -> None:
    assert on_grid(from_rfc3339("2026-01-01T00:00:00+08:00"))
    assert not on_grid(from_rfc3339("2026-01-01T00:01:00Z"))


def test_desired_are_live_allocations_in_order_with_what_their_goal_needs() -> None:
    rows = [
        Row("c", "run", None, True, "10.0.0.1", 29500),
        Row("a", "stop", "cancelled", True, "10.0.0.1", 29500),
        Row("b"),
        Row("d", "stop", live=False),
    ]
    assert desired_state(rows) == [
        ("a", Goal.STOP, "cancelled", "", 0),
        ("b", Goal.PREPARE, "", "", 0),
        ("c", Goal.RUN, "", "10.0.0.1", 29500),
    ]
