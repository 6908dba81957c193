"""Which job is worth most on which device model: many jobs that resume, few models, one common market.

Each model has a price per device. A job takes the model on which its value less the price is greatest, if
that is above nothing. Prices are set one after the other so that no model is asked for beyond what there is:
coordinate descent on the dual of the linear relaxation, a fixed number of rounds, so that the work is bounded
and the same input gives the same answer. What the prices leave open is rounded: the best surplus first. As
descent along the coordinates may stop short of the best prices, jobs of one size then change places in rings
(cycle canceling, Klein 1967) as long as that gains anything, in bounded rounds too.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler.planner.rows import Bools, Floats

_ROUNDS = 12
_RINGS = 64
_TINY = 1e-12
_GAIN = 1e-6  # of the greatest value: less is not worth another round


def assign(values: Floats, devices: Floats, capacity: Floats) -> NDArray[np.int64]:
    """The model of each job, -1 for none.

    `values` (jobs, models): what it is worth to run the job there now, 0 or less where it cannot. `devices`
    (jobs): how many it takes. `capacity` (models): how many there are. Cost: rounds x models x n log n.
    """
    jobs, models = values.shape
    chosen = np.full(jobs, -1, dtype=np.int64)
    if not jobs or not models:
        return chosen
    per_device = values / devices[:, None]
    prices = _prices(per_device, devices, capacity)
    surplus = per_device - prices
    # Those that are better off on one model than on any other first, then those to whom two are the same, then
    # those to whom nothing is the same.
    ranked = np.sort(surplus, axis=1)
    best = ranked[:, -1]
    tied = (best - ranked[:, -2] <= _TINY) & (best > _TINY) if models > 1 else np.zeros(jobs, dtype=bool)
    choices = np.argsort(-surplus, axis=1, kind="stable").tolist()
    # A second choice that is dearer than nothing is left to those who want it before all.
    open_to: Bools = (values > 0) & ((surplus >= -_TINY) | (surplus >= best[:, None] - _TINY))
    allowed, asked, left = open_to.tolist(), devices.tolist(), capacity.tolist()
    least = min(asked)
    order = np.lexsort((-best, tied, best <= _TINY))
    for job in order[np.logical_or.reduce(open_to[order], axis=1)].tolist():  # for whom there is any
        for model in choices[job]:
            if allowed[job][model] and asked[job] <= left[model]:
                chosen[job] = model
                left[model] -= asked[job]
                break
        else:
            if max(left) < least:
                break
    free = np.array(left)
    chosen = _fill(values, devices, free, chosen)
    for size in sorted(set(asked)):
        alike = np.flatnonzero(devices == size)
        chosen[alike] = _change_places(values[alike], chosen[alike], free, size)
    return _fill(values, devices, free, chosen)


def _prices(per_device: Floats, devices: Floats, capacity: Floats) -> Floats:
    values = np.ascontiguousarray(per_device.T)  # (models, jobs)
    surplus = values.copy()
    prices = [0.0] * len(values)
    least = max(float(devices.min()), _TINY)
    for _ in range(_ROUNDS):
        before = prices.copy()
        for model, room in enumerate(capacity.tolist()):
            surplus[model] = 0.0  # nothing at all is the least that another model is worth
            # Above the price of which this is the negative the job does not want the model; who wants it for nothing
            # sets no price.
            most = np.maximum.reduce(surplus) - values[model]
            wants = most < 0
            prices[model] = 0.0
            if devices.dot(wants) > room:
                those = wants.nonzero()[0]
                first = max(0, int(room / least))  # more than so many have no room
                if first < len(those):
                    those = those[most[those].argpartition(first)[: first + 1]]
                order = those[most[those].argsort()]  # of equals any is first: the price is the same
                beyond = devices[order].cumsum().searchsorted(room, side="right")
                prices[model] = -float(most[order[beyond]])
            surplus[model] = values[model] - prices[model]
        if before == prices:
            break
    return np.array(prices)


def _fill(values: Floats, devices: Floats, left: Floats, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is still free goes to whom it is worth most; `left` says what is."""
    least = devices.min(initial=np.inf)
    for model in range(values.shape[1]):
        if left[model] < least:
            continue
        waiting = np.flatnonzero((chosen < 0) & (values[:, model] > 0) & (devices <= left[model]))
        per_device = values[waiting, model] / devices[waiting]
        for job in waiting[np.argsort(-per_device, kind="stable")].tolist():
            if devices[job] <= left[model]:
                chosen[job] = model
                left[model] -= devices[job]
    return chosen


def _change_places(values: Floats, chosen: NDArray[np.int64], left: Floats, size: float) -> NDArray[np.int64]:
    """Jobs of one size go round in rings while that gains anything. Cost: a round is jobs x models^2.

    Places are the models, then "nowhere", then "free": a job moves from one to another, nowhere takes and gives as many
    as one likes, and what is free takes the place of a job where there is room for one.
    """
    models = values.shape[1]
    nowhere, free = models, models + 1
    worth = np.zeros((len(values), free))
    worth[:, :models] = np.where(values > 0, values, -np.inf)
    at = np.where(chosen < 0, nowhere, chosen)
    none = np.full((free + 1, free + 1), np.inf)
    none[free] = none[nowhere, free] = 0.0
    least = _GAIN * float(values.max(initial=0.0))
    for _ in range(_RINGS):
        jobs, counts = at.argsort(kind="stable"), np.bincount(at, minlength=free)  # by place
        first, there = counts.cumsum() - counts, counts.nonzero()[0]
        change = worth[jobs, at[jobs]][:, None] - worth[jobs]  # what each would lose elsewhere
        loss = none.copy()
        loss[there, :free] = np.minimum.reduceat(change, first[there], axis=0)
        loss[:models, free] = np.where(left >= size, 0.0, np.inf)
        loss.flat[:: free + 2] = 0.0
        ring = _ring(loss.tolist(), least)
        if not ring:
            break
        for place, to in zip(ring, [*ring[1:], ring[0]], strict=True):
            if place == free and to < models:
                left[to] += size
            elif to == free and place < models:
                left[place] -= size
            elif free not in (place, to):
                those = slice(first[place], first[place] + counts[place])
                at[jobs[those][change[those, to].argmin()]] = to
    return np.where(at == nowhere, -1, at)


def _ring(loss: list[list[float]], least: float) -> list[int]:
    """Places in a ring along which more than `least` is gained, or nothing (Bellman and Ford)."""
    places = range(len(loss))
    cost = [0.0] * len(loss)
    before = [-1] * len(loss)
    last = -1
    for _ in places:
        last, known = -1, cost.copy()
        for to in places:
            through = [known[place] + loss[place][to] for place in places]
            best = min(through)
            if best < known[to] - least:
                cost[to], before[to] = best, through.index(best)
                last = to if last < 0 else last
        if last < 0:
            return []
    for _ in places:
        last = before[last]
    ring = [last]
    while (place := before[ring[-1]]) != last:
        ring.append(place)
    return ring[::-1]
