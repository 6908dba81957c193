"""Which waiting job is looked at next: priority class, own quota before borrowed, weighted usage, then the turn.

Who would borrow comes after everybody of its tree who might take it back, whatever their priority: else what a
queue took back would go to the next borrower, and it would take back again and again. But for one who has waited
too long for it (overdue.py).

Usage is weighed as a tree: among what hangs in one cohort (queues and cohorts), and among all that hangs in none,
the one with the least usage / weight comes first; what a cohort's members use is the cohort's usage.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain

from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.planner.config import PlannerConfig
from scheduler.planner.overdue import Overdue
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob
from scheduler.planner.turns import Turns

_HIGHEST = Priority.HIGH.rank
_LOOK_AT_ALL = 8  # a turn is worth so many looks at a class


@dataclass(slots=True)
class ClassCursor:
    """How far a class has been planned."""

    number: int  # in the snapshot
    shape: Shape
    jobs: tuple[WaitingJob, ...]  # by turn
    line: "_QueueLine"
    next: int = 0
    borrows: bool = False  # its head has its turn among those who borrow
    rank: int = 0  # with which its head has its turn

    @property
    def head(self) -> WaitingJob | None:
        """The job of the class that is to be judged next."""
        return self.jobs[self.next] if self.next < len(self.jobs) else None


# -rank, borrows, -rank before it was cut as it borrows, turn, job, class number
Head = tuple[int, bool, int, float, WaitingJob, int]


@dataclass(slots=True)
class _Share:
    """A queue or a cohort in the tree of weights."""

    weight: int
    usage: int = 0  # GFLOP/s x ms, charged ahead; of a cohort: of all below it


@dataclass(slots=True)
class _QueueLine:
    key: QueueKey
    path: tuple[_Share, ...]  # from the top of the tree to the queue
    heads: list[Head] = field(default_factory=list)  # of the classes that may still start something
    use: tuple[int, ...] = ()  # usage / weight from the top of the tree down, and of which moment that is
    use_of: int = -1
    in_vain: int = 0  # turns since `settle` looked at all heads, after which nothing was done
    own: dict[str, int] = field(default_factory=dict)  # by model the fewest devices that a class asks for
    tree: list["_QueueLine"] = field(default_factory=list)  # itself and the others below the same cohort
    highest: int = 0  # of the priority classes that wait in it
    lowest: int = _HIGHEST  # of those, and of those in the others
    lowest_of_others: int = _HIGHEST
    lowest_on: dict[str, int] = field(default_factory=dict)  # by model: of the classes that ask for it
    # By what it would borrow: the lowest class of those who might take that back.
    lowest_of_owners: dict[frozenset[str], int] = field(default_factory=dict)


class Ordering:
    """Gives classes in order. Cost of each step: log(queues) + log(classes of the queue).

    After a placement each queue of the same cohorts that comes to the top is put back once.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        config: PlannerConfig,
        turns: Turns,
        sharing: Sharing,
        overdue: Overdue,
        started: Set[JobId] = frozenset(),
    ) -> None:
        """`started`: they have had their turn."""
        self._config = config
        self._turns = turns
        self._sharing = sharing
        self._overdue = overdue
        self._queues = snapshot.queues
        self._catalogue = snapshot.catalogue
        self._ahead_of_one: dict[str, int] = {}  # usage of one device of a model, charged ahead
        self._lines: dict[QueueKey, _QueueLine] = {}
        self._charged = 0  # how often anything was
        self._lay_out(snapshot)
        self.cursors: list[ClassCursor] = []
        for number, item in enumerate(snapshot.classes):
            jobs = _without(started, overdue.foremost(item, turns.in_order(item)))
            self.cursors.append(ClassCursor(number, item.shape, jobs, self._lines[item.shape.queue]))
        self._relate()
        for cursor in self.cursors:
            head = cursor.head
            if head is not None:
                cursor.line.heads.append(self._entry(cursor, head))
        self._heap: list[tuple[int, bool, tuple[int, ...], float, WaitingJob, QueueKey]] = []
        for line in self._lines.values():
            heapq.heapify(line.heads)
            self._push_line(line)

    def _lay_out(self, snapshot: Snapshot) -> None:
        """The tree of weights with what is used in it. Cost: O(queues x depth)."""
        cohorts: dict[str, _Share] = {}
        waiting = {item.shape.queue for item in snapshot.classes}
        for key in sorted({*snapshot.queues, *waiting}):
            queue = snapshot.queues.get(key)
            above = [
                cohorts.setdefault(cohort.name, _Share(cohort.weight))
                for cohort in _above(queue, snapshot.cohorts)
            ]
            path = (*reversed(above), _Share(1 if queue is None else queue.weight))
            usage = snapshot.usage.get(key, 0) + sum(
                devices * self._ahead(model) for model, devices in snapshot.held.get(key, {}).items()
            )
            for share in path:
                share.usage += usage
            if key in waiting:
                self._lines[key] = _QueueLine(key, path)

    def _relate(self) -> None:
        """Who might take back what others borrow. Cost: O(classes + lines x log(lines))."""
        trees: dict[str, list[_QueueLine]] = {}
        for key, line in self._lines.items():
            root = self._sharing.root(key)
            if root is not None:
                trees.setdefault(root, []).append(line)
        for cursor in self.cursors if trees else ():
            line, shape = cursor.line, cursor.shape
            rank = shape.priority.rank
            line.lowest, line.highest = min(line.lowest, rank), max(line.highest, rank)
            for model in shape.models:
                devices = self._sharing.devices_of(shape, model)
                line.own[model] = min(line.own.get(model, devices), devices)
                line.lowest_on[model] = min(line.lowest_on.get(model, rank), rank)
        for lines in trees.values():
            if len(lines) > 1:
                lowest, next_lowest = sorted(line.lowest for line in lines)[:2]
                for line in lines:
                    line.tree = lines
                    line.lowest_of_others = next_lowest if line.lowest == lowest else lowest

    def wanted_back(self, key: QueueKey, borrowed: Collection[str]) -> bool:
        """Whether somebody who has not had his turn would have within his own quota what a queue would borrow.

        `borrowed`: device models, and COMPUTE, which devices of any model use. Cost: O(queues of the tree x models).
        """
        others = (line for line in self._lines[key].tree if line.key != key and line.heads)
        return any(True for _ in self._who_take_back(others, borrowed))

    def _who_take_back(
        self, others: Iterable[_QueueLine], borrowed: Collection[str]
    ) -> Iterator[tuple[_QueueLine, str]]:
        """Of others who would have within their own quota what a queue would borrow, and on which model."""
        return (
            (other, model)
            for other in others
            for model, devices in other.own.items()
            if (model in borrowed or COMPUTE in borrowed) and not self._borrows(other.key, model, devices)
        )

    def _rank_of_borrower(self, cursor: ClassCursor, rank: int, own: int) -> int:
        """No more than the lowest class of others who wait, but for what nobody of them might take back; there as high
        as `own`, its class or that of its queue to which age has raised it.

        Cost: once a cycle for each thing that is borrowed, O(queues of the tree x models).
        """
        shape, line = cursor.shape, cursor.line
        others = line.lowest_of_others
        if own <= others:
            return min(rank, others)
        queue, sharing = self._queues[shape.queue], self._sharing
        keys = [
            sharing.would_borrow(queue, model, sharing.devices_of(shape, model)) for model in shape.models
        ]
        borrowed = frozenset(chain.from_iterable(keys))
        if borrowed not in line.lowest_of_owners:
            tree = (other for other in line.tree if other is not line)
            those = [other.lowest_on[model] for other, model in self._who_take_back(tree, borrowed)]
            line.lowest_of_owners[borrowed] = min(those, default=_HIGHEST)
        return max(others, min(own, line.lowest_of_owners[borrowed]))

    def _borrows(self, key: QueueKey, model: str, devices: int) -> bool:
        queue = self._queues.get(key)
        return queue is None or self._sharing.borrows(queue, model, devices)

    def pop(self) -> ClassCursor | None:
        """The class whose head is next; give it back with `again` or `later`, or drop it with `leave`."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            line = self._lines[entry[-1]]
            if (
                self._use(line) != entry[2]
            ):  # others of its cohort were given something since: its place is later
                self._push_line(line)
                continue
            head = heapq.heappop(line.heads)
            cursor = self.cursors[head[-1]]
            cursor.rank, cursor.borrows = -head[0], head[1]
            return cursor
        return None

    def again(self, cursor: ClassCursor, model: str, devices: int) -> None:
        """The head was placed on a model: charge its queue, and go on with the class."""
        self.charge(cursor.shape.queue, model, devices)
        self.skip(cursor)

    def skip(self, cursor: ClassCursor) -> None:
        """The head is judged: go on with the class."""
        cursor.next += 1
        head = cursor.head
        if head is not None:
            heapq.heappush(cursor.line.heads, self._entry(cursor, head))
        self._push_line(cursor.line)

    def charge(self, key: QueueKey, model: str, devices: int) -> None:
        """A queue in which somebody waited was given so many devices."""
        usage = devices * self._ahead(model)
        for share in self._lines[key].path:
            share.usage += usage
        self._charged += 1

    def later(self, cursor: ClassCursor) -> None:
        """The head would borrow what others may take back: it has another turn among those who borrow."""
        head = cursor.head
        if head is not None:
            heapq.heappush(cursor.line.heads, self._entry(cursor, head, borrows=True))
        self._push_line(cursor.line)

    def leave(self, cursor: ClassCursor) -> None:
        """The head is blocked, and with it the rest of its class: capacity only shrinks within a cycle."""
        self._push_line(cursor.line)

    def settle(self, cursor: ClassCursor, settled: Callable[[ClassCursor], bool]) -> None:
        """The head had its turn in vain: of its queue, classes for which nothing more can be done need none.

        Looks at all of them once in a while, so that it costs no more than a few of their turns.
        """
        line = cursor.line
        line.in_vain += 1
        if line.in_vain * _LOOK_AT_ALL > len(line.heads):
            line.in_vain = 0
            line.heads = [head for head in line.heads if not settled(self.cursors[head[-1]])]
            heapq.heapify(line.heads)

    def _entry(self, cursor: ClassCursor, head: WaitingJob, *, borrows: bool = False) -> Head:
        shape = cursor.shape
        rank, turn = self._turns.place(shape, head)
        # Among those of its queue who borrow: else the lower class would start, and stop for the higher one.
        own = min(rank, cursor.line.highest)
        borrows = borrows or self._sharing.must_borrow(shape)
        if borrows and self._overdue.has(shape, head):
            rank = _HIGHEST + 1
        elif borrows:
            rank = self._rank_of_borrower(cursor, rank, own)
        return -rank, borrows, -own, turn, head, cursor.number

    def _push_line(self, line: _QueueLine) -> None:
        if line.heads:
            rank, borrows, _, turn, head, _ = line.heads[0]
            heapq.heappush(self._heap, (rank, borrows, self._use(line), turn, head, line.key))

    def _use(self, line: _QueueLine) -> tuple[int, ...]:
        """Usage / weight down the tree: what decides between two is where their paths part."""
        if line.use_of != self._charged:
            line.use = tuple([(share.usage << _FINE) // share.weight for share in line.path])
            line.use_of = self._charged
        return line.use

    def _ahead(self, model: str) -> int:
        """What a device is charged for as soon as it is given away."""
        ahead = self._ahead_of_one.get(model)
        if ahead is None:
            gflops = self._catalogue.fp16_gflops(model) or self._config.unknown_fp16_gflops
            ahead = self._ahead_of_one[model] = gflops * self._config.charge_ahead_ms
        return ahead


def _without(started: Set[JobId], jobs: tuple[WaitingJob, ...]) -> tuple[WaitingJob, ...]:
    return tuple(job for job in jobs if job.job_id not in started) if started else jobs


_FINE = 10  # bits behind the point of usage / weight


def _above(queue: Queue | None, cohorts: Mapping[str, Cohort]) -> list[Cohort]:
    """The cohorts over a queue, the nearest first; one that is not there ends the path."""
    found: list[Cohort] = []
    name = None if queue is None else queue.cohort
    while name is not None and (cohort := cohorts.get(name)) is not None and cohort not in found:
        found.append(cohort)
        name = cohort.parent
    return found
