"""Nobody worse off than alone: each firm's jobs once more with what is its own, and nobody else there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from scheduler.catalogue import Catalogue
from scheduler.domain.queues import COMPUTE, Queue
from scheduler.planner import PlannerConfig
from scheduler.simulator.budgets import VirtualBudgets
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.jobs import Work
from scheduler.simulator.world import Options, World

Told = Callable[[int], None]


def against_alone(
    world: World,
    catalogue: Catalogue,
    nodes: Sequence[NodeSpec],
    config: PlannerConfig,
    options: Options,
    tell: Told,
    budgets: Callable[[], VirtualBudgets | None] = lambda: None,
) -> dict[str, float]:
    """By firm: the average completion time in a run over that alone on its nominal quota; 1.1 is a tenth later.

    Alone a firm has all nodes, but holds no more than its nominal quota; its `budgets` (made anew for each firm) bind
    there, too. Left out: firms without a quota, jobs that do not fit into it, and jobs that were never paid for.
    Cost: another run of the jobs. `tell` is told how many of them are done.
    """
    by_firm: dict[str, list[Work]] = {}
    queues = {key: _alone(queue, nodes) for key, queue in world.cluster.queues.items()}
    for record in world.records.values():
        key = record.work.shape.queue
        work = _within(record.work, queues[key], catalogue)
        if work is not None and record.finish_ms is not None:
            by_firm.setdefault(key.firm_id, []).append(work)
    found: dict[str, float] = {}
    before = 0
    for firm, works in sorted(by_firm.items()):
        own = [queue for key, queue in queues.items() if key.firm_id == firm and queue is not None]
        alone = World(
            VirtualCluster(catalogue, nodes, own, calendar=world.cluster.calendar, budgets=budgets()),
            works,
            config,
            options,
            on_progress=lambda done, _, before=before: tell(before + done),  # type: ignore[misc]
        )
        alone.run()
        before += len(works)
        paid = [record for record in alone.records.values() if record.finish_ms is not None]
        alone_ms = sum(record.jct_ms or 0 for record in paid)
        together_ms = sum(world.records[record.work.job_id].jct_ms or 0 for record in paid)
        found[firm] = together_ms / alone_ms if alone_ms else 1.0
    return found


def _alone(queue: Queue, nodes: Sequence[NodeSpec]) -> Queue | None:
    """The queue without its cohort; of a model that its quota does not name it has none. None: it has no quota."""
    if not queue.nominal:
        return None
    nominal = dict(queue.nominal)
    if nominal.keys() - {COMPUTE}:
        nominal = {**dict.fromkeys((node.model for node in nodes), 0), **nominal}
    return replace(queue, nominal=nominal, cohort=None, borrowing={}, lending={})


def _within(work: Work, queue: Queue | None, catalogue: Catalogue) -> Work | None:
    """The job on the models of which the quota holds it; None: on no model."""
    if queue is None:
        return None
    models = [model for model in work.shape.models if _holds(queue.nominal, model, work, catalogue)]
    if not models:
        return None
    rates = {model: work.rates[model] for model in models}
    shape = work.shape._replace(models=tuple(models), rates=tuple(sorted(rates.items())))
    return replace(work, shape=shape, rates=rates)


def _holds(nominal: Mapping[str, int], model: str, work: Work, catalogue: Catalogue) -> bool:
    devices = work.shape.devices
    compute = catalogue.fp16_gflops(model) * devices
    return devices <= nominal.get(model, devices) and compute <= nominal.get(COMPUTE, compute)
