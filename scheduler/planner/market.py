"""Where jobs that resume should be: each queue's own devices and what is free, shared out anew when it pays.

Takes part: jobs of one queue that resume from a model checkpoint, whose rest is predicted and that have
variants for several models. Priority classes come one after the other. Who stays has an advantage worth the
cost of a move, who has just started stays.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.time import HOUR_MS, MINUTE_MS
from scheduler.planner.assignment import assign, least_costs
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import Demand, demand_of
from scheduler.planner.estimates import Estimates, fair_speed
from scheduler.planner.fleet import Fleet
from scheduler.planner.ordering import Turns
from scheduler.planner.overdue import PATIENT, time_with_devices_ms
from scheduler.planner.placement import find_seats
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.preemption import lost_work_ms, masks_of, must_stay
from scheduler.planner.reach import never_seated
from scheduler.planner.rows import Bools
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob

# Of each waiting class so many jobs take part: more could not start in one cycle.
_MOST_OF_A_CLASS = 64
# What the market gives is asked for again in about this time: within it a move must pay, however long the rest.
_LASTS_MS = 10.0 * MINUTE_MS
# Where the profile says so a job that needs more than its share of the devices has longer patience (overdue.PATIENT),
# as others would lose more by it.
_FOR_OVERDUE = 0.02
# Where the profile says so, who has had so much and has at least as much to go weighs half of who has had nothing.
_LITTLE_MS = 12.0 * HOUR_MS
_ASKED_AGAIN = 3  # gangs, whether they fit once others have left

Floats = NDArray[np.float64]


class Trader(NamedTuple):
    shape: Shape
    job: WaitingJob
    running: RunningJob | None
    left_ms: float  # on its fastest model

    @property
    def devices(self) -> int:
        """What it holds; an elastic job may hold fewer than it asked for."""
        return self.shape.devices if self.running is None else self.running.devices


class _Going(NamedTuple):
    """Who leaves its devices, and for which model."""

    trader: Trader
    running: RunningJob
    to: str | None


class _Held(NamedTuple):
    """Devices of one task."""

    cell: Cell
    row: int
    mask: int
    demand: Demand
    firm_id: FirmId


@dataclass(slots=True)
class Market:
    """The outcome: who should be where, and who has to stop for it."""

    target: dict[JobId, str] = field(default_factory=dict)  # waiting jobs that should start on a model
    stops: list[Stop] = field(default_factory=list)
    taking_part: set[JobId] = field(default_factory=set)
    promised: dict[str, int] = field(default_factory=dict)  # free devices by model that a queue before takes
    # Waiting jobs that come after those who were chosen, each with the lowest rank of these.
    passed_over: dict[JobId, int] = field(default_factory=dict)


def hold_market(
    snapshot: Snapshot,
    fleet: Fleet,
    turns: Turns,
    sharing: Sharing,
    budgets: Budgets,
    now_ms: int,
    config: PlannerConfig,
    elsewhere: Set[JobId] = frozenset(),
) -> Market:
    """Without those of whom is decided `elsewhere`. Cost: O(jobs that take part x models x log jobs) a queue."""
    market = Market()
    estimates = turns.estimates
    if config.policy.move_for_gain is None or not estimates.predicts:
        return market
    for key, traders in sorted(traders_of(snapshot, estimates, budgets, elsewhere).items()):
        queue = snapshot.queues.get(key)
        if queue is not None:
            held = [trader.running for trader in traders if trader.running is not None]
            models = _models_of(traders)
            at_most = sharing.within(queue, models, held)  # who went where it refuses him would come back
            floor = Floor(traders, queue, fleet, turns, market.promised, now_ms, config, at_most)
            values = worth_of(floor, estimates, now_ms, config)
            _settle(market, floor, _choose(floor, values, now_ms, config), now_ms, config)
            _pass_over(market, floor, snapshot, turns, elsewhere)
    turns.market_chose(market.target.keys(), market.passed_over)
    return market


def with_market(first: Iterable[Stop], market: Market) -> list[Stop]:
    """Stops that have to be, and those of the market beside them."""
    stops = list(first)
    gone = {stop.job_id for stop in stops}
    return stops + [stop for stop in market.stops if stop.job_id not in gone]


def traders_of(
    snapshot: Snapshot,
    estimates: Estimates,
    budgets: Budgets,
    elsewhere: Set[JobId] = frozenset(),
    *,
    all_who_wait: bool = False,
) -> dict[QueueKey, list[Trader]]:
    """Who takes part, by queue. `all_who_wait`: those too who could not leave again once they run."""
    found: dict[QueueKey, list[Trader]] = {}
    for item in snapshot.classes:
        shape = _paid(item.shape, budgets)
        if not (_takes_part(shape) or (all_who_wait and shape.whole and shape.devices > 0 and shape.models)):
            continue
        jobs = item.jobs[:_MOST_OF_A_CLASS]
        if elsewhere:
            jobs = tuple(job for job in jobs if job.job_id not in elsewhere)
        lefts_ms = zip(jobs, estimates.lefts_ms(shape, jobs), strict=True)
        traders = [Trader(shape, job, None, left_ms) for job, left_ms in lefts_ms if left_ms is not None]
        if traders:
            found.setdefault(shape.queue, []).extend(traders)
    for running in (running for running in snapshot.running if _takes_part(running.shape)):
        shape = _paid(running.shape, budgets)
        if _takes_part(shape) and not running.stopping and running.model in shape.models:
            left_ms = estimates.left_ms(shape, running.waiting)
            if left_ms is not None and running.job_id not in elsewhere:
                trader = Trader(shape, running.waiting, running, left_ms)
                found.setdefault(running.shape.queue, []).append(trader)
    for traders in found.values():
        traders.sort(key=lambda trader: (trader.job.submitted_ms, trader.shape.devices, trader.left_ms))
    return found


def _paid(shape: Shape, budgets: Budgets) -> Shape:
    """With the models alone on which its budgets could pay for a start: one that runs pays anew when it moves."""
    if not budgets.binds(shape) or not _takes_part(shape):
        return shape
    return shape._replace(
        models=tuple(model for model in shape.models if budgets.refusal(shape, model) is None)
    )


def _takes_part(shape: Shape) -> bool:
    return shape.resumable and len(shape.models) > 1 and shape.whole and shape.devices > 0


def _models_of(traders: Iterable[Trader]) -> list[str]:
    """The models of all of them, by name."""
    return sorted(set().union(*{trader.shape.models for trader in traders}))


class Floor:
    """What is traded in one queue, and among whom.

    Who is of a lower class gets what the higher ones leave. Age raises nobody above those who are here, but for
    the first of those who have had nothing for too long: they come before everybody, so that nobody waits for
    ever, whatever the profile weighs.
    """

    def __init__(
        self,
        traders: list[Trader],
        queue: Queue,
        fleet: Fleet,
        turns: Turns,
        promised: Mapping[str, int],
        now_ms: int,
        config: PlannerConfig,
        at_most: Mapping[str, int] | None = None,
    ) -> None:
        """`traders` by age; `promised` by model to others; of each no more than `at_most` is traded."""
        self._fleet = fleet
        self._now_ms = now_ms
        self.queue = queue
        self.traders = traders
        self.models = _models_of(traders)
        self.devices = np.array([float(trader.devices) for trader in traders])
        self.capacity = self._capacity(fleet, promised, at_most or {})
        self._most: dict[str, float] = dict(zip(self.models, self.capacity.tolist(), strict=True))
        self._highest = max(priority.rank for priority in {trader.shape.priority for trader in traders})
        self._overdue = self._first_overdue(PATIENT * config.ageing_ms, config.policy.patience_of_large)
        self.ranks = [turns.rank(trader.shape, trader.job) for trader in traders]
        self.classes = [
            self.class_of(trader.job, rank) for trader, rank in zip(traders, self.ranks, strict=True)
        ]

    def _first_overdue(self, patience_ms: float, most: float) -> set[JobId]:
        """The first of those who have had nothing for too long: one, or as many as a small share holds.

        The first is whose patience ended first: nobody who comes later than that is ever before it.
        """
        share = _FOR_OVERDUE * float(self.capacity.sum())
        late: list[tuple[float, Trader]] = []
        old = takewhile(lambda trader: trader.job.submitted_ms + patience_ms < self._now_ms, self.traders)
        for trader in old:
            if not self.holds(trader.shape):
                continue
            longer = min(max(1.0, trader.devices / share), most)
            had_ms = time_with_devices_ms(trader.running or trader.job, self._now_ms)
            due_ms = trader.job.submitted_ms + had_ms + longer * patience_ms
            if due_ms < self._now_ms:
                late.append((due_ms, trader))
        late.sort(key=lambda item: item[0])
        found: set[JobId] = set()
        for _, trader in late:
            share -= trader.devices
            if found and share < 0:
                break
            found.add(trader.job.job_id)
        return found

    def class_of(self, job: WaitingJob, rank: int) -> int:
        """Its priority class with its age, or the one above all."""
        if job.job_id in self._overdue:
            return self._highest + 1
        return min(rank, self._highest)

    def _capacity(self, fleet: Fleet, promised: Mapping[str, int], at_most: Mapping[str, int]) -> Floats:
        """What is free for the queue, less what others were promised, and what those who take part hold."""
        capacity = dict.fromkeys(self.models, 0)
        for pool in self.queue.pools:
            for model in self.models:
                cell = fleet.get(pool, model)
                capacity[model] += 0 if cell is None else cell.open_devices
        for model in self.models:
            capacity[model] = max(0, capacity[model] - promised.get(model, 0))
        for trader in self.traders:
            if trader.running is not None:
                capacity[trader.running.model] += trader.running.devices
        return np.array([float(min(count, at_most.get(model, count))) for model, count in capacity.items()])

    def stuck(self, going: Sequence[_Going], *, change_places: bool) -> set[JobId]:
        """Gangs that have no devices together where they are to go; devices are counted on the market, not laid out.

        Where they may change places each takes of what all leave, the largest first. Cost: a search a gang, and the
        nodes of all. Nothing stays changed.
        """
        taken: list[_Held] = []
        left = [held for one in going for held in self._held(one.running)] if change_places else []
        for cell, row, mask, demand, _ in left:
            self._fleet.give_back(cell, row, mask, demand)
        found: set[JobId] = set()
        for one in sorted(going, key=lambda one: -one.trader.devices):
            if one.to is None or one.trader.devices == 1:
                continue
            seats = self._seats(one.trader.shape, one.to)
            if seats is None:
                found.add(one.trader.job.job_id)
            elif change_places:
                taken += seats
                for cell, row, mask, demand, firm_id in seats:
                    self._fleet.take(cell, row, mask, demand, firm_id)
        for cell, row, mask, demand, _ in taken:
            self._fleet.give_back(cell, row, mask, demand)
        for cell, row, mask, demand, firm_id in left:
            self._fleet.take(cell, row, mask, demand, firm_id)
        return found

    def _held(self, running: RunningJob) -> list[_Held]:
        cell, shape = self._fleet.get(running.pool, running.model), running.shape
        masks = () if cell is None else masks_of(cell, running)
        return [
            _Held(cell, row, mask, demand_of(shape, mask.bit_count()), shape.queue.firm_id)
            for row, mask in masks
            if mask and cell is not None
        ]

    def _seats(self, shape: Shape, model: str) -> list[_Held] | None:
        for pool in self.queue.pools:
            cell = self._fleet.get(pool, model)
            found = None if cell is None else find_seats(shape, self._fleet, cell, None)
            if cell is not None and found is not None:
                firm_id = shape.queue.firm_id
                return [_Held(cell, seat.row, seat.mask, seat.demand, firm_id) for seat in found.seats]
        return None

    def unseated(self) -> Bools:
        """(traders, models): waiting gangs that no nodes in service could seat on a model, whoever left them."""
        shapes = [trader.shape if trader.running is None else None for trader in self.traders]
        places = [[self._fleet.get(pool, model) for pool in self.queue.pools] for model in self.models]
        return np.column_stack([never_seated(shapes, cells) for cells in places])

    def holds(self, shape: Shape) -> bool:
        """Whether there are enough devices of one of its models for the job."""
        return shape.devices <= max([self._most.get(model, 0) for model in shape.models], default=0)


def _choose(floor: Floor, values: Floats, now_ms: int, config: PlannerConfig) -> list[str | None]:
    """The model of each trader: first those who have to stay, then class by class."""
    stays = [
        None
        if trader.running is None or not must_stay(trader.running, now_ms, config)
        else trader.running.model
        for trader in floor.traders
    ]
    return best_of_all(floor, values, stays)


def best_of_all(floor: Floor, values: Floats, stays: Sequence[str | None] = ()) -> list[str | None]:
    """The model of each trader, class by class, but for those who stay where they are."""
    left = floor.capacity.copy()
    chosen = np.full(len(floor.traders), -1, dtype=np.int64)
    bound = np.zeros(len(floor.traders), dtype=bool)
    for at, model in enumerate(stays):
        if model is not None:
            chosen[at], bound[at] = floor.models.index(model), True
            left[chosen[at]] -= floor.devices[at]
    classes = np.array(floor.classes)
    for rank in sorted(set(floor.classes), reverse=True):
        those = np.flatnonzero((classes == rank) & ~bound)
        chosen[those] = assign(values[those], floor.devices[those], left)
        taken = chosen[those] >= 0
        np.subtract.at(left, chosen[those][taken], floor.devices[those][taken])
    return [None if at < 0 else floor.models[at] for at in chosen.tolist()]


def _settle(
    market: Market, floor: Floor, chosen: list[str | None], now_ms: int, config: PlannerConfig
) -> None:
    """Who starts, and who stops for it."""
    wanted: dict[str, int] = {}  # model -> the highest class that wants more of it
    outcome = list(zip(floor.traders, chosen, floor.classes, strict=True))
    market.taking_part.update([trader.job.job_id for trader in floor.traders])
    for trader, model, rank in outcome:
        if model is None:
            continue
        if trader.running is None:
            market.target[trader.job.job_id] = model
        if trader.running is None or trader.running.model != model:
            wanted[model] = max(rank, wanted.get(model, rank))
            market.promised[model] = market.promised.get(model, 0) + trader.devices
    going: list[_Going] = []
    for trader, model, rank in outcome:
        running = trader.running
        if running is None or model == running.model or must_stay(running, now_ms, config):
            continue
        if model is None and wanted.get(running.model, -1) < rank:
            continue  # it stays: nobody who is not behind it wants what it has
        going.append(_Going(trader, running, model))
    for _, running, model in _who_can_go(floor, going):
        market.stops.append(_stop(running, model, now_ms))
        left = market.promised.get(running.model, 0) - running.devices
        market.promised[running.model] = max(0, left)


def _who_can_go(floor: Floor, going: list[_Going]) -> list[_Going]:
    """Without gangs for which so many devices are or come free, but not together. Gangs may change places.

    Who stays leaves others without its devices, so that it is asked again, a few times; after that nobody counts on
    what others leave.
    """
    for change_places in (True,) * _ASKED_AGAIN + (False,):
        stuck = floor.stuck(going, change_places=change_places)
        going = [one for one in going if one.trader.job.job_id not in stuck]
        if not stuck:
            break
    return going


def _pass_over(market: Market, floor: Floor, snapshot: Snapshot, turns: Turns, elsewhere: Set[JobId]) -> None:
    """Who takes part and was not chosen comes after those of its class who were.

    Where there are too few devices for it anyhow it keeps its place, so that devices are kept for it in time.
    """
    lowest: dict[int, int] = {}  # class -> rank of those who were chosen
    for trader, own, rank in zip(floor.traders, floor.ranks, floor.classes, strict=True):
        if trader.job.job_id in market.target:
            lowest[rank] = min(own, lowest.get(rank, own))
    for item in snapshot.classes if lowest else ():
        shape = item.shape
        if shape.queue == floor.queue.key and _takes_part(shape) and floor.holds(shape):
            for job in item.jobs:
                if job.job_id not in market.target and job.job_id not in elsewhere:
                    own = turns.rank(shape, job)
                    after = lowest.get(floor.class_of(job, own))
                    if after is not None:
                        market.passed_over[job.job_id] = min(own, after)


def _stop(running: RunningJob, model: str | None, now_ms: int) -> Stop:
    lost_ms = lost_work_ms(running, now_ms)
    if model is None:
        sentence = "makes room for jobs of its queue that gain more there"
        return Stop(running.job_id, StopCause.SHORTER, None, sentence, lost_ms)
    return Stop(running.job_id, StopCause.MOVE, None, f"gains more on {model}", lost_ms)


def worth_of(
    floor: Floor, estimates: Estimates, now_ms: int, config: PlannerConfig, *, saved: bool = False
) -> Floats:
    """What it is worth to run each job on each model now: (jobs, models). `saved`: as if all had just saved."""
    policy = config.policy
    shapes = [trader.shape for trader in floor.traders]
    speeds = np.array(
        estimates.of_each(shapes, lambda speeds, _: [speeds.get(model, 0.0) for model in floor.models])
    )
    left_ms = np.maximum(np.array([trader.left_ms for trader in floor.traders]), 1000.0)
    # Work that is done soon first; who would end later than alone on a fair share is worth more, the more the
    # longer he waits, and what is long compared with all there is to do must not be the last to end.
    weight = left_ms**-policy.short_first
    served_ms = np.array([float(trader.job.served_ms) for trader in floor.traders])
    if policy.little_had:
        weight *= (1.0 + np.minimum(served_ms, left_ms) / _LITTLE_MS) ** -policy.little_had
    if policy.behind:
        fair = dict(zip(floor.models, (floor.capacity / len(shapes)).tolist(), strict=True))
        fair_speeds = np.array(
            estimates.of_each(shapes, lambda speeds, devices: fair_speed(speeds, devices, fair))
        )
        submitted_ms = np.array([float(trader.job.submitted_ms) for trader in floor.traders])
        waited_ms = np.maximum(0.0, now_ms - submitted_ms)
        weight *= ((waited_ms + left_ms) * fair_speeds / (served_ms + left_ms)) ** policy.behind
    if policy.long_first:
        weight *= 1.0 + policy.long_first * (left_ms / max(estimates.horizon_ms(), 1.0)) ** 2
    asked = np.array([float(trader.shape.devices) for trader in floor.traders])
    weight *= asked**policy.for_gangs
    if policy.by_cost:
        weight *= (asked * least_costs(speeds, asked * left_ms, floor.capacity)) ** policy.by_cost
    values: Floats = np.where(floor.unseated(), 0.0, weight[:, None] * speeds)
    for at, trader in enumerate(floor.traders):
        running = trader.running
        if running is not None:
            cost_ms = trader.shape.restart_ms + (0 if saved else lost_work_ms(running, now_ms))
            gain = (
                (policy.move_for_gain or 0.0)
                * cost_ms
                / max(min(trader.left_ms, _LASTS_MS), config.min_run_ms)
            )
            values[at, floor.models.index(running.model)] *= 1.05 + gain
    return values
