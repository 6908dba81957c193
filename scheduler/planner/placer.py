"""Single decisions between cycles: a job that fits starts at once, without a snapshot of everything.

The same arrays, scores, quotas and budgets as in a cycle; no order, no reservations, nobody is stopped. What
a `Placer` gives away it remembers, so that the next decision sees it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scheduler.domain.ids import JobId
from scheduler.domain.queues import Queue
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import Demand, count_tasks, demand_of, mix_from, mix_of
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.placement import Found, Seat, find_seats
from scheduler.planner.plan import JobPlacement, TaskPlacement
from scheduler.planner.reach import anywhere
from scheduler.planner.rows import Ints
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, Snapshot
from scheduler.planner.variants import Candidate, candidates

# The typical demands are learned anew when so many jobs were seen, then after so many times as many.
_LEARN_FIRST, _LEARN_AGAIN = 64, 4


class Placer:
    """Places jobs one by one on a cluster that it was shown once. Cost of a call: one pass over the scores
    of each candidate's cell, and the rows that changed since that demand was asked for last.
    """

    def __init__(self, snapshot: Snapshot, config: PlannerConfig) -> None:
        self._snapshot = snapshot
        self._fleet = Fleet(snapshot.catalogue)
        self._fleet.sync(snapshot.nodes)
        self._fleet.weigh(mix_of(snapshot))
        self._sharing = Sharing(snapshot, config)
        self._budgets = Budgets(snapshot)
        self._estimates = Estimates(snapshot)
        self._orders: dict[Shape, _Order] = {}
        self._seen = 0
        self._learn_at = _LEARN_FIRST
        self._given: dict[JobId, tuple[_Order, Cell, list[Seat]]] = {}

    def place(self, shape: Shape, job_id: JobId) -> JobPlacement | None:
        """Devices for a job now, or None. Raises KeyError for a queue that the cluster does not know."""
        order = self._orders.get(shape)
        if order is None:
            order = self._orders[shape] = self._order_of(shape)
        order.asked += 1
        self._learn()
        for group in order.groups:
            given = self._place_in(order, group, job_id)
            if given is not None:
                return given
        return None

    def _place_in(self, order: "_Order", group: "_Group", job_id: JobId) -> JobPlacement | None:
        """On the equally good model where least is lost."""
        shape = order.shape
        if order.limited:
            allowed = [pair for pair in group.cells if self._allowed(order, pair[0])]
            group = group if len(allowed) == len(group.cells) else _group_of(shape, allowed)
        if not group.cells:
            return None
        if group.anywhere:
            found = self._fleet.lightest(group.stretches, order.demand)
            if found is None:
                return None
            cell, row, _ = found
            seat = Seat(row, self._fleet.scores(order.demand).mask(cell, row), order.demand)
            return self._give(order, job_id, [seat], cell)
        best: tuple[Found, Cell] | None = None
        for _, cell in group.cells:
            seats = find_seats(shape, self._fleet, cell, None)
            if seats is not None and (best is None or seats.loss < best[0].loss):
                best = (seats, cell)
        return None if best is None else self._give(order, job_id, best[0].seats, best[1])

    def _allowed(self, order: "_Order", candidate: Candidate) -> bool:
        shape, model = order.shape, candidate.model
        return (
            self._sharing.refusal(order.queue, model, self._sharing.devices_of(shape, model)) is None
            and self._budgets.refusal(shape, model) is None
        )

    def free(self, job_id: JobId) -> None:
        """A job that was placed here is gone. Raises KeyError when it was not."""
        order, cell, seats = self._given.pop(job_id)
        for seat in seats:
            self._fleet.give_back(cell, seat.row, seat.mask, seat.demand)
        if order.limited:
            self._count(order.shape, cell.model, back=True)

    def _count(self, shape: Shape, model: str, *, back: bool = False) -> None:
        self._sharing.take_for(shape, model, back=back)
        self._budgets.take(shape, model, back=back)

    def _order_of(self, shape: Shape) -> "_Order":
        queue = self._snapshot.queues[shape.queue]
        groups = []
        for group in candidates(shape, queue, self._snapshot, self._estimates):
            cells = [(candidate, self._fleet.get(candidate.pool, candidate.model)) for candidate in group]
            groups.append(
                _group_of(shape, [(candidate, cell) for candidate, cell in cells if cell is not None])
            )
        limited = bool(queue.nominal or queue.cohort is not None or self._snapshot.budgets)
        return _Order(shape, demand_of(shape), queue, groups, limited)

    def _give(self, order: "_Order", job_id: JobId, seats: list[Seat], cell: Cell) -> JobPlacement:
        shape, tasks = order.shape, []
        for rank, seat in enumerate(seats):
            self._fleet.take(cell, seat.row, seat.mask, seat.demand, shape.queue.firm_id)
            part = cell.parts[seat.row]
            tasks.append(TaskPlacement(rank, part.node_id, part.ids(seat.mask), shape.share_ppm))
        if order.limited:
            self._count(shape, cell.model)
        self._given[job_id] = (order, cell, seats)
        return JobPlacement(job_id, cell.model, cell.pool, tuple(tasks))

    def _learn(self) -> None:
        """Counts what is asked for; the arrays are weighed anew when there is several times as much of it."""
        self._seen += 1
        if self._seen < self._learn_at:
            return
        self._learn_at *= _LEARN_AGAIN
        counts: dict[tuple[Demand, frozenset[str]], float] = {}
        count_tasks(counts, ((order.shape, order.asked) for order in self._orders.values()))
        if any(demand.of_host or not demand.whole for demand, _ in counts):
            self._fleet.weigh(mix_from(counts))


class _Group(NamedTuple):
    """Models that are equally good for a shape."""

    cells: list[tuple[Candidate, Cell]]
    stretches: Ints
    anywhere: bool  # one task that may go to any node where its devices are


@dataclass(slots=True)
class _Order:
    """What is known of a shape."""

    shape: Shape
    demand: Demand
    queue: Queue
    groups: list[_Group]
    limited: bool  # whether quota or budgets say anything
    asked: int = 0


def _group_of(shape: Shape, cells: list[tuple[Candidate, Cell]]) -> _Group:
    stretches = [cell.stretch for _, cell in cells]
    one = shape.tasks == 1 and not shape.groups and all(anywhere(shape, cell) for _, cell in cells)
    return _Group(cells, np.concatenate(stretches) if stretches else np.zeros((0, 3), dtype=np.int64), one)
