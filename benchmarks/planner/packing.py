"""B1 to B4: pods of a published workload on its 1,213 nodes, one at a time, nothing ever leaves.

Score: devices given away when the requests reach 100 % (B1) or 130 % (B2) of them. A pod that fits nowhere
is dropped; one that fits must be placed.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from benchmarks.harness import Row
from benchmarks.planner.packing_streams import capacity_milli, stream
from benchmarks.planner.peers.fgd import Fgd
from benchmarks.planner.placing import PodPlacer
from benchmarks.planner.settings import Settings, profiles
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.pods import Pod, TraceNode, read_nodes, read_pods
from scheduler.simulator.traces.tables import read_rows

PROFILE = "packing"
SEEDS = 10
PERMUTATIONS = 10
B1_GAIN, B2_GAIN, B3_DROP, B4_RATE = 0.5, 0.6, 0.2, 10_000.0  # planner.md, goals


class Workload(NamedTuple):
    """A list of pods with what was published on it."""

    name: str
    pods: list[Pod]
    published_100: float | None
    published_130: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Allocation in percent when the requests reach 100 and 130 % of the devices."""

    at_100: float
    at_130: float
    wall_s: float
    pods: int


def workloads(traces: Path, *, all_of_them: bool = False) -> list[Workload]:
    """The published lists of pods; every list, where nothing is published beside them."""
    published = _published(traces)
    found = []
    for path in find_tables(traces, Kind.PODS, "*pod_list*"):
        name = path.name.split(".")[0].removeprefix("openb_pod_list_")
        figures = published.get(path.name.split(".")[0])
        if figures is not None or all_of_them or not published:
            found.append(Workload(name, read_pods(path), *(figures or (None, None))))
    return found


def nodes_of(traces: Path) -> list[TraceNode]:
    """The nodes that have devices."""
    tables = [read_nodes(path) for path in find_tables(traces, Kind.NODES, "*node_list*")]
    with_devices = [[node for node in table if node.devices] for table in tables]
    return max(with_devices, key=len)


def _published(traces: Path) -> dict[str, tuple[float, float]]:
    """FGD's mean allocation at 100 and 130 % by list, from the authors' own table."""
    figures = {}
    for path in sorted(traces.glob("*/published_allocation_summary.csv*")):
        for row in read_rows(path, ("workload", "sc_policy", "100_mean", "130_mean")):
            if re.fullmatch(r"[0-9]*-?FGD", row.text("sc_policy")):
                figures[row.text("workload")] = (row.number("100_mean"), row.number("130_mean"))
    return figures


def b1(settings: Settings) -> Iterator[Row]:
    """Allocation when the requests reach 100 %."""
    yield from _allocation("B1", settings, B1_GAIN, at_130=False)


def b2(settings: Settings) -> Iterator[Row]:
    """Allocation when the requests reach 130 %."""
    yield from _allocation("B2", settings, B2_GAIN, at_130=True)


def _allocation(case: str, settings: Settings, gain: float, *, at_130: bool) -> Iterator[Row]:
    nodes = nodes_of(settings.traces)
    gains: dict[str, list[float]] = {}
    for workload in workloads(settings.traces):
        seeds = range(settings.some(SEEDS))
        streams = [stream(workload.pods, nodes, seed) for seed in seeds]
        published = workload.published_130 if at_130 else workload.published_100
        peers = {
            label: float(np.mean([_score(run_fgd(nodes, workload, s, **how), at_130) for s in streams]))
            for label, how in {
                "truncated": {"truncated": True, "at_130": at_130},
                "exact": {"truncated": False, "at_130": at_130},
            }.items()
        }
        best_peer = max(peers.values())
        said = ", ".join(f"FGD {label} here {value:.2f}" for label, value in peers.items())
        said += "" if published is None else f", published {published:.2f}"
        goal = max(best_peer, published or 0.0)
        if published is not None and workload.name == "default":
            goal = max(goal, published + gain)
        for profile in profiles(PROFILE):
            outcomes = [
                run(nodes, s, profile, at_130=at_130)
                for s in track(
                    streams, f"{case} {workload.name} {profile}", console=settings.console, transient=True
                )
            ]
            value = float(np.mean([_score(outcome, at_130) for outcome in outcomes]))
            name = settings.case(f"{workload.name} / {profile}")
            yield Row(case, name, "allocation", value, "%", "higher", said, goal)
            wall_s = sum(outcome.wall_s for outcome in outcomes)
            rate = sum(outcome.pods for outcome in outcomes) / wall_s
            yield Row(case, name, "decisions", rate, "1/s", "higher")
            if published is not None:
                gains.setdefault(profile, []).append(value - published)
    for profile, values in gains.items():
        name = settings.case(f"mean of {len(values)} lists / {profile}")
        yield Row(
            case, name, "gain over the published FGD", float(np.mean(values)), "points", "higher", None, gain
        )


def b3(settings: Settings) -> Iterator[Row]:
    """How much the score falls when nodes change their names and their order."""
    nodes = nodes_of(settings.traces)
    for profile in profiles(PROFILE):
        worst, where, peer_worst = -np.inf, "", -np.inf
        for workload in workloads(settings.traces):
            streams = [stream(workload.pods, nodes, seed) for seed in range(settings.some(SEEDS))]
            original = np.mean([run(nodes, s, profile, at_130=False).at_100 for s in streams])
            shuffled, peer = [], []
            for number in track(
                range(settings.some(PERMUTATIONS)),
                f"B3 {workload.name} {profile}",
                console=settings.console,
                transient=True,
            ):
                other = _renamed(nodes, number)
                pods = streams[number % len(streams)]
                shuffled.append(run(other, pods, profile, at_130=False).at_100)
                peer.append(run_fgd(other, workload, pods, truncated=False, at_130=False).at_100)
            fgd = np.mean(
                [run_fgd(nodes, workload, s, truncated=False, at_130=False).at_100 for s in streams]
            )
            peer_drop = float(fgd - np.mean(peer))
            peer_worst = max(peer_worst, peer_drop)
            drop = float(original - np.mean(shuffled))
            said = f"exact FGD with first-index ties here {peer_drop:.2f}"
            name = settings.case(f"{workload.name} / {profile}")
            yield Row("B3", name, "drop", drop, "points", "lower", said)
            if drop > worst:
                worst, where = drop, workload.name
        yield Row(
            "B3", settings.case(f"worst of all lists, {where} / {profile}"), "drop", worst, "points", "lower",
            f"exact FGD with first-index ties here {peer_worst:.2f}", B3_DROP,
        )  # fmt: skip


def b4(settings: Settings) -> Iterator[Row]:
    """Wall time of the whole stream of the first list, one public call a pod, without the warm-up."""
    nodes = nodes_of(settings.traces)
    found = workloads(settings.traces)
    workload = next((item for item in found if item.name == "default"), found[0])
    pods = stream(workload.pods, nodes, 0)
    pods = pods[: settings.some(len(pods), 200)]
    begun = time.perf_counter()
    fgd = Fgd(nodes, workload.pods, truncated=True)
    for pod in pods:
        fgd.place(pod)
    said = f"FGD's simulator 18/s; numpy FGD here {len(pods) / (time.perf_counter() - begun):,.0f}/s"
    for profile in profiles(PROFILE):
        warm = run(nodes, pods[:200], profile, at_130=True, proved=False)
        assert warm.pods == min(200, len(pods))
        outcome = run(nodes, pods, profile, at_130=True, proved=False)
        name = settings.case(f"{workload.name} / {profile}")
        yield Row("B4", name, "placements", outcome.pods / outcome.wall_s, "1/s", "higher", said, B4_RATE)


Place = Callable[[Pod], object | None]


def run(
    nodes: Sequence[TraceNode], pods: Sequence[Pod], profile: str, *, at_130: bool, proved: bool = True
) -> Outcome:
    """One stream through the shipped planner, to 100 % of the devices or to its end."""
    return _drive(PodPlacer(nodes, profile, proved=proved).place, nodes, pods, at_130=at_130)


def run_fgd(
    nodes: Sequence[TraceNode], workload: Workload, pods: Sequence[Pod], *, truncated: bool, at_130: bool
) -> Outcome:
    """The same stream through the peer."""
    return _drive(Fgd(nodes, workload.pods, truncated=truncated).place, nodes, pods, at_130=at_130)


def _drive(place: Place, nodes: Sequence[TraceNode], pods: Sequence[Pod], *, at_130: bool) -> Outcome:
    capacity = capacity_milli(nodes)
    asked = allocated = decided = 0
    at_100 = None
    begun = time.perf_counter()
    for pod in pods:
        asked += pod.asked_milli
        decided += 1
        if place(pod) is not None:
            allocated += pod.asked_milli
        if at_100 is None and asked >= capacity:
            at_100 = 100.0 * allocated / capacity
            if not at_130:
                break
    wall_s = time.perf_counter() - begun
    end = 100.0 * allocated / capacity
    return Outcome(end if at_100 is None else at_100, end, wall_s, decided)


def _score(outcome: Outcome, at_130: bool) -> float:
    return outcome.at_130 if at_130 else outcome.at_100


def _renamed(nodes: Sequence[TraceNode], seed: int) -> list[TraceNode]:
    """The same nodes in another order, under names that say nothing."""
    rng = np.random.default_rng(1_000 + seed)
    return [
        nodes[number]._replace(name=f"node-{rng.integers(1 << 48):012x}")
        for number in rng.permutation(len(nodes))
    ]
