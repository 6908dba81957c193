"""B14: one queue of rigid jobs on equal nodes; whole-node reservations, no preemption."""

from collections.abc import Iterator, Sequence

import numpy as np
from rich.progress import Progress

from benchmarks.harness import Row
from benchmarks.planner.clusters import cluster_file, fresh
from benchmarks.planner.estimates import Declared
from benchmarks.planner.peers.queueing import RigidJob, simulate
from benchmarks.planner.settings import Settings, config, profiles
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import Shape
from scheduler.simulator.jobs import Work
from scheduler.simulator.summary import Summary, summarise
from scheduler.simulator.traces.jobs import TraceJob, read_jobs, tables_of_jobs
from scheduler.simulator.world import Options, World

QUEUE = QueueKey(FirmId("firm"), "default")
CLUSTER = cluster_file("pai")
(MODEL,) = CLUSTER.models
POOL = CLUSTER.nodes[0].pool
NODES, PER_NODE = len(CLUSTER.nodes), CLUSTER.nodes[0].devices
PROFILE = "throughput"
KNOWN_GOAL_S, ESTIMATED_GOAL_S = 6_500.0, 10_000.0


def b14(settings: Settings) -> Iterator[Row]:
    """Average completion time and the longest wait, against EASY and FIFO in the same harness."""
    for path in tables_of_jobs(settings.traces, "*pai*"):
        jobs = read_jobs(path)
        jobs = jobs[: settings.some(len(jobs), 100)]
        declared = Declared(len(jobs))
        limits = [declared.limit_ms(n, job.run_s) for n, job in enumerate(jobs)]
        fifo = _peer(jobs, None, backfill=False)
        easy = _peer(jobs, None, backfill=True)
        easy_estimated = _peer(jobs, limits, backfill=True)
        for known, peer, goal in ((True, easy, KNOWN_GOAL_S), (False, easy_estimated, ESTIMATED_GOAL_S)):
            label = "KNOWN" if known else "ESTIMATED"
            for profile in profiles(PROFILE):
                found = replay(jobs, None if known else limits, profile, settings, f"B14 {label} {profile}")
                name = settings.case(f"{path.parent.name} {label} / {profile}")
                said = f"EASY {label} here {peer[0]:,.0f} s, FIFO {fifo[0]:,.0f} s"
                yield Row("B14", name, "average JCT", found.jct.mean_s, "s", "lower", said, goal)
                said = f"FIFO here {fifo[1]:,.0f} s, EASY {peer[1]:,.0f} s"
                yield Row("B14", name, "longest wait", found.wait.longest_s, "s", "lower", said, fifo[1])
                yield Row("B14", name, "utilisation", 100 * found.utilisation, "%", "higher")
                yield Row("B14", name, "decision p99", found.decision_p99_ms, "ms", "lower")


def replay(
    jobs: Sequence[TraceJob], limits_ms: Sequence[int] | None, profile: str, settings: Settings, title: str
) -> Summary:
    """The jobs through the shipped planner; without limits it is told the true run times."""
    cluster = fresh(CLUSTER, [Queue(QUEUE, (POOL,))])
    works = [work(n, job, None if limits_ms is None else limits_ms[n]) for n, job in enumerate(jobs)]
    with Progress(console=settings.console, transient=True) as progress:
        bar = progress.add_task(title, total=len(works))
        world = World(
            cluster,
            works,
            config(profile),
            Options(tick_ms=None),
            on_progress=lambda done, of: progress.update(bar, completed=done),
        )
        world.run()
    return summarise(world)


def work(number: int, job: TraceJob, limit_ms: int | None, queue: QueueKey = QUEUE) -> Work:
    """One rigid job, in the planner's words: a step is a second."""
    shape = Shape(
        queue=queue,
        priority=Priority.NORMAL,
        devices=job.devices,
        devices_per_node=min(job.devices, PER_NODE),
        models=(MODEL,),
        time_limit_ms=limit_ms,
        rates=((MODEL, 1.0),),
        kind=f"{job.firm or 'jobs'}/{job.devices}",
    )
    return Work(
        JobId(f"job-{number}"),
        shape,
        round(job.arrival_s * 1000),
        job.run_s,
        {MODEL: 1.0},
        steps_known=limit_ms is None,
        declared_ms=limit_ms,
    )


def _peer(
    jobs: Sequence[TraceJob], limits_ms: Sequence[int] | None, *, backfill: bool
) -> tuple[float, float]:
    """Average completion time and longest wait, in seconds."""
    rigid = [
        RigidJob(
            job.arrival_s, job.run_s, job.devices, job.run_s if limits_ms is None else limits_ms[n] / 1000
        )
        for n, job in enumerate(jobs)
    ]
    outcome = simulate(rigid, NODES, PER_NODE, backfill=backfill)
    arrivals = np.array([job.arrival_s for job in jobs])
    return float(np.mean(outcome.end_s - arrivals)), float(np.max(outcome.start_s - arrivals))
