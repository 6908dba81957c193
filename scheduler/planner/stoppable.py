"""Running jobs in columns, who loses least first: each of many blocked jobs asks in one pass whom it might stop."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import merge
from math import nan
from typing import NamedTuple

import numpy as np

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.giving_back import Victim, stops_before
from scheduler.planner.overdue import Overdue
from scheduler.planner.plan import StopCause
from scheduler.planner.rows import Bools, Floats, Ints
from scheduler.planner.snapshot import RunningJob, Shape
from scheduler.planner.turns import Standing, Turns

# Whose rest is longer by this factor is longer for good. Of two whose rests grow as they run each would else soon be
# the shorter one: the classes by attained service of Tiresias (Gu et al., NSDI 2019) keep such jobs apart as well.
_MARKEDLY = 1.25
# Who has not saved for so long is not waited for: he might not for days.
SAVES_MS = 60 * MINUTE_MS


class Stoppable:
    """Jobs on one model of a pool, for one cycle. Cost: O(jobs) once and for each question."""

    def __init__(
        self,
        running: Sequence[RunningJob],
        lost_ms: Sequence[int],
        turns: Turns,
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        """`lost_ms`: run time that each loses who is stopped now."""
        lost, devices = _ints(lost_ms), _ints([one.devices for one in running])
        started_ms = _ints([one.started_ms for one in running])
        submitted_ms = _ints([one.submitted_ms for one in running])
        order = np.lexsort((submitted_ms, -started_ms, lost * devices))  # that of giving_back.py
        self.running = [running[row] for row in order.tolist()]
        self.lost_ms = lost[order]
        self.devices = devices[order]
        self._submitted_ms = submitted_ms[order]
        self.whole = _bools([one.shape.whole for one in self.running])
        # Who has run for long enough, and neither stops already nor was told to.
        self.may = now_ms - started_ms[order] >= config.min_run_ms
        self.may &= ~_bools([one.stopping for one in self.running])
        self._row_of = {one.job_id: row for row, one in enumerate(self.running)}
        self._unasked = np.ones(len(running), dtype=np.bool_)  # whether it is overdue
        self._on: tuple[Ints, Ints, Ints] | None = None  # where their devices are in the cell
        self._turns = turns
        self._config = config

    def stay(self, job_ids: Iterable[JobId]) -> None:
        """Nobody stops these any more."""
        for job_id in job_ids:
            row = self._row_of.get(job_id)
            if row is not None:
                self.may[row] = False

    def of(self, queues: Collection[QueueKey]) -> Bools:
        """Who runs for one of these queues."""
        numbers, number_of = self._queues
        theirs = np.zeros(len(number_of), dtype=np.bool_)
        theirs[[number_of[key] for key in queues]] = True
        return theirs[numbers]

    def keep_overdue(self, rows: Bools, overdue: Overdue) -> None:
        """Nobody of these rows is stopped whose turn before all it is or was. Each is asked once."""
        asked = rows & self.may & self._unasked
        if asked.any():
            self._unasked &= ~asked
            old = np.flatnonzero(asked & (self._submitted_ms <= overdue.since_ms)).tolist()
            those = [self.running[row] for row in old]
            self.stay(one.job_id for one in those if overdue.has(one.shape, one))

    def among(self, job_ids: Collection[JobId]) -> Bools:
        """Who is one of these."""
        return _bools([one.job_id in job_ids for one in self.running])

    def as_high(self, classes: Mapping[JobId, int], least: int) -> Bools:
        """Who is at least of such a class of those between which the market chose: it would start him again."""
        return _bools([classes.get(one.job_id, -1) >= least for one in self.running])

    def of_lower_class(self, shape: Shape, mine: Standing) -> Bools:
        """Whose priority class is lower than a shape's, and has not been raised by age to where a job of it stands."""
        return (self._class < shape.priority.rank) & (self.rank < mine.rank)

    def much_later(self, mine: Standing, factor: float) -> Bools:
        """Whose turn is later, and whose rest is markedly longer, and by so many times what it costs to stop them.

        The rest of a job that outlives what was believed of it grows while it runs: as the margin grows with it, each
        turn of such jobs is longer than the one before.
        """
        cost_ms = factor * (self._restart_ms + self.lost_ms + self._config.stop_margin_ms)
        longer = self.left_ms > _MARKEDLY * (nan if mine.left_ms is None else mine.left_ms) + cost_ms
        return self._resumable & (self.rank <= mine.rank) & (self._turn > mine.turn) & longer

    def devices_on(self, cell: Cell) -> tuple[Ints, Ints, Ints]:
        """(whose, row of the cell on which they run, how many they have there). Cost: O(their tasks), once."""
        if self._on is None:
            at = [
                (whose, row, len(device_ids))
                for whose, one in enumerate(self.running)
                for node_id, device_ids in one.tasks
                if (row := cell.row_of.get(node_id)) is not None
            ]
            whose, rows, devices = _ints(at).reshape(-1, 3).T
            self._on = whose, rows, devices
        return self._on

    @cached_property
    def saves(self) -> Bools:
        """Who saves soon, see `saves_soon`."""
        those = zip(self.running, self.lost_ms.tolist(), strict=True)
        return _bools([saves_soon(one, lost_ms, self._config) for one, lost_ms in those])

    @cached_property
    def left_ms(self) -> Floats:
        """Expected rest of their runs; nan: nobody knows."""
        estimates = self._turns.estimates
        if not estimates.predicts:
            return np.full(len(self.running), nan)
        lefts_ms = (estimates.left_of(one) for one in self.running)
        return np.array([nan if left_ms is None else left_ms for left_ms in lefts_ms])

    @cached_property
    def _standings(self) -> list[Standing]:
        return [self._turns.of_running(one) for one in self.running]

    @cached_property
    def rank(self) -> Ints:
        """Rank of each one's turn, see `Turns`."""
        return _ints([its.rank for its in self._standings])

    @cached_property
    def _turn(self) -> Floats:
        return np.array([its.turn for its in self._standings])

    @cached_property
    def _class(self) -> Ints:
        return _ints([one.shape.priority.rank for one in self.running])

    @cached_property
    def _resumable(self) -> Bools:
        return _bools([one.shape.resumable for one in self.running])

    @cached_property
    def _restart_ms(self) -> Ints:
        return _ints([one.shape.restart_ms for one in self.running])

    @cached_property
    def _queues(self) -> tuple[Ints, dict[QueueKey, int]]:
        """The number of each one's queue, and of which it is that."""
        number_of: dict[QueueKey, int] = {}
        numbers = [number_of.setdefault(one.shape.queue, len(number_of)) for one in self.running]
        return _ints(numbers), number_of


class Some(NamedTuple):
    """Rows of those who may stop, for one cause."""

    those: Stoppable
    rows: Bools
    cause: StopCause
    cell: Cell | None  # where what they have is of use
    parts: bool  # whether parts of devices are

    def victims(self) -> Iterator[Victim]:
        """The same one by one, the first to stop first."""
        cell, lost_ms = self.cell, self.those.lost_ms
        for row in np.flatnonzero(self.rows).tolist():
            one = self.those.running[row]
            masks = masks_of(cell, one) if cell is not None and (self.parts or one.shape.whole) else ()
            yield Victim(one, self.cause, lost_ms.item(row), masks)

    def given(self) -> Iterator[tuple[Ints, Ints]]:
        """(rows of the cell, devices there) that they would give back there at most."""
        if self.cell is not None and self.rows.any():
            whose, rows, devices = self.those.devices_on(self.cell)
            theirs = self.rows[whose]
            yield rows[theirs], devices[theirs]


def in_turn(found: Iterable[Some]) -> Iterator[Victim]:
    """All of them, the first to stop first."""
    return merge(*(some.victims() for some in found), key=stops_before)


def saves_soon(running: RunningJob, lost_ms: int, config: PlannerConfig) -> bool:
    """Whether it is worth waiting until a job has saved: when it did is its own word."""
    return running.shape.resumable and config.fresh_ms < lost_ms <= SAVES_MS


def lost_work_ms(running: RunningJob, now_ms: int) -> int:
    """Run time since the newest model checkpoint, or since the start; what a stop would throw away.

    A job that resumes and does not say when it saved is taken to save when it is asked to stop.
    """
    if running.saved_ms is not None:
        return max(0, now_ms - max(running.saved_ms, running.started_ms))
    return 0 if running.shape.resumable else max(0, now_ms - running.started_ms)


def must_stay(running: RunningJob, now_ms: int, config: PlannerConfig) -> bool:
    """Whether a job is not to be stopped for a gain alone: nobody is, it has just started, or its checkpoint is old.

    So a moment comes to rest, and moves cost their restart and nearly no work.
    """
    if not config.moves or now_ms - running.started_ms < config.min_run_ms:
        return True
    return lost_work_ms(running, now_ms) > config.fresh_ms


def masks_of(cell: Cell, running: RunningJob) -> tuple[tuple[int, int], ...]:
    """(row, mask) of the devices that a job holds in a cell; nodes out of service are left out."""
    masks = []
    for node_id, device_ids in running.tasks:
        row = cell.row_of.get(node_id)
        if row is not None:
            masks.append((row, cell.parts[row].mask_of(device_ids)))
    return tuple(masks)


def _ints(values: Sequence[int] | Sequence[tuple[int, int, int]]) -> Ints:
    return np.array(values, dtype=np.int64)


def _bools(values: Sequence[bool]) -> Bools:
    return np.array(values, dtype=np.bool_)
