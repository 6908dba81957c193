"""How parts of devices go together best: what a remainder is worth to parts that come with some frequency.

Patterns are sets of parts that fill a device. The fewest devices for all that is asked for are a linear program over
patterns; its dual says what a part costs, so that a small part which fills what large ones leave is worth much,
and one that leaves what nothing fills costs the rest too. Patterns are found as they are needed (Gilmore and Gomory,
A linear programming approach to the cutting-stock problem, 1961).
"""

import numpy as np

from scheduler.planner.rows import Floats, Ints

_MOST_PATTERNS = 200  # that are tried, so that the work is bounded
_GAIN = 1e-6  # of a device: less is not worth another pattern


def best_use(asked: tuple[tuple[int, float], ...], whole: int) -> Floats:
    """What room of 0 to `whole` grains is worth, in devices. `asked`: (grains, how often) of parts of a device.

    Cost: patterns x (parts x whole + parts cubed), some tens of patterns.
    """
    sizes = np.array([grains for grains, _ in asked])
    often = np.array([weight for _, weight in asked])
    # Columns are patterns, at first each of one part alone.
    basis = np.diag((whole // sizes).astype(np.float64))
    for _ in range(_MOST_PATTERNS):
        costs = np.linalg.solve(basis.T, np.ones(len(sizes))).astype(np.float64)
        worth = _worth(sizes, costs, whole)
        if worth[whole] <= 1.0 + _GAIN:
            break
        pattern = _best_pattern(sizes, costs, worth)
        times, change = np.linalg.solve(basis, np.column_stack([often, pattern])).T
        growing = np.flatnonzero(change > _GAIN)
        basis[:, growing[(times[growing] / change[growing]).argmin()]] = pattern
    share: Floats = worth / worth[whole]
    return share


def _worth(sizes: Ints, costs: Floats, whole: int) -> Floats:
    """The most that parts which fit into so much room cost together."""
    worth = np.zeros(whole + 1)
    for size, cost in zip(sizes.tolist(), costs.tolist(), strict=True):
        if cost > 0:
            for begin in range(size, whole + 1, size):
                here = worth[begin : begin + size]
                np.maximum(here, worth[begin - size : begin - size + len(here)] + cost, out=here)
    return worth


def _best_pattern(sizes: Ints, costs: Floats, worth: Floats) -> Floats:
    """How many of each part are on the device that is worth most."""
    pattern = np.zeros(len(sizes))
    room = len(worth) - 1
    while (fits := np.flatnonzero((sizes <= room) & (costs > 0))).size:
        part = fits[(worth[room - sizes[fits]] + costs[fits]).argmax()]
        pattern[part] += 1
        room -= int(sizes[part])
    return pattern
