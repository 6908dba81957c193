"""Who is behind a blocked job in the order, and may be stopped for it.

Who borrowed what is its queue's own; of its queue, who has a lower priority class, or a turn that is much later.
"""

from collections.abc import Collection, Iterable, Iterator, Set
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import COMPUTE, QueueKey
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.fleet import Fleet
from scheduler.planner.holders import Holders, holders
from scheduler.planner.market import Market
from scheduler.planner.overdue import Overdue
from scheduler.planner.plan import StopCause
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob
from scheduler.planner.stoppable import Some, Stoppable, lost_work_ms
from scheduler.planner.taking_back import TakingBack
from scheduler.planner.turns import Standing, Turns

_NOBODY: Set[QueueKey] = frozenset()


class Kind(NamedTuple):
    """What says who of its queue stops for a job, but for its turn and the rest of its run."""

    queue: QueueKey
    priority: Priority
    rank: int
    chosen: bool  # by the market, which has decided who of those that take part stops for it
    of_class: int | None  # there


class Looks(NamedTuple):
    """Who looks for a way in a cell."""

    shape: Shape
    job: WaitingJob
    kind: Kind
    mine: Standing
    devices: float  # so many count for how much of others' work it may cost
    cell: Cell
    borrows: bool
    below: int | None  # of its own queue only those of a lower rank stop


class Behind:
    """The running jobs of one cycle. Cost to ask: the running jobs of a cell."""

    def __init__(
        self,
        snapshot: Snapshot,
        fleet: Fleet,
        sharing: Sharing,
        turns: Turns,
        overdue: Overdue,
        market: Market,
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        self._snapshot = snapshot
        self._fleet = fleet
        self._sharing = sharing
        self.turns = turns
        self._overdue = overdue
        self.taking_back = TakingBack(turns, now_ms, config)
        self._now_ms = now_ms
        self._config = config
        self._market = market
        self.stopped: set[JobId] = set()  # told to stop in this cycle, or to stop as soon as they have saved
        self._roots: dict[QueueKey, str | None] = {}
        self._columns: dict[tuple[str, str, QueueKey | str | None], Stoppable] = {}
        self._possible: dict[tuple[object, ...], bool] = {}
        self._borrowed: dict[tuple[str, Cell], tuple[object, Set[QueueKey]]] = {}  # and when

    @cached_property
    def held_by(self) -> dict[tuple[str, str], dict[QueueKey, Holders]]:
        """Who runs in which cell for which queue. Cost: O(running jobs), once somebody is refused."""
        return holders(self._snapshot.running)

    @cached_property
    def stopping(self) -> dict[tuple[str, str], list[RunningJob]]:
        """Who stops already in which cell."""
        found: dict[tuple[str, str], list[RunningJob]] = {}
        for running in self._snapshot.running:
            if running.stopping:
                found.setdefault((running.pool, running.model), []).append(running)
        return found

    def stay(self, job_ids: Iterable[JobId]) -> None:
        """Nobody else stops them in this cycle."""
        told = set(job_ids)
        self.stopped |= told
        for those in self._columns.values():
            those.stay(told)

    def kind_of(self, shape: Shape, job: WaitingJob) -> Kind:
        """`shape`: that of its class in the snapshot."""
        (rank, _), chosen = self.turns.place(shape, job), self._market.model_of(shape, job) is not None
        return Kind(shape.queue, shape.priority, rank, chosen, self._market.class_of(shape, job))

    def candidates(self, who: Looks, lacks: Collection[str], *, parts: bool) -> tuple[list[Some], bool]:
        """Who may be stopped for the job, and whether anybody is left alone as he would lose much for so few devices.

        `lacks`: the keys of which it lacks quota: those elsewhere and who has parts of devices give that back as well.
        """
        found, too_dear = list[Some](), False
        anybody = parts or bool(lacks)
        for place in self.places(who.cell, lacks) if lacks else [who.cell]:
            theirs, dear = self.candidates_at(who, place, anybody=anybody, parts=parts)
            found += theirs
            too_dear |= dear
        return found, too_dear

    def candidates_at(
        self, who: Looks, place: Cell, *, anybody: bool, parts: bool
    ) -> tuple[list[Some], bool]:
        """Those in one cell. `anybody`: who has parts of devices, too."""
        shape, job, mine = who.shape, who.job, who.mine
        found, too_dear = list[Some](), False
        at = place if place is who.cell else None
        lent = () if who.borrows else self._lent(shape, place)
        if lent:
            those = self._stoppable(place, self.root_of(shape.queue))
            rows = those.of(lent) if anybody else those.of(lent) & those.whole
            those.keep_overdue(rows, self._overdue)
            rows &= those.may
            alone = self.taking_back.leaves_alone(who.devices, job, those)
            too_dear = bool((rows & alone).any())
            found.append(Some(those, rows & ~alone, StopCause.RECLAIM, at, parts))
        if self.any_of_queue(shape, place):
            those = self._stoppable(place, shape.queue)
            may = those.may if anybody else those.may & those.whole
            if who.below is not None:
                may = may & (those.rank < who.below)
            if who.kind.chosen:
                may = may & ~those.among(self._market.decided)
            lower = those.of_lower_class(shape, mine)
            rows = may & lower
            if who.kind.of_class is not None and rows.any():
                rows &= ~those.as_high(self._market.running, who.kind.of_class)
            found.append(Some(those, rows, StopCause.PRIORITY, at, parts))
            if at is not None and self._for_turn is not None:
                rows = may & ~lower & those.much_later(mine, self._for_turn)
                rows = rows if parts else rows & those.whole
                found.append(Some(those, rows, StopCause.SHORTER, at, parts))
        return found, too_dear

    def places(self, cell: Cell, lacks: Collection[str]) -> Iterator[Cell]:
        """Where devices count for quotas that a job in a cell lacks: of compute those of every model do."""
        for pool, model in self.held_by:
            other = self._fleet.get(pool, model) if model == cell.model or COMPUTE in lacks else None
            if other is not None:
                yield other

    def _lent(self, shape: Shape, cell: Cell) -> Set[QueueKey]:
        """Queues that hold devices of the cell that were lent to them, of which a shape's queue may take some back."""
        return self.borrowing(shape.queue, cell) - {shape.queue}

    def borrowing(self, queue: QueueKey, cell: Cell) -> Set[QueueKey]:
        """Queues of a queue's tree that hold more of the cell than is their own. Cost: O(queues) once anything was
        given.
        """
        root = self.root_of(queue)
        if root is None:
            return _NOBODY
        given, keys = self._borrowed.get((root, cell), (None, _NOBODY))
        if given is not self._sharing.given:
            held_by = self.held_by.get((cell.pool, cell.model), {})
            keys = frozenset(
                key
                for key, theirs in held_by.items()
                if self.root_of(key) == root and self._sharing.has_borrowed(theirs.running[0])
            )
            self._borrowed[root, cell] = self._sharing.given, keys
        return keys

    def any_of_queue(self, shape: Shape, cell: Cell) -> bool:
        """Whether its own queue runs anybody in the cell who may be behind a job of a shape."""
        theirs = self.held_by.get((cell.pool, cell.model), {}).get(shape.queue)
        if theirs is None:
            return False
        return theirs.lowest < shape.priority.rank or (self._for_turn is not None and theirs.resumable)

    @property
    def _for_turn(self) -> float | None:
        """Whose turn is later by so many times what a stop costs stops; None: nobody, or the market says who."""
        return None if self._market.anybody else self._config.policy.stop_for_turn

    def _stoppable(self, cell: Cell, whose: QueueKey | str | None) -> Stoppable:
        """Who runs in a cell for a queue or for a whole tree. Cost: O(running jobs of the cell), once."""
        key = cell.pool, cell.model, whose
        those = self._columns.get(key)
        if those is None:
            held_by = self.held_by[cell.pool, cell.model]
            mine = [theirs.running for its, theirs in held_by.items() if whose in (its, self.root_of(its))]
            running = list(chain.from_iterable(mine))
            lost_ms = [lost_work_ms(one, self._now_ms) for one in running]
            those = Stoppable(running, lost_ms, self.turns, self._now_ms, self._config)
            those.stay(self.stopped)
            self._columns[key] = those
        return those

    def might_stop(self, shape: Shape, cell: Cell, *, borrows: bool) -> bool:
        """Whether anything in the cell is stopping, or anybody there could be stopped for such a shape."""
        key = (cell.pool, cell.model, shape.queue, shape.priority, borrows)
        possible = self._possible.get(key)
        if possible is None:
            alone = borrows or self.root_of(shape.queue) is None
            queues = () if alone else self.held_by.get((cell.pool, cell.model), ())
            possible = (cell.pool, cell.model) in self.stopping or self.any_of_queue(shape, cell)
            possible = possible or any(self.related(shape.queue, key) for key in queues)
            self._possible[key] = possible
        return possible

    def could_help(self, shape: Shape) -> bool:
        """Whether stopping work could let such a shape start on any model at all. Cost: once for each queue."""
        key = (shape.queue, shape.priority)
        helps = self._possible.get(key)
        if helps is None:
            cells = [cell for place in self.held_by if (cell := self._fleet.get(*place)) is not None]
            helps = any(self.might_stop(shape, cell, borrows=False) for cell in cells)
            self._possible[key] = helps
        return helps

    def related(self, one: QueueKey, other: QueueKey) -> bool:
        """Whether they are two queues of one tree."""
        root = self.root_of(one)
        return root is not None and one != other and root == self.root_of(other)

    def root_of(self, key: QueueKey) -> str | None:
        if key not in self._roots:
            self._roots[key] = self._sharing.root(key)
        return self._roots[key]
