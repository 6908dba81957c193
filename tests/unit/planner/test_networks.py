"""Where gangs go on the network above the nodes."""

import numpy as np

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import PlannerConfig, Shape
from scheduler.planner.network import nested_levels, places_along_wires
from scheduler.planner.placer import Placer
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

MODEL, POOL = "device", "pool"
QUEUE = QueueKey(FirmId("firm"), "default")
LEAF = 4  # nodes on a leaf switch


def nodes_of_a_gang(domains: dict[str, tuple[str | None, str | None, str | None]], nodes: int) -> set[str]:
    """The nodes that a gang with whole nodes is given on an empty cluster."""
    specs = [NodeSpec(name, MODEL, 8, POOL, domains=where) for name, where in domains.items()]
    cluster = VirtualCluster(catalogue_of({MODEL: 0}), specs, [Queue(QUEUE, (POOL,))])
    placer = Placer(cluster.snapshot(), PlannerConfig())
    placement = placer.place(Shape(QUEUE, Priority.NORMAL, 8 * nodes, 8, (MODEL,)), JobId("gang"))
    assert placement is not None
    return {task.node_id for task in placement.tasks}


def test_a_gang_stays_in_one_supernode_rather_than_over_fewer_leaves_of_two() -> None:
    domains = {
        f"node-{n:02}": (None, f"supernode-{n // 8}", f"leaf-{n // LEAF}")
        for n in range(16)
        if n not in {0, 4}
    }
    taken = nodes_of_a_gang(domains, 7)
    assert len({domains[node][1] for node in taken}) == 1


def test_where_spines_cut_through_leaves_a_gang_is_over_as_few_leaves_as_possible() -> None:
    domains = {f"node-{n:02}": ("core", f"spine-{n % 2}", f"leaf-{n // LEAF}") for n in range(16)}
    taken = nodes_of_a_gang(domains, 8)
    assert len({domains[node][2] for node in taken}) == 2


def test_one_wrongly_named_switch_does_not_make_a_level_useless() -> None:
    numbers = np.array([(0, n // 44, n // LEAF) for n in range(88)], dtype=np.int64)
    assert nested_levels(numbers) == (2, 1, 0)
    numbers[0, 1] = 1
    assert nested_levels(numbers) == (2, 1, 0)
    numbers[::LEAF, 1] = 2
    assert nested_levels(numbers) == (2, 0)
    numbers[:, 2] = -1
    assert nested_levels(numbers) == (1, 0)
    numbers[:, 1] = -1
    assert nested_levels(numbers) == (0,)


def test_nodes_stand_along_the_wires_domain_by_domain_then_by_position_then_as_enrolled() -> None:
    domains = np.array([(1, -1, 4), (1, -1, 3), (0, -1, 5), (1, -1, 4), (1, -1, 4)], dtype=np.int64)
    positions = np.array([2, 7, 9, 1, 1], dtype=np.int64)
    assert places_along_wires(domains, positions).tolist() == [4, 1, 0, 2, 3]
