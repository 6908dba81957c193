"""One physical accelerator (or a simulated one)."""

from dataclasses import dataclass
from enum import StrEnum

from scheduler.domain.ids import DeviceId

WHOLE_PPM = 1_000_000


class Health(StrEnum):
    """What the agent says of a device."""

    OK = "ok"
    DEGRADED = "degraded"  # usable, to be avoided
    FAULTY = "faulty"  # not usable


@dataclass(frozen=True, slots=True)
class Device:
    """A device as enrolled; its health and its owner change and are kept elsewhere."""

    device_id: DeviceId
    index: int  # on the node, from 0; tasks are bound to it
    vendor: str
    model: str  # key of the catalogue
    memory_bytes: int
    fast_link_group: int  # devices of a node with the same number are joined by fast links
    driver: str = ""
    simulated: bool = False
