"""Which queued jobs the planner may see: not those that are held, wait for other jobs or for their array's turn.

A queued job is in exactly one place: waiting (the planner sees it), resting (between two attempts) or blocked.
Which one follows from what is stored, so that a leader that has just loaded agrees with the one before.
"""

from collections.abc import Iterable, Mapping

from scheduler.domain.allocations import AttemptState
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.features import needs_of
from scheduler.domain.gangs import Share
from scheduler.domain.gangs import Topology as Asked
from scheduler.domain.ids import JobId
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, EndReason
from scheduler.domain.time import MINUTE_MS
from scheduler.machine.arrays import ArrayMembers
from scheduler.machine.messages import PriceFrom
from scheduler.machine.money import left_nano, promised_nano
from scheduler.machine.references import Progress
from scheduler.machine.served import held_ms, served_ms, steps_left
from scheduler.machine.state import ClusterState, JobRecord
from scheduler.planner.snapshot import Shape, Topology, WaitingJob, limit_class_ms

# What a restart from a model checkpoint is taken to cost: preparing, loading, warming up.
RESTART_MS = 2 * MINUTE_MS
_MOST_DOUBLINGS = 30  # of the pause between attempts; its bound comes long before


def enter(state: ClusterState, job: JobRecord, now_ms: int) -> None:
    """A queued job takes its place, for the first time or after an attempt."""
    array = _array(state, job)
    if array is not None:
        array.running.discard(job.job_id)
    settle(state, job, now_ms)


def settle(state: ClusterState, job: JobRecord, now_ms: int) -> None:
    """Puts a queued job where it belongs now; others of its array may move with it."""
    free = not job.held and not job.unmet and job.unreadable is None
    array = _array(state, job)
    if array is not None and job.array_index is not None:
        array.set_ready(job.array_index, job.job_id, ready=free)
        _admit(state, array, now_ms)
        free = job.job_id in array.admitted
    _place(state, job, now_ms, free=free)


def leave(state: ClusterState, job: JobRecord, now_ms: int, *, running: bool) -> None:
    """A queued job is queued no longer: it has devices now, or it has ended."""
    _take_out(state, job)
    array = _array(state, job)
    if array is not None and job.array_index is not None:
        array.set_ready(job.array_index, job.job_id, ready=False)
        if running:
            array.running.add(job.job_id)
        _admit(state, array, now_ms)
        _drop_if_over(state, job, array)


def ended(state: ClusterState, job: JobRecord, now_ms: int) -> None:
    """A job with devices has ended: another of its array may go on."""
    array = _array(state, job)
    if array is not None:
        array.running.discard(job.job_id)
        _admit(state, array, now_ms)
        _drop_if_over(state, job, array)


def load(state: ClusterState, progress: Mapping[str, Progress]) -> None:
    """Puts every queued job in its place, after everything else has been loaded.

    `progress` counts the ended jobs behind each reference that a queued job waits for.
    """
    for job in state.jobs.values():
        if job.state is JobState.QUEUED:
            refer(state, job, progress, ())
        elif (array := _array(state, job)) is not None:
            array.running.add(job.job_id)
        job.count_ineligible(job.changed_ms)  # a controller of before did not: since the last that it wrote
    # By age, so that each is the last of its class so far.
    for job in sorted(state.jobs.values(), key=lambda job: (job.ages_from_ms, job.job_id)):
        if job.state is JobState.QUEUED:
            settle(state, job, state.began_ms)


# --- Dependencies ---------------------------------------------------------------------------------------------


def references_to(job: JobRecord) -> tuple[str, ...]:
    """Under which references others may wait for the job."""
    return (job.job_id,) if job.array_id is None else (job.job_id, job.array_id)


def refer(
    state: ClusterState,
    job: JobRecord,
    progress: Mapping[str, Progress],
    just_ended: Iterable[JobRecord],
) -> str | None:
    """Begins to wait for what the job depends on; returns a reference that can never be met.

    `progress` counts what had ended when the database was read; what has ended since is in `just_ended`, what
    goes on in the state. A reference of which nothing is known yet is one whose message is still to come.
    """
    dependencies = job.spec.dependencies
    if not dependencies.all:
        return None
    new = [ref for ref in dependencies.all if ref not in state.references.progress]
    for ref in new:
        known = progress.get(ref, Progress())
        state.references.progress[ref] = Progress(known.total, known.ended, known.ended, known.failed)
    if new:
        _count_what_is_not_stored(state, set(new), just_ended)
    job.unmet = frozenset(dependencies.all)
    return review(state, job)


def review(state: ClusterState, job: JobRecord) -> str | None:
    """Looks again at what a queued job waits for; returns a reference that can never be met."""
    now, broken = state.references.open_of(job.spec.dependencies, job.unmet)
    state.references.wait(job.job_id, job.unmet, now)
    job.unmet = now
    return broken


def wait_for_nothing(state: ClusterState, job: JobRecord) -> None:
    """The job waits for no other any more."""
    state.references.wait(job.job_id, job.unmet, frozenset())
    job.unmet = frozenset()


def _count_what_is_not_stored(state: ClusterState, new: set[str], just_ended: Iterable[JobRecord]) -> None:
    progress = state.references.progress
    for job in just_ended:
        for ref in new.intersection(references_to(job)):
            progress[ref].started += 1
            progress[ref].ended += 1
            progress[ref].failed += job.state is not JobState.SUCCEEDED
    for ref in new:
        members = state.array_jobs.get(JobId(ref), ())
        for job_id in (*members, JobId(ref)):
            live = state.jobs.get(job_id)
            if live is not None and live.started_ms is not None:
                progress[ref].started += 1


# --- Places ---------------------------------------------------------------------------------------------------


def _array(state: ClusterState, job: JobRecord) -> ArrayMembers | None:
    array = job.spec.array
    if job.array_id is None or array is None or array.concurrency is None:
        return None
    return state.arrays.setdefault(job.array_id, ArrayMembers(array.concurrency))


def _admit(state: ClusterState, array: ArrayMembers, now_ms: int) -> None:
    came, went = array.admit()
    for job_id in sorted(went):
        _place(state, state.jobs[job_id], now_ms, free=False)
    for job_id in sorted(came):
        _place(state, state.jobs[job_id], now_ms, free=True)


def _drop_if_over(state: ClusterState, job: JobRecord, array: ArrayMembers) -> None:
    if not array and job.array_id is not None and not _siblings(state, job):
        del state.arrays[job.array_id]


def _siblings(state: ClusterState, job: JobRecord) -> bool:
    return job.array_id is not None and bool(state.array_jobs.get(job.array_id, set()) - {job.job_id})


def _place(state: ClusterState, job: JobRecord, now_ms: int, *, free: bool) -> None:
    _take_out(state, job)
    job.shape = shape_of(state, job)
    if not free:
        state.blocked.add(job.job_id)
        return
    until_ms = rests_until_ms(state, job)
    if until_ms is not None and until_ms > now_ms:
        state.resting[job.job_id] = until_ms
    else:
        state.waiting.add(job.shape, as_it_waits(state, job, job.shape))


def as_it_waits(state: ClusterState, job: JobRecord, shape: Shape) -> WaitingJob:
    """A job that resumes keeps what it has run: it has less left, and its turn is the earlier.

    What it said of its steps counts as while it ran: believed to be shorter it would stop others, and for these again.
    By the catalogue's speeds, not by what was learned since, so that a leader that has just loaded agrees.
    """
    served = served_ms(state.catalogue, None, shape, job, 0) if shape.resumable else 0.0
    ended_ms = 0 if job.attempt is None else job.attempt.ended_ms or 0
    left = steps_left(job, ended_ms) if shape.resumable else None
    return WaitingJob(job.ages_from_ms, job.job_id, left, round(served), len(job.attempts), held_ms(job))


def _take_out(state: ClusterState, job: JobRecord) -> None:
    if job.shape is None:
        return
    if job.job_id in state.blocked:
        state.blocked.discard(job.job_id)
    elif state.resting.pop(job.job_id, None) is None:
        state.waiting.remove(job.shape, job.ages_from_ms, job.job_id)
    job.shape = None


def rests_until_ms(state: ClusterState, job: JobRecord) -> int | None:
    """When the next attempt may be planned; None: at once. From what is stored, so that a reload agrees."""
    attempt = job.attempt
    if attempt is None or attempt.state is not AttemptState.ENDED or attempt.ended_ms is None:
        return None
    if attempt.reason in (Ending.NODE_LOST, Ending.PREEMPTED, Ending.REQUEUED):
        return None  # the fault left with the node, or there was none
    config = state.config
    pause_ms = config.retry_backoff_ms << min(attempt.number - 1, _MOST_DOUBLINGS)
    return attempt.ended_ms + min(pause_ms, config.retry_backoff_most_ms)


def _topology_of(asked: Asked) -> Topology | None:
    """What is required goes before what is preferred."""
    domain = asked.required or asked.preferred
    return None if domain is None else Topology(domain.value, required=asked.required is not None)


def _share_ppm(share: Share | None) -> int:
    """Both parts of a share were told when the job was accepted."""
    return WHOLE_PPM if share is None or share.ppm is None else share.ppm


_NOT_PREPARED = frozenset({Ending.PREPARE_FAILED, Ending.IMAGE_FAILED})


_MOST_SHAPES = 1024


def shape_of(state: ClusterState, job: JobRecord) -> Shape:
    """What decides where a job may start: its spec, and what its earlier attempts taught.

    Jobs that are alike share one until they were tried.
    """
    likeness = job.spec.likeness
    if likeness is None or job.attempts or job.spec.budget is not None:
        return made_shape(job, state.prices)
    key = (job.firm_id, likeness)
    shape = state.shapes.get(key)
    if shape is None:
        if len(state.shapes) >= _MOST_SHAPES:
            state.shapes.clear()
        shape = state.shapes[key] = made_shape(job, state.prices)
    return shape


def made_shape(job: JobRecord, prices: tuple[PriceFrom, ...] = ()) -> Shape:
    """The same from scratch."""
    failed = [attempt for attempt in job.attempts if attempt.reason in _NOT_PREPARED]
    models = tuple(variant.model for variant in job.spec.variants)
    out = {attempt.device_model for attempt in failed}
    left = tuple(model for model in models if model not in out)
    if not left:
        left, out = models, set()  # better to try again than to wait for ever
    gang = job.spec.gang
    sentence = "an earlier attempt could not be prepared with this variant"
    return Shape(
        queue=job.queue,
        priority=job.spec.priority,
        devices=gang.held_devices,
        devices_per_node=job.spec.gang.devices_per_node,
        models=left,
        needs=tuple(
            (variant.model, needs)
            for variant in job.spec.variants
            if variant.model in left and (needs := needs_of(job.spec, variant))
        ),
        time_limit_ms=job.spec.time_limit_ms,  # exact: money is held for it
        avoid_nodes=frozenset(
            allocation.node_id
            for attempt in failed
            for allocation in attempt.allocations
            if allocation.end_reason in (EndReason.PREPARE_FAILED, EndReason.IMAGE_FAILED)
        ),
        benched=tuple((model, sentence) for model in models if model in out),
        resumable=job.spec.model_checkpoint is not None,
        restart_ms=0 if job.spec.model_checkpoint is None else RESTART_MS,
        rates=tuple(
            (variant.model, variant.steps_per_hour / 3600)
            for variant in job.spec.variants
            if variant.steps_per_hour is not None
        ),
        kind=f"{job.firm_id}/{job.spec.project}/{job.spec.kind.value}/{job.spec.gang.devices}",
        project=job.spec.project,
        estimate_ms=limit_class_ms(job.spec.estimate_ms),
        # Of a job that waits: nothing of it runs, so this stands still.
        left_nano=left_nano(prices, job, 0) if job.state is JobState.QUEUED else None,
        promised_nano=promised_nano(prices, job),
        sizes=gang.held_sizes,
        spares=gang.spare_nodes,
        groups=tuple((group.tasks, group.devices_per_task) for group in gang.groups),
        share_ppm=_share_ppm(job.spec.share),
        share_memory_bytes=(job.spec.share.memory_bytes or 0) if job.spec.share is not None else 0,
        topology=_topology_of(job.spec.topology),
    )
