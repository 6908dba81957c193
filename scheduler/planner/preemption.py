"""Who stops so that a blocked job can start: only work that is behind it in the order, and as little as possible.

Three causes: a higher priority class in the same queue; a queue that takes back what it lent; and, where the
profile allows it and the victim resumes, a job whose turn is much earlier. Each follows the order in which
waiting jobs are served, so that what was stopped cannot stop who stopped it: preemption ends. Devices of jobs
that are stopping already count as coming, so that a second cycle on unchanged input stops nobody more.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.domain.queues import COMPUTE, QueueKey
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of
from scheduler.planner.fitting import Fitting, seat_on
from scheduler.planner.fleet import Fleet
from scheduler.planner.giving_back import Returned, Victim, Way, in_order, until_enough
from scheduler.planner.holders import Holders, holders
from scheduler.planner.in_vain import Asks, InVain, TooFew
from scheduler.planner.market import Market
from scheduler.planner.overdue import Overdue
from scheduler.planner.placement import find_seats
from scheduler.planner.plan import StopCause
from scheduler.planner.reach import Inside, closed_rows, domains
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob
from scheduler.planner.stoppable import Some, Stoppable, in_turn, lost_work_ms, masks_of
from scheduler.planner.taking_back import TakingBack
from scheduler.planner.turns import Turns


class _Looks(NamedTuple):
    """Who looks for a way in a cell."""

    shape: Shape
    job: WaitingJob
    cell: Cell
    borrows: bool
    below: int | None  # of its own queue only those of a lower rank stop


class _Looked(NamedTuple):
    """What was found in a cell, or why nothing was."""

    way: Way | None
    too_few: bool = False  # all who may stop have too few devices for whoever asks
    too_dear: bool = False  # anybody is left alone as he would lose much for so few devices


# So many running jobs are looked at in a cycle to tell owners when what they lent comes back.
_MOST_LOOKED_AT = 1_000


class Preemption:
    """The running jobs of a cycle as possible victims. Cost to ask: the running jobs of the cell."""

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
        self._taking_back = TakingBack(turns, now_ms, config)
        self._now_ms = now_ms
        self._config = config
        self._roots: dict[QueueKey, str | None] = {}
        # It has decided who of those who take part stops for whose turn, and for whom enough has stopped.
        self._market = market
        self._stopped: set[JobId] = set()
        self._later: set[JobId] = set()  # of those: who were not told to stop yet
        self._any_claimed = False  # of a way on which anybody stops
        self._columns: dict[tuple[str, str, QueueKey | str | None], Stoppable] = {}
        self._told: set[tuple[str, str]] = set()  # cells that know when their jobs are expected to end
        self._possible: dict[tuple[object, ...], bool] = {}
        self._in_vain = InVain(turns)
        self._borrowed: dict[tuple[str, Cell], tuple[object, Sequence[QueueKey]]] = {}  # and when
        self._asked_back: set[tuple[QueueKey, Cell]] = set()  # where a queue asked for what it lent
        self._told_of: set[JobId] = set()  # borrowers, of whom somebody was told that they give it back
        self._looks = _MOST_LOOKED_AT

    @cached_property
    def _held_by(self) -> dict[tuple[str, str], dict[QueueKey, Holders]]:
        """Who runs in which cell for which queue. Cost: O(running jobs), once somebody is refused."""
        return holders(self._snapshot.running)

    @cached_property
    def _stopping(self) -> dict[tuple[str, str], list[RunningJob]]:
        found: dict[tuple[str, str], list[RunningJob]] = {}
        for running in self._snapshot.running:
            if running.stopping:
                found.setdefault((running.pool, running.model), []).append(running)
        return found

    def expect_ends(self, cell: Cell) -> None:
        """Tells a cell when its running jobs without a time limit will have ended, once somebody asks.

        What was given away or kept in this cycle meanwhile stays as it is. Cost: its running jobs, once.
        """
        place = (cell.pool, cell.model)
        if place in self._told or not self.turns.estimates.predicts:
            return
        self._told.add(place)
        ends: list[tuple[int, int, float]] = []
        everybody = chain.from_iterable(held_by.running for held_by in self._held_by.get(place, {}).values())
        for running in everybody:
            if running.shape.whole:  # the end of one part does not free the device
                late_ms = self.turns.estimates.late_ms(running.shape, running, cell.model)
                if late_ms is not None:
                    ends += [(row, mask, self._now_ms + late_ms) for row, mask in masks_of(cell, running)]
        cell.expect_ends(ends)

    def asks(self, shape: Shape, job: WaitingJob) -> Asks:
        """A job that looks for a way in one cell after another."""
        served = self._market.model_of(shape, job) is not None
        of_class = self._market.class_of(shape, job)
        return self._in_vain.asks(shape, job, served=served, of_class=of_class)

    def find(
        self, asks: Asks, cell: Cell, *, borrows: bool, lacks: int = 0, below: int | None = None
    ) -> Way | None:
        """The cheapest way found, or None. Changes nothing; `stopped` tells of what was decided.

        `lacks`: so many devices of the model its queue's quota does not have. `below`: rank under which its own stop.
        """
        shape, job, in_vain, _ = asks
        if not lacks and not self._could_stop_any(shape, cell, borrows=borrows):
            return None
        tasks, key = shape.tasks, (cell, borrows, bool(lacks), 0)
        of_size = (cell, borrows, bool(lacks), shape.devices)
        if in_vain.get(key, tasks + 1) <= tasks or in_vain.get(of_size, tasks + 1) <= tasks:
            return None  # somebody before it in the order, who asked for no more, found nobody to stop
        asked: TooFew | None = None
        if below is None and not lacks and shape.whole and (borrows or not self._lent(shape, cell)):
            asked = self._in_vain.by_devices(asks, cell)
            if self._in_vain.are_too_few(asked):
                in_vain[key] = tasks
                return None
        way, too_few, too_dear = self._look(_Looks(shape, job, cell, borrows, below), lacks)
        if way is None and below is None:
            in_vain[of_size if too_dear else key] = tasks  # a larger gang may cost more
            if asked is not None and too_few:
                self._in_vain.note(asked)
        return way

    def _look(self, who: _Looks, lacks: int) -> _Looked:
        shape, cell, looked = who.shape, who.cell, list[_Looked]()
        for inside in domains(shape, cell) if shape.whole and shape.devices else ():
            with self._returned(shape, cell, lacks) as quota:
                looked.append(self._look_inside(who, inside, quota))
        if not shape.whole:
            with self._returned(shape, cell, lacks) as quota:
                looked.append(self._look_for_part(who, quota))
        ways = [one.way for one in looked if one.way is not None]
        way = min(ways, key=lambda way: way.lost, default=None)
        return _Looked(way, any(one.too_few for one in looked), any(one.too_dear for one in looked))

    def when_lent_comes_back(self, shape: Shape, job: WaitingJob, cell: Cell, lacks: int) -> str | None:
        """When the job gets back what its queue lent; None: that alone would not let it start, or nobody knows.

        Only the first job of a queue in a cell is told: what comes back does so once.
        """
        asks = shape.queue, cell
        if asks in self._asked_back:
            return None
        self._asked_back.add(asks)
        borrowers = self._who_borrows(shape, cell, lacks)
        if not borrowers:
            return None
        self._told_of.update(victim.running.job_id for victim in borrowers)
        short = self._sharing.lacks(self._snapshot.queues[shape.queue], cell.model, lacks) if lacks else ()
        told = COMPUTE if tuple(short) == (COMPUTE,) else cell.model
        amount = self._sharing.told(told, [victim.running for victim in borrowers])
        return self._taking_back.when(shape, job, borrowers, amount)

    def _who_borrows(self, shape: Shape, cell: Cell, lacks: int) -> Sequence[Victim]:
        """As few borrowers as hold what the job waits for, of those at whom there is time to look."""
        for inside in domains(shape, cell) if shape.whole and shape.devices else ():
            with self._returned(shape, cell, lacks) as quota:
                fitting = Fitting(cell, shape, self._open_and_coming(cell), inside)
                lent = in_order(self._borrowers(shape, cell, quota.lacking))
                found = until_enough(lent, fitting, quota, alone=shape.tasks == 1)
            if found or self._looks <= 0:
                return found or ()
        return ()

    def _borrowers(self, shape: Shape, cell: Cell, lacks: Collection[str]) -> Iterator[Victim]:
        """Who borrowed what is the queue's own, the youngest first: who loses least is among them."""
        for place in self._places(cell, lacks) if lacks else [cell]:
            for key, held_by in self._held_by.get((place.pool, place.model), {}).items():
                if not (self._related(shape.queue, key) and self._sharing.has_borrowed(held_by.running[0])):
                    continue
                for running in islice(reversed(held_by.running), max(0, self._looks)):
                    self._looks -= 1
                    gives = place is cell and running.shape.whole
                    if (gives or lacks) and not self._spoken_for(running):
                        masks = masks_of(place, running) if gives else ()
                        yield Victim(running, StopCause.RECLAIM, lost_work_ms(running, self._now_ms), masks)

    def _returned(self, shape: Shape, cell: Cell, lacks: int) -> Returned:
        """Its quota, once those of its tree who stop already have given back what they hold."""
        quota = Returned(self._sharing, self._snapshot.queues[shape.queue], cell.model, lacks)
        root = self._root_of(shape.queue)
        for running in chain.from_iterable(self._stopping.values()) if lacks else ():
            if running.shape.queue == shape.queue or (root and root == self._root_of(running.shape.queue)):
                quota.add(running)
        return quota

    def _look_for_part(self, who: _Looks, quota: Returned) -> _Looked:
        """One job stops, so that a part of a device comes free; more only for the quota. Gangs of parts stop nobody."""
        shape, job, cell, *_ = who
        if shape.tasks > 1:
            return _Looked(None)
        demand, closed = demand_of(shape), frozenset(closed_rows(shape, cell))
        seat = None
        for running in self._stopping.get((cell.pool, cell.model), ()):
            seat = seat or seat_on(cell, running, masks_of(cell, running), demand, closed)
        lacks = quota.lacking
        if seat is not None and not lacks:
            return _Looked(Way((), (seat,)))
        if seat is None and lacks and (found := find_seats(shape, self._fleet, cell, None)) is not None:
            seat = found.seats[0].row, found.seats[0].mask
        chosen: list[Victim] = []
        candidates, too_dear = self._candidates(who, lacks, parts=True)
        for victim in in_turn(candidates):
            if seat is not None and quota.enough:
                break
            its = None if seat else seat_on(cell, victim.running, victim.masks, demand, closed)
            if its is not None or quota.helps(victim):
                seat = seat or its
                quota.add(victim.running)
                chosen.append(victim)
        if seat is None or not quota.enough:
            return _Looked(None, too_dear=too_dear)
        return _Looked(self._when_they_saved(job, chosen, (seat,)), too_dear=too_dear)

    def _look_inside(self, who: _Looks, inside: Inside, quota: Returned) -> _Looked:
        shape, job, cell, *_ = who
        fitting = Fitting(cell, shape, self._open_and_coming(cell), inside)
        chosen: list[Victim] = []
        too_dear = False
        if not (fitting.enough and quota.enough):
            if self._any_claimed and self._told_to_stop >= self._config.max_stops:
                return _Looked(None)  # at least one more would have to
            candidates, too_dear = self._candidates(who, quota.lacking, parts=False)
            if not fitting.might_be_enough(given for some in candidates for given in some.given()):
                return _Looked(None, too_few=True, too_dear=too_dear)  # whatever the host has there
            found = until_enough(in_turn(candidates), fitting, quota, alone=shape.tasks == 1)
            if found is None:
                return _Looked(None, too_dear=too_dear)
            chosen = found
            if self._taking_back.too_dear(shape, job, chosen):
                return _Looked(None, too_dear=True)
        seats = fitting.seats()
        way = None if seats is None else self._when_they_saved(job, chosen, seats)
        return _Looked(way, too_dear=too_dear)

    @property
    def _told_to_stop(self) -> int:
        """How many were told to stop in this cycle."""
        return len(self._stopped) - len(self._later)

    def stopped(self, job_ids: Iterable[JobId]) -> None:
        """They were told to stop in this cycle."""
        told = set(job_ids)
        self._stopped |= told
        for those in self._columns.values():
            those.stay(told)

    def claimed(self, way: Way) -> None:
        """Its victims are told to stop in this cycle, or are to stop as soon as they have saved: for nobody else."""
        self._any_claimed = self._any_claimed or bool(way.victims or way.later)
        self._later.update(victim.running.job_id for victim in way.later)
        self.stopped(victim.running.job_id for victim in (*way.victims, *way.later))

    def _open_and_coming(self, cell: Cell) -> dict[int, int]:
        """Masks of devices of stopping jobs by row, where nobody has a claim on them yet."""
        coming: dict[int, int] = {}
        for running in self._stopping.get((cell.pool, cell.model), ()):
            for row, mask in masks_of(cell, running) if running.shape.whole else ():
                coming[row] = coming.get(row, 0) | mask & ~cell.parts[row].reserved
        return coming

    def _candidates(self, who: _Looks, lacks: Collection[str], *, parts: bool) -> tuple[list[Some], bool]:
        """Who may be stopped for the job, and whether anybody is left alone as he would lose much for so few devices.

        `lacks`: the keys of which it lacks quota: those elsewhere and who has parts of devices give that back as well.
        """
        shape, job, cell, borrows, below = who
        found, too_dear = list[Some](), False
        mine, anybody = self.turns.standing(shape, job, cell.model), parts or bool(lacks)
        for place in self._places(cell, lacks) if lacks else [cell]:
            at = cell if place is cell else None
            lent = () if borrows else self._lent(shape, place)
            if lent:
                those = self._stoppable(place, self._root_of(shape.queue))
                rows = those.of(lent) if anybody else those.of(lent) & those.whole
                those.keep_overdue(rows, self._overdue)
                rows &= those.may
                alone = self._taking_back.leaves_alone(shape, job, those)
                too_dear |= bool((rows & alone).any())
                found.append(Some(those, rows & ~alone, StopCause.RECLAIM, at, parts))
            if self._any_behind(shape, place):
                those = self._stoppable(place, shape.queue)
                may = those.may if anybody else those.may & those.whole
                if below is not None:
                    may = may & (those.rank < below)
                if self._market.model_of(shape, job) is not None:
                    may = may & ~those.among(self._market.decided)
                lower = those.of_lower_class(shape, mine)
                rows = may & lower
                of_class = self._market.class_of(shape, job) if rows.any() else None
                if of_class is not None:
                    rows &= ~those.as_high(self._market.running, of_class)
                found.append(Some(those, rows, StopCause.PRIORITY, at, parts))
                if at is not None and self._for_turn is not None:
                    rows = may & ~lower & those.much_later(mine, self._for_turn)
                    rows = rows if parts else rows & those.whole
                    found.append(Some(those, rows, StopCause.SHORTER, at, parts))
        return found, too_dear

    def _spoken_for(self, running: RunningJob) -> bool:
        """Whether what a borrower holds comes back to somebody else, or he keeps it."""
        its = running.job_id
        back = running.stopping or its in self._stopped or its in self._told_of
        return back or self._overdue.has(running.shape, running)

    def _places(self, cell: Cell, lacks: Collection[str]) -> Iterator[Cell]:
        """Where devices count for quotas that a job in a cell lacks: of compute those of every model do."""
        for pool, model in self._held_by:
            other = self._fleet.get(pool, model) if model == cell.model or COMPUTE in lacks else None
            if other is not None:
                yield other

    def _lent(self, shape: Shape, cell: Cell) -> list[QueueKey]:
        """Queues that hold devices of the cell that were lent to them, of which a shape's queue may take some back."""
        root = self._root_of(shape.queue)
        return [] if root is None else [key for key in self._borrowing(root, cell) if key != shape.queue]

    def _borrowing(self, root: str, cell: Cell) -> Sequence[QueueKey]:
        """Queues of a tree that hold more of the cell than is their own. Cost: O(queues) once anything was given."""
        given, keys = self._borrowed.get((root, cell), (None, ()))
        if given is not self._sharing.given:
            held_by = self._held_by.get((cell.pool, cell.model), {})
            keys = [
                key
                for key, theirs in held_by.items()
                if self._root_of(key) == root and self._sharing.has_borrowed(theirs.running[0])
            ]
            self._borrowed[root, cell] = self._sharing.given, keys
        return keys

    def _any_behind(self, shape: Shape, cell: Cell) -> bool:
        """Whether its own queue runs anybody in the cell who may be behind a job of a shape."""
        theirs = self._held_by.get((cell.pool, cell.model), {}).get(shape.queue)
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
            held_by = self._held_by[cell.pool, cell.model]
            mine = [theirs.running for its, theirs in held_by.items() if whose in (its, self._root_of(its))]
            running = list(chain.from_iterable(mine))
            lost_ms = [lost_work_ms(one, self._now_ms) for one in running]
            those = Stoppable(running, lost_ms, self.turns, self._now_ms, self._config)
            those.stay(self._stopped)
            self._columns[key] = those
        return those

    def _could_stop_any(self, shape: Shape, cell: Cell, *, borrows: bool) -> bool:
        """Whether anything in the cell is stopping, or anybody there could be stopped for such a shape."""
        key = (cell.pool, cell.model, shape.queue, shape.priority, borrows)
        possible = self._possible.get(key)
        if possible is None:
            alone = borrows or self._root_of(shape.queue) is None
            queues = () if alone else self._held_by.get((cell.pool, cell.model), ())
            possible = (cell.pool, cell.model) in self._stopping or self._any_behind(shape, cell)
            possible = possible or any(self._related(shape.queue, key) for key in queues)
            self._possible[key] = possible
        return possible

    def could_help(self, shape: Shape) -> bool:
        """Whether stopping work could let such a shape start on any model at all. Cost: once for each queue."""
        key = (shape.queue, shape.priority)
        helps = self._possible.get(key)
        if helps is None:
            cells = [cell for place in self._held_by if (cell := self._fleet.get(*place)) is not None]
            helps = any(self._could_stop_any(shape, cell, borrows=False) for cell in cells)
            self._possible[key] = helps
        return helps

    def _related(self, one: QueueKey, other: QueueKey) -> bool:
        """Whether they are two queues of one tree."""
        root = self._root_of(one)
        return root is not None and one != other and root == self._root_of(other)

    def _root_of(self, key: QueueKey) -> str | None:
        if key not in self._roots:
            self._roots[key] = self._sharing.root(key)
        return self._roots[key]

    def _when_they_saved(
        self, job: WaitingJob, victims: Sequence[Victim], seats: tuple[tuple[int, int], ...]
    ) -> Way | None:
        """Each borrower stops when it has saved, at moments of their own: what comes free first is kept meanwhile.

        Who borrowed nothing does not stop before the last of them. The first way of a cycle may take any number:
        else nobody would ever have what more jobs hold than are stopped in one.
        """
        if self._any_claimed and self._told_to_stop + len(victims) > self._config.max_stops:
            return None
        saves = [
            v.cause is StopCause.RECLAIM and self._taking_back.saves_first(v.running, v.lost_ms, job)
            for v in victims
        ]
        waits = any(saves)
        now: list[Victim] = []
        later: list[Victim] = []
        for victim, its in zip(victims, saves, strict=True):
            (later if its or (waits and victim.cause is not StopCause.RECLAIM) else now).append(victim)
        return Way(tuple(now), seats, tuple(later))
