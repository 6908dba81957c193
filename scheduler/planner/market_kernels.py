"""The loops of a market's assignment (assignment.py): prices, and rings in which jobs change places.

Written for both: numpy, as Python runs it for a small fleet, and numba, which makes machine code of it
(scheduler/machine_code.py), knows not all that numpy can do, and takes long for some of what it knows.
"""

from math import inf

import numpy as np

from scheduler.planner.rows import Floats, Ints

_ROUNDS = 12
_RINGS = 64
_TINY = 1e-12
_GAIN = 1e-6  # of the greatest value: less is not worth another round


def share_out(values: Floats, devices: Floats, left: Floats) -> Ints:
    """The model of each job, -1 for none; at least one model and one job. Afterwards `left` says what is left."""
    per_device = values / devices
    prices = _prices(per_device, devices, left)
    chosen = _rounded(values, per_device - prices.reshape(-1, 1), devices, left)
    _fill(values, per_device, devices, left, chosen)
    worth = np.zeros((len(values) + 1, len(devices)))
    for model in range(len(values)):
        worth[model] = values[model]
        worth[model][values[model] <= 0.0] = -inf
    size = devices.min()
    while True:
        _change_places(worth, np.flatnonzero(devices == size), chosen, left, size)
        larger = devices[devices > size]
        if not len(larger):
            break
        size = larger.min()
    _fill(values, per_device, devices, left, chosen)
    return chosen


def _prices(per_device: Floats, devices: Floats, capacity: Floats) -> Floats:
    """Of a device of each model, so that no model is asked for beyond what there is, as far as the rounds go.

    `per_device` (models, jobs): what a device is worth to a job. `devices` (jobs): how many it takes, whole numbers.
    They are set one after the other, from nothing on.
    """
    models, jobs = per_device.shape
    found = np.zeros(models)
    surplus = np.zeros((max(models, 2), jobs))  # nothing at all is the least that another model is worth
    for model in range(models):
        surplus[model] = np.maximum(per_device[model], 0.0)
    # By model those who asked for more than there is when its price was set last: it is never below what the last of
    # them would pay now.
    ahead = [np.zeros(0, dtype=np.int64)] * models
    same = -1  # how many prices in a row have stayed, but for one at first: each has to be set once
    for step in range(_ROUNDS * models):
        model = step % models
        elsewhere = surplus[model - 1]
        for other in range(model - len(surplus) + 1, model - 1):
            elsewhere = np.maximum(elsewhere, surplus[other])
        pays = per_device[model] - elsewhere
        dear = len(ahead[model]) > 0
        those = np.flatnonzero(pays >= pays[ahead[model]].min() if dear else pays > 0.0)
        asked, price = devices[those], 0.0
        if dear or (len(those) and asked.sum() > capacity[model]):
            # Of equals any is first: the price is the same.
            order = np.argsort(-pays[those], kind="mergesort")
            beyond = np.searchsorted(asked[order].cumsum(), capacity[model], "right")
            ahead[model] = those[order[: beyond + 1]]
            price = pays[ahead[model][-1]]
        if price != found[model]:
            found[model], same = price, 0
            surplus[model] = np.maximum(per_device[model] - price, 0.0)
        else:
            same += 1
            if same >= models - 1:
                break
    return found


def _rounded(values: Floats, surplus: Floats, devices: Floats, left: Floats) -> Ints:
    """Each takes the best that has room."""
    models, jobs = values.shape
    best, second = surplus[0], np.full(jobs, -inf)
    for model in range(1, models):
        second = np.maximum(second, np.minimum(best, surplus[model]))
        best = np.maximum(best, surplus[model])
    # A second choice that is dearer than nothing is left to those who want it before all.
    dear = (surplus < -_TINY) & (surplus < best - _TINY)
    no = dear | (values <= 0.0) | (devices > left.reshape(-1, 1))
    reach, most, first = surplus.copy(), np.full(jobs, -inf), np.full(jobs, -1)
    for model in range(models):
        reach[model][no[model]] = -inf
        first[reach[model] > most] = model
        most = np.maximum(most, reach[model])
    # Those that are better off on one model than on any other first, then those to whom two are the same, then
    # those to whom nothing is the same.
    order = np.flatnonzero(first >= 0)
    order = order[np.argsort(-best[order], kind="mergesort")]
    turn = (best <= _TINY) * 2.0 + ((best > _TINY) & (best - second <= _TINY)) * 1.0
    chosen, least = np.full(jobs, -1), devices.min()
    for job in order[np.argsort(turn[order], kind="mergesort")]:
        model, asked = first[job], devices[job]
        if asked > left[model]:
            model, dearest = -1, -inf
            for other in range(models):
                if asked <= left[other] and reach[other, job] > dearest:
                    model, dearest = other, reach[other, job]
        if model >= 0:
            chosen[job] = model
            left[model] -= asked
        elif left.max() < least:
            break
    return chosen


def _fill(values: Floats, per_device: Floats, devices: Floats, left: Floats, chosen: Ints) -> None:
    """What is still free goes to whom it is worth most."""
    least = devices.min()
    for model in range(len(values)):
        if left[model] >= least:
            waiting = np.flatnonzero((chosen < 0) & (values[model] > 0.0) & (devices <= left[model]))
            for job in waiting[np.argsort(-per_device[model][waiting], kind="mergesort")]:
                if devices[job] <= left[model]:
                    chosen[job] = model
                    left[model] -= devices[job]


def _change_places(worth: Floats, alike: Ints, chosen: Ints, left: Floats, size: float) -> None:
    """Jobs that are `alike` in size go round in rings while that gains anything. Cost: a round is jobs x models^2.

    Places are the models, then "nowhere", then "free": a job moves from one to another, nowhere takes and gives as many
    as one likes, and what is free takes the place of a job where there is room for one.
    """
    at = chosen[alike]
    if left.max() < size and at.max() < 0:
        return  # nobody has a place, and none is free
    nowhere, free = len(worth) - 1, len(worth)
    at[at < 0] = nowhere
    worth = worth[:, alike]
    loss = np.full((free + 1, free + 1), inf)  # (to, from): what the one who goes loses
    loss[:, free] = 0.0
    loss[free, nowhere] = 0.0
    goes, news = np.zeros((free, free), dtype=np.int64), np.full(free, True)
    least = _GAIN * worth.max()
    for _ in range(_RINGS):
        for place in np.flatnonzero(news):
            those = np.flatnonzero(at == place)
            loss[:free, place] = inf
            if len(those):
                change = worth[place][those] - worth[:, those]
                for to in range(free):
                    first = change[to].argmin()
                    loss[to, place], goes[to, place] = change[to, first], those[first]
            loss[place, place] = 0.0
        for model in range(nowhere):
            loss[free, model] = 0.0 if left[model] >= size else inf
        ring = _ring(loss, least)
        if not len(ring):
            break
        news[:] = False
        place = ring[-1]
        for to in ring:
            if place == free and to < nowhere:
                left[to] += size
            elif to == free and place < nowhere:
                left[place] -= size
            elif free not in (place, to):
                at[goes[to, place]] = to
                news[place] = news[to] = True
            place = to
    at[at == nowhere] = -1
    chosen[alike] = at


def _ring(loss: Floats, least: float) -> Ints:
    """Places in a ring along which more than `least` is gained, or nothing (Bellman and Ford)."""
    places = len(loss)
    cost, before = np.zeros(places), np.full(places, -1)
    last = -1
    for _ in range(places):
        last, through = -1, cost + loss
        for to in range(places):
            best = through[to].argmin()
            if through[to, best] < cost[to] - least:
                cost[to], before[to] = through[to, best], best
                last = to if last < 0 else last
        if last < 0:
            return before[:0]
    for _ in range(places):
        last = before[last]
    ring = [last]
    while before[ring[-1]] != last:
        ring.append(before[ring[-1]])
    return np.array(ring[::-1])
