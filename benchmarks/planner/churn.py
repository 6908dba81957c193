"""B17: a large mixed fleet, filled, then jobs that leave and arrive one by one: how fast is one decision?"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from benchmarks.harness import Row
from benchmarks.planner.packing import workloads
from benchmarks.planner.packing_streams import capacity_milli
from benchmarks.planner.placing import PodPlacer
from benchmarks.planner.settings import Settings, profiles
from scheduler.domain.ids import JobId
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.pods import Pod, TraceNode, read_fleet

PROFILE = "throughput"
STEPS = 100_000
FULL, HELD = 1.0, 0.95  # of the devices: asked for at first, kept afterwards
GANG = 8
PEERS = "published: Gödel 2,500/s a shard, Volcano 1,000/s, Kueue with topology 37/s at 640 nodes"


@dataclass(frozen=True, slots=True)
class Churn:
    """What the steps took."""

    decisions_s: list[float]
    wall_s: float
    allocation: float  # share of the devices at the end


def b17(settings: Settings) -> Iterator[Row]:
    """Placements per second and the 99th percentile of one decision, public call included."""
    fleet = read_fleet(find_tables(settings.traces, Kind.FLEET)[0])
    found = workloads(settings.traces)
    default = next((item for item in found if item.name == "default"), found[0])
    pods = [pod._replace(memory_mib=0, models=()) for pod in default.pods]
    gang = [Pod(0, 0, GANG, 1000, ())]
    for profile in profiles(PROFILE):
        for label, jobs, goal in (("jobs", pods, 10_000.0), ("8-device gangs", gang, 5_000.0)):
            if label != "jobs" and not any(node.devices >= GANG for node in fleet):
                continue
            title = f"B17 {label} {profile}"
            result = churn(fleet, jobs, profile, settings.some(STEPS), title, settings)
            name = settings.case(f"{len(fleet):,} nodes, {label} / {profile}")
            rate = len(result.decisions_s) / result.wall_s
            yield Row("B17", name, "placements", rate, "1/s", "higher", PEERS, goal)
            p99_ms = 1000 * float(np.quantile(result.decisions_s, 0.99))
            yield Row("B17", name, "one decision p99", p99_ms, "ms", "lower", None, 1.0)
            yield Row("B17", name, "allocation at the end", 100 * result.allocation, "%", "higher")


def churn(
    fleet: Sequence[TraceNode], jobs: Sequence[Pod], profile: str, steps: int, title: str, settings: Settings
) -> Churn:
    """Fills the fleet until all devices are asked for, goes back to 95 %, then one leaves and one arrives."""
    rng = np.random.default_rng(0)
    placer = PodPlacer(fleet, profile, proved=False)
    usable = [node for node in fleet if node.devices >= min(pod.devices for pod in jobs)]
    capacity = capacity_milli(usable)
    inside: list[tuple[JobId, Pod]] = []
    asked = held = 0
    while asked < FULL * capacity:
        pod = jobs[int(rng.integers(len(jobs)))]
        asked += pod.asked_milli
        job_id = placer.place(pod)
        if job_id is not None:
            inside.append((job_id, pod))
            held += pod.asked_milli
    while held > HELD * capacity:
        held -= _one_leaves(placer, inside, rng)
    decisions_s = []
    wall_s = 0.0
    for _ in track(range(steps), title, console=settings.console, transient=True):
        before = time.perf_counter()
        held -= _one_leaves(placer, inside, rng)
        pod = jobs[int(rng.integers(len(jobs)))]
        begun = time.perf_counter()
        job_id = placer.place(pod)
        ended = time.perf_counter()
        decisions_s.append(ended - begun)
        wall_s += ended - before
        if job_id is not None:
            inside.append((job_id, pod))
            held += pod.asked_milli
    return Churn(decisions_s, wall_s, held / capacity)


def _one_leaves(placer: PodPlacer, inside: list[tuple[JobId, Pod]], rng: np.random.Generator) -> int:
    """Somebody at random ends; returns what he held, in thousandths of a device."""
    number = int(rng.integers(len(inside)))
    inside[number], inside[-1] = inside[-1], inside[number]
    job_id, pod = inside.pop()
    placer.leave(job_id)
    return pod.asked_milli
