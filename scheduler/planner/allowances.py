"""How much more the quotas let queues hold, and from when, as the running jobs are predicted to end.

A queue, and all below a cohort together, may hold so much of a key at once; each such limit has a line of what comes
free of it when. What a queue has lent comes back by reclaim: within its own quota a cohort's limits keep nobody.
Quota that other members never lend is not told from what they lend: there a start may be told too early.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.room import UNKNOWN_RUN_MS, Ends, first_moment, take_last
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Snapshot


@dataclass(slots=True)
class _Limit:
    """How much of a key may be held at once, and what comes free of it: (ms from now, amount), the soonest first."""

    key: str
    most: int
    ends: Ends = field(init=False)

    def __post_init__(self) -> None:
        self.ends = [(0.0, float(self.most))]


class _Limits(NamedTuple):
    """What bounds a queue in one key."""

    all: list[_Limit]
    own: _Limit | None  # its nominal quota, where it is in a cohort


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
        found: dict[tuple[QueueKey | str, str], _Limit] = {}
        for queue in snapshot.queues.values():
            by_key: dict[str, list[_Limit]] = {}
            for member, key, most in self._sharing.limits(queue, there):
                if most < there.get(key, 0):
                    limit = found.setdefault((member, key), _Limit(key, most))
                    by_key.setdefault(key, []).append(limit)
            if by_key:
                self._limits[queue.key] = {key: _Limits(of, _own(queue, key)) for key, of in by_key.items()}

    def _count(self, snapshot: Snapshot, estimates: Estimates) -> None:
        for queue in self._limits:
            held = [(model, float(devices)) for model, devices in snapshot.held.get(queue, {}).items()]
            held += [(model, ppm / WHOLE_PPM) for model, ppm in snapshot.held_parts.get(queue, {}).items()]
            gone = defaultdict[str, float](float)
            for model, devices in held:
                for key, amount in self._amounts(model, devices).items():
                    gone[key] += amount
            for limit in self._of(queue):
                limit.ends[0] = (0.0, limit.ends[0][1] - gone[limit.key])
        for running in snapshot.running:
            if running.shape.queue not in self._limits:
                continue
            left_ms = estimates.left_of(running)
            end_ms = UNKNOWN_RUN_MS if left_ms is None else left_ms
            gives = self._amounts(running.model, running.devices * running.shape.share_ppm / WHOLE_PPM)
            for limit in self._of(running.shape.queue):
                if limit.key in gives:
                    limit.ends.append((end_ms, gives[limit.key]))
        for limit in {id(limit): limit for queue in self._limits for limit in self._of(queue)}.values():
            limit.ends.sort()

    def _of(self, queue: QueueKey) -> Iterator[_Limit]:
        for limits in self._limits[queue].values():
            yield from limits.all
            if limits.own is not None:
                yield limits.own

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
        for limit in self._of(queue):
            if limit.key in amounts:
                take_last(limit.ends, from_ms, amounts[limit.key], until_ms)

    def at_once(self, queue: QueueKey, models: Iterable[str]) -> float:
        """How many devices the queue may hold at once at most, of the model of which it may hold the most."""
        return max((self._at_once(queue, model) for model in models), default=inf)

    def _at_once(self, queue: QueueKey, model: str) -> float:
        limits, of_one = self._limits[queue], self._amounts(model, 1)
        most = [limit.most / of_one[key] for key in limits.keys() & of_one for limit in limits[key].all]
        return min(most, default=inf)


def _opens(limits: _Limits | None, asked: float) -> float:
    if limits is None:
        return 0.0
    at_ms = max(first_moment(limit.ends, asked) for limit in limits.all)
    return at_ms if limits.own is None else min(at_ms, first_moment(limits.own.ends, asked))


def _own(queue: Queue, key: str) -> _Limit | None:
    return None if queue.cohort is None else _Limit(key, queue.nominal.get(key, 0))
