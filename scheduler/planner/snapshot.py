"""The planner's immutable input. Snapshots share the views of nodes that did not change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from scheduler.catalogue import Catalogue
from scheduler.domain.ids import DeviceId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey


class DeviceView(NamedTuple):
    """A device as the planner sees it."""

    number: int  # its index on the node
    device_id: DeviceId
    model: str
    group: int  # fast-link group
    free: bool  # no live allocation, and not faulty
    faulty: bool = False
    degraded: bool = False
    # When a held device comes free at the latest, by its holder's time limit; None: nobody knows.
    ends_by_ms: int | None = None


class ModelOnNode(NamedTuple):
    """The devices of one model on a node, and what of them is asked for in every cycle."""

    devices: tuple[DeviceView, ...]  # by index
    free: tuple[DeviceView, ...]
    healthy: int
    # When devices come free, the earliest first: 0 for free ones, the holder's time limit for held ones.
    # Devices of which nobody knows are left out.
    ends_by_ms: tuple[int, ...]


@dataclass(frozen=True)
class NodeView:
    """A node as the planner sees it, devices by index."""

    node_id: NodeId
    name: str
    pool: str
    usable: bool  # connected and not cordoned
    devices: tuple[DeviceView, ...]

    @cached_property
    def by_model(self) -> Mapping[str, ModelOnNode]:
        """Devices of each model; computed once for the life of the view."""
        groups: dict[str, list[DeviceView]] = {}
        for device in self.devices:
            groups.setdefault(device.model, []).append(device)
        return {model: _summary(tuple(devices)) for model, devices in groups.items()}


def _summary(devices: tuple[DeviceView, ...]) -> ModelOnNode:
    ends = [0 if d.free else d.ends_by_ms for d in devices if not d.faulty]
    return ModelOnNode(
        devices=devices,
        free=tuple(device for device in devices if device.free),
        healthy=len(ends),
        ends_by_ms=tuple(sorted(end for end in ends if end is not None)),
    )


class Shape(NamedTuple):
    """What decides whether and where a job may start. Jobs of one shape are judged once a cycle."""

    queue: QueueKey
    priority: Priority
    devices: int
    devices_per_node: int
    models: tuple[str, ...]  # of the variants that are not benched, in the spec's order
    time_limit_ms: int | None = None
    avoid_nodes: frozenset[NodeId] = frozenset()  # where an earlier attempt could not be prepared or was lost
    benched: tuple[tuple[str, str], ...] = ()  # (model, sentence) of variants that are out

    @property
    def tasks(self) -> int:
        """Nodes that the gang needs."""
        return self.devices // self.devices_per_node


class WaitingJob(NamedTuple):
    """A waiting job; sorts by age."""

    submitted_ms: int
    job_id: JobId


@dataclass(frozen=True, slots=True)
class JobClass:
    """Waiting jobs of one shape, oldest first."""

    shape: Shape
    jobs: tuple[WaitingJob, ...]


@dataclass(frozen=True, slots=True)
class Resting:
    """A job between two attempts."""

    shape: Shape
    job: WaitingJob
    until_ms: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the planner may know."""

    catalogue: Catalogue
    nodes: tuple[NodeView, ...]
    queues: Mapping[QueueKey, Queue]
    classes: tuple[JobClass, ...]
    held: Mapping[QueueKey, Mapping[str, int]] = field(default_factory=dict)  # devices by queue and model
    usage: Mapping[QueueKey, int] = field(default_factory=dict)  # decayed device-time, GFLOP/s x ms
    resting: tuple[Resting, ...] = ()
