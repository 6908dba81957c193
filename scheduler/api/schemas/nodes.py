"""Nodes, devices and pools over HTTP."""

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field

from scheduler.api.schemas.base import In, Out, utc, utc_or_none
from scheduler.services.join_tokens import NewJoinToken
from scheduler.services.nodes import DeviceRecord, Inventory, NodeRecord, PoolRecord


class OccupantOut(Out):
    """The task that holds a device."""

    job_id: str
    job_name: str
    array_index: int | None
    attempt: int
    rank: int
    share_ppm: int


class DeviceOut(Out):
    """A device. `held_by`: the task that holds it, of several that share it the first; `shared_by`: all of them."""

    device_id: str
    index: int
    vendor: str
    model: str
    memory_bytes: int
    driver: str
    simulated: bool
    health: str
    held_by: OccupantOut | None
    shared_by: list[OccupantOut]


class PlaceOut(Out):
    """Where a node hangs in the network; null where nobody said."""

    zone: str | None
    supernode: str | None
    leaf: str | None
    position: int | None


class NodeOut(Out):
    """A node. `cordoned`: takes no new tasks; `one_firm`: takes tasks of one firm only; `container_engine`: what
    it runs container images with, null where it runs none.
    """

    node_id: str
    name: str
    pool: str
    state: str
    cordoned: bool
    isolation: str | None
    agent_version: str | None
    silent_since: str | None
    place: PlaceOut
    one_firm: bool
    container_engine: str | None
    devices: list[DeviceOut]


class FreeOut(Out):
    """Devices of one model in one pool. What is neither free nor in use is faulty, away, or on a cordoned node.

    A device is `in_use` where any part of it is held: `in_use_ppm` is what is held of all of them, `free_parts_ppm`
    what may still be had of them, in millionths of a device; for a firm's people, what their firm holds and may have.
    """

    pool: str
    device_model: str
    devices: int
    free: int
    in_use: int
    simulated: int  # of the devices: no hardware is behind them
    in_use_ppm: int
    free_parts_ppm: int


class NodesOut(Out):
    """Nodes as far as the caller may see them, and what is free by pool and model."""

    nodes: list[NodeOut]
    free: list[FreeOut]


def _device_out(device: DeviceRecord) -> DeviceOut:
    held = [
        OccupantOut(
            job_id=one.job_id,
            job_name=one.job_name,
            array_index=one.array_index,
            attempt=one.attempt,
            rank=one.rank,
            share_ppm=one.share_ppm,
        )
        for one in device.occupants
    ]
    return DeviceOut(
        device_id=device.device_id,
        index=device.index,
        vendor=device.vendor,
        model=device.model,
        memory_bytes=device.memory_bytes,
        driver=device.driver,
        simulated=device.simulated,
        health=device.health,
        held_by=held[0] if held else None,
        shared_by=held,
    )


def _node_out(node: NodeRecord) -> NodeOut:
    return NodeOut(
        node_id=node.node_id,
        name=node.name,
        pool=node.pool,
        state=node.state,
        cordoned=node.cordoned,
        isolation=node.isolation,
        agent_version=node.agent_version,
        silent_since=utc_or_none(node.silent_since_ms),
        place=PlaceOut(**asdict(node.place)),
        one_firm=node.one_firm,
        container_engine=node.container_engine,
        devices=[_device_out(device) for device in node.devices],
    )


def nodes_out(inventory: Inventory) -> NodesOut:
    """The inventory for the wire."""
    return NodesOut(
        nodes=[_node_out(node) for node in inventory.nodes],
        free=[
            FreeOut(
                pool=c.pool,
                device_model=c.device_model,
                devices=c.devices,
                free=c.free,
                in_use=c.in_use,
                simulated=c.simulated,
                in_use_ppm=c.in_use_ppm,
                free_parts_ppm=c.free_parts_ppm,
            )
            for c in inventory.free
        ],
    )


class CordonIn(In):
    """Whether the node takes no new tasks."""

    cordoned: bool


class CordonOut(Out):
    """The request was taken; the controller acts on it."""

    node_id: str
    cordoned: bool


class PoolVolumeIn(In):
    """A folder that the pool's hosts have, for the firms named; `shared` false: each has a folder of its own in it."""

    name: str
    host_path: Annotated[str, Field(examples=["/srv/corpora"])]
    firms: list[str]
    read_only: bool = True
    shared: bool = False


class ObjectStoreIn(In):
    """An S3-compatible store that the pool's nodes may be sent to; what may be done there, jobs' own keys decide."""

    name: str
    endpoint: Annotated[str, Field(examples=["https://obs.cn-north-4.myhuaweicloud.com"])]
    region: str = "us-east-1"
    addressing: Annotated[
        Literal["path", "virtual"],
        Field(description="Where the bucket's name stands: host/bucket, bucket.host."),
    ] = "path"


class ObjectStoreOut(Out):
    """An object store that jobs of the pool may name."""

    name: str
    endpoint: str
    region: str
    addressing: Literal["path", "virtual"]


class PoolVolumeOut(Out):
    """A volume of a pool. Firms see those that they may use, and neither its folder nor who else may."""

    name: str
    read_only: bool
    shared: Annotated[bool, Field(description="False: each firm has a folder of its own in it.")]
    host_path: str | None = None
    firms: list[str] | None = None


class PoolOut(Out):
    """A pool and how long its nodes may be silent before their tasks count as lost."""

    name: str
    backend: str
    patience_seconds: int
    volumes: list[PoolVolumeOut]
    object_stores: list[ObjectStoreOut]


class PoolDocument(Out):
    """A pool as PUT takes it."""

    patience_seconds: int
    volumes: Annotated[list[PoolVolumeIn] | None, Field(description="For operators and auditors.")] = None
    object_stores: Annotated[list[ObjectStoreIn] | None, Field(description="For operators and auditors.")] = (
        None
    )


class PoolsOut(Out):
    """Pools by name."""

    pools: list[PoolOut]


def pool_out(pool: PoolRecord, *, of_operators: bool) -> PoolOut:
    """A pool for the wire."""
    return PoolOut(
        name=pool.name,
        backend=pool.backend,
        patience_seconds=pool.patience_ms // 1000,
        volumes=[
            PoolVolumeOut(
                name=volume.name,
                read_only=volume.read_only,
                shared=volume.shared,
                host_path=volume.host_path if of_operators else None,
                firms=list(volume.firms) if of_operators else None,
            )
            for volume in pool.volumes
        ],
        object_stores=[ObjectStoreOut.model_validate(store.to_json()) for store in pool.object_stores],
    )


class JoinTokenIn(In):
    """A token that lets hosts become nodes of a pool."""

    pool: Annotated[str, Field(min_length=1, max_length=100)]
    uses: Annotated[int, Field(ge=1, le=100_000)] = 1
    lifetime_seconds: Annotated[int, Field(ge=1, le=366 * 24 * 3600)] = 24 * 3600


class JoinTokenOut(Out):
    """The token's text is shown this once."""

    token_id: str
    token: str
    pool: str
    uses: int
    expires_at: str


def join_token_out(made: NewJoinToken) -> JoinTokenOut:
    """A new token for the wire."""
    return JoinTokenOut(
        token_id=made.token_id,
        token=made.token,
        pool=made.pool,
        uses=made.uses,
        expires_at=utc(made.expires_at_ms),
    )
