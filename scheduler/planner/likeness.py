"""Which shapes ask for the same devices: what one of them met in a cycle, the others need not be judged for."""

from collections.abc import Sequence

from scheduler.domain.queues import Queue
from scheduler.planner.demand import demand_of
from scheduler.planner.snapshot import Hole, Shape

_MOST = 100_000  # shapes that are remembered; then it begins anew


class Likeness:
    """Gives each kind of demand a number. Kept from cycle to cycle, so that only new shapes are looked at."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}
        # By the shape's identity, which is quicker than its fields.
        self._known: dict[int, tuple[Shape, Queue, int]] = {}
        self._holes = self._one_firm = False

    def begin(self, holes: Sequence[Hole], *, one_firm: bool) -> None:
        """A cycle begins: where the calendar keeps nodes, or nodes take one firm only, it matters who asks."""
        if (bool(holes), one_firm) != (self._holes, self._one_firm):
            self._known = {}
        self._holes, self._one_firm = bool(holes), one_firm
        if len(self._known) > _MOST:
            self._numbers, self._known = {}, {}

    def number(self, shape: Shape, queue: Queue) -> int:
        """The same for shapes that may have the same devices of a model, whichever they may use; the queue counts only
        where it says more than pools.
        """
        known = self._known.get(id(shape))
        if known is not None and known[0] is shape and known[1] is queue:
            return known[2]
        by_queue = bool(queue.nominal) or queue.cohort is not None or self._holes
        key = (
            demand_of(shape), shape.devices, shape.devices_per_node, shape.avoid_nodes, shape.topology,
            shape.sizes, shape.spares, shape.groups,
            queue.key if by_queue else queue.pools, self.firm_of(shape), shape.needs,
            shape.resumable,  # who cannot go on elsewhere waits for a faster model, and keeps off booked nodes
        )  # fmt: skip
        number = self._numbers.setdefault(key, len(self._numbers))
        self._known[id(shape)] = shape, queue, number
        return number

    def firm_of(self, shape: Shape) -> str | None:
        """The firm, where nodes take tasks of one firm only: else nothing depends on it."""
        return shape.queue.firm_id if self._one_firm else None
