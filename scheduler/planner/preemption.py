"""Who stops so that a blocked job can start: only work that is behind it in the order, and as little as possible.

Three causes: a higher priority class in the same queue; a queue that takes back what it lent; and, where the
profile allows it and the victim resumes, a job whose turn is much earlier. Each follows the order in which
waiting jobs are served, so that what was stopped cannot stop who stopped it: preemption ends. Devices of jobs
that are stopping already count as coming, so that a second cycle on unchanged input stops nobody more.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from math import inf
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.domain.queues import COMPUTE, QueueKey
from scheduler.planner.behind import Behind, Kind, Looks
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of, sizes_of
from scheduler.planner.fitting import Fitting, nodes_by_devices, seat_on, too_few
from scheduler.planner.fleet import Fleet
from scheduler.planner.giving_back import Returned, Victim, Way, in_order, until_enough
from scheduler.planner.in_vain import Asks, InVain, Most
from scheduler.planner.overdue import Overdue
from scheduler.planner.placement import find_seats
from scheduler.planner.plan import StopCause
from scheduler.planner.reach import Inside, closed_rows, domains
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob
from scheduler.planner.stoppable import Some, in_turn, lost_work_ms, masks_of
from scheduler.planner.turns import Standing


class _Looked(NamedTuple):
    """What was found in a cell, or why nothing was."""

    way: Way | None
    too_dear: bool = False  # anybody is left alone as he would lose much for so few devices


# So many running jobs are looked at in a cycle to tell owners when what they lent comes back.
_MOST_LOOKED_AT = 1_000
_ANY = Standing(0, 0.0, None)  # where nobody stops for a turn or class


class Preemption:
    """Decides for one cycle. Cost to ask: the running jobs of the cell, once for all for whom the same would stop."""

    def __init__(
        self,
        snapshot: Snapshot,
        fleet: Fleet,
        sharing: Sharing,
        behind: Behind,
        overdue: Overdue,
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        self._snapshot = snapshot
        self._fleet = fleet
        self._sharing = sharing
        self.behind = behind
        self._overdue = overdue
        self._now_ms = now_ms
        self._config = config
        self._later: set[JobId] = set()  # of those who are to stop: who were not told to yet
        self._any_claimed = False  # of a way on which anybody stops
        self._told: set[tuple[str, str]] = set()  # cells that know when their jobs are expected to end
        self._in_vain = InVain()
        self._asked_back: set[tuple[QueueKey, Cell]] = set()  # where a queue asked for what it lent
        self._told_of: set[JobId] = set()  # borrowers, of whom somebody was told that they give it back
        self._looks = _MOST_LOOKED_AT

    def expect_ends(self, cell: Cell) -> None:
        """Tells a cell when its running jobs without a time limit will have ended, once somebody asks.

        What was given away or kept in this cycle meanwhile stays as it is. Cost: its running jobs, once.
        """
        place = (cell.pool, cell.model)
        if place in self._told or not self.behind.turns.estimates.predicts:
            return
        self._told.add(place)
        ends: list[tuple[int, int, float]] = []
        everybody = chain.from_iterable(
            held_by.running for held_by in self.behind.held_by.get(place, {}).values()
        )
        for running in everybody:
            if running.shape.whole:  # the end of one part does not free the device
                late_ms = self.behind.turns.estimates.late_ms(running.shape, running, cell.model)
                if late_ms is not None:
                    ends += [(row, mask, self._now_ms + late_ms) for row, mask in masks_of(cell, running)]
        cell.expect_ends(ends)

    def asks(self, shape: Shape, job: WaitingJob, kind: Kind) -> Asks:
        """A job that looks for a way in one cell after another."""
        return self._in_vain.asks(shape, job, kind)

    def find(
        self, asks: Asks, cell: Cell, *, borrows: bool, lacks: int = 0, below: int | None = None
    ) -> Way | None:
        """The cheapest way found, or None. Changes nothing; `claimed` tells of what was decided.

        `lacks`: so many devices of the model its queue's quota does not have. `below`: rank under which its own stop.
        """
        shape, job, sizes, in_vain, kind = asks
        if not lacks and not self.behind.might_stop(shape, cell, borrows=borrows):
            return None
        tasks, key = shape.tasks, (cell, borrows, bool(lacks), 0)
        of_size = (cell, borrows, bool(lacks), shape.devices)
        if in_vain.get(key, tasks + 1) <= tasks or in_vain.get(of_size, tasks + 1) <= tasks:
            return None  # somebody before it in the order, who asked for no more, found nobody to stop
        if below is None and shape.whole and shape.devices:
            most = self._most(asks, cell, lacks, borrows=borrows)
            if too_few(most.nodes, sizes) or (
                lacks and self._nobody_returns(asks, cell, lacks, borrows=borrows)
            ):
                in_vain[of_size if most.too_dear else key] = tasks
                return None
        mine = self.behind.turns.standing(shape, job, cell.model)
        way, too_dear = self._look(Looks(shape, job, kind, mine, shape.devices, cell, borrows, below), lacks)
        if way is None and below is None:
            in_vain[of_size if too_dear else key] = tasks  # a larger gang may cost more
        return way

    def _most(self, asks: Asks, cell: Cell, lacks: int, *, borrows: bool) -> Most:
        """What a cell has at most, by the number of devices alone, for all for whom the same work might stop."""
        shape, job = asks.shape, asks.job
        if self._exhausted:
            return self._in_vain.most((cell,), _ANY, job, lambda *_: (self._nodes(cell, ()), True, False))
        of_queue = self.behind.any_of_queue(shape, cell)
        mine = self.behind.turns.standing(shape, job, cell.model) if of_queue else _ANY
        lent = frozenset[QueueKey]() if borrows else self.behind.borrowing(shape.queue, cell)
        among = (
            cell, lent, shape.queue if shape.queue in lent else None, bool(lacks),
            self.behind.taking_back.waits(job), asks.kind if of_queue else None,
        )  # fmt: skip

        def count(mine: Standing, job: WaitingJob) -> tuple[Sequence[int], bool, bool]:
            anyone = Looks(shape, job, asks.kind, mine, inf, cell, borrows, None)
            found, too_dear = self.behind.candidates_at(anyone, cell, anybody=bool(lacks), parts=False)
            nobody = not any(some.rows.any() for some in found)
            return self._nodes(cell, found), nobody, too_dear

        return self._in_vain.most(among, mine, job, count)

    def _nobody_returns(self, asks: Asks, cell: Cell, lacks: int, *, borrows: bool) -> bool:
        """Whether nobody stops, or would, who holds any of the quota that a job lacks."""
        if self.behind.stopping:
            return False
        short = self._sharing.lacks(self._snapshot.queues[asks.shape.queue], cell.model, lacks)
        places = self.behind.places(cell, short)
        return bool(short) and all(self._most(asks, place, lacks, borrows=borrows).nobody for place in places)

    def _nodes(self, cell: Cell, found: Iterable[Some]) -> Sequence[int]:
        """How many nodes of a cell have so many devices once these have stopped."""
        given = (its for some in found for its in some.given())
        return nodes_by_devices(cell, self._open_and_coming(cell), given)

    def _look(self, who: Looks, lacks: int) -> _Looked:
        shape, cell, looked = who.shape, who.cell, list[_Looked]()
        for inside in domains(shape, cell) if shape.whole and shape.devices else ():
            with self._returned(shape, cell, lacks) as quota:
                looked.append(self._look_inside(who, inside, quota))
        if not shape.whole:
            with self._returned(shape, cell, lacks) as quota:
                looked.append(self._look_for_part(who, quota))
        ways = [one.way for one in looked if one.way is not None]
        way = min(ways, key=lambda way: way.lost, default=None)
        return _Looked(way, any(one.too_dear for one in looked))

    def when_lent_comes_back(self, shape: Shape, job: WaitingJob, cell: Cell, lacks: int) -> str | None:
        """When the job gets back what its queue lent; None: that alone would not let it start, or nobody knows.

        Only the first job of a queue in a cell is told: what comes back does so once.
        """
        asks = shape.queue, cell
        if asks in self._asked_back or self._looks <= 0:
            return None
        self._asked_back.add(asks)
        borrowers = self._who_borrows(shape, cell, lacks)
        if not borrowers:
            return None
        self._told_of.update(victim.running.job_id for victim in borrowers)
        short = self._sharing.lacks(self._snapshot.queues[shape.queue], cell.model, lacks) if lacks else ()
        told = COMPUTE if tuple(short) == (COMPUTE,) else cell.model
        amount = self._sharing.told(told, [victim.running for victim in borrowers])
        return self.behind.taking_back.when(shape, job, borrowers, amount)

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
        for place in self.behind.places(cell, lacks) if lacks else [cell]:
            for key, held_by in self.behind.held_by.get((place.pool, place.model), {}).items():
                if not (
                    self.behind.related(shape.queue, key) and self._sharing.has_borrowed(held_by.running[0])
                ):
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
        root = self.behind.root_of(shape.queue)
        for running in chain.from_iterable(self.behind.stopping.values()) if lacks else ():
            if running.shape.queue == shape.queue or (
                root and root == self.behind.root_of(running.shape.queue)
            ):
                quota.add(running)
        return quota

    def _look_for_part(self, who: Looks, quota: Returned) -> _Looked:
        """One job stops, so that a part of a device comes free; more only for the quota. Gangs of parts stop nobody."""
        shape, job, cell = who.shape, who.job, who.cell
        if shape.tasks > 1:
            return _Looked(None)
        demand, closed = demand_of(shape), frozenset(closed_rows(shape, cell))
        seat = None
        for running in self.behind.stopping.get((cell.pool, cell.model), ()):
            seat = seat or seat_on(cell, running, masks_of(cell, running), demand, closed)
        lacks = quota.lacking
        if seat is not None and not lacks:
            return _Looked(Way((), (seat,)))
        if seat is None and lacks and (found := find_seats(shape, self._fleet, cell, None)) is not None:
            seat = found.seats[0].row, found.seats[0].mask
        chosen: list[Victim] = []
        candidates, too_dear = self.behind.candidates(who, lacks, parts=True)
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

    def _look_inside(self, who: Looks, inside: Inside, quota: Returned) -> _Looked:
        shape, job, cell = who.shape, who.job, who.cell
        fitting = Fitting(cell, shape, self._open_and_coming(cell), inside)
        chosen: list[Victim] = []
        too_dear = False
        if not (fitting.enough and quota.enough):
            if self._exhausted:
                return _Looked(None)  # at least one more would have to
            candidates, too_dear = self.behind.candidates(who, quota.lacking, parts=False)
            if too_few(self._nodes(cell, candidates), sizes_of(shape)):
                return _Looked(None, too_dear=too_dear)  # whatever the host has there
            found = until_enough(in_turn(candidates), fitting, quota, alone=shape.tasks == 1)
            if found is None:
                return _Looked(None, too_dear=too_dear)
            chosen = found
            if self.behind.taking_back.too_dear(shape, job, chosen):
                return _Looked(None, too_dear=True)
        seats = fitting.seats()
        way = None if seats is None else self._when_they_saved(job, chosen, seats)
        return _Looked(way, too_dear=too_dear)

    @property
    def _exhausted(self) -> bool:
        """Whether as many were told to stop as may be in a cycle."""
        return self._any_claimed and self._told_to_stop >= self._config.max_stops

    @property
    def _told_to_stop(self) -> int:
        """How many were told to stop in this cycle."""
        return len(self.behind.stopped) - len(self._later)

    def claimed(self, way: Way) -> None:
        """Its victims are told to stop in this cycle, or are to stop as soon as they have saved: for nobody else."""
        self._any_claimed = self._any_claimed or bool(way.victims or way.later)
        self._later.update(victim.running.job_id for victim in way.later)
        self.behind.stay(victim.running.job_id for victim in (*way.victims, *way.later))

    def _open_and_coming(self, cell: Cell) -> dict[int, int]:
        """Masks of devices of stopping jobs by row, where nobody has a claim on them yet."""
        coming: dict[int, int] = {}
        for running in self.behind.stopping.get((cell.pool, cell.model), ()):
            for row, mask in masks_of(cell, running) if running.shape.whole else ():
                coming[row] = coming.get(row, 0) | mask & ~cell.parts[row].reserved
        return coming

    def _spoken_for(self, running: RunningJob) -> bool:
        """Whether what a borrower holds comes back to somebody else, or he keeps it."""
        its = running.job_id
        back = running.stopping or its in self.behind.stopped or its in self._told_of
        return back or self._overdue.has(running.shape, running)

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
            v.cause is StopCause.RECLAIM and self.behind.taking_back.saves_first(v.running, v.lost_ms, job)
            for v in victims
        ]
        waits = any(saves)
        now: list[Victim] = []
        later: list[Victim] = []
        for victim, its in zip(victims, saves, strict=True):
            (later if its or (waits and victim.cause is not StopCause.RECLAIM) else now).append(victim)
        return Way(tuple(now), seats, tuple(later))
