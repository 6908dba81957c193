"""Running jobs that resume and would end sooner elsewhere: on a faster model that nobody waits for."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import NamedTuple

from scheduler.domain.ids import JobId
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.placement import find_seats
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot
from scheduler.planner.stoppable import lost_work_ms, masks_of, must_stay
from scheduler.planner.variants import Candidate, candidates, sizes_to_try


def could_move(running: RunningJob) -> bool:
    """Whether a job may ever go on larger or elsewhere: some time after it has started, which no message tells."""
    shape = running.shape
    return shape.resumable and (len(shape.sizes) > 0 or len(shape.models) > 1)


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
    budgets: Budgets
    estimates: Estimates
    now_ms: int
    config: PlannerConfig

    def worthwhile(self, stopped: frozenset[JobId]) -> list[Stop]:
        """Who goes elsewhere: the greatest gain first, each to devices that are kept for it in this cycle.

        Cost: the running jobs that resume, times their variants.
        """
        if self.config.policy.move_for_gain is None or not self.config.moves:
            return []
        resuming = [r for r in self.snapshot.running if len(r.shape.models) > 1 and r.shape.resumable]
        gains = [gain for running in resuming for gain in self._gains(running, stopped)]
        gains.sort(key=lambda gain: (-gain.sooner_ms * gain.running.devices, gain.running.submitted_ms))
        moves: dict[JobId, Stop] = {}
        for gain in gains:
            job_id = gain.running.job_id
            if len(moves) < self.config.max_moves and job_id not in moves and self._keep_room(gain):
                moves[job_id] = self._stop(gain)
        return list(moves.values())

    def growing(self, stopped: frozenset[JobId]) -> list[Stop]:
        """Elastic jobs that go on with more devices, now that nobody waits for them: the smallest first.

        Cost: the running elastic jobs, times log(their larger sizes).
        """
        factor = self.config.policy.grow_for_gain
        if factor is None or not self.config.moves:
            return []
        stops: list[Stop] = []
        elastic = [r for r in self.snapshot.running if r.shape.sizes and r.job_id not in stopped]
        for running in sorted(elastic, key=lambda running: (running.devices, running.submitted_ms)):
            size = self._larger(running, factor) if len(stops) < self.config.max_moves else None
            if size is not None:
                sentence = f"grow: goes on with {size} devices instead of {running.devices}"
                lost_ms = lost_work_ms(running, self.now_ms)
                stops.append(Stop(running.job_id, StopCause.GROW, None, sentence, lost_ms))
        return stops

    def _larger(self, running: RunningJob, factor: float) -> int | None:
        """The largest size for which there is room and which is worth the restart; the room is taken."""
        shape = running.shape
        cell = self.fleet.get(running.pool, running.model)
        queue = self.snapshot.queues.get(shape.queue)
        young = self.now_ms - running.started_ms < self.config.min_run_ms
        if not shape.resumable or running.stopping or young or cell is None or queue is None:
            return None
        left_ms = self.estimates.left_of(running)
        cost_ms = shape.restart_ms + lost_work_ms(running, self.now_ms) + self.config.stop_margin_ms
        held = [(row, mask) for row, mask in masks_of(cell, running) if mask]
        if len(held) < len(running.tasks):
            return None  # part of it is on nodes out of service
        per_node = shape.devices_per_node
        most = running.devices + cell.with_room_counting_held(per_node) * per_node
        for size in (size for size in sizes_to_try(shape.sizes, most) if size > running.devices):
            gain_ms = None if left_ms is None else left_ms * (1 - running.devices / size)
            if gain_ms is not None and gain_ms <= factor * cost_ms:
                continue
            more = size - running.devices
            larger = shape._replace(devices=size)
            if (
                self.sharing.refusal(queue, running.model, more) is None
                and self.budgets.pays(larger, running.model)
                and self._fits(larger, cell, held)
            ):
                self.sharing.take(shape.queue, running.model, more)
                self.budgets.take(larger, running.model)
                return size
        return None

    def _fits(self, shape: Shape, cell: Cell, held: list[tuple[int, int]]) -> bool:
        """Whether there is room once the job has given back what it holds; if so, it is taken."""
        demand = demand_of(shape)
        for row, mask in held:
            self.fleet.give_back(cell, row, mask, demand)
        found = find_seats(shape, self.fleet, cell, None)
        seats = [] if found is None else [(seat.row, seat.mask) for seat in found.seats]
        for row, mask in seats or held:
            self.fleet.take(cell, row, mask, demand, shape.queue.firm_id)
        return found is not None

    def _gains(self, running: RunningJob, stopped: frozenset[JobId]) -> Iterator[Gain]:
        shape = running.shape
        queue = self.snapshot.queues.get(shape.queue)
        if running.stopping or running.job_id in stopped:
            return
        left_here = self.estimates.left_of(running)
        if must_stay(running, self.now_ms, self.config) or left_here is None or queue is None:
            return
        cost_ms = shape.restart_ms + lost_work_ms(running, self.now_ms) + self.config.stop_margin_ms
        groups = candidates(shape, queue, self.snapshot, self.estimates)
        # It starts where it is tried first, and what is as good as what it has may be what it has.
        before = takewhile(lambda group: all(one.model != running.model for one in group), groups)
        for candidate in chain.from_iterable(before):
            left = self.estimates.left_ms(shape, running, candidate.model)
            if left is not None:
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
            or self.sharing.refusal(queue, model, self.sharing.devices_of(shape, model)) is not None
            or not self.budgets.pays(shape, model)
        ):
            return False
        found = find_seats(shape, self.fleet, cell, None)
        if found is None:
            return False
        for seat in found.seats:
            self.fleet.take(cell, seat.row, seat.mask, seat.demand, shape.queue.firm_id)
        self.sharing.take_for(shape, model)
        self.budgets.take(shape, model)
        return True

    def _stop(self, gain: Gain) -> Stop:
        running = gain.running
        sooner_s = int(gain.sooner_ms / 1000)
        sentence = f"move: ends about {sooner_s} s sooner on {gain.to.model} than on {running.model}"
        return Stop(running.job_id, StopCause.MOVE, None, sentence, lost_work_ms(running, self.now_ms))
