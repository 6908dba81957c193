"""Who asked in vain in a cycle that work stops for him: whoever comes after him and asks for no less need not ask."""

from typing import NamedTuple

from scheduler.planner.cells import Cell
from scheduler.planner.demand import demand_of, sizes_of
from scheduler.planner.snapshot import Shape, WaitingJob
from scheduler.planner.turns import Turns


class Asks(NamedTuple):
    """A blocked job, and where those of its queue that ask for the same found no way: the fewest tasks of them."""

    shape: Shape
    job: WaitingJob
    in_vain: dict[tuple[object, ...], int]
    who: tuple[object, ...]  # what else says who stops for it than its turn and the rest of its run


class TooFew(NamedTuple):
    """For whom all who would stop for their turn or class have too few devices; lent ones are not counted."""

    asked: tuple[object, ...]
    turn: float
    left_ms: float


class InVain:
    """Of one cycle."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._fewest: dict[tuple[object, ...], dict[tuple[object, ...], int]] = {}
        self._too_few: dict[tuple[object, ...], TooFew] = {}

    def asks(self, shape: Shape, job: WaitingJob, *, served: bool, of_class: int | None) -> Asks:
        """A job that looks for a way in one cell after another. `of_class`: where the market chose who runs."""
        sizes = sizes_of(shape)
        alike = sizes if len(sizes) > 1 else demand_of(shape)  # of gangs of one size fewer tasks may do
        rank = self._turns.standing(shape, job).rank
        same = shape.queue, rank, served, alike, shape.topology
        who = shape.queue, shape.priority, rank, served, of_class, sizes
        return Asks(shape, job, self._fewest.setdefault(same, {}), who)

    def by_devices(self, asks: Asks, cell: Cell) -> TooFew:
        """What a job asks for in a cell by the number of devices alone, whatever it needs of the host."""
        mine = self._turns.standing(asks.shape, asks.job, cell.model)
        left_ms = float("inf") if mine.left_ms is None else mine.left_ms
        return TooFew((cell, *asks.who), mine.turn, left_ms)

    def are_too_few(self, asked: TooFew) -> bool:
        """Whether they were for one whose turn is no later and whose rest is no longer: more would stop for him."""
        known = self._too_few.get(asked.asked)
        return known is not None and known.turn <= asked.turn and known.left_ms <= asked.left_ms

    def note(self, asked: TooFew) -> None:
        """They are."""
        self._too_few[asked.asked] = asked
