"""B18: gangs of hosts on a real network: how many leaf switches they span, against the fewest possible."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from rich.progress import Progress

from benchmarks.harness import Row
from benchmarks.planner.peers.leaves import HostGang, fewest, simulate
from benchmarks.planner.settings import Settings, config, profiles
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import Shape, Topology
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.jobs import Work
from scheduler.simulator.models import catalogue_of
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.topology import Host, read_topology
from scheduler.simulator.world import Options, World

PROFILE = "packing"
SIZES = (4, 8, 16, 32, 64, 128)
GANGS, LOAD, MEAN_RUN_S = 2_000, 0.9, 3_600.0
PER_HOST = 8
GOAL = 1.10
QUEUE = QueueKey(FirmId("firm"), "default")
MODEL, POOL = "device", "pool"


def b18(settings: Settings) -> Iterator[Row]:
    """Mean of leaf switches spanned / fewest on the empty network, and the spines."""
    for path in find_tables(settings.traces, Kind.TOPOLOGY):
        hosts = read_topology(path)
        drawn = gangs(len(hosts), settings.some(GANGS, 50))
        leaves = Counter(host.leaf for host in hosts)
        least = [fewest(leaves, gang.hosts) for gang in drawn]
        peer = np.mean([n / few for n, few in zip(simulate(leaves, drawn), least, strict=True)])
        for profile in profiles(PROFILE):
            leaf_count, spine_count, waited_s = run(hosts, drawn, profile, settings, f"B18 {profile}")
            ratio = float(np.mean([n / few for n, few in zip(leaf_count, least, strict=True)]))
            name = settings.case(f"{path.parent.name} / {profile}")
            said = f"simple best fit here {peer:.3f}"
            bound = GOAL if profile == PROFILE else GOAL * 1.1
            yield Row("B18", name, "leaf switches spanned / fewest", ratio, "", "lower", said, bound)
            yield Row("B18", name, "spines spanned", float(np.mean(spine_count)), "", "lower")
            yield Row("B18", name, "average wait", waited_s, "s", "lower")


def gangs(hosts: int, number: int, seed: int = 0) -> list[HostGang]:
    """Poisson arrivals that ask for 90 % of the hosts, sizes from a fixed list, exponential run times."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([size for size in SIZES if size <= hosts // 4] or [1], number)
    gap_s = float(np.mean(sizes)) * MEAN_RUN_S / (LOAD * hosts)
    arrivals = np.cumsum(rng.exponential(gap_s, number))
    runs = rng.exponential(MEAN_RUN_S, number)
    return [
        HostGang(float(a), max(1.0, float(r)), int(s)) for a, r, s in zip(arrivals, runs, sizes, strict=True)
    ]


def run(
    hosts: Sequence[Host], drawn: Sequence[HostGang], profile: str, settings: Settings, title: str
) -> tuple[list[int], list[int], float]:
    """Leaves and spines spanned by each gang, and the average wait, with the shipped planner."""
    specs = [
        NodeSpec(host.name, MODEL, PER_HOST, POOL, domains=(host.core, host.spine, host.leaf))
        for host in hosts
    ]
    cluster = VirtualCluster(catalogue_of({MODEL: 0}), specs, [Queue(QUEUE, (POOL,))])
    shape = Shape(
        queue=QUEUE,
        priority=Priority.NORMAL,
        devices=PER_HOST,
        devices_per_node=PER_HOST,
        models=(MODEL,),
        topology=Topology("leaf"),
        rates=((MODEL, 1.0),),
    )
    works = [
        Work(
            JobId(f"gang-{number}"),
            shape._replace(devices=gang.hosts * PER_HOST, kind=f"gang/{gang.hosts}"),
            round(gang.arrival_s * 1000),
            gang.run_s,
            {MODEL: 1.0},
            steps_known=True,
        )
        for number, gang in enumerate(drawn)
    ]
    with Progress(console=settings.console, transient=True) as progress:
        bar = progress.add_task(title, total=len(works))
        world = World(
            cluster,
            works,
            config(profile),
            Options(keep_gantt=True),
            on_progress=lambda done, of: progress.update(bar, completed=done),
        )
        world.run()
    where = {host.name: host for host in hosts}
    leaf_count, spine_count = [0] * len(works), [0] * len(works)
    for stretch in world.stretches:
        number = int(stretch.job_id.rpartition("-")[2])
        nodes = [where[node_id] for node_id, _ in stretch.tasks]
        leaf_count[number] = len({host.leaf for host in nodes})
        spine_count[number] = len({host.spine for host in nodes})
    waits = [record.wait_ms or 0 for record in world.records.values()]
    return leaf_count, spine_count, float(np.mean(waits)) / 1000
