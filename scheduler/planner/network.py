"""Where nodes hang in the network, and how the levels above them lie in one another."""

from collections.abc import Sequence

import numpy as np

from scheduler.planner.rows import Ints
from scheduler.planner.snapshot import LEVELS, NodeView

# Of the domains of a level so many may be cut by a wider one: somebody may have named a switch wrongly.
_CUT = 0.1


class Wiring:
    """Where each node of a cell hangs, and what follows for all of them: worked out once. Cost: O(nodes)."""

    def __init__(self, nodes: int) -> None:
        self.domain = np.full((nodes, len(LEVELS)), -1, dtype=np.int64)  # numbers, -1 unknown
        self._position = np.zeros(nodes, dtype=np.int64)
        self._names: tuple[dict[str | None, int], ...] = ({None: -1}, {None: -1}, {None: -1})
        self._levels: tuple[int, ...] | None = None
        self._along: Ints | None = None
        self._largest: dict[int, int] = {}

    def hang(self, at: list[int] | slice, views: Sequence[NodeView]) -> None:
        """Notes where nodes hang."""
        places: dict[tuple[str | None, ...], list[int]] = {}
        for view in views:
            if view.domains not in places:
                named = zip(self._names, view.domains, strict=True)
                places[view.domains] = [known.setdefault(name, len(known)) for known, name in named]
        numbers = [places[view.domains] for view in views]
        positions = [view.position for view in views]
        if self.domain[at].tolist() != numbers or self._position[at].tolist() != positions:
            self.domain[at], self._position[at] = numbers, positions
            self._levels = self._along = None
            self._largest.clear()

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels of the network that lie in one another, the narrowest first."""
        if self._levels is None:
            self._levels = nested_levels(self.domain)
        return self._levels

    def largest(self, level: int) -> int:
        """How many nodes hang on the domain of a level that has most."""
        if level not in self._largest:
            names = self.domain[:, level]
            self._largest[level] = int(np.bincount(names[names >= 0], minlength=1).max())
        return self._largest[level]

    @property
    def along(self) -> Ints:
        """Where each node stands in the order of the wires."""
        if self._along is None:
            self._along = places_along_wires(self.domain, self._position)
        return self._along


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
