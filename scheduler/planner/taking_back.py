"""What taking back lent quota may cost: how much of borrowers' work a job of the owner may throw away, and when.

Nearly nothing at first, so that borrowers come to a model checkpoint or end; whatever it takes after as long as a
borrower has to wait for his turn, so that nobody keeps for ever what was only lent to him.
"""

from collections.abc import Iterable, Sequence
from math import inf

from scheduler.domain.time import MINUTE_MS, to_rfc3339
from scheduler.planner.config import PlannerConfig
from scheduler.planner.giving_back import Victim
from scheduler.planner.ordering import Turns
from scheduler.planner.overdue import PATIENT
from scheduler.planner.plan import StopCause
from scheduler.planner.snapshot import RunningJob, Shape, WaitingJob

# Who has not saved for so long is not waited for: he might not for days.
SAVES_MS = 60 * MINUTE_MS


class TakingBack:
    """Of one cycle."""

    def __init__(self, turns: Turns, now_ms: int, config: PlannerConfig) -> None:
        self._turns = turns
        self._now_ms = now_ms
        self._config = config

    def leaves_alone(self, shape: Shape, job: WaitingJob, running: RunningJob, lost_ms: int) -> bool:
        """Whether a borrower loses more than the job may cost, for how few devices the job needs of it."""
        loses = self._loses(running, lost_ms, job) * max(1.0, running.devices / shape.devices)
        return loses > self._may_cost(job) or self._ends_before_long(running, lost_ms, job)

    def too_dear(self, shape: Shape, job: WaitingJob, victims: Iterable[Victim]) -> bool:
        """Whether those who would give back what they borrowed lose more together than the job may cost."""
        lost = sum(
            self._loses(v.running, v.lost_ms, job) * v.running.devices
            for v in victims
            if v.cause is StopCause.RECLAIM
        )
        return lost > shape.devices * self._may_cost(job)

    def saves_first(self, running: RunningJob, lost_ms: int, job: WaitingJob) -> bool:
        """Whether it is worth waiting until a borrower has saved: when it did is its own word, believed for a day."""
        waits = self._now_ms - job.submitted_ms < self._config.ageing_ms
        return waits and running.shape.resumable and self._config.fresh_ms < lost_ms <= SAVES_MS

    def when(self, shape: Shape, job: WaitingJob, borrowers: Sequence[Victim], amount: str) -> str:
        """When what its queue lent comes back, of which these borrowers have so much and no more than it needs."""
        dear = any(self.leaves_alone(shape, job, v.running, v.lost_ms) for v in borrowers)
        if dear or self.too_dear(shape, job, borrowers):
            patient_ms = int(PATIENT * self._config.ageing_ms)
            awaited = any(self._expected_back(v.running, v.lost_ms) for v in borrowers)
            moment = to_rfc3339(job.submitted_ms + patient_ms * (2 if awaited else 1))
            if any(v.running.shape.resumable for v in borrowers):
                return f"work on {amount} ends or saves a model checkpoint, or from {moment} on whatever it loses"
            return f"work on {amount} ends, or from {moment} on whatever it loses"
        young_ms = max(v.running.started_ms for v in borrowers) + self._config.min_run_ms
        if young_ms > self._now_ms:
            minutes = self._config.min_run_ms // MINUTE_MS
            return (
                f"work on {amount} ends, or from {to_rfc3339(young_ms)} on, when it has run for {minutes} min"
            )
        return f"work on {amount} stops in one of the next cycles"

    def _may_cost(self, job: WaitingJob) -> float:
        """How much work, in ms for each of its devices, a job may throw away to get back lent quota, and of no other
        job more: the longer it waits, the more.
        """
        waited_ms = max(0, self._now_ms - job.submitted_ms)
        if waited_ms >= PATIENT * self._config.ageing_ms:
            return inf
        return self._config.fresh_ms + self._config.lost_for_wait * waited_ms

    def _loses(self, running: RunningJob, lost_ms: int, job: WaitingJob) -> int:
        """Run time that a borrower loses: who saves once in a while stops when he has saved."""
        return min(lost_ms, self._config.fresh_ms) if self.saves_first(running, lost_ms, job) else lost_ms

    def _ends_before_long(self, running: RunningJob, lost_ms: int, job: WaitingJob) -> bool:
        """Whether it is waited for until it ends: as long as a borrower is left alone at most, then for nothing, as it
        may have said itself when it ends.
        """
        if self._now_ms - job.submitted_ms >= 2 * PATIENT * self._config.ageing_ms:
            return False
        return self._expected_back(running, lost_ms)

    def _expected_back(self, running: RunningJob, lost_ms: int) -> bool:
        """Whether it is expected to give back what it borrowed sooner than it could do again what it would lose."""
        left_ms = self._turns.of_running(running).left_ms
        return left_ms is not None and left_ms < lost_ms - self._config.fresh_ms
