"""Proves a plan legal before it is applied. Written apart from the planner: it shares no decision with it."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import count

from scheduler.domain.budgets import BudgetKey, budget_keys
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.gangs import Domain
from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.quotas import parent_of
from scheduler.domain.time import HOUR_MS
from scheduler.planner.config import PlannerConfig
from scheduler.planner.plan import JobPlacement, Plan, StopCause, TaskPlacement
from scheduler.planner.snapshot import DRAIN_MS, LEVELS, DeviceView, Hole, NodeView, Shape, Snapshot
from scheduler.planner.topology import allowed_set

_ONE_BY_ONE = 16
"""So many wrong jobs of a plan are told from those that only come after them: a check costs as much as the cluster."""

_FOR_ITSELF = (StopCause.MOVE, StopCause.SHORTER, StopCause.GROW)


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one placement."""

    job_id: JobId
    what: str


def check_plan(snapshot: Snapshot, plan: Plan, now_ms: int) -> list[Violation]:
    """Every way in which the plan breaks a rule; empty for a legal plan.

    Cost: O(waiting jobs + nodes) when the plan places anything, O(running jobs) when it stops anybody.
    """
    found = _Checker(snapshot, plan, now_ms).check(plan) if plan.placements else []
    return [*found, *_check_stops(snapshot, plan, now_ms)] if plan.stops else found


def legal_part(snapshot: Snapshot, plan: Plan, now_ms: int) -> tuple[Plan, list[Violation]]:
    """The plan without what breaks a rule or counts on that, and every way in which it did.

    One wrong placement must not keep everybody from starting, cycle after cycle. It is counted as given what it
    names, so only the first is surely wrong: those behind it are judged again without it. Cost: a check, and one more
    each time that something had to go, as what is left is proved as a whole; behind `_ONE_BY_ONE` of these
    everything that is named goes at once.
    """
    found: list[Violation] = []
    for checks in count(1):
        violations = check_plan(snapshot, plan, now_ms)
        if not violations:
            break
        wrong = {violation.job_id for violation in violations[: 1 if checks <= _ONE_BY_ONE else None]}
        found += [violation for violation in violations if violation.job_id in wrong]
        plan = _without(plan, wrong)
    return plan, found


def _without(plan: Plan, wrong: Set[JobId]) -> Plan:
    """Nobody stops for a job that would not have all that was to stop for it."""
    in_vain = wrong | {stop.for_job for stop in plan.stops if stop.job_id in wrong and stop.for_job}
    return Plan(
        tuple(placement for placement in plan.placements if placement.job_id not in wrong),
        tuple(stop for stop in plan.stops if stop.job_id not in wrong and stop.for_job not in in_vain),
    )


def _check_stops(snapshot: Snapshot, plan: Plan, now_ms: int) -> list[Violation]:
    """Only what runs is stopped, once, and for a reason that its job and its queue allow."""
    due = [hole for hole in snapshot.calendar if hole.from_ms - DRAIN_MS <= now_ms < hole.until_ms]
    running = {item.job_id: item for item in snapshot.running}
    waiting = {job.job_id: item.shape for item in snapshot.classes for job in item.jobs}
    found: list[Violation] = []
    seen: set[JobId] = set()
    for stop in plan.stops:
        victim = running.get(stop.job_id)
        if victim is None or victim.stopping:
            found.append(Violation(stop.job_id, "the job does not run, or stops already"))
            continue
        if stop.job_id in seen:
            found.append(Violation(stop.job_id, "the job is stopped twice"))
        seen.add(stop.job_id)
        if stop.cause in _FOR_ITSELF and not victim.shape.resumable:
            found.append(Violation(stop.job_id, "the job cannot resume, and is stopped for no need"))
        if stop.cause in _FOR_ITSELF:
            continue  # what it gives up goes to the queue's common market
        if stop.cause is StopCause.MAINTENANCE:
            nodes = {node_id for node_id, _ in victim.tasks}
            if not any(hole.queue != victim.shape.queue and nodes & hole.nodes for hole in due):
                found.append(Violation(stop.job_id, "makes room for what the calendar does not plan now"))
            continue
        favoured = None if stop.for_job is None else waiting.get(stop.for_job)
        if favoured is None:
            found.append(Violation(stop.job_id, "nobody who waits gets what it gives up"))
        elif stop.cause is StopCause.PRIORITY and favoured.priority.rank <= victim.shape.priority.rank:
            found.append(Violation(stop.job_id, "makes room for a job of no higher priority"))
        elif stop.cause is StopCause.RECLAIM and favoured.queue == victim.shape.queue:
            found.append(Violation(stop.job_id, "a queue takes back from itself"))
    return found


class _Checker:
    def __init__(self, snapshot: Snapshot, plan: Plan, now_ms: int) -> None:
        self._snapshot = snapshot
        self._now_ms = now_ms
        jobs = {placement.job_id for placement in plan.placements}
        nodes = {task.node_id for placement in plan.placements for task in placement.tasks}
        self._nodes: dict[NodeId, NodeView] = {
            node.node_id: node for node in snapshot.nodes if node.node_id in nodes
        }
        self._shapes: dict[JobId, Shape] = {
            job.job_id: item.shape for item in snapshot.classes for job in item.jobs if job.job_id in jobs
        }
        self._taken: dict[DeviceId, int] = {}  # ppm given away
        self._placed: set[JobId] = set()
        self._serves: dict[NodeId, FirmId] = {}  # nodes of one firm, and which
        self._quotas = _Quotas(snapshot)
        self._parts = {
            (key, m): ppm for key, models in snapshot.held_parts.items() for m, ppm in models.items()
        }
        self._holes: dict[NodeId, list[Hole]] = {}  # that are open, or whose beginning binds already
        until_ms = now_ms + PlannerConfig().calendar_ahead_ms
        for hole in snapshot.calendar:
            for node_id in hole.nodes & nodes if hole.from_ms <= until_ms and hole.until_ms > now_ms else ():
                self._holes.setdefault(node_id, []).append(hole)
        self._firms: dict[DeviceId, FirmId] = {}  # of devices of which this plan gives parts
        self._paid: dict[BudgetKey, int] = {}  # nano CNY that this plan may cost at most
        self._found: list[Violation] = []

    def check(self, plan: Plan) -> list[Violation]:
        for placement in plan.placements:
            shape = self._shapes.get(placement.job_id)
            if shape is not None and shape.sizes:
                shape = _at_size(shape, sum(len(task.device_ids) for task in placement.tasks))
            if shape is None:
                self._wrong(placement, "the job does not wait")
            elif placement.job_id in self._placed:
                self._wrong(placement, "the job is placed twice")
            else:
                self._placed.add(placement.job_id)
                self._gang(placement, shape)
                self._quota(placement, shape)
                self._budget(placement, shape)
                for task in placement.tasks:
                    self._task(placement, task, shape)
        return self._found

    def _wrong(self, placement: JobPlacement, what: str) -> None:
        self._found.append(Violation(placement.job_id, what))

    def _gang(self, placement: JobPlacement, shape: Shape) -> None:
        if [task.rank for task in placement.tasks] != list(range(shape.tasks)):
            self._wrong(placement, f"the gang is not whole: wants {shape.tasks} tasks by rank")
        if len({task.node_id for task in placement.tasks}) != len(placement.tasks):
            self._wrong(placement, "two tasks of the gang are on one node")
        if placement.device_model not in shape.models:
            self._wrong(placement, f"the job has no variant for {placement.device_model}")
        self._together(placement, shape)

    def _together(self, placement: JobPlacement, shape: Shape) -> None:
        """The whole gang is in one domain, where the job requires that."""
        topology = shape.topology
        if topology is None or not topology.required:
            return
        nodes = [node for task in placement.tasks if (node := self._nodes.get(task.node_id)) is not None]
        found: set[object] = {node.node_id for node in nodes}
        if topology.level in LEVELS:
            found = {node.domains[LEVELS.index(topology.level)] for node in nodes}
        elif topology.level == Domain.FAST_LINK_GROUP.value:
            given = {device_id for task in placement.tasks for device_id in task.device_ids}
            found = {(n.node_id, d.group) for n in nodes for d in n.devices if d.device_id in given}
        if len(found) != 1 or (None in found and len(nodes) > 1):
            self._wrong(placement, f"the gang is not inside one {topology.level}")

    def _quota(self, placement: JobPlacement, shape: Shape) -> None:
        queue = self._snapshot.queues.get(shape.queue)
        if queue is None or placement.pool not in queue.pools:
            self._wrong(placement, f"the queue may not use pool {placement.pool}")
            return
        more = shape.devices
        if not shape.whole:
            parts = (shape.queue, placement.device_model)
            before = self._parts.get(parts, 0)
            self._parts[parts] = before + shape.devices * shape.share_ppm
            more = -(-self._parts[parts] // WHOLE_PPM) - -(-before // WHOLE_PPM)
        for what in self._quotas.take(queue, placement.device_model, more):
            self._wrong(placement, what)

    def _budget(self, placement: JobPlacement, shape: Shape) -> None:
        """What all starts may cost, to the time limit or for an hour, is left of every budget that pays.

        Less what is held for a job already, as it was stopped for others.
        """
        workers = placement.tasks[: len(placement.tasks) - shape.spares]
        ppm = sum(len(task.device_ids) * task.share_ppm for task in workers)
        time_ms = HOUR_MS if shape.time_limit_ms is None else shape.time_limit_ms
        price = self._snapshot.prices.get(placement.device_model, 0)
        asked = -(-price * ppm * time_ms // (WHOLE_PPM * HOUR_MS)) - shape.promised_nano
        for key in budget_keys(shape.queue.firm_id, shape.project):
            money = self._snapshot.budgets.get(key)
            self._paid[key] = self._paid.get(key, 0) + asked
            if asked > 0 and money is not None and self._paid[key] > money.left_nano:
                self._wrong(placement, f"the budget of {key.project or 'the firm'} cannot pay for it")

    def _task(self, placement: JobPlacement, task: TaskPlacement, shape: Shape) -> None:
        node = self._nodes.get(task.node_id)
        if node is None or not node.usable:
            self._wrong(placement, f"node {task.node_id} is not usable")
            return
        if node.pool != placement.pool:
            self._wrong(placement, f"node {task.node_id} is not in pool {placement.pool}")
        if lacking := shape.needs_on(placement.device_model) - node.features:
            self._wrong(placement, f"node {task.node_id} has no {' and no '.join(sorted(lacking))}")
        self._calendar(placement, node, shape)
        firm_id = shape.queue.firm_id
        self._serve(placement, node, firm_id)
        if task.share_ppm != shape.share_ppm:
            self._wrong(placement, f"a task wants {shape.share_ppm} ppm of each device")
        views = {view.device_id: view for view in node.devices}
        devices: list[DeviceView] = []
        for device_id in task.device_ids:
            device = views.get(device_id)
            if device is None or not device.room_ppm or device.model != placement.device_model:
                self._wrong(
                    placement, f"device {device_id} is not a free {placement.device_model} of the node"
                )
            else:
                devices.append(device)
            if device is not None and not shape.whole:
                self._part(placement, node, device, firm_id)
            taken = self._taken.get(device_id, 0) + task.share_ppm
            if device is not None and device.room_ppm and taken > device.room_ppm:
                self._wrong(placement, f"device {device_id} is given twice")
            self._taken[device_id] = taken
        if len(task.device_ids) != shape.devices_of(task.rank):
            self._wrong(placement, f"a task wants {shape.devices_of(task.rank)} devices")
        rule = self._snapshot.catalogue.shape(placement.device_model)
        if shape.whole and shape.devices and not allowed_set(rule, devices):
            self._wrong(placement, f"the vendor does not allow these devices together on {task.node_id}")

    def _calendar(self, placement: JobPlacement, node: NodeView, shape: Shape) -> None:
        """Nobody else is where maintenance or a reservation is, nor may be by his time limit when it begins soon."""
        ends_ms = self._now_ms + (shape.time_limit_ms or 0)
        for hole in self._holes.get(node.node_id, ()):
            if hole.queue != shape.queue and (hole.from_ms <= self._now_ms or hole.from_ms < ends_ms):
                whose = "in maintenance" if hole.queue is None else "reserved"
                self._wrong(placement, f"node {node.node_id} is {whose} before the job has ended")

    def _serve(self, placement: JobPlacement, node: NodeView, firm_id: FirmId) -> None:
        """A node that keeps no firms apart serves one."""
        if node.one_firm and self._serves.setdefault(node.node_id, node.firm_id or firm_id) != firm_id:
            self._wrong(placement, f"node {node.node_id} serves another firm alone")

    def _part(self, placement: JobPlacement, node: NodeView, device: DeviceView, firm_id: FirmId) -> None:
        """Two firms have parts of one device only where the node keeps them apart."""
        owner = self._firms.setdefault(device.device_id, device.firm_id or firm_id)
        if owner != firm_id and not node.isolates:
            self._wrong(placement, f"device {device.device_id} is shared by firms that are not kept apart")


def _at_size(shape: Shape, devices: int) -> Shape:
    """An elastic job at one of its sizes, or as it asked first."""
    return shape._replace(devices=devices) if devices in shape.sizes else shape


class _Quotas:
    """What queues and cohorts hold, by key: a device model, in devices, or COMPUTE, in GFLOPS.

    A member keeps of its quota what it does not lend; what it holds beyond that it has of its parent.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._catalogue = snapshot.catalogue
        self._cohorts = snapshot.cohorts
        self._members: dict[str, list[Queue | Cohort]] = {}  # of a cohort
        everybody: list[Queue | Cohort] = [*snapshot.queues.values(), *snapshot.cohorts.values()]
        for member in everybody:
            if (parent := parent_of(member)) is not None:
                self._members.setdefault(parent, []).append(member)
        self._held: dict[tuple[QueueKey, str], int] = {}
        for key, models in snapshot.held.items():
            for model, devices in models.items():
                self._hold(key, model, devices)
        for key, models in snapshot.held_parts.items():
            for model, ppm in models.items():
                self._hold(key, model, -(-ppm // WHOLE_PPM))
        self._used: dict[tuple[str, str], int] = {}  # of what a cohort has in its hands
        self._quota: dict[tuple[str, str], int] = {}
        self._limited: dict[tuple[str, str], bool] = {}

    def take(self, queue: Queue, model: str, devices: int) -> Iterator[str]:
        """Counts a placement; says what is above its limits then."""
        top = self._top_of(queue)
        for key, amount in self._amounts(model, devices):
            if self._limits(top, key):
                if isinstance(top, Cohort):
                    self._used_of(top, key)  # of all below it, before anything changes
                before = self._held.get((queue.key, key), 0)
                yield from self._over(queue, key, before, before + amount)
            self._hold_key(queue.key, key, amount)

    def _hold(self, key: QueueKey, model: str, devices: int) -> None:
        for what, amount in self._amounts(model, devices):
            self._hold_key(key, what, amount)

    def _hold_key(self, queue: QueueKey, key: str, amount: int) -> None:
        self._held[queue, key] = self._held.get((queue, key), 0) + amount

    def _amounts(self, model: str, devices: int) -> tuple[tuple[str, int], ...]:
        gflops = self._catalogue.fp16_gflops(model) or PlannerConfig().unknown_fp16_gflops
        return (model, devices), (COMPUTE, gflops * devices)

    def _over(self, member: Queue | Cohort, key: str, before: int, after: int) -> Iterator[str]:
        """What a member, and each cohort above that it takes something of, would hold beyond its limit."""
        parent = self._cohorts.get(parent_of(member) or "")
        quota, limit = self._quota_of(member, key), member.borrowing.get(key)
        name = "the queue" if isinstance(member, Queue) else f"cohort {member.name}"
        if parent is None:
            if after > quota:
                yield f"{name} would hold more than its quota: {after} of {quota} {key}"
            return
        if limit is not None and after > quota + limit:
            yield f"{name} would borrow more than {limit} {key}: it would hold {after} of {quota}"
        keeps = self._keeps(member, key)
        more = max(0, after - keeps) - max(0, before - keeps)
        if more:
            used = self._used_of(parent, key)
            self._used[parent.name, key] = used + more
            yield from self._over(parent, key, used, used + more)

    def _used_of(self, cohort: Cohort, key: str) -> int:
        """What its members hold beyond what they keep."""
        used = self._used.get((cohort.name, key))
        if used is None:
            used = 0
            for member in self._members.get(cohort.name, ()):
                if isinstance(member, Queue):
                    holds = self._held.get((member.key, key), 0)
                else:
                    holds = self._used_of(member, key)
                used += max(0, holds - self._keeps(member, key))
            self._used[cohort.name, key] = used
        return used

    def _quota_of(self, member: Queue | Cohort, key: str) -> int:
        """A member's own, and of a cohort what its members lend of theirs."""
        quota = member.nominal.get(key, 0)
        if isinstance(member, Queue):
            return quota
        known = self._quota.get((member.name, key))
        if known is None:
            for below in self._members.get(member.name, ()):
                quota += self._quota_of(below, key) - self._keeps(below, key)
            known = self._quota[member.name, key] = quota
        return known

    def _keeps(self, member: Queue | Cohort, key: str) -> int:
        lending = member.lending.get(key)
        return 0 if lending is None else max(0, self._quota_of(member, key) - lending)

    def _top_of(self, queue: Queue) -> Queue | Cohort:
        member: Queue | Cohort = queue
        while (parent := self._cohorts.get(parent_of(member) or "")) is not None:
            member = parent
        return member

    def _limits(self, member: Queue | Cohort, key: str) -> bool:
        """Whether a member or anybody below it says anything of the key."""
        if isinstance(member, Queue):
            return key in member.nominal
        known = self._limited.get((member.name, key))
        if known is None:
            below = self._members.get(member.name, ())
            known = key in member.nominal or any(self._limits(other, key) for other in below)
            self._limited[member.name, key] = known
        return known
