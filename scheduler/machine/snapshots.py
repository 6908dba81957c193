"""The state as the planner may see it."""

from collections.abc import Mapping, Set

from scheduler.domain.allocations import AttemptState
from scheduler.domain.budgets import BudgetKey, budget_keys
from scheduler.domain.devices import WHOLE_PPM, Health
from scheduler.domain.features import node_features
from scheduler.domain.ids import JobId
from scheduler.domain.nodes import Isolation, NodeState
from scheduler.machine.configuration import calendar_at, prices_at
from scheduler.machine.money import reserved_nano
from scheduler.machine.queueing import shape_of
from scheduler.machine.served import held_ms, served_ms, steps_left
from scheduler.machine.spending import hold, money_of
from scheduler.machine.state import AttemptRecord, ClusterState, JobRecord, NodeRecord
from scheduler.planner.snapshot import (
    DeviceView,
    Money,
    NodeView,
    Resting,
    RunningJob,
    Snapshot,
    WaitingJob,
)


def take_snapshot(state: ClusterState, now_ms: int, without: Set[JobId] = frozenset()) -> Snapshot:
    """An immutable picture. Cost: O(nodes) pointers, and the devices of nodes that changed.

    `without`: jobs with devices that are not to be seen; what they hold stays theirs.
    """
    return Snapshot(
        catalogue=state.catalogue,
        nodes=tuple(_view(state, node) for node in state.nodes_in_order()),
        queues=dict(state.queues),
        classes=state.waiting.classes(),
        held={key: dict(models) for key, models in state.held.items()},
        usage=state.usage.decayed(now_ms),
        resting=_resting(state),
        running=_running(state, now_ms, without),
        cohorts=dict(state.cohorts),
        calendar=calendar_at(state, now_ms),
        prices=prices_at(state, now_ms),
        budgets=budgets_at(state, now_ms),
        experience=state.learning.experience(),
        held_parts={key: dict(models) for key, models in state.held_parts.items()},
    )


def _view(state: ClusterState, node: NodeRecord) -> NodeView:
    if node.view is None:
        place = state.place_of(node)
        node.view = NodeView(
            node_id=node.node.node_id,
            name=node.node.name,
            pool=node.node.pool,
            usable=node.state is NodeState.CONNECTED and not node.cordoned,
            devices=tuple(_devices(node)),
            domains=place.domains,
            position=place.position or 0,
            one_firm=node.one_firm,
            firm_id=node.firm_id,
            features=node_features(node.understands, runs_images=node.container_engine is not None),
            isolates=node.isolation is Isolation.NAMESPACE,
        )
    return node.view


def _devices(node: NodeRecord) -> list[DeviceView]:
    views = []
    for device in node.node.devices:
        health = node.unhealthy.get(device.device_id, Health.OK)
        holders = node.holders.get(device.device_id, ())
        faulty = health is Health.FAULTY
        ends = [None if holder.lost else holder.owner.ends_by_ms for holder in holders]
        known = [end for end in ends if end is not None]
        held_ppm = sum(holder.share_ppm for holder in holders)
        apart = node.isolation is Isolation.NAMESPACE
        views.append(
            DeviceView(
                number=device.index,
                device_id=device.device_id,
                model=device.model,
                group=device.fast_link_group,
                free=not holders and not faulty,
                faulty=faulty,
                degraded=health is Health.DEGRADED,
                ends_by_ms=max(known) if known and len(known) == len(ends) else None,
                left_ppm=WHOLE_PPM - held_ppm if 0 < held_ppm < WHOLE_PPM else None,
                memory_bytes=device.memory_bytes,
                firm_id=holders[0].owner.firm_id if holders and not apart else None,
            )
        )
    return views


def unseen(state: ClusterState, now_ms: int) -> frozenset[JobId]:
    """Jobs with devices of which no picture can be made: a defect, for `take_snapshot` to go on without them."""
    jobs = set()
    for job in state.active.values():
        try:
            _running_view(state, job, now_ms)
        except Exception:  # noqa: BLE001 - whatever it is, it ends no more than what is known of the job
            jobs.add(job.job_id)
    return frozenset(jobs)


def _running(state: ClusterState, now_ms: int, without: Set[JobId]) -> tuple[RunningJob, ...]:
    """Jobs with devices, by the time of their grant. Cost: O(active jobs)."""
    seen = state.active.values()
    jobs = [job for job in seen if job.job_id not in without] if without else seen
    views = [view for job in jobs if (view := _running_view(state, job, now_ms)) is not None]
    views.sort(key=lambda view: (view.started_ms, view.submitted_ms, view.job_id))
    return tuple(views)


def _running_view(state: ClusterState, job: JobRecord, now_ms: int) -> RunningJob | None:
    attempt = job.attempt
    if attempt is None:
        return None
    held = [allocation for allocation in attempt.allocations if allocation.live and not allocation.lost]
    if not held:
        return None
    if job.placed is None:
        job.placed = shape_of(state, job)
    return RunningJob(
        job_id=job.job_id,
        shape=job.placed,
        submitted_ms=job.ages_from_ms,
        model=attempt.device_model,
        pool=state.nodes[held[0].node_id].node.pool,
        tasks=tuple((allocation.node_id, allocation.device_ids) for allocation in held),
        started_ms=attempt.started_ms or attempt.allocated_ms,
        steps_left=steps_left(job, now_ms),
        served_ms=round(served_ms(state.catalogue, state.learning.experience(), job.placed, job, now_ms)),
        saved_ms=attempt.saved_ms,
        starts=len(job.attempts),
        held_ms=held_ms(job),
        stopping=attempt.state is AttemptState.STOPPING,
    )


def budgets_at(state: ClusterState, now_ms: int) -> dict[BudgetKey, Money]:
    """Every budget with what is gone of it.

    Cost: O(budgets); where there are any, the active jobs and the classes of waiting jobs.
    """
    spent = state.spending.spent(state.prices, now_ms)
    if not spent:
        return {}
    prices = prices_at(state, now_ms)
    held = dict.fromkeys(spent, 0)
    for job in state.active.values():
        project = job.spec.project
        if job.attempt is not None and not held.keys().isdisjoint(budget_keys(job.firm_id, project)):
            hold(held, job.firm_id, project, _reserved_nano(job.attempt, prices, now_ms))
    for shape, jobs in state.waiting.sizes():
        if shape.promised_nano:
            hold(held, shape.queue.firm_id, shape.project, shape.promised_nano * jobs)
    return {
        budget.key: money_of(budget, spent[budget.key], held[budget.key], now_ms)
        for budget in state.spending.budgets
    }


def _reserved_nano(attempt: AttemptRecord, prices: Mapping[str, int], now_ms: int) -> int:
    ppm = sum(one.devices_ppm for one in attempt.allocations if one.live and not one.lost and not one.spare)
    per_hour = prices.get(attempt.device_model, 0) * ppm
    return reserved_nano(per_hour, attempt.time_limit_ms, attempt.started_ms, now_ms)


def _resting(state: ClusterState) -> tuple[Resting, ...]:
    resting = []
    for job_id in sorted(state.resting):
        job = state.jobs[job_id]
        if job.shape is not None:
            resting.append(Resting(job.shape, WaitingJob(job.ages_from_ms, job_id), state.resting[job_id]))
    return tuple(resting)
