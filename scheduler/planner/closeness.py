"""Whether a gang that prefers one domain of the network waits for a place that is closer together.

It does where running work is as good as sure to leave it one soon: the more domains it is spared, the longer it waits,
in proportion to its own run. Nothing is kept for it meanwhile: what it passes over and what it waits for is
everybody's, so that no device is idle for it. Some time after its submission (`Policy`) it starts where there is room.

In a cycle a bounded number are told to wait, an equal part of it for each firm, whatever the others submit. Of those
of the firm that come later, who asks for the same as one of these and would have waited with it is not looked at;
all others start where there is room.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from scheduler.domain.gangs import Domain
from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import MINUTE_MS, to_rfc3339
from scheduler.planner.backfill import opens_ms
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of, sizes_of
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.layouts import NO_FIT
from scheduler.planner.likeness import Likeness
from scheduler.planner.placement import Seat
from scheduler.planner.reach import closed_rows, preferred_level
from scheduler.planner.rows import Floats, Ints
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob

# So many are told to wait in a cycle, of all firms, and one of each firm; each costs a placement that is not made.
_MOST = 16


class Closer(NamedTuple):
    """What a gang waits for."""

    why: WhyNot
    change: str  # what would let it start now
    from_ms: int  # when it is expected to start


class _Met(NamedTuple):
    """What was told to a gang: who runs for no less on the model, and may wait until then, would have waited too."""

    model: str
    left_ms: float
    from_ms: int


class Closeness:
    """Decides for one cycle. Cost of a question: a cell's nodes, for each domain that it may spare log(nodes) times."""

    def __init__(
        self,
        snapshot: Snapshot,
        likeness: Likeness,
        fleet: Fleet,
        estimates: Estimates,
        expect_ends: Callable[[Cell], None],
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        """`expect_ends` tells a cell when its running jobs will have ended."""
        self._snapshot = snapshot
        self._likeness = likeness
        self._fleet = fleet
        self._estimates = estimates
        self._expect_ends = expect_ends
        self._now_ms = now_ms
        self._config = config
        self._waiting: Counter[str] = Counter()  # by firm
        self._met: dict[tuple[object, ...], _Met] = {}  # the first that waited of those who ask for the same

    def unjudged(self, shape: Shape, job: WaitingJob, queue: Queue) -> WhyNot | None:
        """Why the gang is not looked at any more: the first of those that ask for the same wait, as it would have."""
        if not self._waiting or not self._spent(shape):
            return None
        met = self._met.get(self._alike(shape, queue))
        left_ms = None if met is None else self._estimates.left_ms(shape, job, met.model)
        if met is None or left_ms is None or left_ms < met.left_ms:
            return None
        return _UNJUDGED if met.from_ms <= self._until_ms(job, left_ms) else None

    def closer(
        self, shape: Shape, job: WaitingJob, queue: Queue, cell: Cell, seats: Sequence[Seat]
    ) -> Closer | None:
        """What the gang should wait for rather than start on these seats, or None."""
        level = preferred_level(shape)
        if level not in cell.wiring.levels or not shape.whole or not shape.devices or self._spent(shape):
            return None
        left_ms = None
        if self._config.policy.closer_for_run:
            left_ms = self._estimates.left_ms(shape, job, cell.model)
        found = None if left_ms is None else self._found(shape, job, left_ms, cell, seats)
        if left_ms is not None and found is not None:
            self._waiting[shape.queue.firm_id] += 1
            met = _Met(cell.model, left_ms, found.from_ms)
            self._met.setdefault(self._alike(shape, queue), met)
        return found

    def _alike(self, shape: Shape, queue: Queue) -> tuple[object, ...]:
        """The same for those of a firm that ask for the same."""
        return shape.queue.firm_id, shape.models, self._likeness.number(shape, queue)

    def _spent(self, shape: Shape) -> bool:
        """Whether as many gangs of the firm wait as may."""
        waiting = self._waiting[shape.queue.firm_id] if self._waiting else 0
        return waiting > 0 and waiting >= _MOST // self._firms

    @cached_property
    def _firms(self) -> int:
        """How many have gangs that may wait."""
        return len(
            {
                item.shape.queue.firm_id
                for item in self._snapshot.classes
                if preferred_level(item.shape) is not None
            }
        )

    def _until_ms(self, job: WaitingJob, left_ms: float) -> int:
        """Until when the gang waits at the latest."""
        return job.submitted_ms + int(min(left_ms, self._config.policy.closer_for_ms))

    def _found(
        self, shape: Shape, job: WaitingJob, left_ms: float, cell: Cell, seats: Sequence[Seat]
    ) -> Closer | None:
        level = preferred_level(shape)
        rows = [seat.row for seat in seats]
        now = len(np.unique(cell.domain[rows, level]))
        if level is None or now == 1:
            return None
        until_ms = self._until_ms(job, left_ms)
        a_domain_ms = self._config.policy.closer_for_run * left_ms / now
        ends_ms = min(until_ms, self._now_ms + int((now - 1) * a_domain_ms))
        if ends_ms <= self._now_ms:
            return None
        opens = self._opens_ms(shape, cell, rows, level, ends_ms)
        inside = np.flatnonzero(opens <= ends_ms)
        opens, names = opens[inside], cell.domain[inside, level]
        for then in range(now - 1, _fewest(names, shape.tasks) - 1, -1):
            from_ms = _first_over(then, opens, names, shape.tasks)
            if self._now_ms < from_ms <= self._now_ms + (now - then) * a_domain_ms:
                return _told(shape, cell, (now, then), from_ms, until_ms)
        return None

    def _opens_ms(self, shape: Shape, cell: Cell, rows: Sequence[int], level: int, ends_ms: int) -> Floats:
        """When each row has room for a task, below the wider domains that hold the seats; inf: not for this gang.

        The room that there is now is what placement sees; wider domains go before the one that is preferred.
        """
        self._expect_ends(cell)
        opens = opens_ms(shape, cell, ends_ms, self._now_ms, self._config)
        score = self._fleet.scores(demand_of(shape, sizes_of(shape)[0][1])).of(cell)
        opens[(opens <= self._now_ms) & (score >= NO_FIT)] = np.inf
        opens[closed_rows(shape, cell)] = np.inf
        opens[cell.domain[:, level] < 0] = np.inf
        for wider in cell.wiring.levels:
            around = np.unique(cell.domain[rows, wider])
            if wider < level:
                opens[(len(around) > 1) | (cell.domain[:, wider] != around[0])] = np.inf
        return opens


def _first_over(most: int, opens: Floats, names: Ints, tasks: int) -> int:
    """The first moment at which a gang can be over at most so many domains, where there is one."""
    moments = np.unique(opens)
    found = bisect_left(moments, -most, key=lambda moment: -_fewest(names[opens <= moment], tasks))
    return int(moments[found])


def _fewest(names: Ints, tasks: int) -> int:
    """Over how few domains a gang can be, by the domains of the nodes with room; more than any number: over none."""
    if len(names) < tasks:
        return tasks + 1
    roomiest_first = np.sort(np.bincount(names))[::-1]
    return int(np.searchsorted(np.cumsum(roomiest_first), tasks)) + 1


def _told(shape: Shape, cell: Cell, domains: tuple[int, int], from_ms: int, until_ms: int) -> Closer:
    """`domains`: over how many now, and over how many then."""
    level = "" if shape.topology is None else shape.topology.level
    now, then = domains
    what = _NAMES[level]
    moment, latest = (to_rfc3339(-(-ms // MINUTE_MS) * MINUTE_MS) for ms in (from_ms, until_ms))
    sentence = (
        f"would be spread over {now} {what} now, over {then} from about {moment} on: waits for that until {latest}"
        " at the latest"
    )
    why = WhyNot(Reason.CLOSER_LATER, sentence, cell.pool, cell.model, shape.devices, None)
    change = f"now, over {now} {what}, if it did not prefer one {level}: pool {cell.pool}, {cell.model}"
    return Closer(why, change, from_ms)


_UNJUDGED = WhyNot(
    Reason.CLOSER_LATER,
    "gangs of the firm that ask for the same and come before it wait for places that are closer together:"
    " not looked at in this cycle",
)
_NAMES = {
    Domain.LEAF.value: "leaf switches",
    Domain.SUPERNODE.value: "supernodes",
    Domain.ZONE.value: "zones",
}
