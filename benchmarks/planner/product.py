"""B19: everything at once, as an operator has it: six firms, three device models, leaf switches, gangs, parts of
devices, sizes that may change, a maintenance window, nodes that fail, run times that nobody knows.

Each firm brings nodes of every model; they are its nominal quota, and it may borrow the others'. The peer is
plain fair share with EASY backfill on the same cluster; `alone` is the shipped planner on the firm's own nodes, with
the jobs that these could ever hold: no other is compared.
Jobs ask for twice what the devices could do were they spread evenly over the models: below that nothing waits, and
no policy differs from another. The floor beside the goal is every job at once on its fastest model.
The case is the first draw. The others are of the jobs that follow in the same trace, with everything else drawn anew:
what was tuned on one draw has to hold on those.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from rich.progress import Progress

from benchmarks.harness import Row
from benchmarks.planner.clusters import cluster_file
from benchmarks.planner.estimates import Declared
from benchmarks.planner.firms import SHRINK
from benchmarks.planner.peers import plain
from benchmarks.planner.settings import BALANCED, Settings, config
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.planner import Hole, Shape, Topology
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.clusters import ClusterFile
from scheduler.simulator.jobs import Work
from scheduler.simulator.summary import Summary, summarise
from scheduler.simulator.traces.jobs import read_firm_nodes
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.steps import Rates, StepJob, read_rates, read_step_jobs
from scheduler.simulator.world import Decide, Options, Outage, World

JOBS, DRAWS = 1_500, 4
# Of what the devices could do with jobs spread evenly over the models; less on the models that suit. At 1.2 hardly
# a job waits, and every job at once on its fastest model is slower than the goal: no policy could reach it.
LOAD = 2.0
CHECKPOINT_MS, RESTART_MS = 30 * 60_000, 60_000
RESUMABLE, SHARES, ELASTIC, WIDE = (
    0.8,
    0.2,
    0.2,
    0.3,
)  # of all, of 1-device, of 2- and 4-device, of 8-device jobs
SHARE_PPM, WIDE_SPEED = 500_000, 1.8
FAIL_A_DAY, REPAIR_MS, DAY_MS = 0.01, 4 * 3_600_000, 24 * 3_600_000
WINDOW_AT, WINDOW_MS = 0.5, 4 * 3_600_000  # of the arrivals' span; one leaf
TICK_MS = 10 * 60_000
GOAL_WORSE, GOAL_JCT, GOAL_LOST, GOAL_COVERAGE = 1.02, 0.75, 1.0, (75.0, 85.0)
POOL, COHORT = "pool", "all"


@dataclass(frozen=True)
class Scene:
    """One drawn installation with its jobs."""

    described: ClusterFile
    nodes_of: Mapping[str, tuple[NodeSpec, ...]]  # by firm
    works: tuple[Work, ...]
    outages: tuple[Outage, ...]
    holes: tuple[Hole, ...]

    def cluster(self, firms: Sequence[str]) -> VirtualCluster:
        """The nodes of these firms."""
        nodes = [node for firm in firms for node in self.nodes_of[firm]]
        names = {node.name for node in nodes}
        holes = [replace(hole, nodes=frozenset(n for n in hole.nodes if n in names)) for hole in self.holes]
        return VirtualCluster(
            self.described.catalogue,
            nodes,
            [self._queue(firm) for firm in firms],
            cohorts={COHORT: Cohort(COHORT)},
            calendar=tuple(hole for hole in holes if hole.nodes),
        )

    def alone(self, firm: str) -> list[Work]:
        """The firm's jobs that could start on its own nodes, were they idle."""
        return [
            work
            for work in self.works
            if work.shape.queue.firm_id == firm
            and any(self._holds(work.shape, model, firm) for model in work.rates)
        ]

    def _holds(self, shape: Shape, model: str, firm: str) -> bool:
        smallest = shape._replace(devices=min(shape.devices, *shape.sizes, shape.devices))
        of_one = min(smallest.devices, smallest.devices_per_node)
        nodes = [node for node in self.nodes_of[firm] if node.model == model and node.devices >= of_one]
        return len(nodes) >= smallest.tasks

    def _queue(self, firm: str) -> Queue:
        nominal: dict[str, int] = {}
        for node in self.nodes_of[firm]:
            nominal[node.model] = nominal.get(node.model, 0) + node.devices
        # A model that the firm brings none of is borrowed altogether.
        nominal = {model: nominal.get(model, 0) for model in self.described.models}
        return Queue(_key(firm), (POOL,), nominal, len(self.nodes_of[firm]), COHORT)


def b19(settings: Settings) -> Iterator[Row]:
    """Worst firm against alone, completion times, utilisation, lost work, and whether announced starts hold.

    A row comes as soon as the runs that it needs are done: together, the peer, then each firm alone.
    """
    most = -(-len(_rows(settings)) // JOBS)
    for draw in range(min(most, settings.some(DRAWS))):
        yield from _judged(scene(settings, draw), settings, f", draw {draw}" if draw else "")


def _judged(drawn: Scene, settings: Settings, which: str) -> Iterator[Row]:
    firms = list(drawn.nodes_of)
    name = settings.case(f"{len(drawn.works)} jobs of {len(firms)} firms{which} ESTIMATED / {BALANCED}")
    ours, jct_s = _run(drawn, firms, drawn.works, None, settings, f"B19{which} together")
    said = f"{ours.announced} jobs were told an interval; goal {GOAL_COVERAGE[0]:g} to {GOAL_COVERAGE[1]:g} %"
    coverage = 100 * (ours.coverage or 0.0)
    off = max(GOAL_COVERAGE[0] - coverage, coverage - GOAL_COVERAGE[1], 0.0)
    yield Row("B19", name, "starts inside the announced interval", coverage, "%", "higher", said)
    yield Row("B19", name, "coverage: points outside the goal", off, "points", "lower", said, 0.0)
    stops = ", ".join(f"{cause} {number}" for cause, number in sorted(ours.stops.items()))
    yield Row("B19", name, "stops", float(sum(ours.stops.values())), "", "lower", stops or None)
    yield Row("B19", name, "decision p99", ours.decision_p99_ms, "ms", "lower")
    peer, peers_jct_s = _run(
        drawn, firms, drawn.works, plain.decide, settings, f"B19{which} fair share + EASY"
    )
    floor_s = sum(work.steps / work.fastest for work in drawn.works) / len(drawn.works)
    said = f"fair share + EASY here {peer.jct.mean_s:,.0f} s; floor {floor_s:,.0f} s"
    yield Row("B19", name, "average JCT", ours.jct.mean_s, "s", "lower", said, GOAL_JCT * peer.jct.mean_s)
    said = f"fair share + EASY here {100 * peer.utilisation:.1f} %"
    yield Row("B19", name, "utilisation", 100 * ours.utilisation, "%", "higher", said)
    said = f"fair share + EASY here {100 * peer.lost_share:.2f} %"
    yield Row("B19", name, "lost work", 100 * ours.lost_share, "%", "lower", said, GOAL_LOST)
    for cause, share in ours.lost_to.items():
        yield Row("B19", name, f"lost work, {cause}", 100 * share, "%", "lower")
    ratios: dict[str, tuple[float, float]] = {}  # ours and the peer's JCT / alone
    for firm in firms:
        works = drawn.alone(firm)
        if not works:
            continue
        _, alone_s = _run(drawn, [firm], works, None, settings, f"B19{which} {firm} alone")
        alone, found, theirs = (
            fmean(of[job_id] for job_id in alone_s) for of in (alone_s, jct_s, peers_jct_s)
        )
        ratios[firm] = found / alone, theirs / alone
        said = f"{len(works)} jobs, alone {alone:,.0f} s, fair share + EASY {theirs:,.0f} s"
        yield Row("B19", name, f"firm {firm}: average JCT", found, "s", "lower", said)
    worst = max(ratios, key=lambda firm: ratios[firm][0])
    said = f"{worst}; fair share + EASY here {max(theirs for _, theirs in ratios.values()):.3f}"
    yield Row("B19", name, "worst firm: JCT / alone", ratios[worst][0], "", "lower", said, GOAL_WORSE)


def scene(settings: Settings, seed: int = 0) -> Scene:
    """Draws everything from the seed, in a fixed order; of the jobs each seed has others."""
    rng = np.random.default_rng(seed)
    described = cluster_file("mixed")
    sizes = read_firm_nodes(find_tables(settings.traces, Kind.FIRM_NODES)[0])
    firms = {name: max(1, nodes // SHRINK) for name, (nodes, _) in sizes.items()}
    rates = read_rates(
        find_tables(settings.traces, Kind.RATES)[0], "simulation_throughputs", described.models
    )
    rows = _rows(settings)[seed * JOBS :][: settings.some(JOBS, 50)]
    nodes_of = _deal(described.nodes, firms)
    used = [node for nodes in nodes_of.values() for node in nodes]
    gap_s = _gap_s(rows, rates, used)
    arrivals_s = np.cumsum(rng.exponential(gap_s, len(rows)))
    weights = np.array([len(nodes) for nodes in nodes_of.values()], dtype=float)
    owners = rng.choice(list(nodes_of), len(rows), p=weights / weights.sum())
    declared = Declared(len(rows), seed)
    works = tuple(
        _work(n, row, rates, str(owners[n]), float(arrivals_s[n]), declared, rng)
        for n, row in enumerate(rows)
    )
    span_ms = round(1000 * float(arrivals_s[-1]))
    leaf = used[len(used) // 2].domains[-1]
    window = Hole(
        round(WINDOW_AT * span_ms),
        round(WINDOW_AT * span_ms) + WINDOW_MS,
        frozenset(NodeId(node.name) for node in used if node.domains[-1] == leaf),
        why="maintenance",
    )
    outages = [
        Outage(at_ms, at_ms + REPAIR_MS, NodeId(node.name))
        for node in used
        for day in range(2 * span_ms // DAY_MS + 1)
        if rng.random() < FAIL_A_DAY
        for at_ms in [day * DAY_MS + int(rng.integers(DAY_MS))]
    ]
    return Scene(described, nodes_of, works, tuple(outages), (window,))


def _rows(settings: Settings) -> list[StepJob]:
    return read_step_jobs(find_tables(settings.traces, Kind.STEP_JOBS, "*cont_multi*")[0])


def _deal(nodes: Sequence[NodeSpec], firms: Mapping[str, int]) -> dict[str, tuple[NodeSpec, ...]]:
    """Each node, model by model, to the firm that has the least of what it is to have."""
    dealt: dict[str, list[NodeSpec]] = {firm: [] for firm in firms}
    for node in nodes:
        open_firms = [firm for firm in firms if len(dealt[firm]) < firms[firm]]
        if not open_firms:
            break
        dealt[min(open_firms, key=lambda firm: (len(dealt[firm]) + 0.5) / firms[firm])].append(node)
    return {firm: tuple(got) for firm, got in dealt.items() if got}


def _gap_s(rows: Sequence[StepJob], rates: Rates, nodes: Sequence[NodeSpec]) -> float:
    """Between two arrivals, so that the jobs ask for that part of what the devices can do.

    A job's demand is counted as if it were spread over the models as the devices are.
    """
    total = sum(node.devices for node in nodes)
    part: dict[str, float] = {}
    for node in nodes:
        part[node.model] = part.get(node.model, 0.0) + node.devices / total
    demand = 0.0
    for row in rows:
        found = rates[row.job_type, row.devices]
        demand += row.devices * row.steps / sum(part[model] * found.get(model, 0.0) for model in part)
    return demand / len(rows) / (LOAD * total)


def _work(
    number: int,
    row: StepJob,
    rates: Rates,
    firm: str,
    arrival_s: float,
    declared: Declared,
    rng: np.random.Generator,
) -> Work:
    resumable, part, elastic, wide = rng.random(4) < (RESUMABLE, SHARES, ELASTIC, WIDE)
    able = {model: rate for model, rate in rates[row.job_type, row.devices].items() if rate > 0}
    devices, share_ppm, steps = row.devices, WHOLE_PPM, row.steps
    sizes: tuple[int, ...] = ()
    topology = None
    if devices == 1 and part:
        share_ppm, steps = SHARE_PPM, steps / 2
        able = {model: rate / 2 for model, rate in able.items()}
    elif devices in {2, 4} and elastic:
        sizes = (devices // 2, devices, devices * 2)
    elif devices >= 8 and wide:
        devices, topology = devices * 2, Topology("leaf")
        steps *= WIDE_SPEED
        able = {model: rate * WIDE_SPEED for model, rate in able.items()}
    limit_ms = declared.limit_ms(number, steps / max(able.values()))
    shape = Shape(
        queue=_key(firm),
        priority=Priority.NORMAL,
        devices=devices,
        devices_per_node=min(devices, 8),
        models=tuple(able),
        time_limit_ms=limit_ms,
        share_ppm=share_ppm,
        topology=topology,
        sizes=sizes,
        resumable=bool(resumable),
        restart_ms=RESTART_MS,
        rates=tuple(sorted(able.items())),
        kind=f"{row.job_type}/{row.devices}",
    )
    return Work(
        JobId(f"job-{number}"),
        shape,
        round(1000 * arrival_s),
        steps,
        able,
        checkpoint_ms=CHECKPOINT_MS if resumable else None,
        declared_ms=limit_ms,
    )


def _run(
    drawn: Scene,
    firms: Sequence[str],
    works: Sequence[Work],
    decide: Decide | None,
    settings: Settings,
    title: str,
) -> tuple[Summary, Mapping[JobId, float]]:
    """What a run came to, and the completion time of each job, s."""
    cluster = drawn.cluster(firms)
    names = {view.node_id for view in cluster.views}
    with Progress(console=settings.console, transient=True) as progress:
        bar = progress.add_task(title, total=len(works))
        world = World(
            cluster,
            works,
            config(BALANCED),
            Options(tick_ms=TICK_MS),
            outages=[outage for outage in drawn.outages if outage.node_id in names],
            decide=decide,
            on_progress=lambda done, of: progress.update(bar, completed=done),
        )
        world.run()
    return summarise(world), {job_id: (one.jct_ms or 0) / 1000 for job_id, one in world.records.items()}


def _key(firm: str) -> QueueKey:
    return QueueKey(FirmId(firm), "default")
