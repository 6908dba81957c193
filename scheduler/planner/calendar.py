"""Maintenance windows and advance reservations: nodes that are, or soon will be, not for everybody."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator

from scheduler.domain.ids import NodeId
from scheduler.domain.queues import QueueKey
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import to_rfc3339
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of
from scheduler.planner.estimates import Estimates, ends_in_time
from scheduler.planner.fleet import Fleet
from scheduler.planner.placement import Found, find_seats
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.snapshot import DRAIN_MS, Hole, Shape, Snapshot, WaitingJob
from scheduler.planner.stoppable import lost_work_ms


def near(calendar: Iterable[Hole], now_ms: int, config: PlannerConfig) -> list[Hole]:
    """What is open or binds already, the earliest first."""
    ahead_ms = now_ms + config.calendar_ahead_ms
    holes = [hole for hole in calendar if hole.until_ms > now_ms and hole.from_ms <= ahead_ms]
    return sorted(holes, key=lambda hole: (hole.from_ms, hole.until_ms, sorted(hole.nodes)))


class Later:
    """Holes that bind nobody yet. Who does not resume keeps off their nodes where he can: he would begin anew."""

    def __init__(
        self, calendar: Iterable[Hole], fleet: Fleet, estimates: Estimates, now_ms: int, config: PlannerConfig
    ) -> None:
        ahead_ms = now_ms + config.calendar_ahead_ms
        self._holes = sorted((h for h in calendar if h.from_ms > ahead_ms), key=lambda h: h.from_ms)
        self._fleet = fleet
        self._estimates = estimates
        self._now_ms = now_ms
        self._config = config
        self._known: dict[tuple[QueueKey, int], frozenset[NodeId]] = {}

    def find(self, shape: Shape, job: WaitingJob, cell: Cell) -> Found | WhyNot | None:
        """Seats that are free until the job has ended, on nodes that are wanted before only where it has no others.

        Where it is expected to be still at work then, and would begin anew, it waits: no longer than it would lose.
        """
        if not cell.held_rows and not self._holes:  # nobody could lend it anything, and nothing is wanted
            return find_seats(shape, self._fleet, cell, None)
        ends_ms = ends_in_time(shape, job, cell.model, self._estimates, self._now_ms, self._config)
        wanted = self._wanted_before(shape, ends_ms)
        if wanted:
            apart = shape._replace(avoid_nodes=shape.avoid_nodes | wanted)
            if apart.avoid_nodes == cell.avoided(apart.avoid_nodes, demand_of(shape).devices, shape.tasks):
                found = find_seats(apart, self._fleet, cell, ends_ms)
                if found is not None:
                    return found
        found = find_seats(shape, self._fleet, cell, ends_ms)
        if found is None or not wanted:
            return found
        nodes = {cell.parts[seat.row].node_id for seat in found.seats} & wanted
        return self._in_vain(shape, job, cell, nodes) or found if nodes else found

    def lends(self) -> bool:
        """Whether who ends sooner may be given what others may not: anything is kept for a moment to come."""
        return bool(self._holes) or any(cell.held_rows for cell in self._fleet.cells())

    def _wanted_before(self, shape: Shape, ends_ms: int | None) -> frozenset[NodeId]:
        """Nodes that are somebody else's, or nobody's, before a job that starts now and does not resume has ended.

        Cost: the nodes of the holes, once for each queue and number of holes.
        """
        if shape.resumable or ends_ms is None or not self._holes:
            return frozenset()
        number = bisect_left(self._holes, ends_ms, key=lambda hole: hole.from_ms)
        wanted = self._known.get((shape.queue, number))
        if wanted is None:
            others = [hole.nodes for hole in self._holes[:number] if hole.queue != shape.queue]
            wanted = self._known[shape.queue, number] = frozenset[NodeId]().union(*others)
        return wanted

    def _in_vain(self, shape: Shape, job: WaitingJob, cell: Cell, nodes: Collection[NodeId]) -> WhyNot | None:
        """Why a start on the nodes is likely to be thrown away; None: it is not, or the job has waited as long."""
        hole = next(h for h in self._holes if h.queue != shape.queue and not h.nodes.isdisjoint(nodes))
        left_ms = self._estimates.left_ms(shape, job, cell.model)
        would_lose_ms = hole.from_ms - self._now_ms
        if left_ms is None or left_ms <= would_lose_ms or self._now_ms - job.submitted_ms >= would_lose_ms:
            return None
        # From then on it has waited as long as it would lose.
        latest = to_rfc3339((hole.from_ms + job.submitted_ms) // 2)
        sentence = (
            f"would begin anew, as its nodes are wanted from {to_rfc3339(hole.from_ms)} on: waits for others,"
            f" until {latest} at the latest"
        )
        return WhyNot(Reason.MAINTENANCE, sentence, cell.pool, cell.model, shape.devices, None)


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
            why = "they are reserved" if hole.queue is not None else hole.why or "maintenance"
            sentence = f"its nodes are wanted from {to_rfc3339(hole.from_ms)}: {why}"
            yield Stop(running.job_id, StopCause.MAINTENANCE, None, sentence, lost_work_ms(running, now_ms))
