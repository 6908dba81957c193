"""Where jobs that resume should be: each queue's own devices and what is free, shared out anew when it pays.

Takes part: jobs of one queue that resume from a model checkpoint, whose rest is predicted and that have
variants for several models. Priority classes come one after the other. Who stays has an advantage worth the
cost of a move, who has just started stays.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain, compress
from types import MappingProxyType

import numpy as np

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.planner.assignment import assign
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.fleet import Fleet
from scheduler.planner.floor import Floor, Going, models_of, without_who_stays
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.reach import InService
from scheduler.planner.rows import Bools, Floats, Ints
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import JobClass, RunningJob, Snapshot
from scheduler.planner.stoppable import lost_work_ms, must_stay
from scheduler.planner.traders import takes_part, traders_of
from scheduler.planner.turns import Turns
from scheduler.planner.worth import worth_of

_NOBODY: Mapping[int, str] = MappingProxyType({})
_ASKED_AGAIN = 3  # gangs, whether they fit once others have left


@dataclass(slots=True)
class Market:
    """The outcome: who should be where, and who has to stop for it."""

    target: dict[JobId, str] = field(default_factory=dict)  # waiting jobs that should start on a model
    stops: list[Stop] = field(default_factory=list)
    classes: dict[JobId, int] = field(default_factory=dict)  # of all who take part: one comes after the other
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
    in_service: dict[Cell, InService] | None = None
    if config.policy.move_for_gain is None or not estimates.predicts:
        return market
    waiting: dict[QueueKey, list[JobClass]] = {}
    for item in snapshot.classes:
        waiting.setdefault(item.shape.queue, []).append(item)
    for key, traders in sorted(traders_of(snapshot, estimates, budgets, elsewhere).items()):
        queue = snapshot.queues.get(key)
        if queue is not None:
            held = [running for _, running in traders.running]
            # Who went where it refuses him would come back.
            at_most = sharing.within(queue, models_of(traders.shapes), held)
            floor = Floor(traders, queue, fleet, turns, market.promised, now_ms, config, at_most)
            values = worth_of(floor, estimates, now_ms, config)
            chosen = _choose(floor, values, now_ms, config)
            kept_out = np.zeros(len(chosen), dtype=np.bool_)
            if any(chosen[at] < 0 for at, _ in floor.running):
                if in_service is None:
                    in_service = without_who_stays(snapshot, fleet)
                kept_out = floor.kept_out(chosen, in_service)
            starts = _settle(market, floor, chosen, kept_out, now_ms, config)
            if starts.any():
                _pass_over(market, floor, starts, waiting.get(key, []), turns, elsewhere)
    turns.market_chose(market.target.keys(), market.passed_over)
    return market


def with_market(first: Iterable[Stop], market: Market) -> list[Stop]:
    """Stops that have to be, and those of the market beside them."""
    stops = list(first)
    gone = {stop.job_id for stop in stops}
    return stops + [stop for stop in market.stops if stop.job_id not in gone]


def _choose(floor: Floor, values: Floats, now_ms: int, config: PlannerConfig) -> Ints:
    """The model of each trader: first those who have to stay, then class by class."""
    stays = {at: running.model for at, running in floor.running if must_stay(running, now_ms, config)}
    return best_of_all(floor, values, stays)


def best_of_all(floor: Floor, values: Floats, stays: Mapping[int, str] = _NOBODY) -> Ints:
    """Which of the floor's models each trader should have, -1 for none: class by class, but for those who stay where
    they are, by place among the traders.
    """
    left = floor.capacity.copy()
    chosen = np.full(len(floor.traders), -1, dtype=np.int64)
    bound = np.zeros(len(floor.traders), dtype=bool)
    for at, model in stays.items():
        chosen[at], bound[at] = floor.models.index(model), True
        left[chosen[at]] -= floor.devices[at]
    for rank in np.unique(floor.classes)[::-1]:
        those = np.flatnonzero((floor.classes == rank) & ~bound)
        chosen[those] = assign(values[those], floor.devices[those], left)
        taken = chosen[those] >= 0
        np.subtract.at(left, chosen[those][taken], floor.devices[those][taken])
    return chosen


def _settle(
    market: Market,
    floor: Floor,
    chosen: Ints,
    kept_out: Bools,
    now_ms: int,
    config: PlannerConfig,
) -> Bools:
    """Who starts, by place among the traders, and who stops for it; nobody for those whom work that stays keeps from
    their nodes.
    """
    job_ids, models = floor.traders.job_ids, [*floor.models, None]  # the last one is that of -1
    market.classes.update(zip(job_ids, floor.classes.tolist(), strict=True))
    runs_on = np.full(len(chosen), -1, dtype=np.int64)
    runs_on[[at for at, _ in floor.running]] = [floor.models.index(one.model) for _, one in floor.running]
    comes, starts = (chosen >= 0) & (chosen != runs_on), (chosen >= 0) & (runs_on < 0)
    whose = compress(job_ids, starts.tolist())
    market.target.update(zip(whose, map(floor.models.__getitem__, chosen[starts].tolist()), strict=True))
    wanted: dict[str | None, int] = {}  # model -> the highest class that wants more of it
    for number in np.unique(chosen[comes]).tolist():
        model, those = floor.models[number], comes & (chosen == number)
        wanted[model] = int(floor.classes[those & ~kept_out].max(initial=-1))
        market.promised[model] = market.promised.get(model, 0) + int(floor.devices[those].sum())
    going: list[Going] = []
    for at, running in floor.running:
        to = models[chosen.item(at)]
        if to == running.model or must_stay(running, now_ms, config):
            continue
        if to is None and wanted.get(running.model, -1) < floor.classes.item(at):
            continue  # it stays: nobody who is not behind it wants what it has
        going.append(Going(floor.traders[at], running, to))
    for _, running, to in _who_can_go(floor, going):
        market.stops.append(_stop(running, to, now_ms))
        left = market.promised.get(running.model, 0) - running.devices
        market.promised[running.model] = max(0, left)
    return starts


def _who_can_go(floor: Floor, going: list[Going]) -> list[Going]:
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


def _pass_over(
    market: Market,
    floor: Floor,
    starts: Bools,
    waiting: Sequence[JobClass],
    turns: Turns,
    elsewhere: Set[JobId],
) -> None:
    """Who takes part and was not chosen comes after those of its class who were.

    Where there are too few devices for it anyhow it keeps its place, so that devices are kept for it in time.
    """
    job_ids = floor.traders.job_ids
    lowest = {  # class -> rank of those who were chosen
        rank: floor.ranks[starts & (floor.classes == rank)].min().item()
        for rank in np.unique(floor.classes[starts]).tolist()
    }
    passed_over: dict[JobId, int] = {}
    for item in waiting:
        if takes_part(item.shape) and floor.holds(item.shape):
            for own, those in turns.by_rank(item):
                after = lowest.get(min(own, floor.highest))
                if after is not None:
                    left = item.columns.job_ids[those.start : those.stop]
                    passed_over.update(dict.fromkeys(left, min(own, after)))
    for at in floor.overdue - {at for at, _ in floor.running}:
        passed_over.pop(job_ids[at], None)
        after = lowest.get(floor.classes.item(at))
        if after is not None:
            passed_over[job_ids[at]] = min(floor.ranks.item(at), after)
    for job_id in chain(compress(job_ids, starts.tolist()), elsewhere):
        passed_over.pop(job_id, None)
    market.passed_over.update(passed_over)


def _stop(running: RunningJob, model: str | None, now_ms: int) -> Stop:
    lost_ms = lost_work_ms(running, now_ms)
    if model is None:
        sentence = "makes room for jobs of its queue that gain more there"
        return Stop(running.job_id, StopCause.SHORTER, None, sentence, lost_ms)
    return Stop(running.job_id, StopCause.MOVE, None, f"gains more on {model}", lost_ms)
