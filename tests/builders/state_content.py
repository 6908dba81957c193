"""A machine state as a plain value, for the invariant that what is loaded equals what is in memory."""

from dataclasses import fields
from typing import Any

from scheduler.machine.state import AllocationRecord, AttemptRecord, ClusterState, JobRecord, NodeRecord

# Derived in memory, or only for order within a process: not stored, and not compared.
_NOT_STORED = {
    JobRecord: {"attempts", "progress_ms", "placed"},
    AttemptRecord: {"allocations", "first_report", "saved_ms"},
    AllocationRecord: {"owner", "moved_ms"},
    NodeRecord: {"allocations", "holders", "view", "connected_ms"},
}


def content(state: ClusterState, now_ms: int) -> dict[str, Any]:
    """Everything that must survive a reload, usage counted up to `now_ms`."""
    state.usage.advance(now_ms)
    usage = {key: value for key, value in state.usage.decayed(now_ms).items() if value}
    return {
        "event_seq": state.event_seq,
        "pools": state.pools,
        "queues": state.queues,
        "cohorts": state.cohorts,
        "calendar": state.calendar,
        "prices": state.prices,
        "jobs": {job_id: _job(job) for job_id, job in state.jobs.items()},
        "allocations": {key: _allocation(value) for key, value in state.allocations.items()},
        "nodes": {
            node_id: (
                _plain(node),
                sorted(node.allocations),
                {
                    device: sorted(holder.allocation_id for holder in holders)
                    for device, holders in node.holders.items()
                },
            )
            for node_id, node in state.nodes.items()
        },
        "active": sorted(state.active),
        "waiting": state.waiting.classes(),
        "resting": state.resting,
        "blocked": sorted(state.blocked),
        "references": state.references.progress,
        "arrays": {
            key: (array.running, array.ready, array.admitted, array.concurrency)
            for key, array in state.arrays.items()
        },
        "array_jobs": state.array_jobs,
        "deadlines": state.deadlines,
        "held": state.held,
        "usage": usage,
        "spent": state.spending.spent(state.prices, now_ms),
        "experience": state.learning.experience(),
    }


def _job(job: JobRecord) -> Any:
    attempts = [(_plain(a), [_plain(task) for task in a.allocations]) for a in job.attempts]
    return _plain(job), attempts


def _allocation(allocation: AllocationRecord) -> Any:
    return _plain(allocation), _plain(allocation.owner)


def _plain(record: Any) -> dict[str, Any]:
    hidden = _NOT_STORED[type(record)]
    return {field.name: getattr(record, field.name) for field in fields(record) if field.name not in hidden}
