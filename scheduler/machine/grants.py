"""Devices given to an attempt and taken back: for a task to run, or kept for a gang that may lose a node."""

from scheduler.domain.allocations import Goal
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import AllocationId
from scheduler.domain.reasons import EndReason, StopReason
from scheduler.machine.state import AllocationRecord, AttemptRecord
from scheduler.machine.transition import Transition
from scheduler.planner.plan import TaskPlacement


class StalePlan(Exception):
    """The plan was made from another state than the one it is applied to. Nothing of it may be kept."""


def grant(t: Transition, attempt: AttemptRecord, task: TaskPlacement, *, spare: bool = False) -> None:
    """Gives a task its devices; a spare only keeps them. Raises StalePlan."""
    node = t.state.nodes[task.node_id]
    taken = [
        device_id
        for device_id in task.device_ids
        if sum(h.share_ppm for h in node.holders.get(device_id, ())) + task.share_ppm > WHOLE_PPM
    ]
    if taken:
        raise StalePlan(f"job {attempt.job_id}: devices {taken} are taken")
    if node.one_firm and node.firm_id not in (None, attempt.firm_id):
        raise StalePlan(f"job {attempt.job_id}: node {node.node.name} serves another firm alone")
    allocation = AllocationRecord(
        allocation_id=AllocationId(t.ids.new(t.now_ms)),
        owner=attempt,
        rank=task.rank,
        node_id=task.node_id,
        device_ids=task.device_ids,
        granted_ms=t.now_ms,
        share_ppm=task.share_ppm,
        goal=Goal.RESERVE if spare else Goal.PREPARE,
    )
    attempt.allocations.append(allocation)
    if node.one_firm:
        node.firm_id = attempt.firm_id
    t.state.attach(allocation)
    t.state.begin_use(allocation, t.now_ms)
    t.touch_allocation(allocation)
    if not spare:
        t.change_desired(task.node_id)
    t.prove("granted", allocation, "")


def release(t: Transition, allocation: AllocationRecord) -> None:
    """A spare keeps its devices no longer. No agent knows of it: they are free at once."""
    allocation.live = False
    allocation.stop_reason = StopReason.RELEASED
    allocation.end_reason = EndReason.STOPPED
    allocation.ended_ms = t.now_ms
    t.state.detach(allocation)
    t.state.count_held(allocation, -1)
    t.state.end_use(allocation, t.now_ms)
    t.touch_allocation(allocation)
    t.prove("ended", allocation, StopReason.RELEASED.value)
    t.changes.replan = True


def spares_of(attempt: AttemptRecord) -> list[AllocationRecord]:
    """What is kept for the gang now, by rank."""
    return [one for one in attempt.allocations if one.spare and one.live]


def workers_of(attempt: AttemptRecord) -> list[AllocationRecord]:
    """Its tasks, by rank."""
    return [one for one in attempt.allocations if not one.spare]
