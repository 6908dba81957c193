"""Who asked in vain in a cycle that work stops for him: whoever comes after him and asks for no less need not ask."""

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from scheduler.planner.behind import Kind
from scheduler.planner.demand import demand_of, sizes_of
from scheduler.planner.snapshot import Shape, WaitingJob
from scheduler.planner.turns import Standing


class Asks(NamedTuple):
    """A blocked job, and where those of its queue that ask for the same found no way: the fewest tasks of them."""

    shape: Shape
    job: WaitingJob
    sizes: tuple[tuple[int, int], ...]  # see `sizes_of`
    in_vain: dict[tuple[object, ...], int]
    kind: Kind


class Most(NamedTuple):
    """What a cell has at most once all have stopped who would for a job, whatever it needs of the host and together."""

    turn: (
        float  # of whom this is true, and of whoever has a later one, a longer rest, and waits for less long
    )
    left_ms: float
    submitted_ms: int
    nodes: Sequence[int]  # so many with as many devices or more
    nobody: bool  # would stop
    too_dear: bool  # anybody is left alone as he would lose much for so few devices


class InVain:
    """Of one cycle."""

    def __init__(self) -> None:
        self._fewest: dict[tuple[object, ...], dict[tuple[object, ...], int]] = {}
        self._most: dict[tuple[object, ...], Most] = {}

    def asks(self, shape: Shape, job: WaitingJob, kind: Kind) -> Asks:
        """A job that looks for a way in one cell after another."""
        sizes = sizes_of(shape)
        # Of the host nothing is looked at where whole devices are asked for. Of gangs of one size fewer tasks may do.
        alike = demand_of(shape) if not shape.whole else sizes if len(sizes) > 1 else sizes[0][1]
        same = kind.queue, kind.rank, kind.chosen, alike, shape.topology
        return Asks(shape, job, sizes, self._fewest.setdefault(same, {}), kind)

    def most(
        self,
        among: tuple[object, ...],
        mine: Standing,
        job: WaitingJob,
        count: Callable[[Standing, WaitingJob], tuple[Sequence[int], bool, bool]],
    ) -> Most:
        """What those who ask `among` the same would have at most; counted for him to whom no fewer give way than to
        any who has asked. Capacity only shrinks in a cycle, so that what was counted earlier bounds what there is.
        """
        left_ms = inf if mine.left_ms is None else mine.left_ms
        most = self._most.get(among)
        if (
            most is None
            or mine.turn < most.turn
            or left_ms < most.left_ms
            or job.submitted_ms < most.submitted_ms
        ):
            turn, submitted_ms = mine.turn, job.submitted_ms
            if most is not None:
                turn, left_ms = min(turn, most.turn), min(left_ms, most.left_ms)
                submitted_ms = min(submitted_ms, most.submitted_ms)
            standing = Standing(mine.rank, turn, None if left_ms == inf else left_ms)
            counted = count(standing, job._replace(submitted_ms=submitted_ms))
            most = self._most[among] = Most(turn, left_ms, submitted_ms, *counted)
        return most
