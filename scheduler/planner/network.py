"""How the levels of the network above the nodes lie in one another."""

import numpy as np

from scheduler.planner.rows import Ints

# Of the domains of a level so many may be cut by a wider one: somebody may have named a switch wrongly.
_CUT = 0.1


def nested_levels(domains: Ints) -> tuple[int, ...]:
    """The levels that lie in one another, the narrowest first. `domains` (nodes, levels): numbers, -1 unknown.

    Left out is a level of which nothing is known, and one that cuts through the next narrower one, as spines do
    where the hosts of one leaf switch hang on several: it does not say what is near to what.
    """
    found: list[int] = []
    for level in np.flatnonzero((domains >= 0).any(axis=0)).tolist()[::-1]:
        if not found or _holds_whole(domains[:, level], domains[:, found[-1]]):
            found.append(level)
    return tuple(found)


def _holds_whole(wide: Ints, narrow: Ints) -> bool:
    """Whether nearly every narrow domain lies in one wide one."""
    known = (wide >= 0) & (narrow >= 0)
    pairs = np.unique(narrow[known] * (wide.max() + 1) + wide[known])
    _, times = np.unique(pairs // (wide.max() + 1), return_counts=True)
    return bool(np.count_nonzero(times > 1) <= _CUT * len(times))


def places_along_wires(domains: Ints, position: Ints) -> Ints:
    """Where each node stands: by domain from the widest to the narrowest, then position, then order of enrolment."""
    order = np.lexsort((position, *domains.T[::-1]))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places
