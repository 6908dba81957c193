"""B15: firms that bring their own nodes and lend each other what they do not use."""

from collections.abc import Iterator, Sequence

from rich.progress import Progress

from benchmarks.harness import Row
from benchmarks.planner.estimates import Declared
from benchmarks.planner.settings import Settings, config, profiles
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.planner import Shape
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.jobs import Work
from scheduler.simulator.models import catalogue_of
from scheduler.simulator.summary import Summary, summarise
from scheduler.simulator.traces.jobs import TraceJob, read_firm_nodes, read_jobs, tables_of_jobs
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.world import World

MODEL, POOL, COHORT = "device", "pool", "all"
SHRINK = 4  # nodes of a firm = its size / 4, so that it queues at all
RECLAIM_MS = 60_000
TOTAL_GOAL_S, WORSE_GOAL = 80_000.0, 1.02
PROFILE = "balanced"


def b15(settings: Settings) -> Iterator[Row]:
    """Completion times in total and per firm, together and each alone under the same policy."""
    for table in find_tables(settings.traces, Kind.FIRM_NODES):
        firms = {
            name: (max(1, nodes // SHRINK), per_node)
            for name, (nodes, per_node) in read_firm_nodes(table).items()
        }
        jobs = [job for path in tables_of_jobs(table.parent) for job in read_jobs(path) if job.firm in firms]
        jobs = [job for job in jobs if job.devices <= firms[job.firm][0] * firms[job.firm][1]]
        jobs = jobs[: settings.some(len(jobs), 200)]
        works = _works(jobs, {name: per_node for name, (_, per_node) in firms.items()})
        for profile in profiles(PROFILE):
            name = settings.case(f"{table.parent.name} ESTIMATED / {profile}")
            together = _run(firms, works, profile, settings, f"B15 together {profile}")
            stops = ", ".join(f"{cause} {number}" for cause, number in sorted(together.stops.items()))
            yield Row("B15", name, "stops", float(sum(together.stops.values())), "", "lower", stops or None)
            total_alone_s = 0.0
            for firm, size in firms.items():
                own = [work for work in works if work.shape.queue.firm_id == firm]
                found = _run({firm: size}, own, profile, settings, f"B15 {firm} alone {profile}")
                total_alone_s += found.jct.mean_s * found.jobs / len(works)
                ours, theirs = (
                    together.firms[firm].jct.mean_s if firm in together.firms else 0.0,
                    found.jct.mean_s,
                )
                ratio = ours / theirs if theirs else 1.0
                said = f"alone {theirs:,.0f} s, together {ours:,.0f} s"
                yield Row("B15", name, f"firm {firm}: JCT / alone", ratio, "", "lower", said, WORSE_GOAL)
            said = f"each alone here {total_alone_s:,.0f} s (spec 101,893 s; thrown together 75,878 s)"
            yield Row("B15", name, "average JCT", together.jct.mean_s, "s", "lower", said, TOTAL_GOAL_S)


def queues_of(firms: dict[str, tuple[int, int]]) -> list[Queue]:
    """A queue for each firm: its own nodes are its nominal quota, and it may borrow everything."""
    return [
        Queue(
            QueueKey(FirmId(name), "default"), (POOL,), {MODEL: nodes * per_node}, weight=nodes, cohort=COHORT
        )
        for name, (nodes, per_node) in firms.items()
    ]


def _run(
    firms: dict[str, tuple[int, int]], works: Sequence[Work], profile: str, settings: Settings, title: str
) -> Summary:
    specs = [
        NodeSpec(f"{name}-{n}", MODEL, per_node, POOL)
        for name, (nodes, per_node) in firms.items()
        for n in range(nodes)
    ]
    cluster = VirtualCluster(
        catalogue_of({MODEL: 0}), specs, queues_of(firms), cohorts={COHORT: Cohort(COHORT)}
    )
    with Progress(console=settings.console, transient=True) as progress:
        bar = progress.add_task(title, total=len(works))
        world = World(
            cluster, works, config(profile), on_progress=lambda done, of: progress.update(bar, completed=done)
        )
        world.run()
    return summarise(world)


def _works(jobs: Sequence[TraceJob], per_node: dict[str, int]) -> list[Work]:
    declared = Declared(len(jobs))
    works = []
    for number, job in enumerate(jobs):
        limit_ms = declared.limit_ms(number, job.run_s)
        shape = Shape(
            queue=QueueKey(FirmId(job.firm), "default"),
            priority=Priority.NORMAL,
            devices=job.devices,
            devices_per_node=min(job.devices, per_node[job.firm]),
            models=(MODEL,),
            time_limit_ms=limit_ms,
            resumable=True,
            restart_ms=RECLAIM_MS,
            rates=((MODEL, 1.0),),
            kind=f"{job.firm}/{job.devices}",
        )
        job_id, arrival_ms, run_s = JobId(f"job-{number}"), round(job.arrival_s * 1000), max(job.run_s, 0.001)
        works.append(Work(job_id, shape, arrival_ms, run_s, {MODEL: 1.0}, declared_ms=limit_ms))
    return works
