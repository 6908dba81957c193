"""Devices for gangs: kept together for one gang of each model, while those who should make room for it leave.

The market (market.py) decides by the count of devices, and at one moment. A gang needs them together, and whom it
should replace may be stopped for a gain only shortly after its model checkpoint, each at its own moment. So for the
gang that should have them first, could everybody be stopped at once, the nodes are chosen that need the fewest stops:
what is free there is kept, who should make room leaves as soon as he has saved, and who merely is on them goes on
on others of the same model. The next cycle chooses the same, as what was emptied costs nothing any more.

Only of devices that nobody takes back: a queue's own, or all where one queue alone waits. Between queues without quotas
the order decides, and who has waited too long for borrowed devices (overdue.py) comes before all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scheduler.domain.ids import JobId, NodeId
from scheduler.domain.queues import COMPUTE, Queue
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.budgets import Budgets
from scheduler.planner.calendar import near
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.floor import Floor, models_of
from scheduler.planner.market import best_of_all
from scheduler.planner.overdue import Overdue
from scheduler.planner.placement import Seat, find_seats
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.reach import closed_rows, domains
from scheduler.planner.rows import Floats
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot
from scheduler.planner.stoppable import SAVES_MS, lost_work_ms, masks_of
from scheduler.planner.traders import Trader, Traders, traders_of
from scheduler.planner.turns import Turns
from scheduler.planner.worth import worth_of

# Who is expected to end within this time is waited for.
_SOON_MS = 20 * MINUTE_MS
_NO_LIMIT = 1 << 62
# Who is asked to go on elsewhere for another firm has run so many times what that costs him since he last started.
_FOR_OTHERS = 50
_FOR_LEAVING = 0.5  # a device of one who should leave anyhow costs so much of one of another


class Ready(NamedTuple):
    """A gang whose devices are together; its quota and its money are taken already."""

    trader: Trader
    cell: Cell
    seats: list[Seat]


@dataclass(slots=True)
class Gathering:
    """Who starts on what was gathered, and who stops for it."""

    ready: list[Ready] = field(default_factory=list)
    stops: dict[JobId, Stop] = field(default_factory=dict)
    kept_for: set[JobId] = field(default_factory=set)  # the gangs
    busy: set[JobId] = field(
        default_factory=set
    )  # the gangs and who leaves for them: they are not on the market


class _Wish(NamedTuple):
    rank: int
    worth: float  # a device
    trader: Trader
    model: str
    better: frozenset[str]  # models on which it would be worth more, had its queue them for good
    leaving: frozenset[JobId]  # who should make room on the model
    queue: Queue


@dataclass(slots=True)
class Gatherer:
    """Looks before anybody else is served."""

    snapshot: Snapshot
    fleet: Fleet
    sharing: Sharing
    estimates: Estimates
    turns: Turns
    budgets: Budgets
    overdue: Overdue
    now_ms: int
    config: PlannerConfig
    _found: Gathering = field(default_factory=Gathering)
    _booked: frozenset[NodeId] = frozenset()
    _running: dict[Cell, list[RunningJob]] = field(default_factory=dict)

    def gather(self) -> Gathering:
        """What is done for one gang of each cell at most.

        Cost: O(classes + running jobs); where gangs want nodes O(jobs x models x log jobs), and those nodes.
        """
        if self.config.policy.move_for_gain is None or not self.config.moves or not self.estimates.predicts:
            return self._found
        wishes = sorted(self._wishes(), key=lambda wish: (-wish.rank, -wish.worth, wish.trader.job))
        if wishes:
            holes = near(self.snapshot.calendar, self.now_ms, self.config)
            self._booked = frozenset[NodeId]().union(*(hole.nodes for hole in holes))
            for running in self.snapshot.running:
                cell = self.fleet.get(running.pool, running.model)
                if cell is not None:
                    self._running.setdefault(cell, []).append(running)
        gathered: set[Cell] = set()
        for wish in wishes:
            if self._has_better(wish):
                continue
            for pool in wish.queue.pools:
                cell = self.fleet.get(pool, wish.model)
                if cell is None or cell in gathered or wish.trader.job.job_id in self._found.busy:
                    continue
                if self._may_have(wish.trader.shape, wish.model) and self._gather(wish, cell):
                    gathered.add(cell)
        return self._found

    def _wishes(self) -> Iterator[_Wish]:
        """Gangs that should be on another model than now, could everybody be stopped at once."""
        snapshot = self.snapshot
        gangs = {item.shape.queue for item in snapshot.classes if _wants_together(item.shape)}
        gangs |= {r.shape.queue for r in snapshot.running if _would_move(r, self.estimates)}
        if not gangs:
            return
        waiting = {item.shape.queue for item in snapshot.classes}
        queues = {key: snapshot.queues[key] for key in sorted(gangs & snapshot.queues.keys())}
        queues = {key: queue for key, queue in queues.items() if queue.cohort is not None or waiting <= {key}}
        if not queues:
            return
        traders = traders_of(snapshot, self.estimates, self.budgets, queues=queues.keys(), all_who_wait=True)
        for key, queue in queues.items():
            if key in traders and not self.overdue.anybody_waits(key):
                own = self._own_left(queue, traders[key])
                floor = Floor(traders[key], queue, self.fleet, self.turns, {}, self.now_ms, self.config, own)
                worth = worth_of(floor, self.estimates, self.now_ms, self.config, saved=True)
                yield from _wishes_of(floor, worth)

    def _own_left(self, queue: Queue, traders: Traders) -> dict[str, int]:
        """What nobody takes back from those of the queue who take part, by model."""
        left = {
            model: _own(queue, model) - self.sharing.held(queue.key, model)
            for model in models_of(traders.shapes)
        }
        for running in traders.running:
            left[running.model] += running.devices
        return {model: max(0, devices) for model, devices in left.items()}

    def _may_have(self, shape: Shape, model: str) -> bool:
        """Whether its budgets pay for it; who cannot move later takes no slow model (patience.py)."""
        later = shape.resumable or self.estimates.speeds(shape)[model] >= 1.0
        return later and self.budgets.refusal(shape, model) is None

    def _has_better(self, wish: _Wish) -> bool:
        """Whether it may borrow better devices that are free together: from these it would leave for those."""
        for pool in wish.queue.pools if wish.better else ():
            for model in sorted(wish.better):
                cell = self.fleet.get(pool, model)
                if (
                    cell is not None
                    and self.sharing.refusal(wish.queue, model, wish.trader.devices) is None
                    and self._together(wish.trader.shape, cell)
                ):
                    return True
        return False

    def _gather(self, wish: _Wish, cell: Cell) -> bool:
        """Whether devices are kept for it, or it may start."""
        trader, key, model = wish.trader, wish.queue.key, cell.model
        if COMPUTE in self.sharing.would_borrow(wish.queue, model, trader.devices):
            return False  # the devices are its own, and others take back what they count for
        here = self._running.get(cell, [])
        leaving = [running for running in here if running.job_id in wish.leaving]
        held, own = self.sharing.held(key, model), _own(wish.queue, model)
        over = held + trader.devices - own  # of its own so many have to leave before it may start
        if over > sum(running.devices for running in leaving):
            return False
        together = self._together(trader.shape, cell)
        if together and over <= 0:
            return self._begin(wish, cell, together)
        seats = [(seat.row, seat.mask) for seat in together] or self._emptied(
            trader.shape, cell, wish.leaving
        )
        there = self._who_is_on(cell, seats)
        others = [running for job_id, running in there.items() if job_id not in wish.leaving]
        if not seats or not (together or there):
            return False  # what it lacks nobody who runs there has
        if not self._could_go_on(cell, seats, others, [r for r in leaving if r.job_id not in there]):
            return False
        cell.hold(seats, None)
        self._found.kept_for.add(trader.job.job_id)
        self._found.busy.update({trader.job.job_id}, wish.leaving)
        kept = sum((cell.parts[row].kept & mask).bit_count() for row, mask in seats)
        self.sharing.take(key, model, max(0, min(kept, own - held)))
        self._leave(leaving, there, kept, max(over, trader.devices - kept - cell.open_devices))
        self._go_on_elsewhere(cell, others, kept)
        return True

    def _together(self, shape: Shape, cell: Cell) -> list[Seat]:
        """Seats that are free together, none of them on a node that is soon somebody else's."""
        found = find_seats(shape, self.fleet, cell, None)
        if found is None or any(cell.parts[seat.row].node_id in self._booked for seat in found.seats):
            return []
        return found.seats

    def _begin(self, wish: _Wish, cell: Cell, seats: list[Seat]) -> bool:
        """Its devices are together: it starts, or comes from where it runs."""
        trader = wish.trader
        held = () if trader.running is None else (trader.running,)
        most = self.sharing.within(wish.queue, (cell.model,), held).get(cell.model, trader.devices)
        if most < trader.devices:
            return False  # what is its queue's own is lent: whoever came for it would go back
        if trader.running is None:
            if self.sharing.refusal(wish.queue, cell.model, trader.devices) is not None:
                return False
            # At once: the next gang may be of the same queue, in another pool, or be paid by the same budget.
            self.sharing.take_for(trader.shape, cell.model)
            self.budgets.take(trader.shape, cell.model)
            self._found.ready.append(Ready(trader, cell, seats))
        elif self._may_stop(trader.running):
            self._stop(trader.running, StopCause.MOVE, f"gains more on {cell.model}")
        self._found.kept_for.add(trader.job.job_id)
        self._found.busy.add(trader.job.job_id)
        cell.hold([(seat.row, seat.mask) for seat in seats], None)
        return True

    def _leave(
        self, leaving: list[RunningJob], there: dict[JobId, RunningJob], kept: int, missing: int
    ) -> None:
        """Who should make room: those on the nodes; of the others who has just saved, while devices are missing."""
        missing -= sum(running.devices for running in leaving if running.job_id in there)
        for running in sorted(leaving, key=lambda running: running.submitted_ms):
            on_them = running.job_id in there
            if (on_them or missing > 0) and self._may_stop(running, kept if on_them else 0):
                self._stop(running, StopCause.SHORTER, "makes room for a gang of its queue")
                missing -= 0 if on_them else running.devices

    def _could_go_on(
        self, cell: Cell, seats: list[tuple[int, int]], others: list[RunningJob], leaving: list[RunningJob]
    ) -> bool:
        """Whether there is, or comes free, as much off the seats as those who merely are on them need."""
        masks = dict(seats)
        room = sum(
            (part.free & ~masks.get(row, 0)).bit_count()
            for row, part in enumerate(cell.parts)
            if part.node_id not in self._booked
        )
        room += sum(running.devices for running in leaving)
        return sum(running.devices for running in others if not self._soon(running)) <= room

    def _go_on_elsewhere(self, cell: Cell, others: list[RunningJob], kept: int) -> None:
        """Who merely is on the nodes: on devices that are kept for his queue until he has saved."""
        for running in others:
            shape = running.shape._replace(devices=running.devices)
            elsewhere = [] if self._soon(running) else self._together(shape, cell)
            if elsewhere:
                if self._may_stop(running, kept):
                    sentence = "goes on on another node, as a gang needs this one"
                    self._stop(running, StopCause.MOVE, sentence)
                self._found.busy.add(running.job_id)
                cell.hold([(seat.row, seat.mask) for seat in elsewhere], None, shape.queue)

    def _may_stop(self, running: RunningJob, kept: int = 0) -> bool:
        """Whether it has just saved; the more devices are kept idle meanwhile for each of its own, the longer ago."""
        lost_ms = lost_work_ms(running, self.now_ms)
        young = self.now_ms - running.started_ms < self.config.min_run_ms
        fresh_ms = self.config.fresh_ms * max(1.0, kept / (2 * running.devices))
        return not (running.stopping or young) and lost_ms <= fresh_ms

    def _soon(self, running: RunningJob) -> bool:
        left_ms = self.estimates.left_of(running)
        return left_ms is not None and left_ms < _SOON_MS

    def _stop(self, running: RunningJob, cause: StopCause, sentence: str) -> None:
        lost_ms = lost_work_ms(running, self.now_ms)
        self._found.stops.setdefault(running.job_id, Stop(running.job_id, cause, None, sentence, lost_ms))

    def _who_is_on(self, cell: Cell, seats: list[tuple[int, int]]) -> dict[JobId, RunningJob]:
        masks = dict(seats)
        return {
            running.job_id: running
            for running in self._running.get(cell, [])
            if any(mask & masks.get(row, 0) for row, mask in masks_of(cell, running))
        }

    def _emptied(self, shape: Shape, cell: Cell, leaving: frozenset[JobId]) -> list[tuple[int, int]]:
        """(row, mask): the devices that come free with the fewest stops; nothing: they cannot be had."""
        closed = set(closed_rows(shape, cell))
        on_row: dict[int, list[tuple[RunningJob, int]]] = {}
        for running in self._running.get(cell, []):
            for row, mask in masks_of(cell, running):
                on_row.setdefault(row, []).append((running, mask))
        costs: dict[int, tuple[float, int]] = {}
        for row, part in enumerate(cell.parts):
            if (
                row not in closed
                and part.view.usable
                and not part.reserved
                and part.node_id not in self._booked
            ):
                cost = self._cost_of(shape, cell, row, on_row.get(row, []), leaving)
                if cost is not None:
                    costs[row] = cost
        best: tuple[float, list[int]] | None = None
        for inside in domains(shape, cell):
            rows = sorted(
                (row for row in costs if inside is None or row in inside),
                key=lambda row: (costs[row][0], row),
            )[: shape.tasks]
            total = sum(costs[row][0] for row in rows)
            if len(rows) == shape.tasks and (best is None or total < best[0]):
                best = total, rows
        return [] if best is None else [(row, costs[row][1]) for row in best[1]]

    def _cost_of(
        self,
        shape: Shape,
        cell: Cell,
        row: int,
        there: list[tuple[RunningJob, int]],
        leaving: frozenset[JobId],
    ) -> tuple[float, int] | None:
        """(cost, devices) of what a task needs of a row; None: it cannot be had."""
        part, count = cell.parts[row], shape.devices_of(0)
        usable, cost, cpu, memory = part.free, 0.0, float(cell.cpu[row]), float(cell.memory[row])
        options = []
        for running, mask in there:
            leaves = running.job_id in leaving
            if leaves or self._soon(running) or self._would_go(running, shape):
                weight = _FOR_LEAVING if leaves else 1.0
                host = (running.shape.cpu_milli, running.shape.memory_bytes)
                options.append((weight * mask.bit_count(), running.submitted_ms, running.job_id, mask, host))
        for more, _, _, mask, host in [(0.0, 0, "", 0, (0, 0)), *sorted(options)]:
            usable, cost, cpu, memory = usable | mask, cost + more, cpu + host[0], memory + host[1]
            hosts = cpu >= shape.cpu_milli and memory >= shape.memory_bytes
            if hosts and (chosen := part.layout.choose(usable, count)):
                return cost, chosen
        return None

    def _would_go(self, running: RunningJob, gang: Shape) -> bool:
        """Whether it may be asked to go on on another node of its model."""
        shape = running.shape
        if shape.queue.firm_id != gang.queue.firm_id:
            cost_ms = shape.restart_ms + self.config.fresh_ms
            if self.now_ms - running.started_ms < _FOR_OTHERS * cost_ms:
                return False
        saves = lost_work_ms(running, self.now_ms) <= SAVES_MS
        return shape.resumable and shape.whole and len(running.tasks) == 1 and saves


def _wants_together(shape: Shape) -> bool:
    """Whether it is traded, and needs several devices of one node, on each of its nodes as many."""
    # Most are told apart by the first of these, and all who run are asked.
    if len(shape.models) < 2 or shape.devices < 2 or shape.devices_per_node < 2 or not shape.whole:
        return False
    return not shape.groups and not shape.sizes and shape.devices == shape.tasks * shape.devices_of(0)


def _would_move(running: RunningJob, estimates: Estimates) -> bool:
    shape = running.shape
    return (
        shape.resumable and _wants_together(shape) and estimates.speeds(shape).get(running.model, 1.0) < 1.0
    )


def _wishes_of(floor: Floor, worth: Floats) -> Iterator[_Wish]:
    chosen, traders = best_of_all(floor, worth), floor.traders
    stays = (chosen >= 0) & (chosen == floor.runs_on)
    leaving: dict[str, set[JobId]] = {}
    for running, goes_on in zip(floor.running, stays[floor.runs_at].tolist(), strict=True):
        if not goes_on:
            leaving.setdefault(running.model, set()).add(running.job_id)
    wanted = (chosen >= 0) & floor.of_shape([_wants_together(shape) for shape in floor.shapes])
    for at in np.flatnonzero(wanted).tolist():
        trader, model = traders[at], floor.models[chosen[at]]
        values = dict(zip(floor.models, worth[at].tolist(), strict=True))
        better = frozenset(other for other in floor.models if values[other] > values[model])
        if stays[at] or (trader.running is not None and trader.running.model in better):
            continue
        of_one = values[model] / trader.devices
        yield _Wish(
            int(floor.classes[at]), of_one, trader, model, better,
            frozenset(leaving.get(model, ())), floor.queue,
        )  # fmt: skip


def _own(queue: Queue, model: str) -> int:
    """How many devices of the model nobody takes back from the queue; none where quota is in compute."""
    if COMPUTE in queue.nominal:
        return 0
    return queue.nominal.get(model, _NO_LIMIT if queue.cohort is None else 0)
