"""What is traded on the market in one queue, and among whom."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.queues import Queue
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import Demand, demand_of
from scheduler.planner.fleet import Fleet
from scheduler.planner.outcome import place_of
from scheduler.planner.overdue import PATIENT, time_with_devices_ms
from scheduler.planner.placement import find_seats
from scheduler.planner.reach import InService, never_seated, open_to
from scheduler.planner.rows import Bools, Floats, Ints
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob
from scheduler.planner.stoppable import masks_of
from scheduler.planner.traders import Traders
from scheduler.planner.turns import Turns

# Where the profile says so a job that needs more than its share of the devices has longer patience (overdue.PATIENT),
# as others would lose more by it.
_FOR_OVERDUE = 0.02


class Going(NamedTuple):
    """Who leaves its devices, and for which model."""

    running: RunningJob
    to: str | None


class _Held(NamedTuple):
    """Devices of one task."""

    cell: Cell
    row: int
    mask: int
    demand: Demand
    firm_id: FirmId


def models_of(shapes: Iterable[Shape]) -> list[str]:
    """The models of all of them, by name."""
    return sorted(set().union(*{shape.models for shape in shapes}))


def without_who_stays(snapshot: Snapshot, fleet: Fleet) -> dict[Cell, InService]:
    """The nodes in service, less the devices of those who never leave for a gain. Cost: O(running jobs)."""
    stay = {cell: np.zeros(len(cell.parts), dtype=np.int64) for cell in fleet.cells()}
    for running in snapshot.running:
        cell = fleet.get(running.pool, running.model)
        if cell is not None and not (running.shape.tradable or running.stopping):
            for row, mask in masks_of(cell, running):
                stay[cell][row] += mask.bit_count()
    return {cell: InService(cell, devices) for cell, devices in stay.items()}


class Floor:
    """What is traded in one queue, and among whom.

    Who is of a lower class gets what the higher ones leave. Age raises nobody above those who are here, but for
    the first of those who have had nothing for too long: they come before everybody, so that nobody waits for
    ever, whatever the profile weighs.
    """

    def __init__(
        self,
        traders: Traders,
        queue: Queue,
        fleet: Fleet,
        turns: Turns,
        promised: Mapping[str, int],
        now_ms: int,
        config: PlannerConfig,
        at_most: Mapping[str, int] | None = None,
    ) -> None:
        """`promised` by model to others; of each no more than `at_most` is traded."""
        self._fleet = fleet
        self._turns = turns
        self._now_ms = now_ms
        self.queue = queue
        self.traders = traders
        # What is the same for all of one shape is asked once: of how many there are most are alike.
        self.shapes = traders.shapes
        self.models = models_of(self.shapes)
        self.asked = self.of_shape([float(shape.devices) for shape in self.shapes])
        self.devices = self.asked.copy()  # what each holds, or would
        self.running, self.runs_at = traders.running, traders.runs_at
        self.devices[self.runs_at] = [running.devices for running in self.running]
        number_of = {model: number for number, model in enumerate(self.models)}
        self.runs_on: Ints = np.full(len(traders), -1, dtype=np.int64)  # which of the models; -1: it waits
        self.runs_on[self.runs_at] = [number_of[running.model] for running in self.running]
        held: Floats = np.zeros(len(self.models))
        np.add.at(held, self.runs_on[self.runs_at], self.devices[self.runs_at])
        self.capacity = self._capacity(fleet, promised, at_most or {}, held)
        self.free: Floats = self.capacity - held  # of what is traded
        self.most: Mapping[str, float] = dict(zip(self.models, self.capacity.tolist(), strict=True))
        self.highest = max(shape.priority.rank for shape in self.shapes)
        self.unseated = self._unseated()
        self.overdue = self._first_overdue(PATIENT * config.ageing_ms, config.policy.patience_of_large)
        own = self.of_shape([shape.priority.rank for shape in self.shapes])
        self.ranks: Ints = turns.ranks(own, traders.submitted_ms)
        self.classes: Ints = self.ranks.clip(max=self.highest)
        self.classes[list(self.overdue)] = self.highest + 1

    def class_of(self, shape: Shape, job: WaitingJob) -> int | None:
        """Of one that waits; None: it does not take part. One class comes after the other.

        `shape`: that of its class in the snapshot.
        """
        if place_of(job, self.traders.of_class.get(shape, ())) is None:
            return None
        if job.job_id in self._overdue_ids:
            return self.highest + 1
        return min(self._turns.raised(shape, job), self.highest)

    @cached_property
    def _overdue_ids(self) -> frozenset[JobId]:
        return frozenset(self.traders.job(at).job_id for at in self.overdue)

    def of_shape(self, answers: Sequence[object] | NDArray[Any]) -> NDArray[Any]:
        """For each trader what is so for its shape: one answer for each of `shapes`."""
        return np.asarray(answers)[self.traders.shape_of]

    def _first_overdue(self, patience_ms: float, most: float) -> set[int]:
        """The first of those who have had nothing for too long: one, or as many as a small share holds.

        The first is whose patience ended first: nobody who comes later than that is ever before it.
        """
        share = _FOR_OVERDUE * float(self.capacity.sum())
        old = np.flatnonzero(self.traders.submitted_ms + patience_ms < self._now_ms)
        if not len(old):
            return set()
        able = self.of_shape([[model in shape.models for model in self.models] for shape in self.shapes])
        able = (able & ~self.unseated).any(axis=1) & self.of_shape([s.fits(self.most) for s in self.shapes])
        old = old[able[old]]
        had_ms = [time_with_devices_ms(self.traders.job(at), self._now_ms) for at in old.tolist()]
        longer = np.maximum(1.0, self.devices[old] / share).clip(max=most)
        due_ms = self.traders.submitted_ms[old] + np.array(had_ms, dtype=np.int64) + longer * patience_ms
        found: set[int] = set()
        for number in np.argsort(due_ms, kind="stable").tolist():
            share -= self.devices.item(old.item(number))
            if due_ms.item(number) >= self._now_ms or (found and share < 0):
                break
            found.add(old.item(number))
        return found

    def _capacity(
        self, fleet: Fleet, promised: Mapping[str, int], at_most: Mapping[str, int], held: Floats
    ) -> Floats:
        """What is free for the queue, less what others were promised, and what those who take part hold."""
        free = dict.fromkeys(self.models, 0)
        for pool in self.queue.pools:
            for model in self.models:
                cell = fleet.get(pool, model)
                free[model] += 0 if cell is None else open_to(self.queue.key.firm_id, cell)
        left = [max(0, free[model] - promised.get(model, 0)) for model in self.models]
        most: Floats = np.minimum(np.add(left, held), [at_most.get(model, inf) for model in self.models])
        return most

    def stuck(self, going: Sequence[Going], *, change_places: bool) -> set[JobId]:
        """Gangs that have no devices together where they are to go; devices are counted on the market, not laid out.

        Where they may change places each takes of what all leave, the largest first. Cost: a search a gang, and the
        nodes that anybody leaves where gangs are to go. Nothing stays changed.
        """
        gangs = sorted(
            ((one.running, one.to) for one in going if one.to is not None and one.running.devices > 1),
            key=lambda gang: -gang[0].devices,
        )
        models = {to for _, to in gangs}
        leaving = [held for one in going for held in self._held(one.running, models)] if change_places else []
        with self._given_back(leaving):
            taken: list[_Held] = []
            found: set[JobId] = set()
            for running, to in gangs:
                seats = self._seats(running.shape, to)
                if seats is None:
                    found.add(running.job_id)
                elif change_places:
                    taken += seats
                    for cell, row, mask, demand, firm_id in seats:
                        self._fleet.take(cell, row, mask, demand, firm_id)
            for cell, row, mask, demand, _ in taken:
                self._fleet.give_back(cell, row, mask, demand)
        return found

    @contextmanager
    def _given_back(self, leaving: Sequence[_Held]) -> Iterator[None]:
        """Meanwhile these devices are free."""
        ends = [cell.ends[row].copy() for cell, row, *_ in leaving]
        for cell, row, mask, demand, _ in leaving:
            self._fleet.give_back(cell, row, mask, demand)
        yield
        for cell, row, mask, demand, firm_id in leaving:
            self._fleet.take(cell, row, mask, demand, firm_id)
        for (cell, row, *_), before in zip(leaving, ends, strict=True):
            cell.ends[row] = before  # when they come free is still known

    def _held(self, running: RunningJob, models: Set[str]) -> list[_Held]:
        """What it holds on nodes that have any of the models: those on one node share its host."""
        cell, shape = self._fleet.get(running.pool, running.model), running.shape
        if cell is None or not models:
            return []
        return [
            _Held(cell, row, mask, demand_of(shape, mask.bit_count()), shape.queue.firm_id)
            for row, mask in masks_of(cell, running)
            if mask and not models.isdisjoint(cell.parts[row].view.by_model)
        ]

    def _seats(self, shape: Shape, model: str) -> list[_Held] | None:
        for pool in self.queue.pools:
            cell = self._fleet.get(pool, model)
            found = None if cell is None else find_seats(shape, self._fleet, cell, None)
            if cell is not None and found is not None:
                firm_id = shape.queue.firm_id
                return [_Held(cell, seat.row, seat.mask, seat.demand, firm_id) for seat in found.seats]
        return None

    def kept_out(self, chosen: Ints, in_service: Mapping[Cell, InService]) -> Bools:
        """(traders): gangs that wait and could not be where they were chosen for, on what those who stay leave."""
        shape_of = self.traders.shape_of
        gang = (chosen >= 0) & (self.asked > 1)
        gang[self.runs_at] = False
        found = np.zeros(len(chosen), dtype=np.bool_)
        for number in np.unique(chosen[gang]).tolist():
            there = gang & (chosen == number)
            cells = [self._fleet.get(pool, self.models[number]) for pool in self.queue.pools]
            nodes = [in_service[cell] for cell in cells if cell is not None]
            numbers = np.unique(shape_of[there])
            out = np.zeros(len(self.shapes), dtype=np.bool_)
            out[numbers] = never_seated([self.shapes[at] for at in numbers.tolist()], [nodes])[:, 0]
            found |= there & out[shape_of]
        return found

    def _unseated(self) -> Bools:
        """(traders, models): gangs that no nodes in service could seat on a model, whoever left them.

        Whoever runs is seated where it is. Asked for the other models as those are who wait, or the two would be judged
        by different measures: it would stop for one that waits, and start again before it.
        """
        places = [self._fleet.in_service(self.queue.pools, model) for model in self.models]
        found: Bools = never_seated(self.shapes, places)[self.traders.shape_of]
        found[self.runs_at, self.runs_on[self.runs_at]] = False
        return found
