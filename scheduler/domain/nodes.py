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
class Place:
    """Where a node hangs in the network; None where nobody said."""

    zone: str | None = None
    supernode: str | None = None
    leaf: str | None = None
    position: int | None = None  # along the wires inside its leaf; ranks follow it

    def over(self, other: "Place") -> "Place":
        """This, and where it says nothing the other."""
        return Place(
            self.zone or other.zone,
            self.supernode or other.supernode,
            self.leaf or other.leaf,
            other.position if self.position is None else self.position,
        )

    @property
    def domains(self) -> tuple[str | None, str | None, str | None]:
        """From the widest to the narrowest. A name counts within the domains around it: racks of two zones
        may be called alike.
        """
        around: list[str] = []
        named: list[str | None] = []
        for name in (self.zone, self.supernode, self.leaf):
            around += [] if name is None else [name]
            named.append(None if name is None else "/".join(around))
        return named[0], named[1], named[2]


@dataclass(frozen=True, slots=True)
class Node:
    """A node as enrolled, with its devices by index."""

    node_id: NodeId
    name: str
    pool: str
    devices: tuple[Device, ...]
