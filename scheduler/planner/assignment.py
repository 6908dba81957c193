"""Which job is worth most on which device model: many jobs that resume, few models, one common market.

Each model has a price per device. A job takes the model on which its value less the price is greatest, if
that is above nothing. Prices are set one after the other so that no model is asked for beyond what there is:
coordinate descent on the dual of the linear relaxation, a fixed number of rounds, so that the work is bounded
and the same input gives the same answer. What the prices leave open is rounded: the best surplus first.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROUNDS = 12
_TINY = 1e-12


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
    # Those that are better off on one model than on any other first, then those to whom two are the same.
    ranked = np.sort(surplus, axis=1)
    best = ranked[:, -1]
    tied = (best - ranked[:, -2] <= _TINY) & (best > _TINY) if models > 1 else np.zeros(jobs, dtype=bool)
    choices = np.argsort(-surplus, axis=1, kind="stable").tolist()
    # A second choice that is dearer than nothing is left to those who want it before all.
    open_to = (values > 0) & ((surplus >= -_TINY) | (surplus >= best[:, None] - _TINY))
    allowed, asked, left = open_to.tolist(), devices.tolist(), capacity.tolist()
    for job in np.lexsort((-best, tied)).tolist():
        for model in choices[job]:
            if allowed[job][model] and asked[job] <= left[model]:
                chosen[job] = model
                left[model] -= asked[job]
                break
    return _fill(values, devices, np.array(left), chosen)


def _prices(per_device: Floats, devices: Floats, capacity: Floats) -> Floats:
    models = per_device.shape[1]
    prices = np.zeros(models)
    for _ in range(_ROUNDS):
        before = prices.copy()
        for model in range(models):
            others = np.delete(per_device - prices, model, axis=1)
            best_other = np.maximum(others.max(axis=1, initial=0.0), 0.0)
            # Up to this price the job wants the model.
            most = np.where(per_device[:, model] > 0, per_device[:, model] - best_other, -np.inf)
            order = np.argsort(-most, kind="stable")
            asked = np.cumsum(devices[order])
            beyond = np.flatnonzero(asked > capacity[model])
            prices[model] = max(0.0, float(most[order[beyond[0]]])) if len(beyond) else 0.0
        if np.array_equal(before, prices):
            break
    return prices


def _fill(values: Floats, devices: Floats, left: Floats, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is still free goes to whom it is worth most."""
    per_device = values / devices[:, None]
    for model in range(values.shape[1]):
        waiting = np.flatnonzero((chosen < 0) & (values[:, model] > 0))
        for job in waiting[np.argsort(-per_device[waiting, model], kind="stable")].tolist():
            if devices[job] <= left[model]:
                chosen[job] = model
                left[model] -= devices[job]
    return chosen
