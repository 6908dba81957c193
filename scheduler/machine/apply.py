"""The machine's two doors: a message is applied, a plan is carried out."""

from collections.abc import Sequence
from functools import singledispatch

from scheduler.domain.allocations import AttemptState
from scheduler.domain.ids import Ids, JobId
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import Ending, StopReason
from scheduler.machine import clock, jobs, learning, nodes, plans
from scheduler.machine.attempts import stop_attempt
from scheduler.machine.changes import Changes
from scheduler.machine.configuration import configure
from scheduler.machine.messages import (
    CancelRequested,
    ConfigurationChanged,
    CordonRequested,
    GatewayLost,
    GatewaySeen,
    GatewayStarted,
    HoldRequested,
    JobAttached,
    JobRevised,
    JobSubmitted,
    JobUnreadable,
    LeaderStarted,
    Message,
    NodeConnected,
    NodeDisconnected,
    NodeEnrolled,
    NodeReported,
    RequeueRequested,
    Tick,
)
from scheduler.machine.state import ClusterState
from scheduler.machine.transition import Transition
from scheduler.planner.plan import Plan
from scheduler.planner.report import Report


def apply(
    state: ClusterState, message: Message, now_ms: int, ids: Ids, changes: Changes | None = None
) -> Changes:
    """Applies one message to the state in place. Several may share one `changes`, for one commit.

    A message about something unknown, or one that comes twice or late, changes nothing.
    """
    changes = Changes() if changes is None else changes
    _apply(message, Transition(state, changes, now_ms, ids))
    return changes


def apply_plan(
    state: ClusterState, plan: Plan, now_ms: int, ids: Ids, changes: Changes | None = None
) -> Changes:
    """Carries out a plan made from this very state. Raises StalePlan; the state is then to be thrown away."""
    changes = Changes() if changes is None else changes
    plans.carry_out(Transition(state, changes, now_ms, ids), plan)
    return changes


def announce(
    state: ClusterState, report: Report, now_ms: int, ids: Ids, changes: Changes | None = None
) -> Changes:
    """Tells jobs that still wait when they start, as the report says."""
    changes = Changes() if changes is None else changes
    learning.announce(Transition(state, changes, now_ms, ids), report)
    return changes


def tell_left_out(
    state: ClusterState, jobs: Sequence[tuple[JobId, int]], now_ms: int, ids: Ids, changes: Changes
) -> None:
    """Events of what is planned without from now on: of one job for all that are alike, with how many they are."""
    t = Transition(state, changes, now_ms, ids)
    for job_id, count in jobs:
        t.emit_job("JobLeftOutOfPlans", state.jobs[job_id], jobs=count)


@singledispatch
def _apply(message: object, t: Transition) -> None:
    raise TypeError(f"{type(message).__name__} is no message of the machine")


@_apply.register
def _(message: JobSubmitted, t: Transition) -> None:
    jobs.submit(t, message)


@_apply.register
def _(message: JobUnreadable, t: Transition) -> None:
    jobs.refuse_unreadable(t, message)


@_apply.register
def _(message: CancelRequested, t: Transition) -> None:
    job = jobs.find(t, message.firm_id, message.job_id)
    if job is None or job.cancel_requested:
        return
    job.cancel_requested = True
    t.touch_job(job)
    t.emit_job("CancelRequested", job, by=message.by)
    if job.state is JobState.QUEUED or job.attempt is None:
        jobs.end_job(t, job, JobState.CANCELLED, Ending.CANCELLED)
    else:
        stop_attempt(t, job.attempt, Ending.CANCELLED, StopReason.CANCELLED)


@_apply.register
def _(message: JobAttached, t: Transition) -> None:
    job = jobs.find(t, message.firm_id, message.job_id)
    if job is not None:
        t.emit_job("JobAttached", job, by=message.by)


@_apply.register
def _(message: HoldRequested, t: Transition) -> None:
    jobs.hold(t, message)


@_apply.register
def _(message: RequeueRequested, t: Transition) -> None:
    job = jobs.find(t, message.firm_id, message.job_id)
    attempt = None if job is None else job.attempt
    if job is None or attempt is None or attempt.state in (AttemptState.STOPPING, AttemptState.ENDED):
        return
    t.emit_job("RequeueRequested", job, by=message.by)
    stop_attempt(t, attempt, Ending.REQUEUED, StopReason.REQUEUED)


@_apply.register
def _(message: JobRevised, t: Transition) -> None:
    jobs.revise(t, message)


@_apply.register
def _(message: ConfigurationChanged, t: Transition) -> None:
    configure(t.state, message, t.now_ms)
    t.changes.replan = True


@_apply.register
def _(message: NodeEnrolled, t: Transition) -> None:
    nodes.enrol(t, message)


@_apply.register
def _(message: NodeConnected, t: Transition) -> None:
    nodes.connect(t, message)


@_apply.register
def _(message: NodeDisconnected, t: Transition) -> None:
    nodes.disconnect(t, message)


@_apply.register
def _(message: NodeReported, t: Transition) -> None:
    nodes.report(t, message)


@_apply.register
def _(message: CordonRequested, t: Transition) -> None:
    nodes.cordon(t, message)


@_apply.register
def _(message: GatewayLost, t: Transition) -> None:
    nodes.gateway_lost(t, message)


@_apply.register
def _(message: GatewaySeen, t: Transition) -> None:
    nodes.gateway_seen(t, message)


@_apply.register
def _(message: GatewayStarted, t: Transition) -> None:
    nodes.gateway_started(t, message)


@_apply.register
def _(_message: LeaderStarted, t: Transition) -> None:
    clock.leader_started(t)


@_apply.register
def _(_message: Tick, t: Transition) -> None:
    clock.tick(t)
