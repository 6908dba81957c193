"""One cycle: from a snapshot to a plan and a report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import to_rfc3339
from scheduler.planner.admission import Quotas
from scheduler.planner.backfill import earliest_opening, nodes_to_hold
from scheduler.planner.capacity import Capacity, ModelPool
from scheduler.planner.config import PlannerConfig
from scheduler.planner.feasibility import unknown_model
from scheduler.planner.ordering import ClassCursor, Ordering
from scheduler.planner.placement import TaskSeat, find_seats
from scheduler.planner.plan import JobPlacement, Plan, TaskPlacement
from scheduler.planner.reasons import benched, counterfactual, when_it_starts, why_no_room
from scheduler.planner.report import ClassReport, Report
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob
from scheduler.planner.variants import Candidate, candidates


def plan(snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> tuple[Plan, Report]:
    """Decides what starts now and says why the rest waits. The same arguments give the same answer.

    Cost: O(nodes) to lay out capacity, and for each placement the nodes that were looked at, the tightest
    first; for each shape that is blocked once O(nodes) of its model pools for the reservation. Jobs that wait
    behind a blocked one of their shape cost nothing.
    """
    return _Cycle(snapshot, now_ms, config).run()


@dataclass(slots=True)
class _Blocked:
    """Why a class waits."""

    reasons: list[WhyNot] = field(default_factory=list)
    change: str | None = None  # what would have let it start at its turn
    starts_by_ms: int | None = None


class _Cycle:
    def __init__(self, snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> None:
        self._snapshot = snapshot
        self._now_ms = now_ms
        self._config = config
        self._capacity = Capacity(snapshot)
        self._quotas = Quotas(snapshot)
        self._ordering = Ordering(snapshot, now_ms, config)
        self._placements: list[JobPlacement] = []
        self._blocked: dict[int, _Blocked] = {}  # by class number
        self._reserved: set[tuple[QueueKey, str, str]] = set()  # (queue, pool, model) with a reservation

    def run(self) -> tuple[Plan, Report]:
        """Plans until nothing more starts or the bound on work is reached."""
        unfinished = False
        while (cursor := self._ordering.pop()) is not None:
            if len(self._placements) >= self._config.max_placements:
                unfinished = True
                break
            self._judge(cursor)
        return Plan(tuple(self._placements)), self._report(unfinished)

    def _judge(self, cursor: ClassCursor) -> None:
        shape = cursor.job_class.shape
        job = cursor.head
        queue = self._snapshot.queues.get(shape.queue)
        if job is None or queue is None or not queue.pools:
            self._blocked[cursor.number] = _Blocked([_no_queue(shape, queue)])
            self._ordering.leave(cursor)
            return
        refusals: list[WhyNot] = []
        by_devices: list[Candidate] = []
        by_quota: list[Candidate] = []
        for candidate in candidates(shape, queue, self._snapshot.catalogue):
            refusal = self._quotas.refusal(shape, queue, candidate.model)
            if refusal is not None:
                by_quota.append(candidate)
            else:
                refusal = self._try(shape, job, candidate, refusals)
                if refusal is None:
                    self._ordering.again(cursor, candidate.model)
                    return
                by_devices.append(candidate)
            if refusal not in refusals:
                refusals.append(refusal)
        change = counterfactual(shape, queue, self._capacity, self._snapshot.catalogue)
        blocked = _Blocked([*refusals, *benched(shape)], change)
        self._blocked[cursor.number] = blocked
        self._protect(shape, job, by_devices, by_quota, blocked)
        self._ordering.leave(cursor)

    def _try(
        self, shape: Shape, job: WaitingJob, candidate: Candidate, refusals: list[WhyNot]
    ) -> WhyNot | None:
        """Places the job if it fits; else says why it does not."""
        model_pool = self._capacity.get(candidate.pool, candidate.model)
        rule = self._snapshot.catalogue.shape(candidate.model)
        seats = None
        if model_pool is not None and self._snapshot.catalogue.get(candidate.model) is not None:
            seats = find_seats(shape, model_pool, rule, self._surely_ended_ms(shape))
        if model_pool is None or seats is None:
            if self._snapshot.catalogue.get(candidate.model) is None:
                return unknown_model(candidate.model)
            return why_no_room(shape, candidate, model_pool, rule)
        why_here = self._why_here(shape, candidate, model_pool, seats, refusals)
        tasks = []
        for rank, seat in enumerate(seats):
            model_pool.take(seat.slot, seat.devices)
            tasks.append(
                TaskPlacement(rank, seat.slot.node_id, tuple(device.device_id for device in seat.devices))
            )
        self._quotas.take(shape.queue, candidate.model, shape.devices)
        self._placements.append(
            JobPlacement(job.job_id, candidate.model, candidate.pool, tuple(tasks), why_here)
        )
        return None

    def _protect(
        self,
        shape: Shape,
        job: WaitingJob,
        by_devices: list[Candidate],
        by_quota: list[Candidate],
        blocked: _Blocked,
    ) -> None:
        """Reserves for the blocked head of a queue what keeps those behind it from overtaking it for ever."""
        waited_long = self._now_ms - job.submitted_ms >= self._config.hold_back_after_ms
        if not by_devices:
            if waited_long and by_quota:
                self._quotas.keep(shape.queue, by_quota[0].model)
            return
        if len(self._reserved) >= self._config.max_reservations:
            return
        opening, best = None, None
        for candidate in by_devices:
            model_pool = self._capacity.get(candidate.pool, candidate.model)
            if model_pool is None or (shape.queue, candidate.pool, candidate.model) in self._reserved:
                continue
            rule = self._snapshot.catalogue.shape(candidate.model)
            found = earliest_opening(shape, model_pool, rule, self._now_ms, self._config)
            if found is not None and (opening is None or found.from_ms < opening.from_ms):
                opening, best = found, model_pool
        if opening is not None and best is not None:
            if not waited_long and opening.from_ms - self._now_ms > self._config.hold_back_after_ms:
                return  # far off: nothing is kept idle for it before it has waited long
            for slot, devices in opening.seats:
                best.hold(slot, devices, opening.from_ms)
            self._reserved.add((shape.queue, best.pool, best.model))
            blocked.starts_by_ms = opening.from_ms
        elif waited_long:
            self._hold_back(shape, by_devices)

    def _hold_back(self, shape: Shape, by_devices: list[Candidate]) -> None:
        """Nobody knows when devices come free: keep the nodes that are closest to having room."""
        for candidate in by_devices:
            model_pool = self._capacity.get(candidate.pool, candidate.model)
            key = (shape.queue, candidate.pool, candidate.model)
            if model_pool is None or key in self._reserved:
                continue
            nodes = nodes_to_hold(shape, model_pool, self._snapshot.catalogue.shape(candidate.model))
            if len(nodes) == shape.tasks:
                for slot, devices in nodes:
                    model_pool.hold(slot, devices, None)
                self._reserved.add(key)
                return

    def _surely_ended_ms(self, shape: Shape) -> int | None:
        if shape.time_limit_ms is None:
            return None
        return self._now_ms + shape.time_limit_ms + self._config.stop_margin_ms

    def _why_here(
        self,
        shape: Shape,
        candidate: Candidate,
        model_pool: ModelPool,
        seats: list[TaskSeat],
        refusals: list[WhyNot],
    ) -> Mapping[str, Any]:
        """The account of a placement, stored with the attempt."""
        gflops = self._snapshot.catalogue.fp16_gflops(candidate.model)
        return {
            "pool": candidate.pool,
            "device_model": candidate.model,
            "free_devices": model_pool.free_devices,
            "nodes_with_room": model_pool.with_room(shape.devices_per_node),
            "nodes": [
                {
                    "node": seat.slot.view.name,
                    "rank": rank,
                    "devices": [device.number for device in seat.devices],
                    "free_before": seat.slot.free,
                    "fast_link_groups": len({device.group for device in seat.devices}),
                }
                for rank, seat in enumerate(seats)
            ],
            "model_choice": {
                "fp16_gflops": gflops or None,
                "variants": list(shape.models),
                "preferred_but_not_possible": [refusal.to_json() for refusal in refusals],
            },
        }

    def _report(self, unfinished: bool) -> Report:
        classes: list[ClassReport] = []
        for cursor in self._ordering.cursors:
            shape = cursor.job_class.shape
            left = cursor.job_class.jobs[cursor.next :] if cursor.next else cursor.job_class.jobs
            if not left:
                continue
            blocked = self._blocked.get(cursor.number)
            if blocked is None:
                sentence = "the last cycle reached its bound on work before this job"
                blocked = _Blocked([WhyNot(Reason.NOT_PLANNED_YET, sentence)])
            starts_by_ms = blocked.starts_by_ms
            change = blocked.change if starts_by_ms is None else when_it_starts(starts_by_ms)
            classes.append(ClassReport(shape, left, tuple(blocked.reasons), change, starts_by_ms))
        return Report(self._now_ms, (*classes, *self._resting()), unfinished)

    def _resting(self) -> list[ClassReport]:
        reports = []
        for resting in self._snapshot.resting:
            sentence = f"its last attempt failed; the next one is due at {to_rfc3339(resting.until_ms)}"
            reports.append(
                ClassReport(
                    resting.shape,
                    (resting.job,),
                    (WhyNot(Reason.RETRY_LATER, sentence),),
                    starts_by_ms=None,
                )
            )
        return reports


def _no_queue(shape: Shape, queue: Queue | None) -> WhyNot:
    if queue is None:
        return WhyNot(Reason.UNKNOWN_QUEUE, f"the firm has no queue {shape.queue.name}")
    return WhyNot(Reason.NO_POOL, f"the queue {shape.queue.name} may use no pool")
