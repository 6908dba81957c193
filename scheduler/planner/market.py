"""Where jobs that resume should be: each queue's own devices and what is free, shared out anew when it pays.

Takes part: jobs of one queue that resume from a model checkpoint, whose rest is predicted and that have
variants for several models. Priority classes come one after the other. Who stays has an advantage worth the
cost of a move, who has just started stays.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

import numpy as np

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.planner.assignment import assign
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.fleet import Fleet
from scheduler.planner.floor import Floor, Going, models_of, without_who_stays
from scheduler.planner.outcome import Outcome
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.reach import InService
from scheduler.planner.rows import Bools, Floats, Ints
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob
from scheduler.planner.stoppable import lost_work_ms, must_stay
from scheduler.planner.traders import traders_of
from scheduler.planner.turns import Turns
from scheduler.planner.worth import worth_of

_NOBODY = np.zeros(0, dtype=np.int64)
_ASKED_AGAIN = 3  # gangs, whether they fit once others have left


@dataclass(slots=True)
class Market:
    """The outcome: who should be where, and who has to stop for it."""

    elsewhere: Set[JobId] = frozenset()  # of these is decided elsewhere
    floors: dict[QueueKey, Floor] = field(default_factory=dict)
    outcomes: dict[QueueKey, Outcome] = field(
        default_factory=dict
    )  # for those who wait, where anybody starts
    stops: list[Stop] = field(default_factory=list)
    running: dict[JobId, int] = field(
        default_factory=dict
    )  # who takes part, by class: one comes after the other
    promised: dict[str, int] = field(default_factory=dict)  # free devices by model that a queue before takes

    def class_of(self, shape: Shape, job: WaitingJob) -> int | None:
        """That of a job that waits; None: it does not take part. `shape`: that of its class in the snapshot."""
        floor = self.floors.get(shape.queue)
        return None if floor is None else floor.class_of(shape, job)

    def model_of(self, shape: Shape, job: WaitingJob) -> str | None:
        """On which a job that waits should start; None: it was not chosen. `shape`: as above."""
        outcome = self.outcomes.get(shape.queue)
        return None if outcome is None else outcome.model_of(shape, job)

    def decides(self, shape: Shape, job: WaitingJob) -> bool:
        """Whether it is decided who stops for a job that waits."""
        return job.job_id in self.elsewhere or self.class_of(shape, job) is not None

    @property
    def decided(self) -> Set[JobId]:
        """The running jobs of which it is decided whether they stop. Some of them may wait."""
        return self.running.keys() | self.elsewhere

    @property
    def anybody(self) -> bool:
        """Whether of anybody is decided."""
        return bool(self.floors or self.elsewhere)


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
    market = Market(elsewhere)
    estimates = turns.estimates
    in_service: dict[Cell, InService] | None = None
    if config.policy.move_for_gain is None or not estimates.predicts:
        return market
    for key, traders in sorted(traders_of(snapshot, estimates, budgets, elsewhere).items()):
        queue = snapshot.queues.get(key)
        if queue is not None:
            # Who went where it refuses him would come back.
            at_most = sharing.within(queue, models_of(traders.shapes), traders.running)
            floor = market.floors[key] = Floor(
                traders, queue, fleet, turns, market.promised, now_ms, config, at_most
            )
            values = worth_of(floor, estimates, now_ms, config)
            bound = np.array(
                [must_stay(running, now_ms, config) for running in floor.running], dtype=np.bool_
            )
            chosen = best_of_all(floor, values, floor.runs_at[bound])
            kept_out = np.zeros(len(chosen), dtype=np.bool_)
            if (chosen[floor.runs_at] < 0).any():
                if in_service is None:
                    in_service = without_who_stays(snapshot, fleet)
                kept_out = floor.kept_out(chosen, in_service)
            starts = _settle(market, floor, chosen, kept_out, now_ms)
            if starts.any():
                market.outcomes[key] = _outcome(floor, chosen, starts, elsewhere)
    turns.follow(market.outcomes)
    return market


def with_market(first: Iterable[Stop], market: Market) -> list[Stop]:
    """Stops that have to be, and those of the market beside them."""
    stops = list(first)
    gone = {stop.job_id for stop in stops}
    return stops + [stop for stop in market.stops if stop.job_id not in gone]


def best_of_all(floor: Floor, values: Floats, stay: Ints = _NOBODY) -> Ints:
    """Which of the floor's models each trader should have, -1 for none: class by class, but for those who stay where
    they are, by place among the traders.
    """
    left = floor.capacity.copy()
    chosen = np.full(len(floor.traders), -1, dtype=np.int64)
    bound = np.zeros(len(floor.traders), dtype=bool)
    chosen[stay], bound[stay] = floor.runs_on[stay], True
    np.subtract.at(left, chosen[stay], floor.devices[stay])
    for rank in np.unique(floor.classes)[::-1]:
        those = np.flatnonzero((floor.classes == rank) & ~bound)
        chosen[those] = assign(values[those], floor.devices[those], left)
        taken = chosen[those] >= 0
        np.subtract.at(left, chosen[those][taken], floor.devices[those][taken])
    return chosen


def _settle(market: Market, floor: Floor, chosen: Ints, kept_out: Bools, now_ms: int) -> Bools:
    """Who starts, by place among the traders, and who stops for it; nobody for those whom work that stays keeps from
    their nodes.
    """
    models, at, on = [*floor.models, None], floor.runs_at, floor.runs_on  # the last one is that of -1
    classes = floor.classes[at].tolist()
    market.running.update(zip([one.job_id for one in floor.running], classes, strict=True))
    comes, starts = (chosen >= 0) & (chosen != on), (chosen >= 0) & (on < 0)
    wanted: dict[str, int] = {}  # model -> the highest class that wants more of it
    for number in np.unique(chosen[comes]).tolist():
        model, those = floor.models[number], comes & (chosen == number)
        wanted[model] = int(floor.classes[those & ~kept_out].max(initial=-1))
        market.promised[model] = market.promised.get(model, 0) + int(floor.devices[those].sum())
    going: list[Going] = []
    for number in np.flatnonzero(chosen[at] != on[at]).tolist():
        running, to = floor.running[number], models[chosen.item(at.item(number))]
        if to is None and wanted.get(running.model, -1) < classes[number]:
            continue  # it stays: nobody who is not behind it wants what it has
        going.append(Going(running, to))
    for running, to in _who_can_go(floor, going):
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
        going = [one for one in going if one.running.job_id not in stuck]
        if not stuck:
            break
    return going


def _outcome(floor: Floor, chosen: Ints, starts: Bools, elsewhere: Set[JobId]) -> Outcome:
    """Who takes part and was not chosen comes after those of its class who were.

    Where there are too few devices for it anyhow it keeps its place, so that devices are kept for it in time.
    """
    lowest = _lowest_ranks(floor, starts)
    apart: dict[JobId, int | None] = {}
    for at in [at for at in floor.overdue if floor.runs_on[at] < 0]:
        after = lowest.get(floor.classes.item(at))
        apart[floor.traders[at].job.job_id] = None if after is None else min(floor.ranks.item(at), after)
    apart.update(dict.fromkeys(elsewhere))
    places = np.flatnonzero(starts)
    models = [floor.models[at] for at in chosen[places].tolist()]
    return Outcome(
        floor.traders.chosen(places, models, _after_who_starts_at_once(floor, chosen, places)),
        floor.most,
        lowest,
        floor.highest,
        apart,
    )


def _after_who_starts_at_once(floor: Floor, chosen: Ints, places: Ints) -> list[int | None]:
    """Who was chosen for devices that others have to leave first comes after those of its class whose are free: with
    which rank, of each at these places.

    At its turn it would start on theirs, be nothing there once its own are free, and stop for them in the next cycle.
    """
    at_once = np.zeros(len(chosen), dtype=np.bool_)
    by_class = places[np.argsort(-floor.classes[places], kind="stable")]
    for number, free in enumerate(floor.free.tolist()):
        there = by_class[chosen[by_class] == number]
        at_once[there] = floor.devices[there].cumsum() <= free
    lowest = _lowest_ranks(floor, at_once)
    return [
        None if free or rank not in lowest else min(own, lowest[rank])
        for free, rank, own in zip(
            at_once[places].tolist(),
            floor.classes[places].tolist(),
            floor.ranks[places].tolist(),
            strict=True,
        )
    ]


def _lowest_ranks(floor: Floor, those: Bools) -> dict[int, int]:
    """The lowest rank of some traders, by class."""
    return {
        number: floor.ranks[those & (floor.classes == number)].min().item()
        for number in np.unique(floor.classes[those]).tolist()
    }


def _stop(running: RunningJob, model: str | None, now_ms: int) -> Stop:
    lost_ms = lost_work_ms(running, now_ms)
    if model is None:
        sentence = "makes room for jobs of its queue that gain more there"
        return Stop(running.job_id, StopCause.SHORTER, None, sentence, lost_ms)
    return Stop(running.job_id, StopCause.MOVE, None, f"gains more on {model}", lost_ms)
