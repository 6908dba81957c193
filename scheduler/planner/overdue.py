"""Who has waited too long for borrowed devices: one job of each tree of quotas, which then comes before all.

Owners come before those who would borrow (ordering.py) and take back what they lent (preemption.py). Were owners
never idle, a borrower would wait for ever, or be stopped as soon as he has started. So the first who has had nothing
for PATIENT x the time after which age raises a class comes before everybody, and keeps what he gets for that time
once, or to his end where he does not resume but has a time limit; then he has to wait as long again. It is one at a
time, so that owners lose little of what is theirs.
"""

from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from scheduler.domain.ids import JobId
from scheduler.domain.queues import QueueKey
from scheduler.planner.budgets import Budgets
from scheduler.planner.config import PlannerConfig
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import JobClass, RunningJob, Shape, Snapshot, WaitingJob

if TYPE_CHECKING:  # it loads numpy, and this is loaded by all who hold a report
    from scheduler.planner.fleet import Fleet

# Without devices for so many times the time after which age raises a class: too long.
PATIENT = 7.0


def time_with_devices_ms(job: WaitingJob | RunningJob, now_ms: int) -> int:
    """In all attempts, by the clock: what is said of its speeds does not make it shorter."""
    return job.held_ms + (now_ms - job.started_ms if isinstance(job, RunningJob) else 0)


class Overdue:
    """Those of one cycle. Cost: nothing as long as nobody is late, then once O(old waiting and running jobs)."""

    def __init__(
        self,
        snapshot: Snapshot,
        fleet: "Fleet",
        sharing: Sharing,
        budgets: Budgets,
        now_ms: int,
        config: PlannerConfig,
    ) -> None:
        self._snapshot = snapshot
        self._fleet = fleet
        self._sharing = sharing
        self._budgets = budgets
        self._now_ms = now_ms
        self._once_ms = max(1, config.ageing_ms)
        # Who was submitted later has not waited for too long.
        self.since_ms = now_ms - PATIENT * self._once_ms

    def has(self, shape: Shape, job: WaitingJob | RunningJob) -> bool:
        """Whether it is a borrower whose turn it is before all, or who has had it and keeps what he has."""
        return self._old(job) and self._late(shape, job) and job.job_id in self._first

    def anybody_waits(self, key: QueueKey) -> bool:
        """Whether somebody of the queue's tree waits for his turn before all."""
        first = self._firsts.get(self._sharing.root(key) or "")
        return first is not None and first[0]

    def foremost(self, item: JobClass, jobs: tuple[WaitingJob, ...]) -> tuple[WaitingJob, ...]:
        """The jobs of a class in their order, but that one first. Cost: O(its jobs that are old)."""
        if not jobs or not self._old(item.jobs[0]):
            return jobs
        first = next((job for job in takewhile(self._old, item.jobs) if self.has(item.shape, job)), None)
        return jobs if first is None else (first, *(job for job in jobs if job != first))

    def _old(self, job: WaitingJob | RunningJob) -> bool:
        return job.submitted_ms <= self.since_ms

    def _late(self, shape: Shape, job: WaitingJob | RunningJob) -> bool:
        return self._due_ms(shape, job) <= self._now_ms

    def _due_ms(self, shape: Shape, job: WaitingJob | RunningJob) -> float:
        # Whose end nobody knows is stopped as one that resumes is: he would have what is theirs for ever.
        turns_end = shape.resumable or shape.time_limit_ms is None
        had_ms = time_with_devices_ms(job, self._now_ms)
        turns_had = had_ms // self._once_ms if turns_end else 0
        return job.submitted_ms + had_ms + PATIENT * self._once_ms * (1 + turns_had)

    @cached_property
    def _first(self) -> frozenset[JobId]:
        return frozenset(job_id for *_, job_id in self._firsts.values())

    @cached_property
    def _firsts(self) -> dict[str, tuple[bool, float, int, JobId]]:
        """Of each tree the first of those who run, else of those who wait: (it waits, due, submitted, job)."""
        found: dict[str, tuple[bool, float, int, JobId]] = {}

        def consider(shape: Shape, job: WaitingJob | RunningJob) -> None:
            root = self._sharing.root(shape.queue)
            if root is not None:
                waits = isinstance(job, WaitingJob)
                place = (waits, self._due_ms(shape, job), job.submitted_ms, job.job_id)
                found[root] = min(place, found.get(root, place))

        for running in self._snapshot.running:
            if self._late(running.shape, running) and self._sharing.has_borrowed(running):
                consider(running.shape, running)
        for item in self._snapshot.classes:
            shape = item.shape
            late = [job for job in takewhile(self._old, item.jobs) if self._late(shape, job)]
            if late and self._sharing.must_borrow(shape) and self._possible(shape):
                for job in late:
                    consider(shape, job)
        return found

    def _possible(self, shape: Shape) -> bool:
        """Whether quotas, the nodes in service and its budgets can hold it: else nobody would have the turn."""
        queue = self._snapshot.queues.get(shape.queue)
        pools = () if queue is None else queue.pools
        return any(
            self._sharing.may_ever(shape, model)
            and self._budgets.refusal(shape, model) is None
            and self._fleet.could_seat(shape, pools, model)
            for model in shape.models
        )
