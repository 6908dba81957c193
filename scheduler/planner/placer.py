"""Single decisions between cycles: a job that fits starts at once, without a snapshot of everything.

The same arrays, scores, quotas and budgets as in a cycle; no order, no reservations, nobody is stopped. What
a `Placer` gives away it remembers, so that the next decision sees it.
"""

from scheduler.domain.ids import JobId
from scheduler.domain.queues import Queue
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import Demand, count_tasks, mix_from, mix_of
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.placement import Found, Seat, find_seats
from scheduler.planner.plan import JobPlacement, TaskPlacement
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
        self._options: dict[Shape, list[list[tuple[Candidate, Cell]]]] = {}
        self._counts: dict[tuple[Demand, frozenset[str]], float] = {}
        self._pending: dict[Shape, int] = {}
        self._seen = 0
        self._learn_at = _LEARN_FIRST
        self._given: dict[JobId, tuple[Shape, Candidate, Cell, list[Seat]]] = {}

    def place(self, shape: Shape, job_id: JobId) -> JobPlacement | None:
        """Devices for a job now, or None. Raises KeyError for a queue that the cluster does not know."""
        self._learn(shape)
        queue = self._snapshot.queues[shape.queue]
        options = self._options.get(shape)
        if options is None:
            options = self._options[shape] = self._options_of(shape, queue)
        for group in options:
            best: tuple[Found, Candidate, Cell] | None = None
            for candidate, cell in group:
                if self._sharing.refusal(shape, queue, candidate.model, shape.devices) is not None:
                    continue
                if self._budgets.refusal(shape, candidate.model) is not None:
                    continue
                found = find_seats(shape, self._fleet, cell, None)
                if found is not None and (best is None or found.loss < best[0].loss):
                    best = (found, candidate, cell)
            if best is not None:
                return self._give(shape, job_id, *best)
        return None

    def free(self, job_id: JobId) -> None:
        """A job that was placed here is gone. Raises KeyError when it was not."""
        shape, candidate, cell, seats = self._given.pop(job_id)
        for seat in seats:
            self._fleet.give_back(cell, seat.row, seat.mask, seat.demand)
        self._sharing.take(shape.queue, candidate.model, -shape.devices)

    def _options_of(self, shape: Shape, queue: Queue) -> list[list[tuple[Candidate, Cell]]]:
        groups = []
        for group in candidates(shape, queue, self._snapshot, self._estimates):
            cells = [(candidate, self._fleet.get(candidate.pool, candidate.model)) for candidate in group]
            groups.append([(candidate, cell) for candidate, cell in cells if cell is not None])
        return groups

    def _give(
        self, shape: Shape, job_id: JobId, found: Found, candidate: Candidate, cell: Cell
    ) -> JobPlacement:
        tasks = []
        for rank, seat in enumerate(found.seats):
            self._fleet.take(cell, seat.row, seat.mask, seat.demand)
            part = cell.parts[seat.row]
            tasks.append(TaskPlacement(rank, part.node_id, part.ids(seat.mask), shape.share_ppm))
        self._sharing.take(shape.queue, candidate.model, shape.devices)
        self._budgets.take(shape, candidate.model)
        self._given[job_id] = (shape, candidate, cell, found.seats)
        return JobPlacement(job_id, candidate.model, candidate.pool, tuple(tasks))

    def _learn(self, shape: Shape) -> None:
        """Counts what is asked for; the arrays are weighed anew when there is several times as much of it."""
        self._pending[shape] = self._pending.get(shape, 0) + 1
        self._seen += 1
        if self._seen < self._learn_at:
            return
        self._learn_at *= _LEARN_AGAIN
        count_tasks(self._counts, self._pending.items())
        self._pending = {}
        if any(demand.of_host or not demand.whole for demand, _ in self._counts):
            self._fleet.weigh(mix_from(self._counts))
