"""Which nodes of a cell can do what some jobs ask for beside devices: run images, reach object stores."""

from scheduler.domain.features import Feature


class Abilities:
    """Rows of nodes by what they can do that not all can: a cell has a handful of such kinds."""

    def __init__(self) -> None:
        self._of: dict[int, frozenset[Feature]] = {}
        self._rows: dict[frozenset[Feature], set[int]] = {}

    def note(self, row: int, features: frozenset[Feature]) -> None:
        """What the node of a row can do."""
        before = self._of.get(row)
        if before == features:
            return
        if before is not None:
            self._rows[before].discard(row)
        self._of[row] = features
        self._rows.setdefault(features, set()).add(row)

    def lacking(self, needs: frozenset[Feature]) -> list[int]:
        """Rows of nodes that cannot do all of it. Cost: those rows."""
        return [row for can, rows in self._rows.items() if not needs <= can for row in rows]

    def everywhere(self, needs: frozenset[Feature]) -> bool:
        """Whether all nodes can do all of it. Cost: the kinds of nodes."""
        return all(needs <= can for can, rows in self._rows.items() if rows)
