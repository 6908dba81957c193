"""What was counted for one who asks in vain holds for whoever comes after him, and for nobody else."""

import pytest

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner.fitting import nodes_by_devices, too_few
from scheduler.planner.fleet import Fleet
from scheduler.planner.in_vain import InVain
from scheduler.planner.rows import Ints
from scheduler.planner.snapshot import WaitingJob
from scheduler.planner.turns import Standing
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

Bound = tuple[float, float | None, int]  # turn, rest, submitted
FIRST: Bound = (20.0, 200.0, 2_000)


def counted_for(*asked: Bound) -> list[Bound]:
    """For whom the devices were counted, where these ask one after the other."""
    in_vain, found = InVain(), list[Bound]()

    def count(standing: Standing, job: WaitingJob) -> tuple[list[int], bool, bool]:
        found.append((standing.turn, standing.left_ms, job.submitted_ms))
        return [0], True, False

    for turn, left_ms, submitted_ms in asked:
        job = WaitingJob(submitted_ms, JobId("job"))
        in_vain.most(("cell",), Standing(1, turn, left_ms), job, count)
    return found


def test_who_comes_later_has_a_longer_rest_and_waits_for_less_long_is_not_counted_for() -> None:
    assert counted_for(FIRST, FIRST, (21.0, 201.0, 2_001), (20.0, None, 2_000)) == [FIRST]


@pytest.mark.parametrize(
    ("then", "counted"),
    [
        ((19.0, 201.0, 2_001), (19.0, 200.0, 2_000)),
        ((21.0, 199.0, 2_001), (20.0, 199.0, 2_000)),
        ((21.0, 201.0, 1_999), (20.0, 200.0, 1_999)),
    ],
    ids=["an earlier turn", "a shorter rest", "a longer wait"],
)
def test_for_whom_more_may_give_way_all_is_counted_again_for_him_and_those_before(
    then: Bound, counted: Bound
) -> None:
    assert counted_for(FIRST, then, FIRST, then) == [FIRST, counted]


def test_a_rest_that_nobody_knows_is_the_longest() -> None:
    unknown = (20.0, None, 2_000)
    assert counted_for(unknown, unknown, FIRST, unknown) == [unknown, FIRST]


def test_nodes_are_counted_by_what_is_free_what_is_coming_and_what_is_given() -> None:
    queue = Queue(QueueKey(FirmId("firm"), "default"), ("pool",))
    cluster = VirtualCluster(
        catalogue_of({"fast": 0}), [NodeSpec(f"n{n}", "fast", 2) for n in range(3)], [queue]
    )
    fleet = Fleet(cluster.catalogue)
    fleet.sync(cluster.snapshot().nodes)
    (cell,) = fleet.cells()
    no_more: list[tuple[Ints, Ints]] = []
    assert nodes_by_devices(cell, {}, no_more) == [3, 3, 3]
    rows: Ints = cell.whole.nonzero()[0][[0, 0, 1]]
    nodes = nodes_by_devices(cell, {2: 0b101}, [(rows, rows * 0 + 1)])
    assert nodes == [3, 3, 3, 3, 2], "two more on two nodes, one more on the third"
    assert not too_few(nodes, [(2, 4), (1, 3)])
    assert too_few(nodes, [(3, 4)])
    assert too_few(nodes, [(2, 4), (2, 3)]), "who has four has three as well"
    assert too_few(nodes, [(1, 5)])
