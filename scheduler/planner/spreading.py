"""Over which domains of the network a gang is spread: as few as hold it, and those where most room is left.

The room of a domain is what gangs of typical sizes, powers of two, could still use of it, each alone. So a gang
takes a remainder that is of little use to others, and what is left over is whole where it can be.
"""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from scheduler.planner.rows import Floats, Ints

_ALIKE = 1e-9  # losses are told apart to so much of a domain
_ONE_MORE = 1e3  # a domain more counts for more than all the room that a gang can take from others


def tightest(free: Ints, tasks: int, largest: int) -> Ints:
    """Of domains that hold the gang those where it costs the least room. `free`: nodes of each that fit."""
    room = _room(largest)
    loss = room[free] - room[free - tasks]
    return np.flatnonzero(loss <= loss.min() + _ALIKE)


def spread(free: Ints, tasks: int, largest: int) -> Ints:
    """How many tasks go to each domain. `free`: nodes that fit, in all at least `tasks`; the first of equal ones first.

    `largest` is what the largest domain holds when it is empty. Cost: domains that come into question x their
    nodes x tasks.
    """
    chosen = _in_question(free, tasks)
    room = _room(largest)
    left = np.full(tasks + 1, np.inf)  # what is lost at least where so many tasks are not seated yet
    left[tasks] = 0.0
    before, losses = [], []
    for domain in chosen.tolist():
        inside = free[domain]
        most = min(int(inside), tasks)
        loss = _ONE_MORE + room[inside] - room[inside - np.arange(most + 1)]
        loss[0] = 0.0
        before.append(left)
        losses.append(loss)
        left = (_after(left, most) + loss[:, None]).min(axis=0)
    taken = np.zeros(len(free), dtype=np.int64)
    seated = 0
    for domain, left, loss in zip(chosen[::-1].tolist(), before[::-1], losses[::-1], strict=True):
        here = int((left[seated : seated + len(loss)] + loss[: tasks + 1 - seated]).argmin())
        taken[domain] = here
        seated += here
    return taken


def _after(left: Floats, most: int) -> Floats:
    """Row x: `left`, had x tasks been seated; inf beyond its end."""
    padded = np.concatenate([left, np.full(most, np.inf)])
    return as_strided(padded, (most + 1, len(left)), padded.strides * 2, writeable=False)


def _in_question(free: Ints, tasks: int) -> Ints:
    """Domains that can be among the fewest; of equally roomy ones no more than these are."""
    order = np.argsort(-free, kind="stable")
    together = np.cumsum(free[order])
    fewest = int(np.searchsorted(together, tasks)) + 1
    others = int(together[fewest - 2]) if fewest > 1 else 0
    order = order[free[order] >= tasks - others]
    room = free[order]
    first = np.searchsorted(-room, -room)  # where those with as much begin
    return order[np.arange(len(order)) - first < fewest]


@cache
def _room(largest: int) -> Floats:
    """What so many free nodes of a domain are worth, as a share of a whole domain."""
    free = np.arange(largest + 1)
    # Gangs that no domain holds take whole ones: for them one large remainder is worth more than two small ones.
    worth = free * free / max(largest, 1)
    size = 2
    while size <= largest:
        worth += free // size * size
        size *= 2
    room: Floats = worth / max(worth[-1], 1.0)
    return room
