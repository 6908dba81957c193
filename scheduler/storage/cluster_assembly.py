"""Puts the live cluster together from rows. Pure: the same rows give the same state."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scheduler.domain.allocations import AttemptState, Goal
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import QueueKey
from scheduler.domain.stored_specs import StoredSpec
from scheduler.machine import learning, queueing
from scheduler.machine.state import AttemptRecord, ClusterState
from scheduler.machine.usage import BUCKET_MS, HORIZON_BUCKETS
from scheduler.storage.cluster_rows import allocation_record, attempt_record, job_record, progress_of


@dataclass(frozen=True, slots=True)
class ClusterRows:
    """Rows with attributes, as the queries beside `load_state` name them."""

    jobs: Iterable[tuple[Any, StoredSpec]]  # jobs that have not ended, with their state and spec
    attempts: Iterable[Any]  # all of these jobs, and those with live allocations; by job and number
    allocations: Iterable[Any]  # all of these attempts, with device ids by index; by job, attempt, rank
    usage: Iterable[Any]  # stretches of device-time by queue and model
    references: Iterable[Any] = ()  # what queued jobs depend on, with counts of ended jobs


def usage_horizon_ms(now_ms: int) -> int:
    """What ended before counts for nothing."""
    return now_ms - (HORIZON_BUCKETS + 1) * BUCKET_MS


def assemble(state: ClusterState, rows: ClusterRows) -> None:
    """Fills a state that has its pools, queues and nodes. Time is the state's own beginning."""
    for row, stored in rows.jobs:
        state.add_job(job_record(row, stored))
    attempts: dict[tuple[str, int], AttemptRecord] = {}
    for row in rows.attempts:
        attempt = attempts[row.job_id, row.attempt] = attempt_record(row)
        owner = state.jobs.get(attempt.job_id)
        if owner is not None:
            owner.attempts.append(attempt)
    for row in rows.allocations:
        attempt = attempts[row.job_id, row.attempt]
        allocation = allocation_record(row, attempt)
        attempt.allocations.append(allocation)
        if allocation.live:
            state.attach(allocation)
    for job in state.jobs.values():
        if job.attempt is not None and job.attempt.state is not AttemptState.ENDED:
            state.active[job.job_id] = job
    learning.told_starts(state, state.jobs.values())
    queueing.load(state, {row.reference: progress_of(row) for row in rows.references})
    for row in rows.usage:
        gflops = state.gflops_of_ppm(row.device_model, row.ppm)
        queue = QueueKey(FirmId(row.firm_id), row.queue)
        state.usage.remember(queue, gflops, row.granted_ms, row.ended_ms)
        if row.ended_ms is None and row.goal != Goal.RESERVE.value:
            held = (row.device_model, row.ppm)
            state.spending.change(FirmId(row.firm_id), row.project, held, state.prices, state.began_ms)
