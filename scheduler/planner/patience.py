"""Whether a job that cannot move later should wait for a faster device model: when it would end sooner so.

The faster model's devices come free as the running jobs on it are predicted to end, and are his where the calendar
leaves them to him for his run. Predictions err, so that nobody waits longer than the slow model would cost him: then he
has at most doubled what it would have cost.
"""

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.next_cycle import Ahead
from scheduler.planner.room import Room, asker_of
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape, WaitingJob


class Patience:
    """Decides for one cycle. Cost: O(running jobs) once somebody asks, then log(running jobs) a question."""

    def __init__(
        self, ahead: Ahead, sharing: Sharing, estimates: Estimates, now_ms: int, config: PlannerConfig
    ) -> None:
        self._ahead = ahead
        self._queues = ahead.snapshot.queues
        self._sharing = sharing
        self._estimates = estimates
        self._now_ms = now_ms
        self._config = config
        self._room: Room | None = None

    def over(self, shape: Shape, job: WaitingJob) -> bool:
        """Whether the job is kept from none of its models."""
        if shape.resumable or len(shape.models) < 2:
            return True
        left_ms = self._estimates.left_ms(shape, job)
        if left_ms is None:
            return True
        slowest = min(filter(None, self._estimates.speeds(shape).values()), default=1.0)
        return self._now_ms - job.submitted_ms >= left_ms / slowest - left_ms

    def reason(self, shape: Shape, job: WaitingJob, model: str) -> WhyNot | None:
        """Why the job should not start on the model now, or None. Who waits takes what he waits for."""
        if shape.resumable:
            return None
        speeds = self._estimates.speeds(shape)
        speed = speeds.get(model, 0.0)
        queue = self._queues.get(shape.queue)
        if not 0.0 < speed < 1.0 or queue is None:
            return None
        left_ms = self._estimates.left_ms(shape, job)
        if left_ms is None or self._now_ms - job.submitted_ms >= left_ms / speed - left_ms:
            return None
        faster = [
            other for other in shape.models if speeds[other] > speed and self._sharing.may_ever(shape, other)
        ]
        if self._room is None:
            self._room = Room(self._ahead.whole, self._estimates, self._now_ms)
        asked = shape.devices * min(shape.share_ppm, WHOLE_PPM) / WHOLE_PPM
        run_ms = {other: left_ms / speeds[other] for other in faster}
        asker = asker_of(shape, job, self._estimates, self._config)
        start = self._room.start(queue.pools, run_ms, asked, asker, before_ms=left_ms / speed)
        if start is None:
            return None
        minutes = max(1, round(start.at_ms / MINUTE_MS))
        sentence = (
            f"ends sooner on a faster model than {model}, free in about {minutes} min, and cannot move later"
        )
        return WhyNot(Reason.FASTER_LATER, sentence, None, model, shape.devices, None)
