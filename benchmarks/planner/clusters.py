"""The clusters of the cases."""

from collections.abc import Sequence
from pathlib import Path

from scheduler.domain.queues import Queue
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.clusters import ClusterFile, read_cluster

FILE = Path(__file__).with_name("clusters.yaml")


def cluster_file(name: str) -> ClusterFile:
    """What the file says of a cluster."""
    return read_cluster(FILE, name)


def fresh(
    described: ClusterFile, queues: Sequence[Queue], nodes: Sequence[NodeSpec] | None = None
) -> VirtualCluster:
    """An empty one; with other nodes of the same models where they are given."""
    return VirtualCluster(described.catalogue, described.nodes if nodes is None else nodes, queues)
