"""A host with accelerators."""

from dataclasses import dataclass
from enum import StrEnum

from scheduler.domain.devices import Device
from scheduler.domain.ids import NodeId


class NodeState(StrEnum):
    """What the controller knows of a node's agent."""

    CONNECTED = "connected"
    SILENT = "silent"  # no contact; its tasks are believed to go on
    LOST = "lost"  # silent for longer than the pool's patience; its tasks count as lost


class Isolation(StrEnum):
    """How tasks of two firms are kept apart on a node."""

    NONE = "none"
    UID = "uid"
    NAMESPACE = "namespace"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as enrolled, with its devices by index."""

    node_id: NodeId
    name: str
    pool: str
    devices: tuple[Device, ...]
