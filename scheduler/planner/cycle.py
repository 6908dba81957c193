"""One cycle: from a snapshot to a plan and a report. Reads like a table of contents; each line has its file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf

from scheduler.catalogue import Catalogue
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import to_rfc3339
from scheduler.planner.backfill import Opening, earliest_opening, nodes_to_hold
from scheduler.planner.budgets import Budgets
from scheduler.planner.calendar import close_booked_nodes, drained, ends_in_time, near
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import Mix, demand_of, mix_of
from scheduler.planner.estimates import Estimates, Memory
from scheduler.planner.feasibility import unknown_model
from scheduler.planner.fleet import Fleet
from scheduler.planner.forecast import Forecast
from scheduler.planner.garbage import uncollected
from scheduler.planner.market import hold_market, with_market
from scheduler.planner.moves import Moves
from scheduler.planner.ordering import ClassCursor, Ordering, Turns
from scheduler.planner.patience import Patience
from scheduler.planner.placement import Found, Seat, find_seats
from scheduler.planner.plan import JobPlacement, Plan, Stop, TaskPlacement
from scheduler.planner.preemption import Preemption, Way, makes_room
from scheduler.planner.reasons import account, benched, counterfactual, when_it_starts, why_no_room
from scheduler.planner.report import ClassReport, Report
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob
from scheduler.planner.variants import Candidate, candidates


def plan(snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> tuple[Plan, Report]:
    """Decides what starts now and who stops, and says why the rest waits. The same arguments, the same answer.

    Cost: O(devices) to lay out capacity; `Planner` keeps it from cycle to cycle. Then for each placement one
    pass over the scores of a cell, for each shape that is blocked once O(nodes) of its cells for the
    reservation. Jobs that wait behind a blocked one of their shape cost nothing.
    """
    return Planner(snapshot.catalogue, config).plan(snapshot, now_ms)


class Planner:
    """Keeps free capacity in arrays between cycles; its plans are those of `plan` on the same snapshot."""

    def __init__(self, catalogue: Catalogue, config: PlannerConfig) -> None:
        self.config = config
        self.fleet = Fleet(catalogue)
        self._memory = Memory()

    def plan(self, snapshot: Snapshot, now_ms: int, mix: Mix | None = None) -> tuple[Plan, Report]:
        """One cycle. `mix` are the typical demands, where the caller knows them better than the snapshot.

        Cost: one comparison a node, the devices of nodes that changed, and the cycle itself.
        """
        with uncollected():
            self.fleet.sync(snapshot.nodes)
            self.fleet.weigh(mix_of(snapshot) if mix is None else mix)
            return _Cycle(snapshot, now_ms, self.config, self.fleet, self._memory).run()


@dataclass(slots=True)
class _Blocked:
    """Why a class waits."""

    reasons: list[WhyNot] = field(default_factory=list)
    change: str | None = None  # what would have let it start at its turn
    starts_by_ms: int | None = None


@dataclass(slots=True)
class _Refused:
    """What the variants of a job met."""

    reasons: list[WhyNot] = field(default_factory=list)
    by_devices: list[Candidate] = field(default_factory=list)
    by_quota: list[Candidate] = field(default_factory=list)

    def add(self, reason: WhyNot) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)


class _Cycle:
    def __init__(
        self, snapshot: Snapshot, now_ms: int, config: PlannerConfig, fleet: Fleet, memory: Memory
    ) -> None:
        self._snapshot = snapshot
        self._now_ms = now_ms
        self._config = config
        self._fleet = fleet
        self._estimates = Estimates(snapshot, memory)
        self._turns = Turns(now_ms, config, self._estimates)
        self._holes = near(snapshot.calendar, now_ms, config)
        self._sharing = Sharing(snapshot, config)
        self._budgets = Budgets(snapshot)
        self._market = hold_market(snapshot, fleet, self._estimates, self._turns, now_ms, config)
        self._stops: list[Stop] = with_market(drained(snapshot, now_ms), self._market)
        self._ordering = Ordering(snapshot, config, self._turns, self._sharing)
        self._preemption = Preemption(
            snapshot, fleet, self._sharing, self._turns, self._estimates, now_ms, config
        )
        self._preemption.traded = self._market.taking_part
        self._preemption.served = self._market.target.keys()
        self._preemption.stopped(stop.job_id for stop in self._stops)
        self._one_firm_nodes = any(cell.one_firm for cell in fleet.cells())
        self._patience = Patience(snapshot, self._sharing, self._estimates, now_ms)
        self._alone = sum(len(item.jobs) for item in snapshot.classes) == 1
        self._placements: list[JobPlacement] = []
        self._blocked: dict[int, _Blocked] = {}  # by class number
        self._changes: dict[tuple[object, ...], str | None] = {}
        self._refusals: dict[tuple[object, ...], tuple[float, _Refused, str | None]] = {}
        self._openings: dict[tuple[object, ...], Opening | None] = {}
        self._reserved: set[tuple[QueueKey, str, str]] = set()  # (queue, pool, model) with a reservation

    def run(self) -> tuple[Plan, Report]:
        """Plans until nothing more starts or the bound on work is reached."""
        unfinished = False
        close_booked_nodes(self._holes, self._fleet)
        self._preemption.expect_ends()
        while (cursor := self._ordering.pop()) is not None:
            if len(self._placements) >= self._config.max_placements:
                unfinished = True
                break
            self._judge(cursor)
        if not unfinished:
            self._move()
        return Plan(tuple(self._placements), tuple(self._stops)), self._report(unfinished)

    # --- one job ------------------------------------------------------------------------------------------

    def _judge(self, cursor: ClassCursor) -> None:
        shape, job = cursor.shape, cursor.head
        queue = self._snapshot.queues.get(shape.queue)
        if job is None or queue is None or not queue.pools:
            self._blocked[cursor.number] = _Blocked([_no_queue(shape, queue)])
            self._ordering.leave(cursor)
            return
        known = self._known_refusal(shape, job, queue)
        if known is not None:
            self._wait(cursor, job, queue, *known)
            return
        refused = _Refused()
        options = candidates(shape, queue, self._snapshot, self._estimates)
        target = self._market.target.get(job.job_id)
        if target is not None:
            options.sort(key=lambda group: all(candidate.model != target for candidate in group))
        for size in _sizes(shape, alone=self._alone):
            for group in options:
                model = self._start(size, job, queue, group, refused)
                if model is not None:
                    self._ordering.again(cursor, model, size.devices)
                    return
        change = self._what_would_help(shape, queue, options)
        if not refused.by_quota and not self._snapshot.budgets and shape.left_nano is None:
            self._refusals[self._alike(shape, queue)] = (self._ends(shape, job), refused, change)
        self._wait(cursor, job, queue, refused, change)

    def _known_refusal(
        self, shape: Shape, job: WaitingJob, queue: Queue
    ) -> tuple["_Refused", str | None] | None:
        """What a job met that asked for the same devices and ended no later: capacity only shrinks in a cycle."""
        known = self._refusals.get(self._alike(shape, queue)) if self._refusals else None
        if known is None or self._ends(shape, job) < known[0]:
            return None
        return known[1:]

    def _alike(self, shape: Shape, queue: Queue) -> tuple[object, ...]:
        """What decides which devices a job may have; its queue only where that says more than which pools."""
        by_queue = queue.nominal or queue.cohort is not None or self._holes
        return (
            demand_of(shape), shape.devices, shape.devices_per_node, shape.models, shape.avoid_nodes,
            shape.topology, shape.sizes, shape.spares, shape.groups, queue.key if by_queue else queue.pools,
            self._firm_of(shape), shape.in_image,
        )  # fmt: skip

    def _firm_of(self, shape: Shape) -> FirmId | None:
        """The firm, where nodes take tasks of one firm only: else nothing depends on it."""
        return shape.queue.firm_id if self._one_firm_nodes else None

    def _ends(self, shape: Shape, job: WaitingJob) -> float:
        """When a start now has ended at the latest on any model; inf where nobody knows."""
        ends = [
            ends_in_time(shape, job, model, self._estimates, self._now_ms, self._config)
            for model in (shape.models if shape.time_limit_ms is None else shape.models[:1])
        ]
        return min((inf if end is None else float(end) for end in ends), default=inf)

    def _wait(
        self, cursor: ClassCursor, job: WaitingJob, queue: Queue, refused: "_Refused", change: str | None
    ) -> None:
        """The head of a class, and with it the class, does not start in this cycle."""
        shape = cursor.shape
        blocked = _Blocked([*refused.reasons, *benched(shape)], change)
        self._blocked[cursor.number] = blocked
        if not self._make_room(shape, job, queue, refused.by_devices, refused.by_quota, blocked):
            self._protect(shape, job, refused.by_devices, refused.by_quota, blocked)
        self._ordering.leave(cursor)

    def _start(
        self, shape: Shape, job: WaitingJob, queue: Queue, group: Sequence[Candidate], refused: _Refused
    ) -> str | None:
        """Places the job on the model of the group where least is lost; else notes why it does not fit."""
        best: tuple[Found, Candidate, Cell] | None = None
        for candidate in group:
            cell = self._fleet.get(candidate.pool, candidate.model)
            reason = self._forbidden(shape, queue, candidate, refused)
            reason = reason or self._patience.reason(shape, job, candidate.model)
            found = None
            if reason is None:
                ends_ms = ends_in_time(
                    shape, job, candidate.model, self._estimates, self._now_ms, self._config
                )
                found = None if cell is None else find_seats(shape, self._fleet, cell, ends_ms)
                if cell is None or found is None:
                    refused.by_devices.append(candidate)
                    rule = self._snapshot.catalogue.shape(candidate.model)
                    reason = why_no_room(shape, candidate, cell, rule, self._holes)
            if reason is not None:
                refused.add(reason)
            elif cell is not None and found is not None and (best is None or found.loss < best[0].loss):
                best = (found, candidate, cell)
        if best is None:
            return None
        found, candidate, cell = best
        self._place(shape, job, candidate, cell, found.seats, refused.reasons)
        return candidate.model

    def _forbidden(
        self, shape: Shape, queue: Queue, candidate: Candidate, refused: _Refused
    ) -> WhyNot | None:
        """Why the job may not start on a model, whatever is free; or None."""
        model = candidate.model
        if self._snapshot.catalogue.get(model) is None:
            return unknown_model(model)
        too_much = self._sharing.refusal(shape, queue, model, self._sharing.devices_of(shape, model))
        if too_much is not None:
            refused.by_quota.append(candidate)
            return too_much
        return self._budgets.refusal(shape, model)

    def _place(
        self,
        shape: Shape,
        job: WaitingJob,
        candidate: Candidate,
        cell: Cell,
        seats: list[Seat],
        refusals: Sequence[WhyNot],
    ) -> None:
        why_here = account(shape, cell, seats, refusals, self._snapshot.catalogue)
        tasks = []
        for rank, seat in enumerate(seats):
            part = cell.parts[seat.row]
            self._fleet.take(cell, seat.row, seat.mask, seat.demand, shape.queue.firm_id)
            tasks.append(TaskPlacement(rank, part.node_id, part.ids(seat.mask), shape.share_ppm))
        self._sharing.take_for(shape, candidate.model)
        self._budgets.take(shape, candidate.model)
        self._placements.append(
            JobPlacement(job.job_id, candidate.model, candidate.pool, tuple(tasks), why_here)
        )

    def _what_would_help(self, shape: Shape, queue: Queue, options: list[list[Candidate]]) -> str | None:
        """The counterfactual; jobs that differ only in what does not matter to it share the answer."""
        asked = (
            shape.queue, shape.models, demand_of(shape), shape.devices, shape.avoid_nodes, shape.topology,
            shape.groups, shape.in_image, self._fleet.clock.now,
        )  # fmt: skip
        if asked not in self._changes:
            flat = chain.from_iterable(options)
            self._changes[asked] = counterfactual(shape, queue, self._fleet, flat)
        return self._changes[asked]

    # --- a blocked job ------------------------------------------------------------------------------------

    def _make_room(
        self,
        shape: Shape,
        job: WaitingJob,
        queue: Queue,
        by_devices: list[Candidate],
        by_quota: list[Candidate],
        blocked: _Blocked,
    ) -> bool:
        """Stops work that is behind the job in the order, as little as possible."""
        if not self._snapshot.running:
            return False
        best: tuple[tuple[int, int], Cell, Way] | None = None
        for number, candidate in enumerate([*by_devices, *by_quota]):
            cell = self._fleet.get(candidate.pool, candidate.model)
            if cell is None:
                continue
            borrows = self._sharing.borrows(
                queue, candidate.model, self._sharing.devices_of(shape, candidate.model)
            )
            if candidate in by_quota and (queue.cohort is None or borrows):
                continue
            way = self._preemption.find(shape, job, cell, borrows=borrows)
            if way is not None:
                lost = sum(victim.lost_ms * victim.running.devices for victim in way.victims)
                key = (lost, number)
                if best is None or key < best[0]:
                    best = (key, cell, way)
        if best is None:
            return False
        _, cell, way = best
        for row, mask in way.seats:
            cell.hold(row, mask, None)
        self._preemption.stopped(victim.running.job_id for victim in way.victims)
        for victim in way.victims:
            running = victim.running
            sentence = makes_room(victim, shape)
            self._stops.append(Stop(running.job_id, victim.cause, job.job_id, sentence, victim.lost_ms))
            self._sharing.take_for(running.shape, running.model, devices=running.devices, back=True)
        self._sharing.take_for(shape, cell.model)
        blocked.change = "starts when work that makes room for it has stopped"
        return True

    def _protect(
        self,
        shape: Shape,
        job: WaitingJob,
        by_devices: list[Candidate],
        by_quota: list[Candidate],
        blocked: _Blocked,
    ) -> None:
        """Reserves for the blocked head of a queue what keeps those behind it from overtaking it for ever."""
        waited_long = self._now_ms - job.submitted_ms >= self._config.hold_back_after_ms
        if not by_devices:
            if waited_long and by_quota:
                self._sharing.keep(shape.queue, by_quota[0].model)
            return
        if len(self._reserved) >= self._config.max_reservations or not shape.whole:
            return
        opening, best = None, None
        for candidate in by_devices:
            cell = self._fleet.get(candidate.pool, candidate.model)
            if cell is None or (shape.queue, candidate.pool, candidate.model) in self._reserved:
                continue
            found = self._opening(shape, cell)
            if found is not None and (opening is None or found.from_ms < opening.from_ms):
                opening, best = found, cell
        if opening is not None and best is not None:
            if not waited_long and opening.from_ms - self._now_ms > self._config.hold_back_after_ms:
                return  # far off: nothing is kept idle for it before it has waited long
            for row, mask in opening.seats:
                best.hold(row, mask, opening.from_ms)
            self._reserved.add((shape.queue, best.pool, best.model))
            blocked.starts_by_ms = opening.from_ms
        elif waited_long:
            self._hold_back(shape, by_devices)

    def _opening(self, shape: Shape, cell: Cell) -> Opening | None:
        """The earliest start in a cell; jobs that ask for the same devices share the answer."""
        asked = (
            cell.pool,
            cell.model,
            demand_of(shape),
            shape.devices,
            shape.devices_per_node,
            shape.avoid_nodes,
            shape.topology,
            shape.groups,
            self._firm_of(shape),
            shape.in_image,
            cell.changes,
        )
        if asked not in self._openings:
            self._openings[asked] = earliest_opening(shape, cell, self._now_ms, self._config)
        return self._openings[asked]

    def _hold_back(self, shape: Shape, by_devices: list[Candidate]) -> None:
        """Nobody knows when devices come free: keep the nodes that are closest to having room."""
        for candidate in by_devices:
            cell = self._fleet.get(candidate.pool, candidate.model)
            key = (shape.queue, candidate.pool, candidate.model)
            if cell is None or key in self._reserved:
                continue
            nodes = nodes_to_hold(shape, cell)
            if len(nodes) == shape.tasks:
                for row, mask in nodes:
                    cell.hold(row, mask, None)
                self._reserved.add(key)
                return

    def _move(self) -> None:
        """Running jobs that would end sooner elsewhere, on devices that nobody waits for."""
        moves = Moves(self._snapshot, self._fleet, self._sharing, self._estimates, self._now_ms, self._config)
        settled = self._market.taking_part.union(stop.job_id for stop in self._stops)
        self._stops.extend(moves.worthwhile(frozenset(settled)))
        if not self._blocked and not self._snapshot.resting:
            settled = self._market.taking_part.union(stop.job_id for stop in self._stops)
            self._stops.extend(moves.growing(frozenset(settled)))

    # --- the account --------------------------------------------------------------------------------------

    def _report(self, unfinished: bool) -> Report:
        classes: list[ClassReport] = []
        for cursor in self._ordering.cursors:
            left = cursor.jobs[cursor.next :] if cursor.next else cursor.jobs
            if not left:
                continue
            blocked = self._blocked.get(cursor.number)
            if blocked is None:
                sentence = "the last cycle reached its bound on work before this job"
                blocked = _Blocked([WhyNot(Reason.NOT_PLANNED_YET, sentence)])
            starts_by_ms = blocked.starts_by_ms
            change = blocked.change if starts_by_ms is None else when_it_starts(starts_by_ms)
            classes.append(ClassReport(cursor.shape, left, tuple(blocked.reasons), change, starts_by_ms))
        placed = {placement.job_id: placement.device_model for placement in self._placements}
        forecast = Forecast(self._snapshot, self._estimates, self._turns, self._now_ms, placed)
        return Report(self._now_ms, (*classes, *self._resting()), unfinished, forecast)

    def _resting(self) -> list[ClassReport]:
        reports = []
        for resting in self._snapshot.resting:
            sentence = f"its last attempt failed; the next one is due at {to_rfc3339(resting.until_ms)}"
            reports.append(
                ClassReport(
                    resting.shape,
                    (resting.job,),
                    (WhyNot(Reason.RETRY_LATER, sentence),),
                    starts_by_ms=None,
                )
            )
        return reports


def _sizes(shape: Shape, *, alone: bool) -> list[Shape]:
    """The shape, then, for an elastic job, the same with fewer devices, the most first.

    Where nobody else waits it takes more than it asked for, if there is more.
    """
    larger = sorted((size for size in shape.sizes if size > shape.devices and alone), reverse=True)
    smaller = sorted((size for size in shape.sizes if size < shape.devices), reverse=True)
    return [shape._replace(devices=size) for size in (*larger, shape.devices, *smaller)]


def _no_queue(shape: Shape, queue: Queue | None) -> WhyNot:
    if queue is None:
        return WhyNot(Reason.UNKNOWN_QUEUE, f"the firm has no queue {shape.queue.name}")
    return WhyNot(Reason.NO_POOL, f"the queue {shape.queue.name} may use no pool")
