"""What must hold in every state, whatever happened: checked in simulated runs and by `scheduler check`."""

from collections import Counter
from collections.abc import Iterator

from scheduler.domain.allocations import AttemptState, Goal
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import DeviceId
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import Isolation
from scheduler.machine.grants import spares_of, workers_of
from scheduler.machine.queueing import as_it_waits, made_shape
from scheduler.machine.retries import counted
from scheduler.machine.state import AttemptRecord, ClusterState, JobRecord, NodeRecord, failed_by_itself

_JOB_STATES = {
    AttemptState.PREPARING: JobState.ALLOCATED,
    AttemptState.READY: JobState.ALLOCATED,
    AttemptState.RUNNING: JobState.RUNNING,
    AttemptState.STOPPING: JobState.STOPPING,
    AttemptState.ENDED: JobState.QUEUED,
}
_GOALS = {
    AttemptState.PREPARING: Goal.PREPARE,
    AttemptState.READY: Goal.RUN,
    AttemptState.RUNNING: Goal.RUN,
    AttemptState.STOPPING: Goal.STOP,
}


def violations(state: ClusterState) -> list[str]:
    """Every broken invariant in words; empty for a sound state. Cost: O(everything in memory)."""
    found = [*_devices(state), *_indexes(state)]
    for job in state.jobs.values():
        found.extend(f"job {job.job_id}: {what}" for what in _job(state, job))
    return found


def _devices(state: ClusterState) -> Iterator[str]:
    """Live shares of a device sum to at most the whole, and every index says the same of it."""
    given: Counter[DeviceId] = Counter()
    owners = 0
    for allocation in state.allocations.values():
        owners += len(allocation.device_ids)
        for device in allocation.device_ids:
            given[device] += allocation.share_ppm
    for device, ppm in given.items():
        if ppm > WHOLE_PPM:
            yield f"device {device} is given to live owners with {ppm} ppm"
    held = 0
    for node in state.nodes.values():
        enrolled = {device.device_id for device in node.node.devices}
        held += sum(map(len, node.holders.values()))
        yield from _holders(state, node, enrolled)
        for allocation in node.allocations.values():
            if not allocation.live or allocation.node_id != node.node.node_id:
                yield f"allocation {allocation.allocation_id} is not live on {node.node.name}, which lists it"
    if held != owners:
        yield f"{owners} devices or parts are owned, {held} are held"


def _holders(state: ClusterState, node: NodeRecord, enrolled: set[DeviceId]) -> Iterator[str]:
    for device, holders in node.holders.items():
        for allocation in holders:
            if device not in enrolled or state.allocations.get(allocation.allocation_id) is not allocation:
                yield f"device {device} is held by {allocation.allocation_id}, which is not live there"
        if node.isolation is not Isolation.NAMESPACE and len({h.owner.firm_id for h in holders}) > 1:
            yield f"device {device} is shared by firms that {node.node.name} does not keep apart"


def _indexes(state: ClusterState) -> Iterator[str]:
    """What is derived equals what it is derived from."""
    recount: dict[object, Counter[str]] = {}
    parts: dict[object, Counter[str]] = {}
    for allocation in state.allocations.values():
        if not allocation.lost:
            whole = allocation.share_ppm == WHOLE_PPM
            models = (recount if whole else parts).setdefault(allocation.owner.queue, Counter())
            models[allocation.owner.device_model] += len(allocation.device_ids) * (
                1 if whole else allocation.share_ppm
            )
    if recount != state.held or parts != state.held_parts:
        yield f"held by queue is {state.held} and {state.held_parts}, counted {recount} and {parts}"
    queued = {job.job_id for job in state.jobs.values() if job.state is JobState.QUEUED}
    waiting = {job.job_id for item in state.waiting.classes() for job in item.jobs}
    places = [waiting, set(state.resting), state.blocked]
    if queued != set().union(*places) or len(queued) != sum(map(len, places)):
        yield "a queued job is not in exactly one place: waiting, resting or blocked"
    yield from _blocking(state)
    if state.active.keys() != state.jobs.keys() - queued:
        yield "the active jobs are not exactly those with an attempt that goes on"
    for item in state.waiting.classes():
        if list(item.jobs) != sorted(set(item.jobs)):
            yield f"class {item.shape} is not sorted by age"
        for waits in item.jobs:
            job = state.jobs[waits.job_id]
            shape = made_shape(job, state.prices)
            if shape != item.shape or waits != as_it_waits(state, job, shape):
                yield f"job {waits.job_id} waits under a shape that is not its own"


def _blocking(state: ClusterState) -> Iterator[str]:
    """Exactly those are blocked that something holds back; no array goes on with more than it may."""
    for job in state.jobs.values():
        if job.state is not JobState.QUEUED:
            continue
        array = None if job.array_id is None else state.arrays.get(job.array_id)
        turn = array is None or job.job_id in array.admitted
        if (job.job_id in state.blocked) is not (job.held or bool(job.unmet) or not turn):
            yield f"job {job.job_id} is blocked without a reason, or waits in spite of one"
        for reference in job.unmet:
            if job.job_id not in state.references.progress[reference].waiting:
                yield f"job {job.job_id} would not hear of {reference}"
    for array_id, members in state.arrays.items():
        jobs = [state.jobs[job_id] for job_id in state.array_jobs.get(array_id, ())]
        active = {job.job_id for job in jobs if job.state is not JobState.QUEUED}
        if active != members.running:
            yield f"array {array_id} counts {len(members.running)} active jobs of {len(active)}"
        if members.admitted and len(active) + len(members.admitted) > members.concurrency:
            yield f"array {array_id} goes on with more than {members.concurrency} jobs"
    for reference, progress in state.references.progress.items():
        if not progress.waiting or not 0 <= progress.failed <= progress.ended <= progress.started:
            yield f"reference {reference} counts {progress}"
    expected = {job.job_id: at for job in state.jobs.values() if (at := job.spec.deadline_ms) is not None}
    if expected != state.deadlines:
        yield "the deadlines are not those of the jobs"


def _job(state: ClusterState, job: JobRecord) -> Iterator[str]:
    attempt = job.attempt
    expected = JobState.QUEUED if attempt is None else _JOB_STATES[attempt.state]
    if job.state is not expected:
        yield f"is {job.state}, its newest attempt asks for {expected}"
    if [a.number for a in job.attempts] != list(range(1, len(job.attempts) + 1)):
        yield "its attempts are not numbered from 1"
    if counted(job.attempts) > job.spec.retry.max_attempts:
        yield "has had more attempts than it may"
    if (job.ineligible_since_ms is not None) is not (job.held or bool(job.unmet)):
        yield "grows no older exactly while it is held or waits for others, or should"
    for earlier in job.attempts[:-1]:
        if earlier.state is not AttemptState.ENDED:
            yield f"attempt {earlier.number} goes on beside a newer one"
    for any_attempt in job.attempts:
        yield from _attempt(state, job, any_attempt)


def _attempt(state: ClusterState, job: JobRecord, attempt: AttemptRecord) -> Iterator[str]:
    """A gang is whole, each task on a node of its own, and its tasks have one goal."""
    name = f"attempt {attempt.number}"
    gang = job.spec.gang
    tasks = workers_of(attempt)
    if [task.rank for task in tasks] != list(range(len(tasks))) or len(tasks) not in gang.sizes:
        yield f"{name} is not a whole gang"
    if len({task.node_id for task in tasks}) != len(tasks):
        yield f"{name} has two tasks on one node"
    if any(len(task.device_ids) != gang.devices_of(task.rank) for task in tasks):
        yield f"{name} has a task without its devices"
    for task in attempt.allocations:
        if task.live is not (task.allocation_id in state.allocations):
            yield f"{name} has a task that is live here and not there"
    going_on = [task for task in tasks if task.live and not task.lost]
    if attempt.state is AttemptState.ENDED:
        if going_on or spares_of(attempt):
            yield f"{name} has ended, and a task of it goes on"
    elif not going_on:
        yield f"{name} goes on without a task"
    elif any(task.goal is not _GOALS[attempt.state] for task in going_on):
        yield f"{name} is {attempt.state}, and a task of it has another goal"
    yield from _half_running(attempt, name)
    if (attempt.state is AttemptState.ENDED) is not (attempt.outcome is not None):
        yield f"{name} has an outcome exactly when it has ended, or should"


def _half_running(attempt: AttemptRecord, name: str) -> Iterator[str]:
    """Of an attempt that goes on only tasks have ended that succeeded, after all of them were told to run."""
    if attempt.state in (AttemptState.STOPPING, AttemptState.ENDED):
        return
    for task in workers_of(attempt):
        if not task.live and (attempt.state is not AttemptState.RUNNING or failed_by_itself(task)):
            yield f"{name} is {attempt.state}, and task {task.rank} of it has ended"
    if attempt.started_ms is not None and attempt.state is not AttemptState.RUNNING:
        yield f"{name} is {attempt.state}, and has started"
