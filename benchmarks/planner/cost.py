"""The cost of decisions on large mixed clusters: placements per second, and one cycle with a long queue.

By CPU time of the process, which plans in one thread: what others do on the machine meanwhile counts less.
"""

import resource
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np
from rich.progress import track

from benchmarks.harness import Row
from benchmarks.planner.settings import BALANCED, Settings, config
from scheduler import machine_code
from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.planner import JobClass, Shape, Snapshot, WaitingJob
from scheduler.planner.comparison import Prospect, firm_changes, most_changed
from scheduler.planner.cycle import Planner, plan
from scheduler.planner.experience import Learning
from scheduler.planner.placer import Placer
from scheduler.simulator.cluster import NodeSpec, VirtualCluster

POOL = "pool"
MODELS = ("ascend-910b3", "ascend-910a", "mlu590", "hygon-k100-ai", "metax-c500")
FIRMS = 20
DEVICES = 8  # on a node
LEAF = 50  # nodes below one leaf switch
# Nodes -> what Slurm 22.05 places in a second on such a machine: 1-device jobs, 8-device jobs.
SLURM = {1_000: (323, 1_033), 5_000: (45, 97), 10_000: (23, 36)}
GOALS = {1_000: 10_000.0, 5_000: 7_500.0, 10_000: 5_000.0}
GANGS = {"1-device jobs": 1, "8-device gangs": 8, "64-node gangs": 512}
MOST_PLACED = 20_000
WAITING = 100_000
BUSY = 0.97  # of the devices, before the queue is looked at
CHANGED = 0.01
CHANGED_MS, FULL_MS, MEMORY_MIB = 100.0, 1_000.0, 1_536.0
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NOW_MS = 2 * HOUR_MS


def cost(settings: Settings) -> Iterator[Row]:
    """Placements per second by size of the cluster and of the gangs, then cycles with a long queue."""
    for nodes, slurm in SLURM.items():
        for number, (label, devices) in enumerate(GANGS.items()):
            rate = _placements(settings.some(nodes, 100), devices)
            said = f"Slurm 22.05: {slurm[number]}/s" if number < len(slurm) else None
            name = settings.case(f"{nodes:,} nodes x {DEVICES}, {label} / {BALANCED}")
            goal = GOALS[nodes] if devices == 1 else None
            yield Row("cost", name, "placements by CPU time", rate, "1/s", "higher", said, goal)
    yield from _cycles(settings)


def _cluster(nodes: int, *, shared: bool = False) -> VirtualCluster:
    """`shared`: each firm has its part of the devices of every model as its own, and lends it to the others."""
    specs = [
        NodeSpec(
            f"node-{number}",
            MODELS[number // LEAF % len(MODELS)],
            DEVICES,
            POOL,
            domains=(None, None, f"leaf-{number // LEAF}"),
            position=number % LEAF,
            fast_link_group=4,
        )
        for number in range(nodes)
    ]
    keys = [QueueKey(FirmId(f"firm-{number}"), "default") for number in range(FIRMS)]
    queues, cohorts = [Queue(key, (POOL,)) for key in keys], {}
    if shared:
        own = dict.fromkeys(MODELS, nodes * DEVICES // len(MODELS) // FIRMS)
        queues, cohorts = [Queue(key, (POOL,), own, 1, "all") for key in keys], {"all": Cohort("all")}
    machine_code.want(nodes)
    return VirtualCluster(load_catalogue(), specs, queues, cohorts=cohorts)


def _shape(firm: int, devices: int, first: int, limit_ms: int = HOUR_MS) -> Shape:
    """A job of one of the firms that may use every model, one of them rather than the others."""
    return Shape(
        QueueKey(FirmId(f"firm-{firm}"), "default"),
        Priority.NORMAL,
        devices,
        min(devices, DEVICES),
        MODELS[first:] + MODELS[:first],
        time_limit_ms=limit_ms,
    )


def _placements(nodes: int, devices: int) -> float:
    cluster = _cluster(nodes)
    placer = Placer(cluster.snapshot(), config(BALANCED))
    shapes = [_shape(number % FIRMS, devices, number % len(MODELS)) for number in range(FIRMS * len(MODELS))]
    for number, shape in enumerate(shapes[:5]):
        placer.place(shape, JobId(f"warm-{number}"))
    jobs = min(MOST_PLACED, nodes * DEVICES // devices - len(shapes[:5]))
    begun = time.process_time()
    placed = sum(
        placer.place(shapes[number % len(shapes)], JobId(f"job-{number}")) is not None
        for number in range(jobs)
    )
    return placed / (time.process_time() - begun)


def _cycles(settings: Settings) -> Iterator[Row]:
    """With a long queue: of firms that share nothing, then of those who have lent all that is their own."""
    name = settings.case(f"{WAITING:,} jobs wait, {10_000 * DEVICES:,} devices / {BALANCED}")
    nodes, jobs, rng = settings.some(10_000, 100), settings.some(WAITING, 1_000), np.random.default_rng(0)
    cluster = _cluster(nodes)
    _fill(cluster, rng, range(FIRMS))
    present = yield from _part_and_whole(settings, name, cluster, _queue(jobs, rng, range(FIRMS)), rng)
    # Before the what-if, which has a process of its own where it is asked in earnest.
    used_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    label = "most memory of the process, cases before this one included"
    yield Row("cost", name, label, used_mib, "MiB", "lower", None, MEMORY_MIB)
    yield _what_if(settings, present, name)
    cluster = _cluster(nodes, shared=True)
    _fill(cluster, rng, range(FIRMS // 2))  # their work would lose too much, for whom waits an hour at most
    owners = _queue(jobs, rng, range(FIRMS // 2, FIRMS))
    yield from _part_and_whole(settings, f"{name}, for what they have lent", cluster, owners, rng)
    yield _with_market(settings, nodes, jobs, name)


def _part_and_whole(
    settings: Settings, name: str, cluster: VirtualCluster, classes: "Classes", rng: np.random.Generator
) -> Generator[Row, None, Snapshot]:
    """A cycle with one changed device in a hundred, then everything anew. Returns what the last one saw."""
    planner = Planner(cluster.catalogue, config(BALANCED))
    snapshot = _snapshot(cluster, classes)
    planner.plan(snapshot, NOW_MS)
    changes = CHANGED * len(snapshot.nodes) * DEVICES
    took_ms = []
    for _ in track(range(5), "cost: cycles", console=settings.console, transient=True):
        running = list(cluster.holdings)
        rng.shuffle(running)
        changed = 0
        while changed < changes:
            changed += cluster.free(running.pop()).devices
        snapshot = _snapshot(cluster, classes)
        begun = time.process_time()
        decided, _ = planner.plan(snapshot, NOW_MS)
        took_ms.append(1000 * (time.process_time() - begun))
        for placement in decided.placements:
            shape, job = next((s, j) for s, jobs in classes for j in jobs if j.job_id == placement.job_id)
            cluster.submit(shape, job)
            cluster.start(placement, NOW_MS)
        gone = {placement.job_id for placement in decided.placements}
        classes = [(s, tuple(j for j in jobs if j.job_id not in gone)) for s, jobs in classes]
    median_ms = float(np.median(took_ms))
    yield Row(
        "cost", f"{name}, 1 % changed", "one cycle by CPU time", median_ms, "ms", "lower", None, CHANGED_MS
    )
    snapshot = _snapshot(cluster, classes)
    begun = time.process_time()
    plan(snapshot, NOW_MS, config(BALANCED))
    full_ms = 1000 * (time.process_time() - begun)
    yield Row(
        "cost", f"{name}, everything anew", "one cycle by CPU time", full_ms, "ms", "lower", None, FULL_MS
    )
    return snapshot


def _with_market(settings: Settings, nodes: int, jobs: int, name: str) -> Row:
    """A plan anew where all jobs resume and are predicted: devices are shared out anew, and who stops is tried."""
    rng, cluster = np.random.default_rng(0), _cluster(nodes)
    _fill(cluster, rng, range(FIRMS))
    snapshot = _snapshot(cluster, _queue(jobs, rng, range(FIRMS)))
    learned = Learning()
    for number in range(50):
        learned.finished("", (2.0 + 2 * (number % 5)) * MINUTE_MS, 2.0 * HOUR_MS)
    classes = [JobClass(item.shape._replace(resumable=True), item.jobs) for item in snapshot.classes]
    running = [one._replace(shape=one.shape._replace(resumable=True)) for one in snapshot.running]
    experience = learned.experience()
    snapshot = replace(snapshot, classes=tuple(classes), running=tuple(running), experience=experience)
    begun = time.process_time()
    plan(snapshot, HOUR_MS + jobs, config(BALANCED))
    took_ms = 1000 * (time.process_time() - begun)
    case = f"{name}, who resume and are predicted"
    return Row("cost", case, "a plan and its tries by CPU time", took_ms, "ms", "lower", None, FULL_MS)


def _what_if(settings: Settings, present: Snapshot, name: str) -> Row:
    """The present, and the present with a hundredth more nodes: two plans anew, with the told start of every job."""
    added = _cluster(settings.some(100, 10)).snapshot().nodes
    added = tuple(replace(node, node_id=NodeId(f"new-{node.node_id}")) for node in added)
    begun = time.process_time()
    before, after = (
        Prospect(snapshot, *plan(snapshot, NOW_MS, config(BALANCED)))
        for snapshot in (present, replace(present, nodes=(*present.nodes, *added)))
    )
    firm_changes(before, after)
    most_changed(before, after, 20)
    took_ms = 1000 * (time.process_time() - begun)
    return Row("cost", f"{name}, 1 % more nodes", "what-if by CPU time", took_ms, "ms", "lower", None, None)


def _fill(cluster: VirtualCluster, rng: np.random.Generator, firms: range) -> None:
    """Jobs of some firms, in turn, on nearly all devices; quotas bind nobody."""
    empty = cluster.snapshot()
    nodes, queues = len(empty.nodes), {key: Queue(key, queue.pools) for key, queue in empty.queues.items()}
    placer = Placer(replace(empty, queues=queues), config(BALANCED))
    number = held = 0
    while held < BUSY * nodes * DEVICES:
        devices = int(rng.choice([1, 2, 4, 8, 16, 64]))
        shape, job_id = (
            _shape(firms[number % len(firms)], devices, number % len(MODELS)),
            JobId(f"runs-{number}"),
        )
        placement = placer.place(shape, job_id)
        number += 1
        if placement is None:
            break
        cluster.submit(shape, WaitingJob(number, job_id))
        cluster.start(placement, number)
        held += devices


Classes = Sequence[tuple[Shape, tuple[WaitingJob, ...]]]


def _queue(jobs: int, rng: np.random.Generator, firms: range) -> Classes:
    classes: dict[Shape, list[WaitingJob]] = {}
    for number in range(jobs):
        devices = int(rng.choice([1, 2, 4, 8, 16, 64, 512]))
        limit_ms = int(rng.choice([1, 2, 24])) * HOUR_MS
        firm = firms[number % len(firms)]
        shape = _shape(firm, devices, int(rng.integers(len(MODELS))), limit_ms)
        classes.setdefault(shape, []).append(WaitingJob(HOUR_MS + number, JobId(f"waits-{number}")))
    return [(shape, tuple(waiting)) for shape, waiting in classes.items()]


def _snapshot(cluster: VirtualCluster, classes: Classes) -> Snapshot:
    snapshot = cluster.snapshot()
    waiting = tuple(JobClass(shape, jobs) for shape, jobs in classes if jobs)
    return replace(snapshot, classes=waiting)
