"""How many devices of each model in each pool come free when, counted, as the running jobs are predicted to end."""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from itertools import chain, product
from math import inf
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import NodeId
from scheduler.domain.queues import QueueKey
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates, ends_in_time
from scheduler.planner.snapshot import Hole, Shape, Snapshot, WaitingJob

UNKNOWN_RUN_MS = 3_600_000.0  # run time of a job of which nobody knows anything
_NOTHING = 1e-9  # of a device

_Where = tuple[str, str]  # pool, model
_Holes = tuple[Hole, ...]  # of one node, by beginning
Ends = list[tuple[float, float]]  # (ms from now, devices), the soonest first
_Line = tuple[Ends, float]  # and until when, ms from now, the job may start on them


class Asker(NamedTuple):
    """Who asks for nodes of the calendar."""

    queue: QueueKey
    lasts_ms: Callable[[str], float]  # so long before a hole the job must have started on a model


def asker_of(shape: Shape, job: WaitingJob, estimates: Estimates, config: PlannerConfig) -> Asker:
    """A job, to which the calendar is closed as `calendar.near` and `close_booked_nodes` close it."""
    return Asker(shape.queue, partial(_lasts_ms, shape, job, estimates, config))


def _lasts_ms(
    shape: Shape, job: WaitingJob, estimates: Estimates, config: PlannerConfig, model: str
) -> float:
    lasts_ms = ends_in_time(shape, job, model, estimates, 0, config)
    return config.calendar_ahead_ms if lasts_ms is None else min(lasts_ms, config.calendar_ahead_ms)


class Start(NamedTuple):
    """A start that was found, ms from now."""

    at_ms: float
    model: str
    end_ms: float


@dataclass(slots=True)
class _Stretch:
    """The devices of nodes of the calendar between two holes, or in a reservation."""

    opens_ms: float  # from now, as all here
    closes_ms: float
    only: QueueKey | None  # who may use it; None: everybody
    then: QueueKey | None  # who need not have ended when it closes
    devices: float = 0.0
    ends: Ends = field(default_factory=list)

    def until_ms(self, model: str, asker: Asker) -> float:
        """When a start is too late."""
        if self.only is not None and self.only != asker.queue:
            return 0.0
        if self.closes_ms == inf or self.then == asker.queue:
            return self.closes_ms
        return self.closes_ms - asker.lasts_ms(model)


class Room:
    """How many devices of each model in each pool come free when, from now."""

    def __init__(self, snapshot: Snapshot, estimates: Estimates, now_ms: int) -> None:
        """Nodes outside of the calendar cost nothing more."""
        self._ends: dict[_Where, Ends] = {}
        self.devices = 0.0
        self._all: Counter[_Where] = Counter()  # devices outside of the calendar
        self._booked: dict[_Where, dict[_Holes, list[_Stretch]]] = {}
        holes: dict[NodeId, _Holes] = {}
        for hole in sorted(snapshot.calendar, key=lambda hole: hole.from_ms):
            for node_id in hole.nodes:
                holes[node_id] = (*holes.get(node_id, ()), hole)
        self._count_nodes(snapshot, holes, now_ms)
        self._count_running(snapshot, holes, estimates)
        for ends in self._ends.values():
            ends.sort()
        for stretches in chain.from_iterable(groups.values() for groups in self._booked.values()):
            for stretch in stretches:
                stretch.ends.sort()

    def _count_nodes(self, snapshot: Snapshot, holes: Mapping[NodeId, _Holes], now_ms: int) -> None:
        for view in snapshot.nodes:
            booked = holes.get(view.node_id)
            for model, on_node in view.by_model.items() if view.usable else ():
                where = view.pool, model
                self.devices += on_node.healthy
                free = sum([device.room_ppm for device in on_node.devices]) / WHOLE_PPM
                if booked is not None:
                    self._book(where, booked, now_ms, on_node.healthy)
                    self._comes_free(where, booked, 0.0, free)
                    continue
                if free:
                    self._ends.setdefault(where, []).append((0.0, free))
                if holes:
                    self._all[where] += on_node.healthy

    def _count_running(
        self, snapshot: Snapshot, holes: Mapping[NodeId, _Holes], estimates: Estimates
    ) -> None:
        for running in snapshot.running:
            left_ms = estimates.left_of(running)
            end_ms = UNKNOWN_RUN_MS if left_ms is None else left_ms
            where, part = (running.pool, running.model), running.shape.share_ppm / WHOLE_PPM
            if where not in self._booked:
                self._ends.setdefault(where, []).append((end_ms, running.devices * part))
                continue
            for node_id, devices in running.tasks:
                self._comes_free(where, holes.get(node_id), end_ms, len(devices) * part)

    def _book(self, where: _Where, holes: _Holes, now_ms: int, devices: int) -> None:
        groups = self._booked.setdefault(where, {})
        if holes not in groups:
            groups[holes] = list(_between(holes, now_ms))
        for stretch in groups[holes]:
            stretch.devices += devices
            if stretch.opens_ms:  # by then whoever was there has left
                stretch.ends = [(stretch.opens_ms, stretch.devices)]

    def _comes_free(self, where: _Where, holes: _Holes | None, at_ms: float, devices: float) -> None:
        if holes is None:
            self._ends.setdefault(where, []).append((at_ms, devices))
            return
        for stretch in self._booked[where].get(holes, ()):
            if devices and not stretch.opens_ms:
                stretch.ends.append((at_ms, devices))

    def start(
        self,
        pools: Iterable[str],
        run_ms: Mapping[str, float],
        asked: float,
        asker: Asker,
        before_ms: float = inf,
        opens_ms: Mapping[str, float] | None = None,
    ) -> Start | None:
        """Of the start with the earliest end on these models in one of these pools, if that end is before a moment; its
        devices are taken until then. `opens_ms`: on each model it starts not before then."""
        best: tuple[float, _Where] | None = None  # (start, where)
        end_ms = before_ms
        for where in product(pools, run_ms):
            from_ms = -inf if opens_ms is None else opens_ms[where[1]]
            found = _start(self._lines(where, asker), asked, run_ms[where[1]], end_ms, from_ms)
            if found is not None:
                best, end_ms = (found, where), found + run_ms[where[1]]
        if best is None:
            return None
        start_ms, where = best
        take = _take if opens_ms is None or start_ms > opens_ms[where[1]] else take_last
        need = asked
        for ends, until_ms in self._lines(where, asker):
            if start_ms < until_ms and need > _NOTHING:
                need -= take(ends, start_ms, need, end_ms)
        return Start(start_ms, where[1], end_ms)

    def soonest(self, pools: Iterable[str], models: Iterable[str], asked: float, asker: Asker) -> float:
        """Before when the calendar lets it start nowhere, whoever else ends; 0: it lets it start now."""
        if not self._booked:
            return 0.0
        starts = []
        for where in product(pools, models):
            lines: list[_Line] = [([(0.0, self._all[where])], inf)]
            for stretch, until_ms in self._open_to(where, asker):
                lines.append(([(stretch.opens_ms, stretch.devices)], until_ms))
            start_ms = _start(lines, asked)
            if start_ms is not None:
                starts.append(start_ms)
        return min(starts, default=0.0)

    def _lines(self, where: _Where, asker: Asker) -> list[_Line]:
        """What comes free for him: last what is not of the calendar, as that is good for all who come after him."""
        always: _Line = (self._ends.get(where, []), inf)
        if where not in self._booked:
            return [always]
        return [*((stretch.ends, until_ms) for stretch, until_ms in self._open_to(where, asker)), always]

    def _open_to(self, where: _Where, asker: Asker) -> Iterator[tuple[_Stretch, float]]:
        for stretches in self._booked.get(where, {}).values():
            for stretch in stretches:
                until_ms = stretch.until_ms(where[1], asker)
                if stretch.opens_ms < until_ms:
                    yield stretch, until_ms


def _between(holes: _Holes, now_ms: int) -> Iterator[_Stretch]:
    """What the holes leave of the time from now on, and what of them is somebody's."""
    opens_ms = 0.0
    for hole in holes:
        begins_ms, ends_ms = float(hole.from_ms - now_ms), float(hole.until_ms - now_ms)
        if begins_ms > opens_ms:
            yield _Stretch(opens_ms, begins_ms, None, hole.queue)
        if hole.queue is not None:
            yield _Stretch(max(0.0, begins_ms), ends_ms, hole.queue, hole.queue)
        opens_ms = max(opens_ms, ends_ms)
    yield _Stretch(opens_ms, inf, None, None)


def first_moment(ends: Ends, asked: float) -> float:
    """When so much is free together; inf: nobody can tell."""
    found = _start([(ends, inf)], asked)
    return inf if found is None else found


def _start(
    lines: list[_Line], asked: float, run_ms: float = 0.0, before_ms: float = inf, from_ms: float = -inf
) -> float | None:
    """When so many are free together, not before a moment, if a run from then on ends before another one; changes
    nothing."""
    if len(lines) == 1:
        total = 0.0
        for at_ms, devices in lines[0][0]:
            if at_ms + run_ms >= before_ms:
                return None
            total += devices
            if total >= asked - _NOTHING:
                at = max(at_ms, from_ms)
                return at if at + run_ms < before_ms else None
        return None
    free, total, next_ms = [0.0] * len(lines), 0.0, min(until_ms for _, until_ms in lines)
    for free_ms, devices, number in merge(
        *(_numbered(ends, number) for number, (ends, _) in enumerate(lines))
    ):
        at_ms = max(free_ms, from_ms)
        if at_ms + run_ms >= before_ms:
            return None
        if at_ms >= next_ms:  # it is too late for some of them
            over = [until_ms <= at_ms for _, until_ms in lines]
            free = [-inf if gone else devices for gone, devices in zip(over, free, strict=True)]
            total = sum(devices for devices in free if devices >= 0.0)
            next_ms = min(until_ms for _, until_ms in lines if until_ms > at_ms)
        free[number] += devices
        if free[number] >= 0.0:
            total += devices
            if total >= asked - _NOTHING:
                return at_ms
    return None


def _numbered(ends: Ends, number: int) -> Iterator[tuple[float, float, int]]:
    for at_ms, devices in ends:
        yield at_ms, devices, number


def _take(ends: Ends, until_ms: float, need: float, end_ms: float) -> float:
    """How many of so many devices are free at a moment: they come free again at their end."""
    taken, gone = 0.0, 0
    for at_ms, devices in ends:
        left = need - taken
        if at_ms > until_ms or left <= _NOTHING:
            break
        if devices > left:
            ends[gone] = (at_ms, devices - left)
            taken = need
            break
        taken += devices
        gone += 1
    del ends[:gone]
    if taken:
        insort(ends, (end_ms, taken))
    return taken


def take_last(ends: Ends, until_ms: float, need: float, end_ms: float) -> float:
    """The same of those that come free last before then: what is free earlier is left to who may start earlier."""
    taken, at = 0.0, bisect_right(ends, (until_ms, inf))
    while at and taken < need - _NOTHING:
        at -= 1
        at_ms, devices = ends[at]
        part = min(devices, need - taken)
        if part <= 0.0:  # of a quota more is held than there is
            continue
        if part >= devices:
            del ends[at]
        else:
            ends[at] = (at_ms, devices - part)
        taken += part
    if taken:
        insort(ends, (end_ms, taken))
    return taken
