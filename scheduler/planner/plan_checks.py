"""Proves a plan legal before it is applied. Written apart from the planner: it shares no decision with it."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import count

from scheduler.domain.budgets import BudgetKey, budget_keys
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.gangs import Domain
from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.queues import COMPUTE, Queue, QueueKey
from scheduler.domain.time import HOUR_MS
from scheduler.planner.config import PlannerConfig
from scheduler.planner.plan import JobPlacement, Plan, StopCause, TaskPlacement
from scheduler.planner.snapshot import LEVELS, DeviceView, NodeView, Shape, Snapshot
from scheduler.planner.topology import allowed_set

_ONE_BY_ONE = 16
"""So many wrong jobs of a plan are told from those that only come after them: a check costs as much as the cluster."""

_FOR_ITSELF = (StopCause.MOVE, StopCause.SHORTER, StopCause.GROW)


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one placement."""

    job_id: JobId
    what: str


def check_plan(snapshot: Snapshot, plan: Plan) -> list[Violation]:
    """Every way in which the plan breaks a rule; empty for a legal plan.

    Cost: O(waiting jobs + nodes) when the plan places anything, O(running jobs) when it stops anybody.
    """
    found = _Checker(snapshot, plan).check(plan) if plan.placements else []
    return [*found, *_check_stops(snapshot, plan)] if plan.stops else found


def legal_part(snapshot: Snapshot, plan: Plan) -> tuple[Plan, list[Violation]]:
    """The plan without what breaks a rule or counts on that, and every way in which it did.

    One wrong placement must not keep everybody from starting, cycle after cycle. It is counted as given what it
    names, so only the first is surely wrong: those behind it are judged again without it. Cost: a check, and one more
    each time that something had to go, as what is left is proved as a whole; behind `_ONE_BY_ONE` of these
    everything that is named goes at once.
    """
    found: list[Violation] = []
    for checks in count(1):
        violations = check_plan(snapshot, plan)
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


def _check_stops(snapshot: Snapshot, plan: Plan) -> list[Violation]:
    """Only what runs is stopped, once, and for a reason that its job and its queue allow."""
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
            if not any(h.queue != victim.shape.queue and nodes & h.nodes for h in snapshot.calendar):
                found.append(Violation(stop.job_id, "makes room for maintenance that is not planned"))
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
    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self._snapshot = snapshot
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
        self._held = {key: dict(models) for key, models in snapshot.held.items()}
        self._parts = {
            (key, m): ppm for key, models in snapshot.held_parts.items() for m, ppm in models.items()
        }
        for (key, model), ppm in self._parts.items():
            held = self._held.setdefault(key, {})
            held[model] = held.get(model, 0) + -(-ppm // WHOLE_PPM)
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
        held = self._held.setdefault(shape.queue, {})
        more = shape.devices
        if not shape.whole:
            parts = (shape.queue, placement.device_model)
            before = self._parts.get(parts, 0)
            self._parts[parts] = before + shape.devices * shape.share_ppm
            more = -(-self._parts[parts] // WHOLE_PPM) - -(-before // WHOLE_PPM)
        held[placement.device_model] = held.get(placement.device_model, 0) + more
        for key in (placement.device_model, COMPUTE):
            for what in _over_quota(self._snapshot, queue, key, self._held):
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


def _over_quota(
    snapshot: Snapshot, queue: Queue, key: str, held: Mapping[QueueKey, Mapping[str, int]]
) -> Iterator[str]:
    """What a queue holds beyond its own limits, or its whole tree beyond what its members bring.

    `key` is a device model, in devices, or COMPUTE, in GFLOPS.
    """
    nominal = queue.nominal.get(key)
    mine = _amount(snapshot, held.get(queue.key, {}), key)
    root = _root(snapshot, queue.cohort)
    if root is None:
        if nominal is not None and mine > nominal:
            yield f"the queue would hold more than its quota of {nominal} {key}"
        return
    members = [other for other in snapshot.queues.values() if _root(snapshot, other.cohort) == root]
    cohorts = [other for other in snapshot.cohorts.values() if _root(snapshot, other.name) == root]
    nominals = [member.nominal for member in members] + [cohort.nominal for cohort in cohorts]
    said = [quota[key] for quota in nominals if key in quota]
    if not said:
        return
    borrowing = queue.borrowing.get(key)
    if borrowing is not None and mine > (nominal or 0) + borrowing:
        yield f"the queue would borrow more than {borrowing} {key}"
    total = sum(_amount(snapshot, held.get(member.key, {}), key) for member in members)
    if total > sum(said):
        yield f"the queues of cohort {root} would hold {total} of their {sum(said)} {key}"
    for member in members:
        if member.key != queue.key and key in member.lending:
            kept = max(0, member.nominal.get(key, 0) - member.lending[key])
            others = total - _amount(snapshot, held.get(member.key, {}), key)
            if others > sum(said) - kept:
                yield f"the queue would use what {member.key.name} does not lend"


def _amount(snapshot: Snapshot, held: Mapping[str, int], key: str) -> int:
    if key != COMPUTE:
        return held.get(key, 0)
    unknown = PlannerConfig().unknown_fp16_gflops
    return sum(count * (snapshot.catalogue.fp16_gflops(model) or unknown) for model, count in held.items())


def _root(snapshot: Snapshot, cohort: str | None) -> str | None:
    """The top of a tree. Raises nothing for a cohort that is not there: it is its own top."""
    for _ in range(len(snapshot.cohorts) + 1):
        known = None if cohort is None else snapshot.cohorts.get(cohort)
        if known is None or known.parent is None:
            break
        cohort = known.parent
    return cohort
