"""Rules of attempts: prepare all, start together, stop together, end when the last task has ended."""

from scheduler.domain.allocations import AttemptState, Goal, Phase
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import NodeState
from scheduler.domain.reasons import Ending, EndReason, StopReason
from scheduler.machine.grants import grant, release, spares_of, workers_of
from scheduler.machine.jobs import after_attempt, has_started, outcome_of
from scheduler.machine.state import AllocationRecord, AttemptRecord, failed_by_itself
from scheduler.machine.transition import Transition
from scheduler.planner.plan import TaskPlacement

# Phases in which a task waits for the others, or is past that.
_PREPARED = frozenset({Phase.READY, Phase.RUNNING})
_LOOPBACK = "127.0.0.1"

_ENDINGS = {
    EndReason.PREPARE_FAILED: Ending.PREPARE_FAILED,
    EndReason.IMAGE_FAILED: Ending.IMAGE_FAILED,
    EndReason.STORE_REFUSED: Ending.STORE_REFUSED,
    EndReason.OUTPUT_FAILED: Ending.OUTPUT_FAILED,
    EndReason.LOST: Ending.TASK_LOST,
    EndReason.OUT_OF_MEMORY: Ending.OUT_OF_MEMORY,
}


def start_when_ready(t: Transition, attempt: AttemptRecord) -> None:
    """Every task is ready: tell all of them where rank 0 listens, and to run."""
    if attempt.state is not AttemptState.PREPARING:
        return
    workers = workers_of(attempt)
    if not all(allocation.live and allocation.phase in _PREPARED for allocation in workers):
        return
    first = attempt.allocations[0]
    address = t.state.nodes[first.node_id].rendezvous_address
    if not address:
        if len(workers) > 1:
            first.detail = "the node of task rank 0 gives no address at which the others reach it"
            t.touch_allocation(first)
            stop_attempt(t, attempt, Ending.PREPARE_FAILED, StopReason.GANG_FAILED)
            return
        address = _LOOPBACK
    attempt.master_address = address
    attempt.master_port = first.rendezvous_port or 0
    attempt.state = AttemptState.READY
    t.touch_attempt(attempt)
    for allocation in workers:
        allocation.goal = Goal.RUN
        t.touch_allocation(allocation)
        t.change_desired(allocation.node_id)


def task_started(t: Transition, allocation: AllocationRecord) -> None:
    """The first sign that a task's processes run or ran, once its gang was told to run: an agent's word alone
    starts no gang. One that runs while a restored database still prepares it says so again after it was told.
    """
    attempt = allocation.owner
    if allocation.started_ms is not None or allocation.lost or not attempt.told_to_run:
        return
    allocation.started_ms = t.now_ms
    t.touch_allocation(allocation)
    job = t.state.jobs.get(attempt.job_id)
    if attempt.started_ms is None:
        attempt.started_ms = t.now_ms
        t.touch_attempt(attempt)
        if attempt.time_limit_ms is not None:
            t.state.forget_views(a for a in attempt.allocations if a.live)
            t.changes.replan = True
    if attempt.state in (AttemptState.PREPARING, AttemptState.READY):
        attempt.state = AttemptState.RUNNING
        if job is not None:
            job.state = JobState.RUNNING
            if job.started_ms is None:
                has_started(t, job)
            t.touch_job(job)
            t.emit_job("JobStarted", job, attempt=attempt.number, device_model=attempt.device_model)
    t.prove("started", allocation, "")


def task_ended(
    t: Transition,
    allocation: AllocationRecord,
    end_reason: EndReason,
    exit_code: int | None = None,
    detail: str | None = None,
) -> None:
    """Nothing of the task is left on its node: its devices are free, and the gang hears of it."""
    was_lost = allocation.lost
    allocation.live = False
    allocation.phase = Phase.ENDED
    allocation.ended_ms = t.now_ms
    if not was_lost:
        allocation.end_reason = end_reason
        allocation.exit_code = exit_code
        # What a task that nobody stops has said before its end was of files on their way.
        allocation.detail = detail or (allocation.detail if allocation.goal is Goal.STOP else None)
    t.state.detach(allocation)
    t.touch_allocation(allocation)
    t.change_desired(allocation.node_id)
    t.changes.replan = True
    t.emit_task("TaskEnded", allocation, exit_code=exit_code, reason=end_reason.value, detail=detail)
    if was_lost:
        return  # its attempt went on without it, and its time was closed when it was lost
    t.state.count_held(allocation, -1)
    t.state.end_use(allocation, t.now_ms)
    t.prove("ended", allocation, (allocation.stop_reason or end_reason).value)
    attempt = allocation.owner
    if attempt.reason is Ending.NODE_LOST and allocation.device_ids and spares_of(attempt):
        _keep(t, allocation)
    if attempt.state is not AttemptState.STOPPING and failed_by_itself(allocation):
        ending = _ENDINGS.get(end_reason, Ending.EXITED_NONZERO)
        stop_attempt(t, attempt, ending, StopReason.GANG_FAILED)
    elif attempt.state is AttemptState.PREPARING:
        # Ended well, and the others can never start together with it; where all end well, so does the attempt.
        stop_attempt(t, attempt, Ending.TASK_LOST, StopReason.GANG_FAILED)
    else:
        end_when_over(t, attempt)


def lose_task(t: Transition, allocation: AllocationRecord) -> None:
    """Its node is lost: the attempt ends without it; its devices stay taken until the node frees them."""
    if allocation.lost:
        return
    if allocation.spare:
        release(t, allocation)
        return
    t.state.count_held(allocation, -1)
    allocation.goal = Goal.STOP
    allocation.stop_reason = StopReason.NODE_LOST
    allocation.end_reason = EndReason.LOST
    allocation.detail = "the node was silent for longer than its pool allows"
    t.touch_allocation(allocation)
    t.change_desired(allocation.node_id)
    t.state.forget_views([allocation])
    # From here on nothing of this task is authorised: a replacement may run.
    t.prove("ended", allocation, StopReason.NODE_LOST.value)
    attempt = allocation.owner
    if attempt.state is AttemptState.STOPPING:
        end_when_over(t, attempt)
    else:
        stop_attempt(t, attempt, Ending.NODE_LOST, StopReason.GANG_FAILED)


def stop_attempt(t: Transition, attempt: AttemptRecord, ending: Ending, reason: StopReason) -> None:
    """Stops every task that still lives. The first ending is the attempt's; a later stop changes nothing."""
    if attempt.state in (AttemptState.STOPPING, AttemptState.ENDED):
        return
    attempt.state = AttemptState.STOPPING
    attempt.reason = ending
    t.touch_attempt(attempt)
    job = t.state.jobs.get(attempt.job_id)
    if job is not None:
        job.state = JobState.STOPPING
        t.touch_job(job)
    for allocation in attempt.allocations:
        if allocation.spare:
            if allocation.live and ending is not Ending.NODE_LOST:
                release(t, allocation)
        elif allocation.live and not allocation.lost:
            allocation.goal = Goal.STOP
            allocation.stop_reason = reason
            t.touch_allocation(allocation)
            t.change_desired(allocation.node_id)
    end_when_over(t, attempt)


def end_when_over(t: Transition, attempt: AttemptRecord) -> None:
    """The last task has ended or is lost: the attempt is over, and the job goes on from there."""
    if attempt.state is AttemptState.ENDED:
        return
    workers = workers_of(attempt)
    if any(allocation.live and not allocation.lost for allocation in workers):
        return
    clean = not any(
        allocation.lost or allocation.end_reason is not EndReason.EXITED or allocation.exit_code
        for allocation in workers
    )
    if clean:
        attempt.reason = Ending.COMPLETED  # also where a stop came too late to matter
    ending = attempt.reason or Ending.TASK_LOST
    attempt.reason = ending
    attempt.outcome = outcome_of(ending)
    attempt.state = AttemptState.ENDED
    attempt.ended_ms = t.now_ms
    t.touch_attempt(attempt)
    for allocation in attempt.allocations:
        if allocation.stop_reason is StopReason.NODE_LOST:
            # Counted up to here: a time that is stored, so that a reload agrees.
            t.state.end_use(allocation, t.now_ms)
    job = t.state.jobs.get(attempt.job_id)
    if job is not None:
        after_attempt(t, job, attempt)
    for spare in spares_of(attempt):
        release(t, spare)


def _keep(t: Transition, allocation: AllocationRecord) -> None:
    """A task of a gang that has lost a node has stopped: its devices wait for the others to stop too, so that
    the gang goes on there at once with its spare.
    """
    attempt = allocation.owner
    node = t.state.nodes[allocation.node_id]
    if node.state is not NodeState.LOST:
        rank = max(one.rank for one in attempt.allocations) + 1
        grant(t, attempt, TaskPlacement(rank, allocation.node_id, allocation.device_ids), spare=True)
