"""Who gives back what a blocked job needs: devices where it would fit, and what its queue's quota lacks."""

from collections.abc import Collection, Iterable
from types import TracebackType
from typing import NamedTuple, Self

from scheduler.domain.ids import JobId
from scheduler.domain.queues import Queue
from scheduler.domain.reasons import WhyNot
from scheduler.planner.config import PlannerConfig
from scheduler.planner.fitting import Fitting
from scheduler.planner.plan import StopCause
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot

_CAUSES = (StopCause.RECLAIM, StopCause.SHORTER, StopCause.PRIORITY)  # those of the first stop before others


class Victim(NamedTuple):
    """A running job that may be stopped for another."""

    running: RunningJob
    cause: StopCause
    lost_ms: int  # run time since its newest model checkpoint
    masks: tuple[
        tuple[int, int], ...
    ]  # (row, devices) that it gives back; none where its devices are of no use


class Way(NamedTuple):
    """How a blocked job gets its devices: who stops, and what is then kept for it."""

    victims: tuple[Victim, ...]
    seats: tuple[tuple[int, int], ...]  # (row, mask)
    later: tuple[Victim, ...] = ()  # who stop as soon as they have saved

    @property
    def lost(self) -> int:
        """Device-ms that would be thrown away if all of them stopped now."""
        return sum(victim.lost_ms * victim.running.devices for victim in (*self.victims, *self.later))


def stops_before(victim: Victim) -> tuple[int, int, int, int]:
    """Who has less stops before others: of one cause the least lost work, the youngest of equals."""
    running, cause, lost_ms, _ = victim
    return _CAUSES.index(cause), lost_ms * running.devices, -running.started_ms, running.submitted_ms


def in_order(victims: Iterable[Victim]) -> list[Victim]:
    """Those who are stopped before others first."""
    return sorted(victims, key=stops_before)


class Returned:
    """The quotas as they are once those who stop already, and victims, have given back what they hold.

    Only inside `with`: behind it they are again what they were. Cost of each step: the depth of the tree.
    """

    def __init__(self, sharing: Sharing, queue: Queue, model: str, lacks: int) -> None:
        """`lacks`: so many devices are asked for that the quota does not have; 0: it has what is needed."""
        self._sharing = sharing
        self._queue = queue
        self._model = model
        self._asked = lacks
        self._returned: dict[JobId, RunningJob] = {}
        self._given = sharing.given

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for running in self._returned.values():
            self._sharing.take_for(running.shape, running.model, devices=running.devices)
        self._sharing.given = self._given  # what was answered before is true again

    @property
    def enough(self) -> bool:
        """Whether the job's quota suffices."""
        return not self.lacking

    @property
    def lacking(self) -> Collection[str]:
        """The keys of which it does not suffice: the job's device model, compute."""
        return self._sharing.lacks(self._queue, self._model, self._asked) if self._asked else ()

    def helps(self, victim: Victim) -> bool:
        """Whether the quota needs what a victim would give back: of borrowers no more than they borrowed."""
        gives = {key for key, _ in self._sharing.amounts(victim.running.model, 1)}
        short = gives.intersection(self.lacking)
        return bool(short) and (
            victim.cause is not StopCause.RECLAIM or self._sharing.has_borrowed(victim.running, short)
        )

    def add(self, running: RunningJob) -> None:
        """It gives back what it holds."""
        if self._asked:
            self._sharing.take_for(running.shape, running.model, devices=running.devices, back=True)
            self._returned[running.job_id] = running

    def remove(self, running: RunningJob) -> None:
        """It keeps that after all."""
        if self._asked:
            self._sharing.take_for(running.shape, running.model, devices=running.devices)
            del self._returned[running.job_id]


class StillHeld:
    """The quotas as they are until those who are to stop have stopped: nobody starts on what they hold meanwhile.

    Cost: nothing as long as nobody is told to stop; then the queues once, and a question as of `Sharing`.
    """

    def __init__(self, snapshot: Snapshot, sharing: Sharing, config: PlannerConfig) -> None:
        self._snapshot = snapshot
        self._sharing = sharing
        self._config = config
        self._started: list[tuple[Shape, str]] = []
        self._now: Sharing | None = None

    def started(self, shape: Shape, model: str) -> None:
        """A job of the shape starts in this cycle."""
        if self._now is None:
            self._started.append((shape, model))
        else:
            self._now.take_for(shape, model)

    def refusal(self, shape: Shape, queue: Queue, model: str) -> WhyNot | None:
        """Why the queue may not hold the job beside all that it holds, or None."""
        if not self._sharing.passed_on:
            return None
        if self._now is None:
            self._now = Sharing(self._snapshot, self._config)
            for started, its in self._started:
                self._now.take_for(started, its)
        return self._now.refusal(queue, model, self._now.devices_of(shape, model))


def until_enough(
    candidates: Iterable[Victim], fitting: Fitting, quota: Returned, *, alone: bool
) -> list[Victim] | None:
    """As few of the candidates as give back enough, those before others; None: all of them would not.

    `alone`: one node is enough, so that who is on others is of no use.
    """
    chosen: list[Victim] = []
    by_quota = not quota.enough
    for victim in candidates:
        if fitting.enough and quota.enough:
            break
        if (victim.masks and not fitting.enough) or quota.helps(victim):
            fitting.add(victim.masks)
            quota.add(victim.running)
            chosen.append(victim)
    if not (fitting.enough and quota.enough):
        return None
    if alone and not by_quota:
        chosen = [victim for victim in chosen if fitting.uses(victim.masks)]
    return _spared(chosen, fitting, quota)


def _spared(chosen: list[Victim], fitting: Fitting, quota: Returned) -> list[Victim]:
    """Without those that are not needed after all, the dearest first."""
    spared: set[JobId] = set()
    for victim in reversed(chosen[:-1]):
        fitting.remove(victim.masks)
        quota.remove(victim.running)
        if fitting.enough and quota.enough:
            spared.add(victim.running.job_id)
        else:
            fitting.add(victim.masks)
            quota.add(victim.running)
    return [victim for victim in chosen if victim.running.job_id not in spared]
