"""Running jobs that resume and would end sooner elsewhere: on a faster model that nobody waits for."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.placement import find_seats
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.preemption import lost_work_ms, must_stay
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Snapshot
from scheduler.planner.variants import Candidate, candidates


class Gain(NamedTuple):
    """What a running job would gain elsewhere."""

    running: RunningJob
    to: Candidate
    sooner_ms: float


@dataclass(frozen=True, slots=True)
class Moves:
    """Looks for moves after everybody who waits was served."""

    snapshot: Snapshot
    fleet: Fleet
    sharing: Sharing
    estimates: Estimates
    now_ms: int
    config: PlannerConfig

    def worthwhile(self, stopped: frozenset[JobId]) -> list[Stop]:
        """Who goes elsewhere: the greatest gain first, each to devices that are kept for it in this cycle.

        Cost: the running jobs that resume, times their variants.
        """
        if self.config.policy.move_for_gain is None:
            return []
        gains = [gain for running in self.snapshot.running for gain in self._gains(running, stopped)]
        gains.sort(key=lambda gain: (-gain.sooner_ms * gain.running.devices, gain.running.submitted_ms))
        moves: dict[JobId, Stop] = {}
        for gain in gains:
            job_id = gain.running.job_id
            if len(moves) < self.config.max_moves and job_id not in moves and self._keep_room(gain):
                moves[job_id] = self._stop(gain)
        return list(moves.values())

    def _gains(self, running: RunningJob, stopped: frozenset[JobId]) -> Iterator[Gain]:
        shape = running.shape
        queue = self.snapshot.queues.get(shape.queue)
        if not shape.resumable or running.stopping or len(shape.models) < 2 or running.job_id in stopped:
            return
        left_here = self.estimates.left_of(running)
        if must_stay(running, self.now_ms, self.config) or left_here is None or queue is None:
            return
        cost_ms = shape.restart_ms + lost_work_ms(running, self.now_ms) + self.config.stop_margin_ms
        for candidate in chain.from_iterable(candidates(shape, queue, self.snapshot, self.estimates)):
            left = self.estimates.left_ms(shape, running.waiting, candidate.model)
            if left is not None and candidate.model != running.model:
                sooner_ms = left_here - left
                if sooner_ms > (self.config.policy.move_for_gain or 0.0) * cost_ms:
                    yield Gain(running, candidate, sooner_ms)

    def _keep_room(self, gain: Gain) -> bool:
        """Whether there is room for the job; then it is taken for the rest of the cycle."""
        shape, model = gain.running.shape, gain.to.model
        cell = self.fleet.get(gain.to.pool, model)
        queue = self.snapshot.queues[shape.queue]
        if (
            cell is None
            or self.sharing.refusal(shape, queue, model, self.sharing.devices_of(shape, model)) is not None
        ):
            return False
        found = find_seats(shape, self.fleet, cell, None)
        if found is None:
            return False
        for seat in found.seats:
            self.fleet.take(cell, seat.row, seat.mask, seat.demand, shape.queue.firm_id)
        self.sharing.take_for(shape, model)
        return True

    def _stop(self, gain: Gain) -> Stop:
        running = gain.running
        sooner_s = int(gain.sooner_ms / 1000)
        sentence = f"move: ends about {sooner_s} s sooner on {gain.to.model} than on {running.model}"
        return Stop(running.job_id, StopCause.MOVE, None, sentence, lost_work_ms(running, self.now_ms))
