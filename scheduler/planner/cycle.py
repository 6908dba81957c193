"""One cycle: from a snapshot to a plan and a report. Reads like a table of contents; each line has its file."""

from collections.abc import Sequence, Set
from itertools import chain
from math import inf

from scheduler.catalogue import Catalogue
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import JobId
from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import to_rfc3339
from scheduler.planner.account import account_of
from scheduler.planner.behind import Behind
from scheduler.planner.budgets import Budgets
from scheduler.planner.calendar import Later, close_booked_nodes, drained, near
from scheduler.planner.cells import Cell
from scheduler.planner.claims import MAKES_ROOM, Blocked, Claims, Refused
from scheduler.planner.closeness import Closeness, Closer
from scheduler.planner.config import PlannerConfig
from scheduler.planner.counterfactuals import Counterfactuals
from scheduler.planner.demand import Mix, mix_of
from scheduler.planner.estimates import Estimates, Memory
from scheduler.planner.feasibility import unknown_model
from scheduler.planner.fleet import Fleet
from scheduler.planner.forecast import Forecast
from scheduler.planner.garbage import uncollected
from scheduler.planner.gathering import Gatherer
from scheduler.planner.giving_back import StillHeld
from scheduler.planner.market import hold_market, with_market
from scheduler.planner.moves import Moves
from scheduler.planner.next_cycle import Ahead, Started, may_stop_in_vain, without_futile
from scheduler.planner.ordering import ClassCursor, Ordering
from scheduler.planner.overdue import Overdue
from scheduler.planner.patience import Patience
from scheduler.planner.placement import Found, Seat
from scheduler.planner.plan import JobPlacement, Plan, Stop, TaskPlacement
from scheduler.planner.preemption import Preemption
from scheduler.planner.reasons import by_money_alone, no_queue, why_no_room
from scheduler.planner.refusals import Refusal, Refusals, Turn
from scheduler.planner.report import ClassReport, Report
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob
from scheduler.planner.turns import Turns
from scheduler.planner.variants import Candidate, Options, sizes_to_try

_TRIES = 2  # of a plan by the plan after it


def plan(snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> tuple[Plan, Report]:
    """Decides what starts now and who stops, and says why the rest waits. The same arguments, the same answer.

    Cost: O(devices) to lay out capacity; `Planner` keeps it from cycle to cycle. Then for each placement one
    pass over the scores of a cell, for each shape that is blocked once O(nodes) of its cells for the
    reservation. Jobs that wait behind a blocked one of their shape cost nothing.
    """
    with uncollected():  # until its arrays are gone too
        return Planner(snapshot.catalogue, config).plan(snapshot, now_ms)


class Planner:
    """Keeps free capacity in arrays between cycles; its plans are those of `plan` on the same snapshot."""

    def __init__(self, catalogue: Catalogue, config: PlannerConfig) -> None:
        self.config = config
        self.fleet = Fleet(catalogue)
        self._memory = Memory()

    def plan(self, snapshot: Snapshot, now_ms: int, mix: Mix | None = None) -> tuple[Plan, Report]:
        """One cycle. `mix` are the typical demands, where the caller knows them better than the snapshot.

        Cost: one comparison a node, the devices of nodes that changed, and the cycle itself; where anybody stops for a
        gain or a priority, the cycle after it, and once more if somebody would stop in vain.
        """
        with uncollected():
            mix = mix_of(snapshot) if mix is None else mix
            self.fleet.sync(snapshot.nodes)
            self.fleet.weigh(mix)
            cycle = _Cycle(Ahead(snapshot, {}), now_ms, self.config, self.fleet, self._memory)
            decided, report = cycle.run()
            if may_stop_in_vain(decided, cycle.traded):
                decided = self._tried(snapshot, decided, now_ms, cycle)
            return decided, report

    def _tried(self, snapshot: Snapshot, decided: Plan, now_ms: int, cycle: "_Cycle") -> Plan:
        """The plan without those stops that the cycles after it show to be in vain."""
        started = Started(snapshot, decided.placements, now_ms)
        for _ in range(_TRIES):
            ahead = started.after(decided.stops)
            self.fleet.expect(ahead.turnover)
            then, _ = _Cycle(ahead, now_ms, self.config, self.fleet, self._memory).run()
            tried, decided = decided, without_futile(snapshot, decided, then, cycle.gathered, cycle.traded)
            if decided.stops == tried.stops or not may_stop_in_vain(decided, cycle.traded):
                break  # nobody else may count on one who stays after all
        return decided


class _Cycle:
    def __init__(
        self, ahead: Ahead, now_ms: int, config: PlannerConfig, fleet: Fleet, memory: Memory
    ) -> None:
        snapshot = self._snapshot = ahead.snapshot
        self._now_ms = now_ms
        self._config = config
        self._fleet = fleet
        self._estimates = Estimates(snapshot, memory)
        self._turns = Turns(now_ms, config, self._estimates)
        self._holes = near(snapshot.calendar, now_ms, config)
        self._later = Later(snapshot.calendar, fleet, self._estimates, now_ms, config)
        self._sharing = Sharing(snapshot, config)
        self._still_held = StillHeld(snapshot, self._sharing, config)
        self._budgets = Budgets(snapshot)
        overdue = Overdue(snapshot, fleet, self._sharing, self._budgets, now_ms, config)
        self._gathering = Gatherer(
            snapshot, fleet, self._sharing, self._estimates, self._turns, self._budgets, overdue, now_ms,
            config,
        ).gather()  # fmt: skip
        self._market = hold_market(
            snapshot, fleet, self._turns, self._sharing, self._budgets, now_ms, config, self._gathering.busy
        )
        self._market.stops += self._gathering.stops.values()
        self._stops: list[Stop] = with_market(drained(snapshot, now_ms), self._market)
        self._ordering = Ordering(
            snapshot,
            config,
            self._turns,
            self._sharing,
            overdue,
            {ready.trader.job.job_id for ready in self._gathering.ready},
        )
        behind = Behind(snapshot, fleet, self._sharing, self._turns, overdue, self._market, now_ms, config)
        behind.stay(stop.job_id for stop in self._stops)
        self._preemption = Preemption(snapshot, fleet, self._sharing, behind, overdue, now_ms, config)
        memory.likeness.begin(self._holes, one_firm=any(cell.one_firm for cell in fleet.cells()))
        self._claims = Claims(
            snapshot, fleet, self._sharing, self._preemption, overdue, memory.likeness, now_ms, config
        )
        self._patience = Patience(ahead, self._sharing, self._estimates, now_ms, config)
        self._closeness = Closeness(
            snapshot, memory.likeness, fleet, self._estimates, self._preemption.expect_ends, now_ms, config
        )
        self.traded: set[JobId] = set()  # for whom work is to stop, and who takes part in the market
        self._closer_later: list[ClassReport] = []
        self._not_before: dict[JobId, int] = {}
        self._alone = sum(len(item.jobs) for item in snapshot.classes) == 1
        self._placements: list[JobPlacement] = []
        self._blocked: dict[int, Blocked] = {}  # by class number
        self._counterfactuals = Counterfactuals(fleet, self._sharing, self._budgets, now_ms, config)
        self._options = Options(snapshot, self._estimates)
        self._refusals = Refusals(
            memory.likeness,
            self._later,
            fleet,
            self._sharing,
            self._options,
            self._patience,
            now_ms,
            config,
        )

    @property
    def gathered(self) -> Set[JobId]:
        """Who stops for a gang for which devices are kept."""
        return self._gathering.stops.keys()

    def run(self) -> tuple[Plan, Report]:
        """Plans until nothing more starts or the bound on work is reached."""
        unfinished = False
        self._start_gathered()
        close_booked_nodes(self._holes, self._fleet)
        while (cursor := self._ordering.pop()) is not None:
            if len(self._placements) >= self._config.max_placements:
                unfinished = True
                break
            self._judge(cursor)
        if not unfinished:
            self._move()
        return Plan(tuple(self._placements), tuple(self._stops)), self._report(unfinished)

    def _start_gathered(self) -> None:
        for trader, cell, seats in self._gathering.ready:
            self._seat(trader.shape, trader.job, Candidate(cell.model, cell.pool), cell, seats, ())
            self._ordering.charge(trader.shape.queue, cell.model, trader.devices)

    # --- one job ------------------------------------------------------------------------------------------

    def _judge(self, cursor: ClassCursor) -> None:
        shape, job = cursor.shape, cursor.head
        queue = self._snapshot.queues.get(shape.queue)
        if job is None or queue is None or not queue.pools:
            self._blocked[cursor.number] = Blocked((no_queue(shape, queue),))
            self._ordering.leave(cursor)
            return
        paid = self._budgets.binds(shape)  # then others tell nothing of it, and it of no others
        target = self._market.model_of(shape, job)  # then devices are kept for it there
        known = None if paid or target is not None else self._refusals.known(shape, job, queue)
        if known is not None:
            self._wait(cursor, job, queue, known)
            return
        unjudged = None if paid else self._closeness.unjudged(shape, job, queue)
        if unjudged is not None and self._may_wait_for_closer(cursor, job, shape):
            self._blocked[cursor.number] = Blocked((unjudged,))
            self._ordering.leave(cursor)
            return
        turn = Turn(shape, job, queue, target, cursor.borrows)
        met = None if paid else self._refusals.just_met(turn)
        if met is not None:
            self._wait(cursor, job, queue, met)
            return
        refused = Refused()
        for size in self._sizes(shape, queue):
            for group in self._options.of(shape, queue, target):
                model = self._start(size, cursor, job, queue, group, refused)
                if model is not None:
                    self._ordering.again(cursor, model, size.devices)
                    return
                if refused.closer is not None:
                    self._wait_for_closer(cursor, job, refused.closer)
                    return
                if refused.wanted_back and group[0].model == target:
                    self._ordering.later(cursor)  # elsewhere it would be moved to there, and come back
                    return
        if refused.wanted_back:
            self._ordering.later(cursor)
            return
        change = self._counterfactuals.of(shape, queue, refused.reasons, refused.by_devices, paid=paid)
        self._wait(cursor, job, queue, self._refusals.note(turn, refused, change, paid=paid))

    def _wait(self, cursor: ClassCursor, job: WaitingJob, queue: Queue, met: Refusal) -> None:
        """The head of a class, and with it the class, does not start in this cycle."""
        blocked = met.blocked_of(cursor.shape)
        if self._claims.spent(cursor.shape, met.refused):
            self._ordering.settle(cursor, self._settled)
        elif job.job_id in self._gathering.kept_for:
            blocked.change = MAKES_ROOM
        else:
            stops = self._claims.claim(cursor.shape, job, queue, cursor.rank, met.refused, blocked)
            self._stops.extend(stops)
            if stops and self._market.decides(cursor.shape, job):
                self.traded.add(job.job_id)
        self._blocked[cursor.number] = blocked
        self._ordering.leave(cursor)

    def _wait_for_closer(self, cursor: ClassCursor, job: WaitingJob, closer: Closer) -> None:
        """It could start: whoever comes after it may, those of its class too, and nothing is kept for it."""
        self._not_before[job.job_id] = closer.from_ms
        self._closer_later.append(ClassReport(cursor.shape, (job,), (closer.why,), closer.change))
        self._ordering.skip(cursor)

    def _may_wait_for_closer(self, cursor: ClassCursor, job: WaitingJob, size: Shape) -> bool:
        """Neither does the market have a part in it, nor would work stop for it at such a size."""
        return not (self._market.decides(cursor.shape, job) or self._claims.may_stop(size))

    def _settled(self, cursor: ClassCursor) -> bool:
        """Whether a class need not have its turn: what it would meet is known, and nothing would be done for it."""
        shape, job, queue = cursor.shape, cursor.head, self._snapshot.queues.get(cursor.shape.queue)
        met = None if queue is None or job is None else self._refusals.known(shape, job, queue)
        if met is None or not self._claims.spent(shape, met.refused):
            return False
        self._blocked[cursor.number] = met.blocked_of(shape)
        return True

    def _start(
        self,
        shape: Shape,
        cursor: ClassCursor,
        job: WaitingJob,
        queue: Queue,
        group: Sequence[Candidate],
        refused: Refused,
    ) -> str | None:
        """Places the job, in such a size, on the model where least is lost; else notes why it does not fit.

        Before the turn of those who borrow it borrows nothing that others may take back.
        """
        best: tuple[Found, Candidate, Cell] | None = None
        for candidate in group:
            cell = self._fleet.get(candidate.pool, candidate.model)
            reason = self._forbidden(shape, queue, candidate, refused)
            patient = self._patience.reason(shape, job, candidate.model)
            if reason is not None and patient is not None:
                refused.would_wait.add(candidate)
            reason = reason or patient
            if reason is None and not cursor.borrows and self._wanted_back(shape, queue, candidate.model):
                refused.wanted_back = True
                continue
            found = None
            if reason is None:
                met = None if cell is None else self._later.find(shape, job, cell)
                found, reason = (None, met) if isinstance(met, WhyNot) else (met, None)
                refused.begins_anew |= reason is not None
                if cell is None or met is None:
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
        if self._may_wait_for_closer(cursor, job, shape):
            refused.closer = self._closeness.closer(shape, job, queue, cell, found.seats)
            if refused.closer is not None:
                return None
        self._sharing.take_for(shape, candidate.model)
        self._budgets.take(shape, candidate.model)
        self._seat(shape, job, candidate, cell, found.seats, refused.reasons)
        return candidate.model

    def _forbidden(self, shape: Shape, queue: Queue, candidate: Candidate, refused: Refused) -> WhyNot | None:
        """Why the job may not start on a model, whatever is free; or None."""
        model = candidate.model
        if self._snapshot.catalogue.get(model) is None:
            return unknown_model(model)
        unpaid = self._budgets.refusal(shape, model)
        if unpaid is not None:
            return unpaid  # before the quota, of which something would be taken back and kept for it
        too_much = self._sharing.refusal(queue, model, self._sharing.devices_of(shape, model))
        too_much = too_much or self._still_held.refusal(shape, queue, model)
        if too_much is not None:
            refused.by_quota.append(candidate)
        return too_much

    def _wanted_back(self, shape: Shape, queue: Queue, model: str) -> bool:
        """Whether the queue would borrow for it what somebody else of its tree waits for as his own."""
        asked = self._sharing.devices_of(shape, model)
        borrowed = self._sharing.would_borrow(queue, model, asked)
        return bool(borrowed) and self._ordering.wanted_back(queue.key, borrowed)

    def _seat(
        self,
        shape: Shape,
        job: WaitingJob,
        candidate: Candidate,
        cell: Cell,
        seats: list[Seat],
        refusals: Sequence[WhyNot],
    ) -> None:
        account = account_of(shape, cell, seats, refusals, self._snapshot.catalogue)
        self._still_held.started(shape, candidate.model)
        tasks = []
        for rank, (row, mask, demand) in enumerate(seats):
            part = cell.parts[row]
            self._fleet.take(cell, row, mask, demand, shape.queue.firm_id)
            tasks.append(TaskPlacement(rank, part.view.node_id, part.ids(mask), shape.share_ppm))
        self._placements.append(
            JobPlacement(job.job_id, candidate.model, candidate.pool, tuple(tasks), account)
        )

    def _move(self) -> None:
        """Running jobs that would end sooner elsewhere, on devices that nobody waits for."""
        moves = Moves(
            self._snapshot,
            self._fleet,
            self._sharing,
            self._budgets,
            self._estimates,
            self._now_ms,
            self._config,
        )
        settled = self._market.decided | {stop.job_id for stop in self._stops}
        self._stops.extend(moves.worthwhile(frozenset(settled)))
        if not (self._blocked or self._closer_later or self._snapshot.resting):
            settled = self._market.decided | {stop.job_id for stop in self._stops}
            self._stops.extend(moves.growing(frozenset(settled)))

    def _sizes(self, shape: Shape, queue: Queue) -> list[Shape]:
        """The shape, then, for an elastic job, the same with fewer devices, the most first.

        Where nobody else waits it takes more than it asked for, if there is more.
        """
        if not shape.sizes:
            return [shape]
        asked = shape.devices
        room: float = inf
        if shape.share_ppm == WHOLE_PPM:
            options = chain.from_iterable(self._options.of(shape, queue, None))
            cells = [self._fleet.get(one.pool, one.model) for one in options]
            nodes = [
                cell.with_room_counting_held(shape.devices_per_node) for cell in cells if cell is not None
            ]
            room = max(nodes, default=0) * shape.devices_per_node
        larger = [s for s in sizes_to_try(shape.sizes, room) if s > asked] if self._alone else []
        smaller = [s for s in sizes_to_try(shape.sizes, min(room, asked - 1)) if s < asked]
        return [shape._replace(devices=size) for size in (*larger, asked, *smaller)]

    # --- the account --------------------------------------------------------------------------------------

    def _report(self, unfinished: bool) -> Report:
        classes = [*self._closer_later]
        unpaid: set[JobId] = set()
        for cursor in self._ordering.cursors:
            left = cursor.jobs[cursor.next :] if cursor.next else cursor.jobs
            if not left:
                continue
            blocked = self._blocked.get(cursor.number)
            if blocked is None:
                sentence = "the last cycle reached its bound on work before this job"
                blocked = Blocked((WhyNot(Reason.NOT_PLANNED_YET, sentence),))
            if self._budgets.binds(cursor.shape) and by_money_alone(blocked.reasons):
                unpaid.update(job.job_id for job in left)
            classes.append(
                ClassReport(cursor.shape, left, blocked.reasons, blocked.change, blocked.starts_by_ms)
            )
        placed = {placement.job_id: placement.device_model for placement in self._placements}
        forecast = Forecast(
            self._snapshot,
            self._estimates,
            self._turns,
            self._now_ms,
            self._config,
            placed,
            unpaid,
            self._not_before,
        )
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
