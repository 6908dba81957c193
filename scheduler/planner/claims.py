"""What is done for a job that does not start at its turn: work behind it stops, or devices are kept for it."""

from dataclasses import dataclass, field

from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.planner.backfill import Opening, earliest_opening, nodes_to_hold, promised
from scheduler.planner.behind import Kind
from scheduler.planner.cells import Cell
from scheduler.planner.closeness import Closer
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of
from scheduler.planner.fleet import Fleet
from scheduler.planner.giving_back import Returned, Victim, Way
from scheduler.planner.likeness import Likeness
from scheduler.planner.overdue import Overdue
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.preemption import Preemption
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob
from scheduler.planner.variants import Candidate

MAKES_ROOM = "when work that makes room for it has stopped"


@dataclass(slots=True)
class Refused:
    """What the variants of a job met."""

    reasons: list[WhyNot] = field(default_factory=list)
    by_devices: list[Candidate] = field(default_factory=list)
    by_quota: list[Candidate] = field(default_factory=list)
    would_wait: set[Candidate] = field(default_factory=set)  # for a faster model, whatever the quota says
    wanted_back: bool = False  # it would have borrowed what others may take back
    closer: Closer | None = None  # it could start, and waits for a place that is closer together
    begins_anew: bool = False  # its work would be thrown away where others, who resume, may start
    in_vain: dict[Kind, object] = field(default_factory=dict)  # when nobody would stop for whom

    def add(self, reason: WhyNot) -> None:
        """Each reason once."""
        if reason not in self.reasons:
            self.reasons.append(reason)


@dataclass(slots=True)
class Blocked:
    """Why a class waits."""

    reasons: tuple[WhyNot, ...]
    change: str | None = None  # what would have let it start at its turn
    starts_by_ms: int | None = None  # its first job, as time limits alone promise


class Claims:
    """The claims of one cycle's blocked jobs. Each cell is kept for one job of a queue at most."""

    def __init__(
        self,
        snapshot: Snapshot,
        fleet: Fleet,
        sharing: Sharing,
        preemption: Preemption,
        overdue: Overdue,
        likeness: Likeness,
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        self._running = bool(snapshot.running)
        self._fleet = fleet
        self._sharing = sharing
        self._preemption = preemption
        self._overdue = overdue
        self._likeness = likeness
        self._now_ms = now_ms
        self._config = config
        # The earliest start that was found, and when by the cell's clock; later in the cycle none is earlier.
        self._openings: dict[tuple[object, ...], tuple[Opening | None, int]] = {}
        self._in_vain: dict[tuple[object, ...], int] = {}  # the fewest tasks for which no nodes can be held
        self._kept_at: dict[
            tuple[object, ...], object
        ] = {}  # when quota was kept for whom (`Sharing.moment`)
        self._reserved: dict[QueueKey, set[Candidate]] = {}
        self._reservations = 0

    def claim(
        self, shape: Shape, job: WaitingJob, queue: Queue, rank: int, refused: Refused, blocked: Blocked
    ) -> list[Stop]:
        """Who stops for the job, which has its turn with such a rank; where nobody does, devices are kept for it.

        Says in `blocked` what it can expect.
        """
        stops = None
        if self.may_stop(shape):
            stops = self._make_room(shape, job, queue, rank, refused, blocked)
        if stops is None:
            self._protect(shape, job, queue, refused, blocked)
        return stops or []

    def spent(self, shape: Shape, refused: Refused) -> bool:
        """Whether nothing more is done in this cycle for jobs of such shapes that met this."""
        if not refused.by_devices or self.may_stop(shape):
            return False
        if not self._may_reserve(shape):
            return True
        return self._reserved.get(shape.queue, _NONE).issuperset(refused.by_devices)

    def may_stop(self, shape: Shape) -> bool:
        """Whether there is work that would stop for such a shape."""
        return self._running and self._preemption.behind.could_help(shape)

    # --- work behind it stops -----------------------------------------------------------------------------

    def _make_room(
        self, shape: Shape, job: WaitingJob, queue: Queue, rank: int, refused: Refused, blocked: Blocked
    ) -> list[Stop] | None:
        """Stops work that is behind the job in the order, as little as possible; None: that would not help."""
        best: tuple[tuple[int, int], Cell, Way] | None = None
        lent: str | None = None
        moment, kind = self._sharing.moment(queue.key), self._preemption.behind.kind_of(shape, job)
        if refused.in_vain.get(kind) == moment:
            return None
        asks, in_vain = self._preemption.asks(shape, job, kind), True
        for number, candidate in enumerate([*refused.by_devices, *refused.by_quota]):
            cell = self._fleet.get(candidate.pool, candidate.model)
            lacks = self._lacks(shape, queue, candidate.model)
            if cell is None or candidate in refused.would_wait or lacks is None:
                continue
            borrows = self._borrows(shape, queue, candidate.model)
            way = self._preemption.find(asks, cell, borrows=borrows, lacks=lacks)
            in_vain &= way is None
            if way is not None and borrows and self._comes_back(shape, queue, cell, rank, way):
                way = self._preemption.find(asks, cell, borrows=True, lacks=lacks, below=rank)
            if way is not None:
                key = (way.lost, number)
                if best is None or key < best[0]:
                    best = (key, cell, way)
            elif not borrows and lent is None:
                lent = self._preemption.when_lent_comes_back(shape, job, cell, lacks)
        if best is not None:
            blocked.change = MAKES_ROOM
            return self._stop(shape, job, queue, best[1], best[2])
        if in_vain and lent is None:
            refused.in_vain[kind] = moment  # nor is any cell left of whose borrowers nobody was told
        if lent is not None:
            if blocked.change is None:
                blocked.change = f"when what its queue lent comes back: {lent}"
            else:
                blocked.change = f"{blocked.change}; or when what its queue lent comes back: {lent}"
        return None

    def _lacks(self, shape: Shape, queue: Queue, model: str) -> int | None:
        """How many devices of its quota have to come back for it; None: it never suffices, or is kept for a job that
        waits longer.
        """
        asked = self._sharing.devices_of(shape, model)
        short = self._sharing.refusal(queue, model, asked)
        if short is None:
            return 0
        if short.reason is not Reason.QUOTA_REACHED:
            return None
        # For whom it is kept comes first once it is back: where it were too little, nobody would have it.
        return max(asked, self._sharing.kept_for(queue.key, model))

    def _borrows(self, shape: Shape, queue: Queue, model: str) -> bool:
        return self._sharing.borrows(queue, model, self._sharing.devices_of(shape, model))

    def _comes_back(self, shape: Shape, queue: Queue, cell: Cell, rank: int, way: Way) -> bool:
        """Whether anybody who would stop has his turn before the job again: it still borrows then, and he does not.

        He would start again, and stop for it again.
        """
        victims = [victim.running for victim in (*way.victims, *way.later)]
        before = [one for one in victims if self._preemption.behind.turns.of_running(one).rank >= rank]
        if not before:
            return False
        with Returned(self._sharing, queue, cell.model, shape.devices) as quota:
            for one in victims:
                quota.add(one)
            still = self._borrows(shape, queue, cell.model)
            return still and not all(self._borrows(one.shape, queue, one.model) for one in before)

    def _stop(self, shape: Shape, job: WaitingJob, queue: Queue, cell: Cell, way: Way) -> list[Stop]:
        """What the victims give back is the job's, in the cell and, of the quotas, what he lacks.

        What is left of theirs is nobody's until they have stopped: until then they hold it.
        """
        cell.hold(way.seats, None)
        self._preemption.claimed(way)
        stops = [
            Stop(v.running.job_id, v.cause, job.job_id, _makes_room(v, shape), v.lost_ms) for v in way.victims
        ]
        asked = self._sharing.devices_of(shape, cell.model)
        wanted = self._sharing.lacks(queue, cell.model, asked)
        for running, *_ in (*way.victims, *way.later):
            if running.shape.whole or not shape.whole:
                wanted = self._sharing.pass_on(running, wanted)
        self._sharing.take(shape.queue, cell.model, asked)
        return stops

    # --- devices are kept ---------------------------------------------------------------------------------

    def _protect(
        self, shape: Shape, job: WaitingJob, queue: Queue, refused: Refused, blocked: Blocked
    ) -> None:
        """Reserves for the blocked head of a queue what keeps those behind it from overtaking it for ever."""
        waited_long = self._now_ms - job.submitted_ms >= self._config.hold_back_after_ms
        if self._overdue.has(shape, job) and self._may_reserve(shape):
            self._keep_for_borrower(shape, refused, blocked)
            return
        if not refused.by_devices:
            if waited_long:
                self._keep_quota(shape, queue, refused)
            return
        if not self._may_reserve(shape):
            return
        reserved = self._reserved.get(shape.queue, _NONE)
        unreserved = [candidate for candidate in refused.by_devices if candidate not in reserved]
        opening, best = self._soonest(shape, unreserved)
        if opening is not None and best is not None:
            if not waited_long and opening.from_ms - self._now_ms > self._config.hold_back_after_ms:
                return  # far off: nothing is kept idle for it before it has waited long
            best.hold(opening.seats, opening.from_ms)
            self._note(shape, best)
            if promised(opening, best, self._config):
                blocked.starts_by_ms = opening.from_ms
        elif waited_long:
            self._hold_back(shape, unreserved)

    def _keep_quota(self, shape: Shape, queue: Queue, refused: Refused) -> None:
        """Of the first model of which the whole quota would suffice; nothing where that was done just now."""
        asked = queue.key, shape.devices, shape.share_ppm, tuple(refused.by_quota)
        if self._kept_at.get(asked) == self._sharing.moment(queue.key):
            return
        models = (one.model for one in refused.by_quota if self._sharing.may_ever(shape, one.model))
        suffices = next(models, None)
        if suffices is not None:
            self._sharing.keep(queue, suffices, self._sharing.devices_of(shape, suffices))
        self._kept_at[asked] = self._sharing.moment(queue.key)

    def _keep_for_borrower(self, shape: Shape, refused: Refused, blocked: Blocked) -> None:
        """Devices where they come free first, whoever holds them; and of the quota where it lacks nothing else."""
        by_quota = [one for one in refused.by_quota if self._sharing.may_ever(shape, one.model)]
        enough = [self._fleet.get(one.pool, one.model) for one in refused.by_devices]  # of the quota
        options = [*refused.by_devices, *by_quota]
        opening, best = self._soonest(shape, options)
        if opening is None or best is None:
            self._hold_back(shape, options)
            return
        best.hold(opening.seats, opening.from_ms)
        if opening.from_ms <= self._now_ms:
            self._sharing.take_for(shape, best.model)
        self._note(shape, best)
        if best in enough and promised(opening, best, self._config):
            blocked.starts_by_ms = opening.from_ms

    def _may_reserve(self, shape: Shape) -> bool:
        """Only whole devices are kept for anybody, and not for very many."""
        return shape.whole and shape.devices > 0 and self._reservations < self._config.max_reservations

    def _soonest(self, shape: Shape, options: list[Candidate]) -> tuple[Opening | None, Cell | None]:
        """The earliest start in any of the cells, the first of equals.

        Jobs that ask for the same devices share the answers; a cell is looked at anew only where it may still win.
        """
        asked = (
            demand_of(shape), shape.devices, shape.devices_per_node, shape.avoid_nodes,
            shape.topology, shape.groups, self._likeness.firm_of(shape), shape.needs,
        )  # fmt: skip
        best: Opening | None = None
        where: Cell | None = None
        for candidate in options:
            cell = self._fleet.get(candidate.pool, candidate.model)
            if cell is None:
                continue
            self._preemption.expect_ends(cell)
            found, at = self._openings.get((candidate, asked), (None, -1))
            if at < cell.ends_clock and (at < 0 or found is not None):
                if found is not None and best is not None and found.from_ms >= best.from_ms:
                    continue
                found = earliest_opening(shape, cell, self._now_ms, self._config)
                self._openings[candidate, asked] = found, cell.ends_clock
            if found is not None and (best is None or found.from_ms < best.from_ms):
                best, where = found, cell
        return best, where

    def _hold_back(self, shape: Shape, unreserved: list[Candidate]) -> None:
        """Nobody knows when devices come free: keep the nodes that are closest to having room."""
        for candidate in unreserved:
            cell = self._fleet.get(candidate.pool, candidate.model)
            asked = (
                candidate, demand_of(shape), shape.avoid_nodes, shape.topology,
                self._likeness.firm_of(shape), shape.needs,
            )  # fmt: skip
            if cell is None or self._in_vain.get(asked, shape.tasks + 1) <= shape.tasks:
                continue  # somebody who asked for no more found too few nodes that are not kept already
            nodes = nodes_to_hold(shape, cell)
            if len(nodes) == shape.tasks:
                cell.hold(nodes, None)
                self._note(shape, cell)
                return
            self._in_vain[asked] = shape.tasks

    def _note(self, shape: Shape, cell: Cell) -> None:
        self._reserved.setdefault(shape.queue, set()).add(Candidate(cell.model, cell.pool))
        self._reservations += 1


_NONE: frozenset[Candidate] = frozenset()


def _makes_room(victim: Victim, shape: Shape) -> str:
    """For the eyes of the victim's firm: it says nothing of other firms."""
    if victim.cause is StopCause.RECLAIM:
        return "makes room for a queue that takes back quota which it had lent"
    for_whom = {
        StopCause.PRIORITY: f"of priority {shape.priority.value}",
        StopCause.SHORTER: "that is done much sooner",
    }
    return f"makes room for a job of queue {shape.queue.name} {for_whom.get(victim.cause, '')}".rstrip()
