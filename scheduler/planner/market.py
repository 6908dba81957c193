"""Where jobs that resume should be: each queue's own devices and what is free, shared out anew when it pays.

Takes part: jobs of one queue that resume from a model checkpoint, whose rest is predicted and that have
variants for several models. Who stays has an advantage worth the cost of a move, who has just started stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.ids import JobId
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner.assignment import assign
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.ordering import Turns
from scheduler.planner.placement import find_seats
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.preemption import lost_work_ms, must_stay
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob

# Of each waiting class so many jobs take part: more could not start in one cycle.
_MOST_OF_A_CLASS = 64
# A job with many devices is worth more than one with few, less than in proportion.
_FOR_GANGS = 0.5
_SLOWEST = 1e-6  # of a fair share


class _Trader(NamedTuple):
    shape: Shape
    job: WaitingJob
    running: RunningJob | None
    left_ms: float  # on its fastest model

    @property
    def devices(self) -> int:
        """What it holds; an elastic job may hold fewer than it asked for."""
        return self.shape.devices if self.running is None else self.running.devices


@dataclass(slots=True)
class Market:
    """The outcome: who should be where, and who has to stop for it."""

    target: dict[JobId, str] = field(default_factory=dict)  # waiting jobs that should start on a model
    stops: list[Stop] = field(default_factory=list)
    taking_part: set[JobId] = field(default_factory=set)
    promised: dict[str, int] = field(default_factory=dict)  # free devices by model that a queue before takes


def hold_market(
    snapshot: Snapshot, fleet: Fleet, estimates: Estimates, turns: Turns, now_ms: int, config: PlannerConfig
) -> Market:
    """Cost: O(jobs that take part x models x log jobs) a queue."""
    market = Market()
    if config.policy.move_for_gain is None or not estimates.predicts(snapshot):
        return market
    for queue, traders in sorted(_traders(snapshot, estimates).items()):
        _trade(market, queue, traders, snapshot, fleet, estimates, now_ms, config)
    return market


def with_market(first: Iterable[Stop], market: Market) -> list[Stop]:
    """Stops that have to be, and those of the market beside them."""
    stops = list(first)
    gone = {stop.job_id for stop in stops}
    return stops + [stop for stop in market.stops if stop.job_id not in gone]


def _traders(snapshot: Snapshot, estimates: Estimates) -> dict[QueueKey, list[_Trader]]:
    found: dict[QueueKey, list[_Trader]] = {}
    for item in snapshot.classes:
        shape = item.shape
        if not _takes_part(shape):
            continue
        for job in item.jobs[:_MOST_OF_A_CLASS]:
            left_ms = estimates.left_ms(shape, job)
            if left_ms is not None:
                found.setdefault(shape.queue, []).append(_Trader(shape, job, None, left_ms))
    for running in snapshot.running:
        if _takes_part(running.shape) and not running.stopping and running.model in running.shape.models:
            left_ms = estimates.left_ms(running.shape, running.waiting)
            if left_ms is not None:
                trader = _Trader(running.shape, running.waiting, running, left_ms)
                found.setdefault(running.shape.queue, []).append(trader)
    for traders in found.values():
        traders.sort(key=lambda trader: (trader.job.submitted_ms, trader.shape.devices, trader.left_ms))
    return found


def _takes_part(shape: Shape) -> bool:
    return shape.resumable and len(shape.models) > 1 and shape.whole and shape.devices > 0


def _trade(
    market: Market,
    key: QueueKey,
    traders: list[_Trader],
    snapshot: Snapshot,
    fleet: Fleet,
    estimates: Estimates,
    now_ms: int,
    config: PlannerConfig,
) -> None:
    queue = snapshot.queues.get(key)
    if queue is None:
        return
    models = sorted({model for trader in traders for model in trader.shape.models})
    horizon_ms = max(estimates.horizon_ms(), 1.0)
    capacity = _capacity(traders, models, queue, fleet, market.promised)
    fair = dict(zip(models, (capacity / len(traders)).tolist(), strict=True))
    values = np.array(
        [_values(trader, models, estimates, horizon_ms, fair, now_ms, config) for trader in traders]
    )
    devices = np.array([float(trader.devices) for trader in traders])
    chosen = [None if at < 0 else models[at] for at in assign(values, devices, capacity).tolist()]
    wanted: set[str] = set()
    for trader, model in zip(traders, chosen, strict=True):
        market.taking_part.add(trader.job.job_id)
        if model is not None and trader.running is None:
            market.target[trader.job.job_id] = model
        if model is not None and (trader.running is None or trader.running.model != model):
            wanted.add(model)
    for trader, model in zip(traders, chosen, strict=True):
        if model is not None and (trader.running is None or trader.running.model != model):
            market.promised[model] = market.promised.get(model, 0) + trader.devices
        if trader.running is not None and model != trader.running.model and trader.running.model in wanted:
            left = market.promised.get(trader.running.model, 0) - trader.devices
            market.promised[trader.running.model] = max(0, left)
    for trader, model in zip(traders, chosen, strict=True):
        running = trader.running
        if running is None or model == running.model or (model is None and running.model not in wanted):
            continue  # it stays: that is best, or nobody wants what it has
        if must_stay(running, now_ms, config):
            continue
        if model is not None and not _fits(trader.shape, model, queue, fleet):
            continue  # so many devices are or come free, but not yet together
        market.stops.append(_stop(running, model, now_ms))


def _fits(shape: Shape, model: str, queue: Queue, fleet: Fleet) -> bool:
    """Whether a gang has its devices where they must be. Devices are counted on the market, not laid out."""
    if shape.devices == 1:
        return True
    cells = (fleet.get(pool, model) for pool in queue.pools)
    return any(cell is not None and find_seats(shape, fleet, cell, None) is not None for cell in cells)


def _capacity(
    traders: list[_Trader], models: list[str], queue: Queue, fleet: Fleet, promised: Mapping[str, int]
) -> NDArray[np.float64]:
    """What is free for the queue, less what others were promised, and what those who take part hold."""
    capacity = dict.fromkeys(models, 0)
    for pool in queue.pools:
        for model in models:
            cell = fleet.get(pool, model)
            capacity[model] += 0 if cell is None else cell.open_devices
    for model in models:
        capacity[model] = max(0, capacity[model] - promised.get(model, 0))
    for trader in traders:
        if trader.running is not None:
            capacity[trader.running.model] += trader.running.devices
    return np.array([float(capacity[model]) for model in models])


def _stop(running: RunningJob, model: str | None, now_ms: int) -> Stop:
    lost_ms = lost_work_ms(running, now_ms)
    if model is None:
        sentence = "makes room for jobs of its queue that gain more there"
        return Stop(running.job_id, StopCause.SHORTER, None, sentence, lost_ms)
    return Stop(running.job_id, StopCause.MOVE, None, f"gains more on {model}", lost_ms)


def _fair_speed(speeds: Mapping[str, float], devices: int, capacity: Mapping[str, float]) -> float:
    """Speed on a fair share of every model, the fastest first. `capacity` is one job's share, in devices."""
    left = 1.0
    speed = 0.0
    for model in sorted(speeds, key=lambda model: -speeds[model]):
        share = min(left, capacity[model] / devices)
        speed += share * speeds[model]
        left -= share
    return max(speed, _SLOWEST)


def _values(
    trader: _Trader,
    models: list[str],
    estimates: Estimates,
    horizon_ms: float,
    fair: Mapping[str, float],
    now_ms: int,
    config: PlannerConfig,
) -> list[float]:
    """What it is worth to run the job on each model now."""
    shape, job, running, left_ms = trader
    speeds = estimates.speeds(shape)
    fair_speed = _fair_speed(speeds, shape.devices, fair)
    left_ms = max(left_ms, 1000.0)
    waited_ms = max(0, now_ms - job.submitted_ms)
    policy = config.policy
    # Work that is done soon first; who would end later than alone on a fair share is worth more, the more the
    # longer he waits, and what is long compared with all there is to do must not be the last to end.
    weight = left_ms**-policy.short_first
    weight *= ((waited_ms + left_ms) * fair_speed / (job.served_ms + left_ms)) ** policy.behind
    weight *= 1.0 + policy.long_first * (left_ms / horizon_ms) ** 2
    weight *= shape.devices**_FOR_GANGS
    values = [weight * speeds.get(model, 0.0) for model in models]
    if running is not None:
        at = models.index(running.model)
        if must_stay(running, now_ms, config):
            return [1e6 if n == at else 0.0 for n in range(len(models))]
        cost_ms = shape.restart_ms + lost_work_ms(running, now_ms)
        gain = policy.move_for_gain or 0.0
        values[at] *= 1.05 + gain * cost_ms / max(left_ms, config.min_run_ms)
    return values
