"""A cluster at one moment, for tests of what is decided then: what runs where and since when, and who waits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.time import DAY_MS, HOUR_MS, MINUTE_MS
from scheduler.planner import (
    Hole,
    JobPlacement,
    Plan,
    PlannerConfig,
    Report,
    RunningJob,
    Shape,
    Snapshot,
    TaskPlacement,
    WaitingJob,
)
from scheduler.planner.cycle import plan
from scheduler.planner.plan_checks import check_plan
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

FAST, SLOW, POOL, TREE = "fast", "slow", "pool", "all"
NOW_MS = 1_000 * DAY_MS


def queue_of(firm: str) -> QueueKey:
    """The queue of a firm."""
    return QueueKey(FirmId(firm), "default")


def a_quota(
    firm: str, own: Mapping[str, int] | None = None, *, within: str | None = TREE, **more: Mapping[str, int]
) -> Queue:
    """A firm's queue and what is its own, in the one tree of quotas; `more`: what it may borrow or lend."""
    return Queue(queue_of(firm), (POOL,), dict(own or {}), 1, within, **more)


def a_node(name: str, devices: int = 8, model: str = FAST, **more: Any) -> NodeSpec:
    """A node of one model."""
    return NodeSpec(name, model, devices, POOL, **more)


def asks(devices: int, firm: str = "own", *, per_node: int = 8, model: str = FAST, **more: Any) -> Shape:
    """Whole devices of one model for a job that does not resume."""
    shape = Shape(queue_of(firm), Priority.NORMAL, devices, min(devices, per_node), (model,))
    return shape._replace(**more)


class Moment:
    """Nodes and queues; then what runs, what waits, and what the planner decides."""

    def __init__(
        self,
        nodes: Iterable[NodeSpec],
        queues: Sequence[Queue] | None = None,
        *,
        cohorts: Sequence[Cohort] = (Cohort(TREE),),
        calendar: tuple[Hole, ...] = (),
        config: PlannerConfig | None = None,
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.cluster = VirtualCluster(
            catalogue_of({FAST: 200_000, SLOW: 100_000}),
            tuple(self.nodes.values()),
            queues or [a_quota("own", within=None)],
            cohorts={cohort.name: cohort for cohort in cohorts},
            calendar=calendar,
        )
        self.config = config or PlannerConfig()
        self._taken = dict.fromkeys(self.nodes, 0)
        self._said: dict[JobId, dict[str, Any]] = {}

    def runs(
        self,
        name: str,
        shape: Shape,
        on: Mapping[str, int | Sequence[int]],
        minutes: float,
        *,
        saved: float | None = None,
        **more: Any,
    ) -> None:
        """A job has run for so many minutes on so many devices of these nodes, the next ones there, or on those named.

        `saved`: so many minutes ago. `more`: fields of `RunningJob`.
        """
        started_ms = NOW_MS - round(minutes * MINUTE_MS)
        job = WaitingJob(started_ms, JobId(name))
        tasks = []
        for rank, (node, devices) in enumerate(on.items()):
            ids = tuple(DeviceId(f"{node}/{number}") for number in self._numbers(node, devices))
            tasks.append(TaskPlacement(rank, NodeId(node), ids, shape.share_ppm))
        self.cluster.submit(shape, job)
        model = self.nodes[next(iter(on))].model
        self.cluster.start(JobPlacement(job.job_id, model, POOL, tuple(tasks)), started_ms)
        if saved is not None:
            more["saved_ms"] = NOW_MS - round(saved * MINUTE_MS)
        self._said[job.job_id] = more

    def _numbers(self, node: str, devices: int | Sequence[int]) -> Sequence[int]:
        if not isinstance(devices, int):
            return devices
        first = self._taken[node]
        self._taken[node] += devices
        return range(first, first + devices)

    def waits(self, name: str, shape: Shape, minutes: float = 0.0, **more: Any) -> None:
        """A job has waited for so many minutes. `more`: fields of `WaitingJob`."""
        job = WaitingJob(NOW_MS - round(minutes * MINUTE_MS), JobId(name))
        self.cluster.submit(shape, job._replace(**more))

    @property
    def snapshot(self) -> Snapshot:
        """What the planner knows."""
        snapshot = self.cluster.snapshot()
        return replace(snapshot, running=tuple(map(self._as_it_is, snapshot.running)))

    def _as_it_is(self, running: RunningJob) -> RunningJob:
        return running._replace(**self._said[running.job_id])

    def decided(self) -> tuple[Plan, Report]:
        """What is decided, which is legal, and what is told to those who wait."""
        found, report = plan(self.snapshot, NOW_MS, self.config)
        assert check_plan(self.snapshot, found, NOW_MS) == []
        return found, report

    def starts(self) -> list[str]:
        """Who starts."""
        return sorted(placement.job_id for placement in self.decided()[0].placements)

    def stops(self) -> list[str]:
        """Who stops."""
        return sorted(stop.job_id for stop in self.decided()[0].stops)


HOUR, DAY = HOUR_MS // MINUTE_MS, DAY_MS // MINUTE_MS  # in minutes
