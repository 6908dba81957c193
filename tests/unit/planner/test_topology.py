"""Which devices of a node a task takes."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.catalogue import ShapeRule, load_catalogue
from scheduler.domain.ids import DeviceId
from scheduler.planner.snapshot import DeviceView
from scheduler.planner.topology import allowed_set, choose_devices

KEYS = ["ascend-910a", "ascend-910b3", "ascend-910b2c", "ascend-910c", "mlu370-x8", "kunlunxin-p800"]


def devices(numbers: set[int], group: int) -> list[DeviceView]:
    """Free devices by number, in fast-link groups of a size."""
    return [DeviceView(n, DeviceId(f"d{n}"), "m", n // group, free=True) for n in sorted(numbers)]


def chosen(model: str, numbers: set[int], count: int, group: int) -> list[int] | None:
    """Numbers that are taken."""
    taken = choose_devices(load_catalogue().shape(model), devices(numbers, group), count)
    return None if taken is None else [device.number for device in taken]


@pytest.mark.parametrize(
    ("model", "free", "count", "group", "expected"),
    [
        ("ascend-910b3", set(range(8)), 3, 8, [0, 1, 2]),
        # 910A: up to four devices in one ring, only 1, 2, 4 or 8
        ("ascend-910a", {0, 1, 2, 4, 5}, 2, 4, [4, 5]),  # the smaller hole
        ("ascend-910a", {0, 1, 4, 5}, 4, 4, None),
        ("ascend-910a", set(range(8)), 3, 4, None),
        ("ascend-910a", set(range(8)), 8, 4, list(range(8))),
        # 910B2C: more than eight split evenly over the two rings
        ("ascend-910b2c", set(range(16)), 10, 8, [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]),
        ("ascend-910b2c", set(range(12)), 10, 8, None),
        ("ascend-910b2c", set(range(4, 12)), 8, 8, None),
        # 910C: whole packages for even counts; a single one out of a broken package
        ("ascend-910c", {1, 2, 3, 5}, 2, 16, [2, 3]),
        ("ascend-910c", {1, 2, 3, 5}, 4, 16, None),
        ("ascend-910c", {1, 2, 3}, 1, 16, [1]),
        # Kunlunxin: 1, 2 and 4 never cross the halves of the node
        ("kunlunxin-p800", {2, 3, 4, 5}, 4, 8, None),
        ("kunlunxin-p800", {3, 4, 5}, 2, 8, [4, 5]),
        # no rule: one fast-link group where possible, else as few as possible
        ("metax-c500", {0, 1, 2, 4, 5}, 2, 4, [4, 5]),
        ("metax-c500", {0, 1, 4, 5, 6}, 4, 4, [0, 4, 5, 6]),
    ],
)
def test_a_task_takes_the_devices_that_the_vendor_allows_and_leaves_large_holes_whole(
    model: str, free: set[int], count: int, group: int, expected: list[int] | None
) -> None:
    assert chosen(model, free, count, group) == expected


@given(
    st.sampled_from(KEYS),
    st.sets(st.integers(0, 15), max_size=10),
    st.integers(1, 10),
    st.sampled_from([2, 4, 8, 16]),
)
def test_what_is_chosen_is_allowed_and_nothing_is_chosen_only_where_nothing_is_allowed(
    model: str, free: set[int], count: int, group: int
) -> None:
    rule = load_catalogue().shape(model)
    views = devices(free, group)
    taken = choose_devices(rule, views, count)
    if taken is not None:
        assert len(taken) == count
        assert set(taken) <= set(views)
        assert allowed_set(rule, taken)
    else:
        assert not any(allowed_set(rule, subset) for subset in combinations(views, count))


def test_no_devices_are_no_allowed_set() -> None:
    assert not allowed_set(ShapeRule(), [])
