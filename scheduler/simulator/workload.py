"""Jobs for a rehearsal, from a table of a trace or from Suanli's own history, in the planner's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scheduler.catalogue import Catalogue
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import DEFAULT_PROJECT, Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import Shape
from scheduler.simulator.clusters import ClusterFile
from scheduler.simulator.history import History, PastJob
from scheduler.simulator.jobs import Work
from scheduler.simulator.traces.jobs import read_jobs
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.steps import read_rates, read_step_jobs
from scheduler.simulator.traces.tables import BadTrace, WrongRows, read_header, read_rows

LIMIT_SPREAD = 0.5  # of the logarithm of declared limit / run time, where a trace declares none
RESTART_MS = 60_000
CHECKPOINT_MS = 30 * 60_000
QUEUE_NAME = "default"
_SHOWN_CHARACTERS = 200
RATES_SOURCE = "simulation_throughputs"


@dataclass(frozen=True, slots=True)
class Draft:
    """A job before it is known which models the cluster has: what it asks for, and how fast it is where."""

    firm: str
    queue: str
    arrival_ms: int
    devices: int
    per_node: int
    rates: Mapping[str, float]  # steps per second; a step is a second on the model with rate 1
    steps: float
    limit_ms: int | None
    resumable: bool = True
    priority: Priority = Priority.NORMAL
    kind: str = ""
    project: str = DEFAULT_PROJECT  # whose budget pays
    sizes: Sequence[int] = ()  # other numbers of devices at which an elastic job may run, rising
    spares: int = 0  # tasks among those devices that only keep their nodes


def drafts_of_table(path: Path, cluster: ClusterFile, first: int | None) -> list[Draft]:
    """The jobs of a trace's table, recognised by its columns. Raises BadTrace."""
    header = set(read_header(path))
    if set(Kind.STEP_JOBS.value) <= header:
        drafts = _of_steps(path, cluster)
    elif set(Kind.JOBS_BY_ARRIVAL.value) <= header or set(Kind.JOBS_BY_SUBMISSION.value) <= header:
        drafts = _of_rigid(path, cluster)
    else:
        known = ", or ".join(", ".join(kind.value) for kind in (Kind.JOBS_BY_ARRIVAL, Kind.STEP_JOBS))
        if not header:
            next(read_rows(path, ()), None)  # says what is wrong with a file that is no table at all
        has = ", ".join(read_header(path))[:_SHOWN_CHARACTERS] or "nothing"
        raise BadTrace(f"{path}: not a table of jobs: it has {has}, wanted the columns {known}")
    return drafts[:first]


def drafts_of_history(history: History, catalogue: Catalogue, first: int | None) -> list[Draft]:
    """The jobs of an export; what ran on one model is expected on another by the catalogue's FP16 figures."""
    begin_ms = begin_of(history)
    return [_of_past(job, catalogue, begin_ms) for job in history.jobs[:first]]


def begin_of(history: History) -> int:
    """The first submission, with which virtual time begins; ms UTC."""
    return min(job.submitted_ms for job in history.jobs)


def works_of(drafts: Sequence[Draft], models: Mapping[str, int], seed: int) -> tuple[list[Work], int]:
    """The jobs that the models (with their number of devices) can run at all, and how many cannot.

    Where nobody declared a time limit, one is drawn: run time x lognormal(0, 0.5).
    """
    factors = np.random.default_rng(seed).lognormal(0.0, LIMIT_SPREAD, len(drafts))
    works: list[Work] = []
    for number, draft in enumerate(drafts):
        least = min([draft.devices, *draft.sizes[:1]])
        rates = {m: rate for m, rate in draft.rates.items() if rate > 0 and models.get(m, 0) >= least}
        if rates:
            works.append(_work(number, draft, rates, float(factors[number])))
    return works, len(drafts) - len(works)


def _work(number: int, draft: Draft, rates: Mapping[str, float], factor: float) -> Work:
    run_ms = 1000 * draft.steps / max(rates.values())
    limit_ms = max(1, round(run_ms * factor)) if draft.limit_ms is None else draft.limit_ms
    shape = Shape(
        queue=QueueKey(FirmId(draft.firm), draft.queue),
        priority=draft.priority,
        devices=draft.devices,
        devices_per_node=draft.per_node,
        models=tuple(rates),
        time_limit_ms=limit_ms,
        resumable=draft.resumable,
        restart_ms=RESTART_MS if draft.resumable else 0,
        rates=tuple(sorted(rates.items())),
        kind=draft.kind,
        project=draft.project,
        sizes=draft.sizes,
        spares=draft.spares,
    )
    return Work(
        JobId(f"job-{number}"),
        shape,
        draft.arrival_ms,
        draft.steps,
        rates,
        checkpoint_ms=CHECKPOINT_MS if draft.resumable else None,
        declared_ms=limit_ms,
    )


def queues_for(drafts: Sequence[Draft], pools: Sequence[str]) -> list[Queue]:
    """A queue for each firm of the jobs, with every pool and without a quota."""
    keys = sorted({(draft.firm, draft.queue) for draft in drafts})
    return [Queue(QueueKey(FirmId(firm), queue), tuple(pools)) for firm, queue in keys]


def _of_rigid(path: Path, cluster: ClusterFile) -> list[Draft]:
    """Run times as they were, on every model alike: the table does not say on which it ran."""
    per_node = max(node.devices for node in cluster.nodes)
    rates = dict.fromkeys(cluster.models, 1.0)
    return [
        Draft(
            firm=job.firm or "firm",
            queue=QUEUE_NAME,
            arrival_ms=round(1000 * job.arrival_s),
            devices=job.devices,
            per_node=min(job.devices, per_node),
            rates=rates,
            steps=max(job.run_s, 0.001),
            limit_ms=None,
            kind=f"{job.firm or 'jobs'}/{job.devices}",
        )
        for job in read_jobs(path)
    ]


def _of_steps(path: Path, cluster: ClusterFile) -> list[Draft]:
    """Measured rates lie in a table beside the jobs or one folder above."""
    folders = [path.parent, path.parent.parent]
    rates = None
    for folder in folders:
        try:
            table = find_tables(folder, Kind.RATES, "*")[0]
        except BadTrace:
            continue
        rates = read_rates(table, RATES_SOURCE, cluster.models)
        break
    if rates is None:
        raise BadTrace(
            f"{path}: no table of rates ({', '.join(Kind.RATES.value)}) beside it or one folder above"
        )
    per_node = max(node.devices for node in cluster.nodes)
    drafts, wrong = [], WrongRows(path)
    for job in read_step_jobs(path):
        found = rates.get((job.job_type, job.devices))
        if found is None:
            lacks = f"no rate of {job.job_type!r} on {job.devices} devices"
            wrong.note(BadTrace(f"{path}: job {job.job_id}: {lacks}"))
            continue
        drafts.append(
            Draft(
                firm="firm",
                queue=QUEUE_NAME,
                arrival_ms=round(1000 * job.arrival_s),
                devices=job.devices,
                per_node=min(job.devices, per_node),
                rates=found,
                steps=job.steps,
                limit_ms=None,
                kind=f"{job.job_type}/{job.devices}",
            )
        )
    wrong.refuse()
    return drafts


def _of_past(job: PastJob, catalogue: Catalogue, begin_ms: int) -> Draft:
    base = catalogue.fp16_gflops(job.model)
    rates = {
        model: catalogue.fp16_gflops(model) / base if base and catalogue.fp16_gflops(model) else 1.0
        for model in (*job.models, job.model)
    }
    return Draft(
        firm=job.firm,
        queue=job.queue,
        arrival_ms=job.submitted_ms - begin_ms,
        devices=job.devices,
        per_node=job.devices_per_node,
        rates=rates,
        steps=job.run_ms_at_devices / 1000,
        limit_ms=job.time_limit_ms,
        resumable=job.resumable,
        priority=Priority(job.priority),
        kind=job.kind,
        project=job.project,
        sizes=job.sizes,
        spares=job.spares,
    )
