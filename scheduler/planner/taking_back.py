"""What taking back lent quota may cost: how much of borrowers' work a job of the owner may throw away, and when.

Nearly nothing at first, so that borrowers come to a model checkpoint or end; whatever it takes after as long as a
borrower has to wait for his turn, so that nobody keeps for ever what was only lent to him.
"""

from collections.abc import Iterable, Sequence
from math import inf

import numpy as np

from scheduler.domain.time import MINUTE_MS, to_rfc3339
from scheduler.planner.config import PlannerConfig
from scheduler.planner.giving_back import Victim
from scheduler.planner.overdue import PATIENT
from scheduler.planner.plan import StopCause
from scheduler.planner.rows import Bools
from scheduler.planner.snapshot import RunningJob, Shape, WaitingJob
from scheduler.planner.stoppable import Stoppable, lost_work_ms, saves_soon
from scheduler.planner.turns import Turns


class TakingBack:
    """Of one cycle."""

    def __init__(self, turns: Turns, now_ms: int, config: PlannerConfig, ahead_ms: int = 0) -> None:
        """`ahead_ms`: so long after the cycle it is judged, of which `now_ms` tells the moment."""
        self._turns = turns
        self._now_ms = now_ms
        self._config = config
        self._ahead_ms = ahead_ms

    def leaves_alone(self, devices: float, job: WaitingJob, those: Stoppable) -> Bools:
        """Which borrowers lose more than a job of so many devices may cost, for how few it needs of them; and who is
        waited for until he ends: as long as a borrower is left alone at most, then for nothing, as he may have said
        himself when he ends.
        """
        loses = (
            np.where(those.saves, self._config.fresh_ms, those.lost_ms) if self.waits(job) else those.lost_ms
        )
        alone = loses * np.maximum(1.0, those.devices / devices) > self._may_cost(job)
        patient = self._now_ms - job.submitted_ms >= 2 * PATIENT * self._config.ageing_ms
        if not patient and not alone.all():
            alone |= self._expected_back(those)
        return alone

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
        return self.waits(job) and saves_soon(running, lost_ms, self._config)

    def when(self, shape: Shape, job: WaitingJob, borrowers: Sequence[Victim], amount: str) -> str:
        """When what its queue lent comes back, of which these borrowers have so much and no more than it needs."""
        old_ms = max(v.running.started_ms for v in borrowers) + self._config.min_run_ms
        if old_ms > self._now_ms:  # before it nobody stops them: then they lose more, and it may cost more
            later = TakingBack(self._turns, old_ms, self._config, old_ms - self._now_ms)
            borrowers = [v._replace(lost_ms=lost_work_ms(v.running, old_ms)) for v in borrowers]
            minutes = self._config.min_run_ms // MINUTE_MS
            return later._when_it_ends(shape, job, borrowers, amount) or (
                f"work on {amount} ends, or from {to_rfc3339(old_ms)} on, when it has run for {minutes} min"
            )
        return self._when_it_ends(shape, job, borrowers, amount) or (
            f"work on {amount} stops in one of the next cycles"
        )

    def _when_it_ends(
        self, shape: Shape, job: WaitingJob, borrowers: Sequence[Victim], amount: str
    ) -> str | None:
        """The same where they are not stopped at the moment that is judged, as they would lose too much by it."""
        running, lost_ms = [v.running for v in borrowers], [v.lost_ms for v in borrowers]
        those = Stoppable(running, lost_ms, self._turns, self._now_ms, self._config)
        saves = any(self.saves_first(v.running, v.lost_ms, job) for v in borrowers)
        dear = (
            saves
            or self.leaves_alone(shape.devices, job, those).any()
            or self.too_dear(shape, job, borrowers)
        )
        if not dear:
            return None
        patient_ms = int(PATIENT * self._config.ageing_ms)
        awaited = self._expected_back(those).any()
        moment = to_rfc3339(job.submitted_ms + patient_ms * (2 if awaited else 1))
        if any(v.running.shape.resumable for v in borrowers):
            return f"work on {amount} ends or saves a model checkpoint, or from {moment} on whatever it loses"
        return f"work on {amount} ends, or from {moment} on whatever it loses"

    def _may_cost(self, job: WaitingJob) -> float:
        """How much work, in ms for each of its devices, a job may throw away to get back lent quota, and of no other
        job more: the longer it waits, the more.
        """
        waited_ms = max(0, self._now_ms - job.submitted_ms)
        if waited_ms >= PATIENT * self._config.ageing_ms:
            return inf
        return self._config.fresh_ms + self._config.lost_for_wait * waited_ms

    def waits(self, job: WaitingJob) -> bool:
        """Whether it waits until borrowers save: what they say of it is believed for a day."""
        return self._now_ms - job.submitted_ms < self._config.ageing_ms

    def _loses(self, running: RunningJob, lost_ms: int, job: WaitingJob) -> int:
        """Run time that a borrower loses: who saves once in a while stops when he has saved."""
        return self._config.fresh_ms if self.saves_first(running, lost_ms, job) else lost_ms

    def _expected_back(self, those: Stoppable) -> Bools:
        """Who is expected to give back what he borrowed sooner than he could do again what he would lose."""
        return those.left_ms - self._ahead_ms < those.lost_ms - self._config.fresh_ms
