"""How much more the quotas let queues hold, and from when, as the running jobs are predicted to end.

A queue, and all below a cohort together, may hold so much of a key at once; each such limit has a line of what comes
free of it when. What a member never lends has a line of its own: what is held within is none of what others may have.
What a queue has lent comes back by reclaim: within its own quota a cohort's limits keep nobody.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.room import UNKNOWN_RUN_MS, Ends, first_moment, take_last
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Snapshot

# What comes free of a line comes at no more moments than these: it is a forecast, and each question goes through them.
_MOST_MOMENTS = 128


@dataclass(slots=True)
class _Line:
    """How much of a key may be held at once, and what comes free of it: (ms from now, amount), the soonest first."""

    key: str
    most: int
    ends: Ends = field(init=False)

    def __post_init__(self) -> None:
        self.ends = [(0.0, float(self.most))]

    def hold(self, amount: float, end_ms: float) -> float:
        """So much of what is free is held until then. Returns that."""
        self.ends[0] = (0.0, self.ends[0][1] - amount)
        if end_ms < inf:
            self.ends.append((end_ms, amount))
        return amount

    def in_order(self) -> None:
        """The soonest first. Of too many, neighbours come free with the last of them: nobody is told too early."""
        free, *ends = self.ends
        ends.sort()
        several = -(-len(ends) // _MOST_MOMENTS)
        if several > 1:
            together = [ends[at : at + several] for at in range(0, len(ends), several)]
            ends = [(some[-1][0], sum(amount for _, amount in some)) for some in together]
        self.ends = [free, *ends]


class _Member(NamedTuple):
    """The queue or a cohort above it."""

    limit: _Line | None
    kept: _Line | None  # what it never lends


class _Limits(NamedTuple):
    """What bounds a queue in one key."""

    up: list[_Member]  # from the queue to the top
    own: _Line | None  # its nominal quota, where it is in a cohort

    def lines(self) -> Iterator[tuple[_Line, list[_Line]]]:
        """Each limit, with what members below it keep: of both together the queue may take."""
        kept: list[_Line] = []
        for member in self.up:
            if member.limit is not None:
                yield member.limit, list(kept)
            if member.kept is not None:
                kept.append(member.kept)


class Allowances:
    """Cost: the queues with the depth of their tree, and the running jobs; nothing where no limit is below what there
    is of its key, as then devices are what lacks. Of a question: what comes free before the answer."""

    def __init__(self, snapshot: Snapshot, estimates: Estimates, config: PlannerConfig) -> None:
        self._limits: dict[QueueKey, dict[str, _Limits]] = {}
        members: list[Queue | Cohort] = [*snapshot.queues.values(), *snapshot.cohorts.values()]
        if not any(member.nominal for member in members):
            return
        self._sharing = Sharing(snapshot, config)
        self._find(snapshot)
        if self._limits:
            self._count(snapshot, estimates)

    def _find(self, snapshot: Snapshot) -> None:
        there = dict.fromkeys((COMPUTE,), 0)
        for view in snapshot.nodes:
            for model, on_node in view.by_model.items():
                for key, amount in self._sharing.amounts(model, len(on_node.devices)):
                    there[key] = there.get(key, 0) + amount
        lines: dict[tuple[QueueKey | str, str, bool], _Line] = {}
        for queue in snapshot.queues.values():
            by_key: dict[str, list[_Member]] = {}
            bound = set()
            for who, key, most, kept in self._sharing.limits(queue, there):
                limit = None
                if most is not None and most < there.get(key, 0):
                    limit = lines.setdefault((who, key, False), _Line(key, most))
                    bound.add(key)
                own = lines.setdefault((who, key, True), _Line(key, kept)) if kept else None
                by_key.setdefault(key, []).append(_Member(limit, own))
            if bound:
                self._limits[queue.key] = {key: _Limits(by_key[key], _own(queue, key)) for key in bound}

    def _count(self, snapshot: Snapshot, estimates: Estimates) -> None:
        """Who ends last holds what is never lent, so that what ends first is given back to all."""
        held: list[tuple[float, QueueKey, dict[str, float]]] = []
        rest = {queue: self._held(snapshot, queue) for queue in self._limits}
        for running in snapshot.running:
            queue = running.shape.queue
            if queue in rest:
                left_ms = estimates.left_of(running)
                gives = self._amounts(running.model, running.devices * running.shape.share_ppm / WHOLE_PPM)
                held.append((UNKNOWN_RUN_MS if left_ms is None else left_ms, queue, gives))
                for key, amount in gives.items():
                    rest[queue][key] -= amount
        held += [(inf, queue, amounts) for queue, amounts in rest.items()]
        held.sort(key=lambda one: -one[0])
        for end_ms, queue, amounts in held:
            for key, limits in self._limits[queue].items():
                _hold(limits, amounts.get(key, 0.0), end_ms)
        for queue in self._limits:
            for line in self._lines(queue):
                line.in_order()

    def _held(self, snapshot: Snapshot, queue: QueueKey) -> dict[str, float]:
        held = [(model, float(devices)) for model, devices in snapshot.held.get(queue, {}).items()]
        held += [(model, ppm / WHOLE_PPM) for model, ppm in snapshot.held_parts.get(queue, {}).items()]
        found = defaultdict[str, float](float)
        for model, devices in held:
            for key, amount in self._amounts(model, devices).items():
                found[key] += amount
        return found

    def _lines(self, queue: QueueKey) -> Iterator[_Line]:
        for limits in self._limits[queue].values():
            for line in (limits.own, *(line for member in limits.up for line in member)):
                if line is not None:
                    yield line

    def _amounts(self, model: str, devices: float) -> dict[str, float]:
        return {key: of_one * devices for key, of_one in self._sharing.amounts(model, 1)}

    def bound(self, queue: QueueKey) -> bool:
        """Whether any quota may keep jobs of the queue from devices that are free."""
        return queue in self._limits

    def opens_ms(self, queue: QueueKey, models: Iterable[str], asked: float) -> dict[str, float]:
        """From when, ms from now, the quotas let the queue have so many devices more of each model; without those of
        which nobody can tell.
        """
        limits = self._limits[queue]
        opens = {
            model: max(_opens(limits.get(key), amount) for key, amount in self._amounts(model, asked).items())
            for model in models
        }
        return {model: at_ms for model, at_ms in opens.items() if at_ms < inf}

    def take(self, queue: QueueKey, model: str, asked: float, from_ms: float, until_ms: float) -> None:
        """The queue holds so many devices more between two moments."""
        amounts = self._amounts(model, asked)
        for key, limits in self._limits[queue].items():
            if key in amounts:
                _take(limits, amounts[key], from_ms, until_ms)

    def at_once(self, queue: QueueKey, models: Iterable[str]) -> float:
        """How many devices the queue may hold at once at most, of the model of which it may hold the most."""
        return max((self._at_once(queue, model) for model in models), default=inf)

    def _at_once(self, queue: QueueKey, model: str) -> float:
        limits, of_one = self._limits[queue], self._amounts(model, 1)
        most = [
            sum(line.most for line in (limit, *kept)) / of_one[key]
            for key in limits.keys() & of_one
            for limit, kept in limits[key].lines()
        ]
        return min(most, default=inf)


def _hold(limits: _Limits, amount: float, end_ms: float) -> None:
    """What runs holds so much until then: of what is never lent as far as that reaches, of those above the rest."""
    if limits.own is not None:
        limits.own.hold(amount, end_ms)
    for limit, kept in limits.up:
        if limit is not None:
            limit.hold(amount, end_ms)
        if kept is not None:
            amount -= kept.hold(min(amount, max(kept.ends[0][1], 0.0)), end_ms)


def _take(limits: _Limits, amount: float, from_ms: float, until_ms: float) -> None:
    """The same of what starts at a moment."""
    if limits.own is not None:
        take_last(limits.own.ends, from_ms, amount, until_ms)
    for limit, kept in limits.up:
        if limit is not None:
            take_last(limit.ends, from_ms, amount, until_ms)
        if kept is not None:
            amount -= take_last(kept.ends, from_ms, amount, until_ms)


def _opens(limits: _Limits | None, asked: float) -> float:
    if limits is None:
        return 0.0
    at_ms = max(
        first_moment(sorted(chain(limit.ends, *(line.ends for line in kept))) if kept else limit.ends, asked)
        for limit, kept in limits.lines()
    )
    return at_ms if limits.own is None else min(at_ms, first_moment(limits.own.ends, asked))


def _own(queue: Queue, key: str) -> _Line | None:
    return None if queue.cohort is None else _Line(key, queue.nominal.get(key, 0))
