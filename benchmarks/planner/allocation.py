"""B10: one plan for many jobs on an empty mixed cluster: how long it takes, and what it is worth."""

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Row
from benchmarks.planner.clusters import fresh
from benchmarks.planner.gavel import POOL, QUEUE, Trace
from benchmarks.planner.peers.allocation_lp import best_throughput
from benchmarks.planner.settings import Settings, config, profiles
from scheduler import machine_code
from scheduler.domain.queues import Queue
from scheduler.planner import WaitingJob
from scheduler.planner.cycle import plan
from scheduler.simulator.traces.kinds import Kind, find_tables

PROFILE = "throughput"
GOALS_MS = {128: 5.0, 512: 15.0, 2048: 60.0}
REPEATS = 20
SHARE = 0.98


def b10(settings: Settings) -> Iterator[Row]:
    """Median time from snapshot to plan, and the plan's throughput against the linear program's."""
    path = find_tables(settings.traces, Kind.STEP_JOBS, "*cont_multi*")[-1]
    trace = Trace(path, settings.traces, physical=False)
    everything = trace.jobs
    for number, goal_ms in GOALS_MS.items():
        trace.cut(everything[:number])
        works = trace.works(known=True, move_ms=0)
        begun = time.perf_counter()
        asked = [(work.shape.devices, work.rates) for work in works]
        optimum = best_throughput(asked, trace.cluster.devices)
        lp_ms = 1000 * (time.perf_counter() - begun)
        for profile in profiles(PROFILE):
            cluster = fresh(trace.cluster, [Queue(QUEUE, (POOL,))])
            for work in works:
                cluster.submit(work.shape, WaitingJob(work.arrival_ms, work.job_id, work.steps))
            machine_code.want(len(cluster.views))
            snapshot, now_ms = cluster.snapshot(), works[-1].arrival_ms
            took_ms = []
            for _ in range(settings.some(REPEATS)):
                begun = time.perf_counter()
                decided, _ = plan(snapshot, now_ms, config(profile))
                took_ms.append(1000 * (time.perf_counter() - begun))
            by_id = {work.job_id: work for work in works}
            worth = sum(
                by_id[placed.job_id].rates[placed.device_model] / by_id[placed.job_id].fastest
                for placed in decided.placements
            )
            name = settings.case(f"{number} jobs of {trace.name} / {profile}")
            said = f"LP with HiGHS here {lp_ms:.1f} ms (spec 9 / 34 / 227)"
            yield Row(
                "B10",
                name,
                "snapshot to plan, median",
                float(np.median(took_ms)),
                "ms",
                "lower",
                said,
                goal_ms,
            )
            yield Row(
                "B10",
                name,
                "normalised throughput / LP",
                worth / optimum,
                "",
                "higher",
                f"LP {optimum:.2f}",
                SHARE,
            )
