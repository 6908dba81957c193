"""B11: rigid training jobs with measured profiles on three device models, in rounds, with costly moves (Sia)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.progress import Progress

from benchmarks.harness import Row
from benchmarks.planner.clusters import cluster_file, fresh
from benchmarks.planner.estimates import Declared
from benchmarks.planner.peers import rounds
from benchmarks.planner.settings import BALANCED, Settings, config, profiles
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import Shape
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.jobs import Work
from scheduler.simulator.rounds import RoundWorld
from scheduler.simulator.summary import Summary, summarise
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.profiles import Profile, TunedJob, read_tuned_jobs

PROFILE = BALANCED
EPOCHS = {"bert": 2, "cifar10": 100, "imagenet": 90, "deepspeech2": 80, "yolov3": 50}
RESTART_S = {"bert": 120, "cifar10": 50, "imagenet": 250, "deepspeech2": 25, "yolov3": 80}
# Gavel in Sia's simulator, average JCT in seconds, where it was measured: (trace, workload) -> figure.
GAVEL_S = {
    ("saturn", "workload-1"): 6_474.0,
    ("saturn", "workload-2"): 6_182.0,
    ("saturn", "workload-3"): 9_347.0,
    ("philly", "workload-1"): 6_016.0,
    ("philly", "workload-2"): 7_572.0,
    ("philly", "workload-3"): 4_781.0,
}
WORKLOADS = 3  # of each trace, where nothing is published on any
BELOW = 0.62
QUEUE, POOL = QueueKey(FirmId("firm"), "default"), "pool"


def b11(settings: Settings) -> Iterator[Row]:
    """Average completion time and its 99th percentile, against the length-blind greedy peer here and Gavel."""
    paths = find_tables(settings.traces, Kind.TUNED_JOBS, "*workload-*")
    measured = [path for path in paths if (path.parent.name, path.stem) in GAVEL_S]
    by_trace: dict[str, list[Path]] = {}
    for path in paths:
        by_trace.setdefault(path.parent.name, []).append(path)
    for path in measured or [path for group in by_trace.values() for path in group[:WORKLOADS]]:
        yield from _workload(path, settings)


def _workload(path: Path, settings: Settings) -> Iterator[Row]:
    jobs = read_tuned_jobs(path)
    jobs = jobs[: settings.some(len(jobs), 10)]
    folder = path.parents[2] / "profiles"
    described = cluster_file("sia")
    per_node = {node.model: node.devices for node in described.nodes}
    works = _works(jobs, folder, described.devices, per_node)
    peers = [rounds.Job(w.arrival_ms / 1000, w.shape.devices, w.steps, w.rates) for w in works]
    rounds.simulate(peers, described.devices, rounds.least_served)
    peer_s = np.array([(job.finish_s or 0.0) - job.arrival_s for job in peers])
    gavel_s = GAVEL_S.get((path.parent.name, path.stem))
    goal_s = None if gavel_s is None else (1 - BELOW) * gavel_s
    for profile in profiles(PROFILE):
        # One device a server: a round's simulator has no places, and the rates are those of whole nodes first.
        nodes = [
            NodeSpec(f"{node.name}-{n}", node.model, 1, node.pool)
            for node in described.nodes
            for n in range(node.devices)
        ]
        cluster = fresh(described, [Queue(QUEUE, (POOL,))], nodes)
        found = _run(cluster, works, profile, settings, f"B11 {path.parent.name} {path.stem} {profile}")
        name = settings.case(f"{path.parent.name} {path.stem} ESTIMATED / {profile}")
        said = f"length-blind greedy without cost of moves here {peer_s.mean():,.0f} s"
        said += "" if gavel_s is None else f"; Gavel in Sia's simulator {gavel_s:,.0f} s"
        yield Row("B11", name, "average JCT", found.jct.mean_s, "s", "lower", said, goal_s)
        said = f"greedy here {np.quantile(peer_s, 0.99):,.0f} s"
        yield Row("B11", name, "JCT p99", found.jct.p99_s, "s", "lower", said)
        yield Row("B11", name, "lost to restarts", 100 * found.overhead_share, "%", "lower")


def _run(cluster: VirtualCluster, works: list[Work], profile: str, settings: Settings, title: str) -> Summary:
    with Progress(console=settings.console, transient=True) as progress:
        bar = progress.add_task(title, total=len(works))
        world = RoundWorld(
            cluster,
            works,
            config(profile),
            on_progress=lambda done, of: progress.update(bar, completed=done),
        )
        world.run()
    return summarise(world)


def _works(
    jobs: list[TunedJob], folder: Path, capacity: Mapping[str, int], per_node: Mapping[str, int]
) -> list[Work]:
    """Jobs whose application has a profile and that some model can hold."""
    declared = Declared(len(jobs))
    measured: dict[str, Profile] = {}
    works = []
    for number, job in enumerate(jobs):
        if job.application not in EPOCHS:
            continue
        profile = measured.setdefault(job.application, Profile(folder / job.application))
        rates = {}
        for model, devices in capacity.items():
            step_s = profile.step_s(model, job.devices, per_node[model], job.batch)
            if step_s and devices >= job.devices:
                rates[model] = 1 / step_s
        if not rates:
            continue
        steps = profile.iterations(job.batch, EPOCHS[job.application])
        limit_ms = declared.limit_ms(number, steps / max(rates.values()))
        shape = Shape(
            queue=QUEUE,
            priority=Priority.NORMAL,
            devices=job.devices,
            devices_per_node=1,
            models=tuple(rates),
            time_limit_ms=limit_ms,
            resumable=True,
            restart_ms=1000 * RESTART_S[job.application],
            rates=tuple(sorted(rates.items())),
            kind=f"{job.application}/{job.devices}",
        )
        works.append(
            Work(
                JobId(f"job-{number}"), shape, round(1000 * job.arrival_s), steps, rates, declared_ms=limit_ms
            )
        )
    return works
