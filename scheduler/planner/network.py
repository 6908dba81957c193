"""How the levels of the network above the nodes lie in one another."""

import numpy as np

from scheduler.planner.rows import Ints

# Of the domains of a level so many may be cut by a wider one: somebody may have named a switch wrongly.
_CUT = 0.1


def nested_levels(domains: Ints) -> tuple[int, ...]:
    """The levels that lie in one another, the narrowest first. `domains` (nodes, levels): numbers, -1 unknown.

    Levels of which nothing is known are left out. A level that cuts through the next narrower one, as spines do where the hosts of one leaf switch hang on
    several, does not say what is near to what; it is left out.
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
