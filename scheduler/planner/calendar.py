"""Maintenance windows and advance reservations: nodes that are, or soon will be, not for everybody."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from scheduler.domain.ids import NodeId
from scheduler.domain.queues import QueueKey
from scheduler.domain.time import to_rfc3339
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.preemption import lost_work_ms
from scheduler.planner.snapshot import DRAIN_MS, Hole, Shape, Snapshot, WaitingJob


def near(calendar: Iterable[Hole], now_ms: int, config: PlannerConfig) -> list[Hole]:
    """What is open or binds already, the earliest first."""
    ahead_ms = now_ms + config.calendar_ahead_ms
    holes = [hole for hole in calendar if hole.until_ms > now_ms and hole.from_ms <= ahead_ms]
    return sorted(holes, key=lambda hole: (hole.from_ms, hole.until_ms, sorted(hole.nodes)))


class Later:
    """Holes that bind nobody yet. Who does not resume keeps off their nodes where he can: he would begin anew."""

    def __init__(self, calendar: Iterable[Hole], now_ms: int, config: PlannerConfig) -> None:
        ahead_ms = now_ms + config.calendar_ahead_ms
        self._holes = sorted((h for h in calendar if h.from_ms > ahead_ms), key=lambda h: h.from_ms)
        self._known: dict[tuple[QueueKey, int], frozenset[NodeId]] = {}

    def __bool__(self) -> bool:
        return bool(self._holes)

    def wanted_before(self, shape: Shape, ends_ms: int | None) -> frozenset[NodeId]:
        """Nodes that are somebody else's, or nobody's, before a job that starts now and does not resume has ended.

        Cost: the nodes of the holes, once for each queue and number of holes.
        """
        if shape.resumable or ends_ms is None:
            return frozenset()
        number = bisect_left(self._holes, ends_ms, key=lambda hole: hole.from_ms)
        wanted = self._known.get((shape.queue, number))
        if wanted is None:
            others = [hole.nodes for hole in self._holes[:number] if hole.queue != shape.queue]
            wanted = self._known[shape.queue, number] = frozenset[NodeId]().union(*others)
        return wanted


def close_booked_nodes(holes: Iterable[Hole], fleet: Fleet) -> None:
    """Keeps the nodes of every near hole: only work that ends before it may use them.

    Cost: the nodes of the holes.
    """
    for hole in holes:
        for cell in fleet.cells():
            rows = [cell.row_of[node_id] for node_id in sorted(hole.nodes) if node_id in cell.row_of]
            seats = [(row, (1 << len(cell.parts[row].on_node.devices)) - 1) for row in rows]
            cell.hold(seats, hole.from_ms, hole.queue)


def drained(snapshot: Snapshot, now_ms: int) -> Iterator[Stop]:
    """Work that has to leave nodes before they are somebody else's, or nobody's. Cost: running jobs' tasks.

    It was placed there by its time limit or an estimate that was too short, or before the hole was entered.
    """
    due = [hole for hole in snapshot.calendar if hole.from_ms - DRAIN_MS <= now_ms < hole.until_ms]
    for running in snapshot.running if due else ():
        nodes = {node_id for node_id, _ in running.tasks}
        hole = next((h for h in due if h.queue != running.shape.queue and nodes & h.nodes), None)
        if hole is not None and not running.stopping:
            why = hole.why if hole.queue is None and hole.why else "they are reserved"
            sentence = f"its nodes are wanted from {to_rfc3339(hole.from_ms)}: {why}"
            yield Stop(running.job_id, StopCause.MAINTENANCE, None, sentence, lost_work_ms(running, now_ms))


def ends_in_time(
    shape: Shape,
    job: WaitingJob,
    model: str | None,
    estimates: Estimates,
    now_ms: int,
    config: PlannerConfig,
) -> int | None:
    """When a job that starts now has ended: by its time limit, else as good as surely; None: nobody knows.

    On its fastest model where none is named.
    """
    if shape.time_limit_ms is not None:
        return now_ms + shape.time_limit_ms + config.stop_margin_ms
    late_ms = estimates.late_ms(shape, job, model)
    return None if late_ms is None else now_ms + int(late_ms) + config.stop_margin_ms
