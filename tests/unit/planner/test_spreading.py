"""Over which leaves a gang is spread, by how many nodes are free on each."""

from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planner.spreading import spread, tightest

LARGEST = 24

rooms = st.lists(st.integers(1, LARGEST), min_size=1, max_size=12)


def spread_over(free: list[int], tasks: int) -> list[int]:
    taken: list[int] = spread(np.array(free), tasks, LARGEST).tolist()
    return taken


@given(rooms, st.data())
def test_all_tasks_are_seated_over_as_few_leaves_as_hold_them(free: list[int], data: st.DataObject) -> None:
    tasks = data.draw(st.integers(1, sum(free)))
    taken = spread_over(free, tasks)
    assert sum(taken) == tasks
    assert all(0 <= count <= room for count, room in zip(taken, free, strict=True))
    fewest = 1 + sum(room < tasks for room in accumulate(sorted(free, reverse=True)))
    assert np.count_nonzero(taken) == fewest


def test_a_gang_takes_the_leaf_of_which_least_is_left_that_others_could_use() -> None:
    of_five_of_six = np.array([6, 5, 24])
    assert tightest(of_five_of_six, 4, LARGEST).tolist() == [1]
    to_sixteen = np.array([20, 16, 24])
    assert tightest(to_sixteen, 4, LARGEST).tolist() == [0]


def test_leaves_that_are_equally_good_are_all_named() -> None:
    assert tightest(np.array([8, 24, 8]), 8, LARGEST).tolist() == [0, 2]


def test_the_rest_of_a_large_gang_leaves_half_a_leaf_to_a_gang_of_sixteen() -> None:
    assert spread_over([24, 24, 20, 18], 28) == [24, 0, 4, 0]
