"""When each waiting job is expected to start: the present plan played forward with predicted run times.

Devices of a model are counted, not laid out, and quotas are left out: what that errs by is learned from how
announced starts came out (`experience.Starts`), and the interval is drawn from it.
"""

from collections.abc import Iterable, Mapping, Set
from functools import cached_property
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import JobId
from scheduler.planner.estimates import Estimates
from scheduler.planner.experience import Starts
from scheduler.planner.ordering import Turns
from scheduler.planner.room import UNKNOWN_RUN_MS, Room
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob

SURE = 0.8  # probability with which a job starts inside its interval
MOST_JOBS = 2_000  # played forward; of the others the start is extrapolated by the work before them
_FAR_MS = 366 * 24 * 3_600_000.0


class StartInterval(NamedTuple):
    """Between which moments a job starts, with probability SURE, and when it is expected to."""

    low_ms: int
    expected_ms: int
    high_ms: int


class Forecast:
    """Made with the report, played only when somebody asks. Cost: jobs x models x log(running jobs), once."""

    def __init__(
        self,
        snapshot: Snapshot,
        estimates: Estimates,
        turns: Turns,
        now_ms: int,
        placed: Mapping[JobId, str] | None = None,
        unpaid: Set[JobId] = frozenset(),
    ) -> None:
        """`placed`: on which model jobs start in this cycle; `unpaid`: whose budgets decide when they start."""
        self._snapshot = snapshot
        self._estimates = estimates
        self._turns = turns
        self._now_ms = now_ms
        self._placed = placed or {}
        self._unpaid = unpaid
        self._errors = Starts() if snapshot.experience is None else snapshot.experience.starts

    def interval(self, job_id: JobId) -> StartInterval | None:
        """None: the job cannot start on what there is."""
        wait_ms = self._waits.get(job_id)
        if wait_ms is None:
            return None
        low, high = self._errors.interval_ms(wait_ms, SURE)
        return StartInterval(*(self._now_ms + int(min(wait, _FAR_MS)) for wait in (low, wait_ms, high)))

    @cached_property
    def _waits(self) -> dict[JobId, float]:
        """Expected wait of every job from now, ms."""
        room = Room(self._snapshot, self._estimates)
        waits: dict[JobId, float] = {}
        work = later = 0.0
        for number, (shape, job) in enumerate(self._in_order()):
            left_ms = self._estimates.left_ms(shape, job)
            left_ms = UNKNOWN_RUN_MS if left_ms is None else left_ms
            asked = shape.devices * min(shape.share_ppm, WHOLE_PPM) / WHOLE_PPM
            if number >= MOST_JOBS:
                waits[job.job_id] = later + work / room.devices if room.devices else later
                work += left_ms * asked
                continue
            speeds = self._estimates.speeds(shape)
            model = self._placed.get(job.job_id)
            models = [model] if model is not None else [m for m in shape.models if speeds[m] > 0]
            queue = self._snapshot.queues.get(shape.queue)
            run_ms = {m: left_ms / (speeds[m] or 1.0) for m in models}
            found = None if queue is None else room.earliest(queue.pools, run_ms, asked)
            if found is not None:
                waits[job.job_id] = found
                later = max(later, found)
        return waits

    def _in_order(self) -> Iterable[tuple[Shape, WaitingJob]]:
        jobs = [
            (item.shape, job)
            for item in self._snapshot.classes
            for job in item.jobs
            if job.job_id not in self._unpaid
        ]
        turns = self._turns
        return sorted(
            jobs,
            key=lambda item: (
                item[1].job_id not in self._placed,
                -turns.rank(*item),
                turns.turn(*item),
                item[1],
            ),
        )
