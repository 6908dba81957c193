"""What the planner proposes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.domain.ids import DeviceId, JobId, NodeId


@dataclass(frozen=True, slots=True)
class TaskPlacement:
    """One task of a gang on one node."""

    rank: int
    node_id: NodeId
    device_ids: tuple[DeviceId, ...]  # by index on the node


@dataclass(frozen=True, slots=True)
class JobPlacement:
    """A gang, placed whole."""

    job_id: JobId
    device_model: str
    pool: str
    tasks: tuple[TaskPlacement, ...]  # by rank
    why_here: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Placements in the order in which they were decided."""

    placements: tuple[JobPlacement, ...] = ()
