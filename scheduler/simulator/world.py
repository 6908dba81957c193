"""The event loop: jobs arrive, the shipped planner decides, work is done under a virtual clock.

Everything that is random was drawn before the run, so that a seed gives one result.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from time import perf_counter
from typing import cast

from scheduler import machine_code
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import JobId, NodeId
from scheduler.machine import MachineConfig
from scheduler.machine.usage import UsageLedger
from scheduler.planner import (
    Hole,
    JobPlacement,
    Learning,
    Plan,
    PlannerConfig,
    Report,
    Snapshot,
    StopCause,
    WaitingJob,
)
from scheduler.planner.cycle import Planner
from scheduler.simulator.cluster import NotPossible, VirtualCluster
from scheduler.simulator.jobs import Announced, JobRecord, Work

_MOST_PASSES = 64  # plans in one moment; a planner that has not come to rest by then never will
_FOR_OTHERS = frozenset(cause.value for cause in StopCause)
_UNKNOWN_GFLOPS = MachineConfig().unknown_fp16_gflops


class NoRest(RuntimeError):
    """The planner goes on stopping and starting jobs in one and the same moment."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A node that is gone for a while; what runs on it goes back to its newest model checkpoint."""

    from_ms: int
    until_ms: int
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class Stretch:
    """A job on its devices, for the Gantt chart."""

    job_id: JobId
    tasks: tuple[tuple[NodeId, tuple[int, ...]], ...]  # which devices of which nodes, by index
    model: str
    from_ms: int
    until_ms: int


@dataclass(slots=True)
class Measured:
    """What the loop counted on the way. Device-times in device-milliseconds."""

    capacity: float = 0.0
    held: float = 0.0
    idle_while_waiting: float = 0.0  # free although somebody waited
    fragmented: float = 0.0  # of that, on nodes that were partly in use
    decision_s: list[float] = field(default_factory=list)
    stops: dict[str, int] = field(default_factory=dict)  # by cause
    curve: list[tuple[int, float, int, int]] = field(
        default_factory=list
    )  # (ms, devices held, waiting, running)


Decide = Callable[[Snapshot, int], tuple[Plan, Report]]


class _Event(IntEnum):
    FINISH = 0  # what ends is free before anybody else comes
    UP = 1
    DOWN = 2
    ARRIVE = 3
    TICK = 4


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is made."""

    tick_ms: int | None = None  # plan also on a period while somebody waits
    gather_ms: int = 0  # changes within so long are planned together
    keep_gantt: bool = False
    keep_curve: bool = False
    charge_moves: bool = True  # a start after the first costs the shape's restart time


class World:
    """One run. Give it everything at the beginning, call `run`, read `records` and `measured`."""

    def __init__(
        self,
        cluster: VirtualCluster,
        jobs: Sequence[Work],
        config: PlannerConfig,
        options: Options | None = None,
        *,
        outages: Iterable[Outage] = (),
        wanted: frozenset[JobId] | None = None,
        decide: Decide | None = None,
        on_progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """The run is over when the `wanted` have ended (None: all), or when those that wait can never start.

        `decide`: a peer in the planner's place.
        """
        self.cluster = cluster
        self.options = options or Options()
        self.records = {work.job_id: JobRecord(work, work.steps) for work in jobs}
        self.running: dict[JobId, JobRecord] = {}
        self.measured = Measured()
        self.last_report: Report | None = None  # of the newest moment that was planned
        self.stretches: list[Stretch] = []
        self.now_ms = 0
        self.wanted = frozenset(self.records) if wanted is None else wanted
        self.unfinished = len(self.wanted)
        self._decide = decide or Planner(cluster.catalogue, config).plan
        machine_code.want(len(cluster.views))
        self._on_progress = on_progress
        self._budgets = cluster.budgets
        # When every budget will have had a new period since money ran out; None: it has not.
        self._paid_again_ms: int | None = None
        self._learning = Learning()
        self._devices = sum(len(view.devices) for view in cluster.views)
        self._room = {view.node_id: float(len(view.devices)) for view in cluster.views}
        self._free = dict(self._room)  # by node
        self._gone: dict[NodeId, int] = {}  # by how many outages and maintenance windows
        self._held = 0.0
        self._fragments = 0.0  # free devices on nodes that are partly in use
        self._usage = UsageLedger(0) if len(cluster.queues) > 1 else None
        self._silent: set[JobId] = set()  # waiting jobs to which no interval was announced yet
        # Of which moment the planner is told how far running jobs are, and who has started since.
        self._told_ms = -1
        self._untold: set[JobId] = set()
        self._tick_due_ms: int | None = None
        self._events: list[tuple[int, _Event, int, object]] = []
        self._numbered = 0
        for work in sorted(jobs, key=lambda work: work.arrival_ms):
            self._push(work.arrival_ms, _Event.ARRIVE, work.job_id)
        for outage in outages:
            self._push(outage.from_ms, _Event.DOWN, outage)
            self._push(outage.until_ms, _Event.UP, outage)
        for hole in cluster.calendar:
            self._push(hole.from_ms, _Event.DOWN, hole)
            self._push(hole.until_ms, _Event.UP, hole)

    def run(self) -> None:
        """To the end. Raises NoRest for a planner that never settles, NotPossible for an illegal plan."""
        while self.unfinished and not self._in_vain():
            self._stuck_without_events()
            self._advance(self._events[0][0] + self.options.gather_ms)
            changed = False
            while self._events and self._events[0][0] <= self.now_ms:
                at_ms, event, _, what = heapq.heappop(self._events)
                changed |= self._happen(at_ms, event, what)
            if changed and self.unfinished:
                self.settle()
                self._plan_tick()
        self._note_curve()

    def _stuck_without_events(self) -> None:
        if not self._events:
            raise NotPossible(f"{len(self.cluster.waiting)} jobs wait, nothing runs, and nothing starts")

    def _in_vain(self) -> bool:
        """Whether time alone is left to come, which starts nobody; waits for the budgets' next periods first."""
        if self.running or not self.cluster.waiting:
            return False
        if any(event is not _Event.TICK for _, event, _, _ in self._events):
            return False
        if self._budgets is None:
            return bool(self._events)  # who runs without ticks expects that all start
        turns_ms = self._budgets.turns_ms(self.now_ms)
        if self._paid_again_ms is None:
            self._paid_again_ms = max(turns_ms, default=self.now_ms)
        if self.now_ms >= self._paid_again_ms:
            return True
        self._events.clear()
        self._tick_due_ms = min(turns_ms)
        self._push(self._tick_due_ms, _Event.TICK, None)
        return False

    def settle(self) -> None:
        """Plans until nothing more starts or stops in this moment."""
        for _ in range(_MOST_PASSES):
            snapshot = self._snapshot()
            begun = perf_counter()
            decided, report = self._decide(snapshot, self.now_ms)
            self.measured.decision_s.append(perf_counter() - begun)
            for stop in decided.stops:
                self._stop(stop.job_id, stop.cause.value)
            for placement in decided.placements:
                self._start(placement)
            if not decided.placements and not decided.stops:
                self._listen(report)
                self.last_report = report
                break
        else:
            raise NoRest(f"at {self.now_ms} ms: {_MOST_PASSES} plans, and still no rest")
        self._note_curve()

    def _note_curve(self) -> None:
        if self.options.keep_curve:
            waiting = len(self.cluster.waiting)
            self.measured.curve.append((self.now_ms, self._held, waiting, len(self.running)))

    # What happens.

    def _push(self, at_ms: int, event: _Event, what: object) -> None:
        self._numbered += 1
        heapq.heappush(self._events, (at_ms, event, self._numbered, what))

    def _happen(self, at_ms: int, event: _Event, what: object) -> bool:
        """Whether the planner has to look."""
        if event is _Event.ARRIVE:
            self.arrive(self.records[cast(JobId, what)])
        elif event is _Event.FINISH:
            ended = cast(tuple[JobId, int], what)
            record = self.records[ended[0]]
            if record.starts != ended[1] or ended[0] not in self.running:
                return False  # it was stopped before
            self.finish(record, at_ms)
        elif isinstance(what, Outage):
            self._switch({what.node_id}, event, "node_failed")
        elif isinstance(what, Hole):
            if what.queue is None:
                self._switch(what.nodes, event, "maintenance")
        else:
            self._tick_due_ms = None
        return True

    def arrive(self, record: JobRecord) -> None:
        """A job waits for the first time."""
        self._silent.add(record.work.job_id)
        self._wait(record)

    def finish(self, record: JobRecord, at_ms: int) -> None:
        """A job has done its work."""
        work = record.work
        self._leave(record)
        record.steps_left = 0.0
        record.finish_ms = at_ms
        self._learning.finished(work.shape.kind, work.steps / work.fastest * 1000, work.declared_ms)
        if work.job_id in self.wanted:
            self.unfinished -= 1
            self._on_progress(len(self.wanted) - self.unfinished, len(self.wanted))

    def _wait(self, record: JobRecord, promised_nano: int = 0) -> None:
        work = record.work
        self.cluster.submit(
            work.shape._replace(promised_nano=promised_nano),
            WaitingJob(
                work.arrival_ms,
                work.job_id,
                record.steps_left if work.steps_known else None,
                record.served_ms(record.left(self.now_ms)),
                record.starts,
                record.held_ms,
            ),
        )

    def _start(self, placement: JobPlacement) -> None:
        record = self.records[placement.job_id]
        shape = record.work.shape
        running = self.cluster.start(placement, self.now_ms)
        self._paid_again_ms = None
        if self._budgets is not None:
            self._budgets.change(running, 1, self.now_ms)
        rate = record.work.rates.get(running.model, 0.0)
        if rate <= 0:
            raise NotPossible(f"job {placement.job_id} cannot run on {running.model}")
        if record.first_start_ms is None:
            record.first_start_ms = self.now_ms
            self._silent.discard(placement.job_id)
            told = record.announced
            if told is not None:
                waits_ms = [at_ms - told.at_ms for at_ms in (told.low_ms, told.forecast_ms, told.high_ms)]
                firm, waited_ms = shape.queue.firm_id, self.now_ms - told.at_ms
                self._learning.started(firm, placement.job_id, waits_ms, waited_ms, shape.devices)
        record.pause_ms = shape.restart_ms if record.starts and self.options.charge_moves else 0
        record.starts += 1
        record.model = running.model
        kept = shape.spares * shape.devices_per_node
        record.devices = running.devices * shape.share_ppm / WHOLE_PPM
        record.workers = (running.devices - kept) * shape.share_ppm / WHOLE_PPM
        record.started_ms = self.now_ms
        record.work_from_ms = self.now_ms + record.pause_ms
        asked = shape.devices - kept
        record.rate = rate / 1000 * ((running.devices - kept) / asked if asked else 1.0)
        record.steps_at_start = record.steps_left
        self.running[placement.job_id] = record
        self._untold.add(placement.job_id)
        self._count(record, 1.0)
        if self._usage is not None:
            self._usage.start(shape.queue, self._gflops(record), self.now_ms)
        self._expect_finish(record)

    def _expect_finish(self, record: JobRecord) -> None:
        finish_ms = record.work_from_ms + math.ceil(record.steps_left / record.rate)
        self._push(finish_ms, _Event.FINISH, (record.work.job_id, record.starts))

    def _stop(self, job_id: JobId, cause: str) -> None:
        record = self.running.get(job_id)
        if record is None:
            raise NotPossible(f"job {job_id} does not run")
        self.measured.stops[cause] = self.measured.stops.get(cause, 0) + 1
        left, saved = record.left(self.now_ms), record.saved_steps(self.now_ms)
        saved = max(left, saved)
        record.stops += 1
        record.lost_steps += saved - left
        lost = round((saved - left) / record.rate * record.devices)
        record.lost_to[cause] = record.lost_to.get(cause, 0) + lost
        promised = 0
        if self._budgets is not None and cause in _FOR_OTHERS:
            promised = self._budgets.promised_nano(self.cluster.holdings[job_id].running)
        self._leave(record)
        record.steps_left = saved
        self._wait(record, promised)

    def _leave(self, record: JobRecord) -> None:
        """The devices are free."""
        job_id = record.work.job_id
        held_ms = self.now_ms - record.started_ms
        for by_model, devices in (
            (record.held_device_ms, record.devices),
            (record.paid_device_ms, record.workers),
        ):
            by_model[record.model] = by_model.get(record.model, 0) + round(held_ms * devices)
        record.held_ms += held_ms
        record.overhead_device_ms += round(min(held_ms, record.pause_ms) * record.devices)
        if self._usage is not None:
            self._usage.stop(record.work.shape.queue, self._gflops(record), self.now_ms)
        self._count(record, -1.0)
        if self.options.keep_gantt:
            tasks = self.cluster.holdings[job_id].running.tasks
            self.stretches.append(
                Stretch(
                    job_id,
                    tuple((node_id, self.cluster.numbers(devices)) for node_id, devices in tasks),
                    record.model,
                    record.started_ms,
                    self.now_ms,
                )
            )
        running = self.cluster.free(job_id)
        if self._budgets is not None:
            self._budgets.change(running, -1, self.now_ms)
        del self.running[job_id]
        self._untold.discard(job_id)
        record.rate = 0.0

    # What is known and counted.

    def _snapshot(self) -> Snapshot:
        for job_id in self.running if self._told_ms != self.now_ms else self._untold:
            self._tell(self.running[job_id])
        self._told_ms = self.now_ms
        self._untold.clear()
        if self._usage is not None:
            self.cluster.usage = self._usage.decayed(self.now_ms)
        self.cluster.experience = self._learning.experience()
        if self._budgets is not None:
            holdings = [holding.running for holding in self.cluster.holdings.values()]
            shapes = [shape for shape, _ in self.cluster.waiting.values()]
            self.cluster.money = self._budgets.money(holdings, shapes, self.now_ms)
        return self.cluster.snapshot()

    def _tell(self, record: JobRecord) -> None:
        """What a running job says: before its first model checkpoint, that a stop would throw everything away."""
        work = record.work
        left = record.left(self.now_ms)
        saved_ms = record.saved_at_ms(self.now_ms)
        if saved_ms is None and work.checkpoint_ms:
            saved_ms = record.started_ms
        self.cluster.progress(
            work.job_id,
            steps_left=left if work.steps_known else None,
            served_ms=record.served_ms(left),
            saved_ms=saved_ms,
        )

    def _listen(self, report: Report) -> None:
        """Keeps the first interval that each job is told."""
        if not self._silent:
            return
        for job_id in sorted(self._silent):
            told = report.starts(job_id)
            if told is not None:
                self._silent.discard(job_id)
                record = self.records[job_id]
                record.announced = Announced(self.now_ms, told.low_ms, told.forecast_ms, told.high_ms)
                forecast_ms, shape = told.forecast_ms - self.now_ms, record.work.shape
                self._learning.told(shape.queue.firm_id, job_id, self.now_ms, forecast_ms, shape.devices)

    def _advance(self, to_ms: int) -> None:
        span_ms = to_ms - self.now_ms
        if span_ms <= 0:
            return
        measured = self.measured
        measured.capacity += span_ms * self._devices
        measured.held += span_ms * self._held
        if self.cluster.waiting:
            measured.idle_while_waiting += span_ms * (self._devices - self._held)
            measured.fragmented += span_ms * self._fragments
        self.now_ms = to_ms

    def _count(self, record: JobRecord, sign: float) -> None:
        share = record.work.shape.share_ppm / WHOLE_PPM
        for node_id, devices in self.cluster.holdings[record.work.job_id].running.tasks:
            held = sign * len(devices) * share
            self._held += held
            room, free = self._room[node_id], self._free[node_id]
            self._fragments -= free if free < room - 1e-9 else 0.0
            free = self._free[node_id] = free - held
            self._fragments += free if free < room - 1e-9 else 0.0

    def _gflops(self, record: JobRecord) -> int:
        speed = self.cluster.catalogue.fp16_gflops(record.model) or _UNKNOWN_GFLOPS
        return round(speed * record.devices)

    def _switch(self, nodes: Collection[NodeId], event: _Event, cause: str) -> None:
        """Nodes go or come back; what runs on them is stopped."""
        for node_id in sorted(nodes):
            self._gone[node_id] = self._gone.get(node_id, 0) + (1 if event is _Event.DOWN else -1)
            self.cluster.set_usable(node_id, usable=not self._gone[node_id])
        if event is _Event.DOWN:
            holdings = self.cluster.holdings.values()
            running = [holding.running for holding in holdings]
            for job in running:
                if any(node_id in nodes for node_id, _ in job.tasks):
                    self._stop(job.job_id, cause)

    def _plan_tick(self) -> None:
        due_ms = self.options.tick_ms
        if due_ms is not None and self._tick_due_ms is None and self.cluster.waiting:
            self._tick_due_ms = self.now_ms + due_ms
            self._push(self._tick_due_ms, _Event.TICK, None)
