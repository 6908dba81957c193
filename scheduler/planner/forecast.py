"""When each waiting job is expected to start: the present plan played forward with predicted run times.

Devices of a model are counted, not laid out, and so is what the quotas let queues hold (`allowances.py`): what that
errs by is learned from how announced starts came out (`told_starts.Starts`), and the interval is drawn from it.
"""

from collections.abc import Iterable, Mapping, Set
from functools import cached_property
from math import inf
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.domain.told_intervals import still_to_come
from scheduler.planner.allowances import Allowances
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.garbage import uncollected
from scheduler.planner.room import UNKNOWN_RUN_MS, Room, asker_of
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob
from scheduler.planner.told_starts import Starts
from scheduler.planner.turns import Turns

MOST_JOBS = 2_000  # played forward; of the others the start is extrapolated by the work before them
_FAR_MS = 366 * 24 * 3_600_000.0


class StartInterval(NamedTuple):
    """Between which moments a job starts, with probability SURE, and when most likely: as likely before as after."""

    low_ms: int
    expected_ms: int
    high_ms: int
    forecast_ms: int  # when it would start in the order of the turns: what the others are learned beside


class Forecast:
    """Made with the report, played only when somebody asks. Cost: jobs x models x log(running jobs), once."""

    def __init__(
        self,
        snapshot: Snapshot,
        estimates: Estimates,
        turns: Turns,
        now_ms: int,
        config: PlannerConfig,
        placed: Mapping[JobId, str] | None = None,
        unpaid: Set[JobId] = frozenset(),
        not_before: Mapping[JobId, int] | None = None,
    ) -> None:
        """`placed`: on which model jobs start in this cycle; `unpaid`: whose budgets decide when they start;
        `not_before`: who waits although there is room, and until when."""
        self._snapshot = snapshot
        self._estimates = estimates
        self._turns = turns
        self._now_ms = now_ms
        self._config = config
        self._placed = placed or {}
        self._unpaid = unpaid
        self._not_before = not_before or {}
        self._soonest: dict[JobId, float] = {}  # ms from now: before then the calendar does not let it start
        self._errors = Starts() if snapshot.experience is None else snapshot.experience.starts

    @property
    def expected(self) -> Iterable[JobId]:
        """The jobs of which it is known when they start, in the order of their turns."""
        return self._waits

    def interval(self, job_id: JobId) -> StartInterval | None:
        """None: the job cannot start on what there is, or within its quota by the end of any work that runs."""
        expected = self._waits.get(job_id)
        if expected is None:
            return None
        wait_ms, devices = expected
        soonest_ms = self._soonest.get(job_id, 0.0)
        told = self._errors.interval_ms(wait_ms, devices, self._now_ms)
        waits = (min(max(wait, soonest_ms), _FAR_MS) for wait in (*told, wait_ms))
        low_ms, expected_ms, high_ms, forecast_ms = (self._now_ms + round(wait) for wait in waits)
        left = still_to_come((low_ms, expected_ms, high_ms), self._now_ms)  # it was refused just now
        return StartInterval(*(left or (low_ms, expected_ms, high_ms)), forecast_ms)

    @cached_property
    def _waits(self) -> dict[JobId, tuple[float, int]]:
        """Expected wait of every job from now, ms, and its devices."""
        with uncollected():
            return self._played_forward()

    def _played_forward(self) -> dict[JobId, tuple[float, int]]:
        room = Room(self._snapshot, self._estimates, self._now_ms)
        allowances = Allowances(self._snapshot, self._estimates, self._config)
        waits: dict[JobId, tuple[float, int]] = {}
        later = 0.0
        by_quota: dict[QueueKey, float] = {}  # of the last of each queue that a quota bounds
        order = self._in_order()
        for _, _, job, item in order[:MOST_JOBS]:
            found = self._played(room, allowances, item, job)
            if found is not None:
                found = max(found, self._not_before.get(job.job_id, self._now_ms) - self._now_ms)
                waits[job.job_id] = found, item.shape.devices
                if allowances.bound(item.shape.queue):
                    by_quota[item.shape.queue] = max(by_quota.get(item.shape.queue, 0.0), found)
                else:
                    later = max(later, found)
        if not room.devices:
            return waits
        work = 0.0
        for _, _, job, item in order[MOST_JOBS:]:
            queue, wait_ms = item.shape.queue, later + work / room.devices
            of_job = item.work if item.alike else self._left_ms(item.shape, job) * item.asked
            work += of_job
            if allowances.bound(queue):
                if queue not in by_quota:
                    opens_ms = allowances.opens_ms(queue, item.run_ms, item.least)
                    by_quota[queue] = min(opens_ms.values(), default=inf)
                wait_ms = max(wait_ms, by_quota[queue])
                by_quota[queue] += of_job / allowances.at_once(queue, item.run_ms)
            if wait_ms < inf:
                waits[job.job_id] = wait_ms, item.shape.devices
        return waits

    def _played(self, room: Room, allowances: Allowances, item: "_Class", job: WaitingJob) -> float | None:
        """When the job starts where those before it have taken their room; it takes its own."""
        queue = self._snapshot.queues.get(item.shape.queue)
        if queue is None:
            return None
        model = self._placed.get(job.job_id)
        run_ms = item.run_ms
        if model is not None or not item.alike:
            run_ms = self._run_ms(item.shape, job, model)
        asker = asker_of(item.shape, job, self._estimates, self._config)
        opens_ms = None
        if allowances.bound(queue.key):
            opens_ms = allowances.opens_ms(queue.key, run_ms, item.least)
            if model is not None:
                opens_ms = {model: 0.0}  # it starts now
            run_ms = {on: run_ms[on] for on in opens_ms}
        start = room.start(queue.pools, run_ms, item.asked, asker, opens_ms=opens_ms)
        if start is None:
            return None
        if opens_ms is not None:
            allowances.take(queue.key, start.model, item.asked, start.at_ms, start.end_ms)
        if start.at_ms and (soonest_ms := room.soonest(queue.pools, run_ms, item.asked, asker)):
            self._soonest[job.job_id] = soonest_ms
        return start.at_ms

    def _run_ms(self, shape: Shape, job: WaitingJob, model: str | None = None) -> dict[str, float]:
        """How long the job runs on this model, or on each that it can run on."""
        speeds, left_ms = self._estimates.speeds(shape), self._left_ms(shape, job)
        models = [model] if model is not None else [m for m in shape.models if speeds[m] > 0]
        return {m: left_ms / (speeds[m] or 1.0) for m in models}

    def _left_ms(self, shape: Shape, job: WaitingJob) -> float:
        left_ms = self._estimates.left_ms(shape, job)
        return UNKNOWN_RUN_MS if left_ms is None else left_ms

    def _in_order(self) -> list[tuple[int, float, WaitingJob, "_Class"]]:
        """(-rank, turn, job, its class): what starts in this cycle first."""
        first: list[tuple[int, float, WaitingJob, _Class]] = []
        rest: list[tuple[int, float, WaitingJob, _Class]] = []
        out = self._placed.keys() | self._unpaid
        for item in self._snapshot.classes:
            shape = item.shape
            share = min(shape.share_ppm, WHOLE_PPM) / WHOLE_PPM
            asked, least = shape.devices * share, min(shape.devices, *shape.sizes, shape.devices) * share
            work = self._left_ms(shape, item.jobs[0]) * asked
            one = _Class(shape, item.alike, asked, least, work, self._run_ms(shape, item.jobs[0]))
            places = self._turns.places(item, one)
            later = [place for place in places if place[2].job_id not in out] if out else places
            if len(later) < len(places):
                first += [place for place in places if place[2].job_id in self._placed]
            rest += later
        return sorted(first) + sorted(rest)


class _Class(NamedTuple):
    """What jobs of one shape have in common."""

    shape: Shape
    alike: bool
    asked: float  # devices
    least: float  # devices with which it starts where its quota holds no more
    work: float  # device-ms of each, where they are alike
    run_ms: Mapping[str, float]  # of each on each model, where they are alike
