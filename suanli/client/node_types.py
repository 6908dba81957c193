"""What nodes look like in answers of the API."""

from typing import TypedDict


class Occupant(TypedDict):
    """The task that holds a device."""

    job_id: str
    job_name: str
    array_index: int | None
    attempt: int
    rank: int
    share_ppm: int


class Device(TypedDict):
    """A device."""

    device_id: str
    index: int
    vendor: str
    model: str
    memory_bytes: int
    driver: str
    simulated: bool
    health: str
    held_by: Occupant | None
    shared_by: list[Occupant]


class Place(TypedDict):
    """Where a node hangs in the network; None where nobody said."""

    zone: str | None
    supernode: str | None
    leaf: str | None
    position: int | None


class Node(TypedDict):
    """A node."""

    node_id: str
    name: str
    pool: str
    state: str
    cordoned: bool
    isolation: str | None
    agent_version: str | None
    silent_since: str | None
    place: Place
    one_firm: bool
    container_engine: str | None
    devices: list[Device]


class Free(TypedDict):
    """Devices of one model in one pool."""

    pool: str
    device_model: str
    devices: int
    free: int
    in_use: int
    simulated: int
    in_use_ppm: int
    free_parts_ppm: int


class Nodes(TypedDict):
    """Nodes as far as the caller may see them."""

    nodes: list[Node]
    free: list[Free]
