"""What the next cycle would do, had a plan been carried out at once: who leaves must leave for somebody's good.

The market shares devices out by their number before anybody is served; moves are looked for after everybody was. Who
leaves starts at his own turn, where there is room for him then: what is kept for others, or was given to others
meanwhile, he does not get. And the market may pass over a job for whose priority work has stopped. So a plan that stops
anybody for either is tried: the next plan is made of what would be, and who would only start again where he ran, for
nobody's good, is not told to stop.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from scheduler.domain.ids import DeviceId, JobId, NodeId
from scheduler.domain.queues import QueueKey
from scheduler.planner.plan import JobPlacement, Plan, Stop, StopCause
from scheduler.planner.snapshot import JobClass, RunningJob, Shape, Snapshot, WaitingJob
from scheduler.planner.turnover import Change, Turnover, change_of, node_after

_FOR_A_GAIN = {StopCause.MOVE, StopCause.SHORTER, StopCause.GROW}


def may_stop_in_vain(decided: Plan, traded: Set[JobId]) -> bool:
    """Whether anybody stops whom nobody who waits has asked for, or for the priority of one who is `traded`."""
    return any(_for_a_gain(stop) or _for_priority(stop, traded) for stop in decided.stops)


def carried_out(snapshot: Snapshot, decided: Plan, now_ms: int) -> Snapshot:
    """The snapshot as it would be once everybody has started and stopped. Cost: O(waiting and running jobs), and the
    devices of nodes on which that is.
    """
    return Started(snapshot, decided.placements, now_ms).after(decided.stops).whole


class Ahead(NamedTuple):
    """What would be, once everybody has started and stopped."""

    snapshot: Snapshot  # the jobs as they would be, and the nodes as they are: what is free the fleet knows
    turnover: Turnover  # what would happen on them

    @property
    def whole(self) -> Snapshot:
        """The snapshot with the nodes as they would be, too. Cost: the devices of those on which anything happens."""
        turnover = self.turnover
        if not turnover:
            return self.snapshot
        nodes = [
            node_after(view, turnover[view.node_id]) if view.node_id in turnover else view
            for view in self.snapshot.nodes
        ]
        return replace(self.snapshot, nodes=tuple(nodes))


_Growing = dict[NodeId, list[tuple[tuple[DeviceId, ...], Change]]]  # a turnover that is being noted


class Started:
    """What would be once everybody who is placed has started; who stops may differ from try to try."""

    def __init__(self, snapshot: Snapshot, placements: Sequence[JobPlacement], now_ms: int) -> None:
        """Cost: the classes of whom anybody starts, all waiting jobs where the placements do not say of which."""
        self._snapshot = snapshot
        placed = {placement.job_id: placement for placement in placements}
        asked = {placement.account.shape for placement in placements if placement.account is not None}
        self._left, self._started = _left_of(snapshot.classes, placed, asked, now_ms)
        if len(self._started) < len(placed):  # some start in another size, or nobody said what they asked for
            self._left, self._started = _left_of(snapshot.classes, placed, None, now_ms)
        self._changes: _Growing = {}
        for one in self._started:
            limit_ms = one.shape.time_limit_ms
            _note(self._changes, one, -1, None if limit_ms is None else now_ms + limit_ms)

    def after(self, stops: Iterable[Stop]) -> Ahead:
        """The same once others have stopped. Cost: O(running jobs + classes), and the jobs of those to which somebody
        comes back.
        """
        snapshot = self._snapshot
        stopped = {stop.job_id for stop in stops}
        running = self._started.copy()
        turnover: _Growing = {}
        back: dict[Shape, list[WaitingJob]] = {}
        held = _Held(snapshot)
        for one in snapshot.running:
            if one.job_id in stopped:
                _note(turnover, one, 1, None)
                held.change(one, 1)
                back.setdefault(one.shape, []).append(one.waiting)
            else:
                running.append(one)
        for one in self._started:
            held.change(one, -1)
        for node_id, changes in self._changes.items():
            turnover[node_id] = [*turnover[node_id], *changes] if node_id in turnover else changes
        classes = []
        for item in self._left:
            if item.shape in back:
                jobs = (*item.jobs, *back.pop(item.shape))
                classes.append(JobClass(item.shape, tuple(sorted(jobs))))
            elif item.jobs:
                classes.append(item)
        classes += [JobClass(shape, tuple(sorted(jobs))) for shape, jobs in back.items()]
        classes.sort(key=lambda item: item.jobs[0])
        running.sort(key=lambda one: (one.started_ms, one.submitted_ms, one.job_id))
        after = replace(
            snapshot,
            classes=tuple(classes),
            running=tuple(running),
            held=held.devices,
            held_parts=held.parts,
        )
        return Ahead(after, turnover)


def without_futile(
    snapshot: Snapshot, decided: Plan, then: Plan, gathered: Collection[JobId], traded: Set[JobId]
) -> Plan:
    """The plan without those stops for a gain or for one who is `traded` that `then`, the plan after it, shows to be in
    vain.

    `gathered`: who makes room for a gang for which devices are kept; he may start again on others of the model.
    """
    running = {one.job_id: one for one in snapshot.running}
    starts = {placement.job_id: placement for placement in then.placements}
    given = {
        device_id: placement.job_id
        for placement in then.placements
        for task in placement.tasks
        for device_id in task.device_ids
    }

    # Of those who stop for one job none helps it where another starts again.
    comes_back = {
        stop.for_job
        for stop in decided.stops
        if _for_priority(stop, traded) and stop.job_id in starts and stop.for_job not in starts
    }

    def in_vain(stop: Stop) -> bool:
        one = running.get(stop.job_id)
        if _for_priority(stop, traded):
            return stop.for_job in comes_back
        if one is None or not _for_a_gain(stop):
            return False
        had = [device_id for _, device_ids in one.tasks for device_id in device_ids]
        for device_id in had:
            if given.get(device_id, stop.job_id) != stop.job_id:
                return False  # somebody has what he left
        again = starts.get(stop.job_id)
        if again is None:
            return stop.cause is not StopCause.SHORTER and stop.job_id not in gathered
        has = {device_id for task in again.tasks for device_id in task.device_ids}
        if stop.cause is StopCause.GROW:
            return len(has) <= len(had)
        return has == set(had) or (again.device_model == one.model and stop.job_id not in gathered)

    return replace(decided, stops=tuple(stop for stop in decided.stops if not in_vain(stop)))


def _for_a_gain(stop: Stop) -> bool:
    return stop.for_job is None and stop.cause in _FOR_A_GAIN


def _for_priority(stop: Stop, traded: Set[JobId]) -> bool:
    """Whether for a job that the market may then pass over."""
    return stop.cause is StopCause.PRIORITY and stop.for_job in traded


def started_by(placement: JobPlacement, shape: Shape, job: WaitingJob, now_ms: int) -> RunningJob:
    """The waiting job as it runs from then on."""
    return RunningJob(
        job_id=job.job_id,
        shape=shape,
        submitted_ms=job.submitted_ms,
        model=placement.device_model,
        pool=placement.pool,
        tasks=tuple((task.node_id, task.device_ids) for task in placement.tasks),
        started_ms=now_ms,
        steps_left=job.steps_left,
        served_ms=job.served_ms,
        starts=job.starts + 1,
        held_ms=job.held_ms,
    )


def _left_of(
    classes: Iterable[JobClass],
    placed: Mapping[JobId, JobPlacement],
    shapes: Set[Shape] | None,
    now_ms: int,
) -> tuple[list[JobClass], list[RunningJob]]:
    """Who is left of the classes, maybe nobody, and who starts; only of these shapes, where they are told."""
    left: list[JobClass] = []
    started: list[RunningJob] = []
    for item in classes:
        if shapes is not None and item.shape not in shapes:
            left.append(item)  # itself, with what is known of its jobs
            continue
        waiting = []
        for job in item.jobs:
            placement = placed.get(job.job_id)
            if placement is None:
                waiting.append(job)
            else:
                started.append(started_by(placement, item.shape, job, now_ms))
        left.append(item if len(waiting) == len(item.jobs) else JobClass(item.shape, tuple(waiting)))
    return left, started


def _note(turnover: _Growing, one: RunningJob, sign: int, ends_by_ms: int | None) -> None:
    """A job leaves (1) or comes (-1)."""
    change = change_of(one.shape, sign, ends_by_ms)
    for node_id, device_ids in one.tasks:
        if node_id in turnover:
            turnover[node_id].append((device_ids, change))
        else:
            turnover[node_id] = [(device_ids, change)]


class _Held:
    """What queues have, while jobs come and go."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.devices: dict[QueueKey, dict[str, int]] = {key: dict(m) for key, m in snapshot.held.items()}
        self.parts: dict[QueueKey, dict[str, int]] = {key: dict(m) for key, m in snapshot.held_parts.items()}
        # A rehearsal of past jobs counts each part as a device.
        self._parts_apart = any(snapshot.held_parts.values()) or all(r.shape.whole for r in snapshot.running)

    def change(self, one: RunningJob, sign: int) -> None:
        """A job has left (1) or come (-1)."""
        shape = one.shape
        in_parts = self._parts_apart and not shape.whole
        held, amount = (
            (self.parts, one.devices * shape.share_ppm) if in_parts else (self.devices, one.devices)
        )
        models = held.setdefault(shape.queue, {})
        models[one.model] = models.get(one.model, 0) - sign * amount
        if not models[one.model]:
            del models[one.model]
