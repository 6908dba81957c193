"""What the next cycle would do, had a plan been carried out at once: who leaves for a gain must gain by it.

The market shares devices out by their number before anybody is served; moves are looked for after everybody was. Who
leaves starts at his own turn, where there is room for him then: what is kept for others, or was given to others
meanwhile, he does not get. So a plan that stops anybody for a gain is tried: the next plan is made of what would be,
and who would only start again where he ran, for nobody's good, is not told to stop.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.queues import QueueKey
from scheduler.planner.plan import JobPlacement, Plan, Stop, StopCause
from scheduler.planner.snapshot import (
    DeviceView,
    JobClass,
    NodeView,
    RunningJob,
    Shape,
    Snapshot,
    WaitingJob,
)

_FOR_A_GAIN = {StopCause.MOVE, StopCause.SHORTER, StopCause.GROW}
_JOB_ID = itemgetter(WaitingJob._fields.index("job_id"))
_Tasks = Iterable[tuple[NodeId, tuple[DeviceId, ...]]]


def stops_for_a_gain(decided: Plan) -> bool:
    """Whether anybody stops whom nobody who waits has asked for."""
    return any(_for_a_gain(stop) for stop in decided.stops)


def carried_out(
    snapshot: Snapshot, decided: Plan, now_ms: int, known: "dict[NodeId, Known] | None" = None
) -> Snapshot:
    """The snapshot as it would be once everybody has started and stopped. Cost: O(waiting and running jobs), and the
    devices of nodes on which that is.

    `known`: nodes as they were to become by another plan on the same snapshot; where the same happens they are the same
    values, which costs the cycle after it nothing. Noted there.
    """
    stopped = {stop.job_id for stop in decided.stops}
    placed = {placement.job_id: placement for placement in decided.placements}
    after = _After(snapshot, {} if known is None else known)
    running: list[RunningJob] = []
    back: dict[Shape, list[WaitingJob]] = {}
    for one in snapshot.running:
        if one.job_id in stopped:
            after.change(one.shape, one.model, one.tasks, 1, None)
            back.setdefault(one.shape, []).append(one.waiting)
        else:
            running.append(one)
    classes: list[JobClass] = []
    for item in snapshot.classes:
        shape = item.shape
        nobody = placed.keys().isdisjoint(map(_JOB_ID, item.jobs))
        if nobody and shape not in back:
            classes.append(item)  # itself, with what is known of its jobs
            continue
        waiting = back.setdefault(shape, [])
        if nobody:
            waiting += item.jobs
            continue
        ends_by_ms = None if shape.time_limit_ms is None else now_ms + shape.time_limit_ms
        for job in item.jobs:
            placement = placed.get(job.job_id)
            if placement is None:
                waiting.append(job)
                continue
            started = started_by(placement, shape, job, now_ms)
            after.change(shape, started.model, started.tasks, -1, ends_by_ms)
            running.append(started)
    classes += [JobClass(shape, tuple(sorted(jobs))) for shape, jobs in back.items() if jobs]
    classes.sort(key=lambda item: item.jobs[0])
    running.sort(key=lambda one: (one.started_ms, one.submitted_ms, one.job_id))
    return replace(
        snapshot,
        nodes=after.nodes(),
        classes=tuple(classes),
        running=tuple(running),
        held=after.held,
        held_parts=after.held_parts,
    )


def without_futile(snapshot: Snapshot, decided: Plan, then: Plan, gathered: Collection[JobId]) -> Plan:
    """The plan without those stops for a gain that `then`, the plan after it, shows to be in vain.

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

    def in_vain(stop: Stop) -> bool:
        one = running.get(stop.job_id)
        if one is None or not _for_a_gain(stop):
            return False
        had = {device_id for _, device_ids in one.tasks for device_id in device_ids}
        if any(given.get(device_id, stop.job_id) != stop.job_id for device_id in had):
            return False  # somebody has what he left
        again = starts.get(stop.job_id)
        if again is None:
            return stop.cause is not StopCause.SHORTER and stop.job_id not in gathered
        has = {device_id for task in again.tasks for device_id in task.device_ids}
        if stop.cause is StopCause.GROW:
            return len(has) <= len(had)
        return has == had or (again.device_model == one.model and stop.job_id not in gathered)

    return replace(decided, stops=tuple(stop for stop in decided.stops if not in_vain(stop)))


def _for_a_gain(stop: Stop) -> bool:
    return stop.for_job is None and stop.cause in _FOR_A_GAIN


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


class _Change(NamedTuple):
    """A task has left devices of a node (1) or come (-1)."""

    device_ids: tuple[DeviceId, ...]
    shape: Shape
    sign: int
    ends_by_ms: int | None


Known = tuple[list[_Change], NodeView]
"""What happens on a node, and the node after that."""


class _After:
    """Nodes and quotas while jobs come and go."""

    def __init__(self, snapshot: Snapshot, known: dict[NodeId, Known]) -> None:
        self._nodes = snapshot.nodes
        self._known = known
        self._changes: dict[NodeId, list[_Change]] = {}
        self.held: dict[QueueKey, dict[str, int]] = {key: dict(m) for key, m in snapshot.held.items()}
        self.held_parts: dict[QueueKey, dict[str, int]] = {
            key: dict(m) for key, m in snapshot.held_parts.items()
        }

        # A rehearsal of past jobs counts each part as a device.
        self._parts_apart = any(snapshot.held_parts.values()) or all(r.shape.whole for r in snapshot.running)

    def nodes(self) -> tuple[NodeView, ...]:
        return tuple([self._after(view) if view.node_id in self._changes else view for view in self._nodes])

    def _after(self, view: NodeView) -> NodeView:
        changes = self._changes[view.node_id]
        known = self._known.get(view.node_id)
        if known is not None and known[0] == changes:
            return known[1]
        after = _changed(view, changes)
        self._known[view.node_id] = changes, after
        return after

    def change(self, shape: Shape, model: str, tasks: _Tasks, sign: int, ends_by_ms: int | None) -> None:
        """A job has left (1) or come (-1)."""
        devices = 0
        for node_id, device_ids in tasks:
            devices += len(device_ids)
            change = _Change(device_ids, shape, sign, ends_by_ms)
            self._changes.setdefault(node_id, []).append(change)
        in_parts = self._parts_apart and not shape.whole
        held, amount = (self.held_parts, devices * shape.share_ppm) if in_parts else (self.held, devices)
        models = held.setdefault(shape.queue, {})
        models[model] = models.get(model, 0) - sign * amount
        if not models[model]:
            del models[model]


def _changed(view: NodeView, changes: Iterable[_Change]) -> NodeView:
    devices = list(view.devices)
    place = {device.device_id: at for at, device in enumerate(devices)}
    cpu, memory, firm_id = view.left_cpu_milli, view.left_memory_bytes, view.firm_id
    for device_ids, shape, sign, ends_by_ms in changes:
        its_firm = None if view.isolates else shape.queue.firm_id
        for device_id in device_ids:
            at = place.get(device_id)
            if at is not None and not devices[at].faulty:
                devices[at] = _device(devices[at], shape, sign, ends_by_ms, its_firm)
        cpu = None if cpu is None else cpu + sign * shape.cpu_milli
        memory = None if memory is None else memory + sign * shape.memory_bytes
        if sign < 0 and view.one_firm:
            firm_id = shape.queue.firm_id
        elif sign > 0 and firm_id is not None and all(device.free for device in devices):
            firm_id = None
    return view.later(tuple(devices), cpu, memory, firm_id)


def _device(
    device: DeviceView, shape: Shape, sign: int, ends_by_ms: int | None, its_firm: FirmId | None
) -> DeviceView:
    number, device_id, model, group, free, _, degraded, until_ms, _, all_bytes, left_bytes, firm_id = device
    left_ppm = min(WHOLE_PPM, max(0, device.room_ppm + sign * shape.share_ppm))
    empty = left_ppm == WHOLE_PPM
    return DeviceView(
        number, device_id, model, group, empty, False, degraded,
        # Of those that stay: no earlier than before; who comes to others may be the last to go.
        None if empty else until_ms if sign > 0 else ends_by_ms if free else None,
        left_ppm if 0 < left_ppm < WHOLE_PPM else None,
        all_bytes,
        None if left_bytes is None else left_bytes + sign * shape.share_memory_bytes,
        None if empty else firm_id or its_firm,
    )  # fmt: skip
