"""The demo's cluster for as long as a block: control plane, witness, three agents with simulated devices."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scheduler.demo.cluster import Cluster
from scheduler.demo.people import People, configure, make_keys

SITE = Path(__file__).resolve().parents[1] / "examples" / "demo" / "site.yaml"
WINDOW_MS = 5_000


@dataclass(frozen=True)
class RunningCluster:
    """A cluster that serves, and its people."""

    cluster: Cluster
    people: People


@contextmanager
def demo_cluster(window_ms: int = WINDOW_MS) -> Iterator[RunningCluster]:
    """Start the cluster; at the end of the block nothing of it runs or is left. Raises ClusterError."""
    # Short, because the path of PostgreSQL's socket has to fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="suanli-bench-"))
    cluster = Cluster(folder, window_ms, lambda _sentence: None)
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.callback(cluster.processes.stop)
        cluster.start_control_plane()
        operator = ending.enter_context(cluster.first_operator())
        configure(operator, SITE)
        people = make_keys(operator, SITE)
        for client in (people.auditor, *people.researchers.values(), *people.administrators.values()):
            ending.enter_context(client)
        cluster.start_agents(operator)
        yield RunningCluster(cluster, people)
