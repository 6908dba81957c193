"""In which order the variants of a job are tried, by predicted finish, then price; and which sizes of elastic ones."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scheduler.domain.queues import Queue
from scheduler.planner.estimates import Estimates
from scheduler.planner.snapshot import Shape, Snapshot


class Candidate(NamedTuple):
    """One device model in one pool."""

    model: str
    pool: str


# Models whose costs differ by less are equally good; then the one is taken where least is lost.
_AS_GOOD = 0.98
# So many sizes below the largest are tried one by one; then the steps double.
_ONE_BY_ONE = 32


def candidates(shape: Shape, queue: Queue, snapshot: Snapshot, estimates: Estimates) -> list[list[Candidate]]:
    """Every (model, pool) that the job may use, in groups: the earliest predicted finish first.

    A gang has the same number of devices in every variant, so for a start now the finish is ordered by speed;
    of equally fast models the cheaper. Models of one pool that are equal in both are one group. Pools come in
    the queue's order; ties keep the spec's order.
    """
    if len(shape.models) == 1:
        able = [model for model, speed in estimates.speeds(shape).items() if speed > 0]
        return [[Candidate(model, pool)] for model in able for pool in queue.pools]
    prices = snapshot.prices
    cost = estimates.costs(shape)
    models = sorted(cost, key=lambda model: (cost[model], prices.get(model, 0)))
    groups: list[list[str]] = []
    for model in models:
        first = groups[-1][0] if groups else None
        if (
            first is not None
            and cost[first] >= _AS_GOOD * cost[model]
            and prices.get(model, 0) == prices.get(first, 0)
        ):
            groups[-1].append(model)
        else:
            groups.append([model])
    return [[Candidate(model, pool) for model in group] for group in groups for pool in queue.pools]


class Options:
    """Where jobs may start, in the order in which it is tried: those that are equally fast share a cycle's answers."""

    def __init__(self, snapshot: Snapshot, estimates: Estimates) -> None:
        self._snapshot = snapshot
        self.estimates = estimates
        # By identity of the speeds: the options, and the number of these.
        self._known: dict[tuple[int, tuple[str, ...]], tuple[list[list[Candidate]], int]] = {}
        self._numbers: dict[tuple[object, ...], int] = {}

    def of(self, shape: Shape, queue: Queue, target: str | None) -> Iterator[list[Candidate]]:
        """See `candidates`; the market's model comes first, and by itself.

        What is nearly as good for the job may be what the market gave to another.
        """
        if target is not None:
            for pool in queue.pools:
                yield [Candidate(target, pool)]
        groups, _ = self._asked(shape, queue)
        for group in groups:
            others = [one for one in group if one.model != target]
            if others:
                yield others

    def number(self, shape: Shape, queue: Queue) -> int:
        """The same for whom the same is tried in one order, and as fast, however their models are ordered."""
        return self._asked(shape, queue)[1]

    def _asked(self, shape: Shape, queue: Queue) -> tuple[list[list[Candidate]], int]:
        speeds = self.estimates.speeds(shape)
        key = id(speeds), queue.pools
        known = self._known.get(key)
        if known is None:
            groups = candidates(shape, queue, self._snapshot, self.estimates)
            same = frozenset(speeds.items()), tuple(map(tuple, groups))
            known = self._known[key] = groups, self._numbers.setdefault(same, len(self._numbers))
        return known


def sizes_to_try(sizes: Sequence[int], most: float) -> list[int]:
    """Of rising sizes those up to `most`, the largest first, and the smallest in any case.

    A job may run with any of a hundred thousand sizes, and each is a question to the whole fleet. Cost: log(sizes).
    """
    found: list[int] = []
    at, step = bisect_right(sizes, most) - 1, 1
    while at > 0:
        found.append(sizes[at])
        step = step * 2 if len(found) >= _ONE_BY_ONE else 1
        at -= step
    return [*found, sizes[0]] if sizes else []
