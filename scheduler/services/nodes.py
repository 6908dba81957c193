"""Nodes, devices and pools as far as the caller may see them; cordoning."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.devices import WHOLE_PPM, Health
from scheduler.domain.errors import NotFound
from scheduler.domain.ids import Ids
from scheduler.domain.nodes import Isolation, NodeState, Place
from scheduler.domain.object_stores import ObjectStore, store_from_json
from scheduler.domain.pools import PoolVolume, volume_from_json, volumes_of_firm
from scheduler.services.administration import note_act
from scheduler.storage import inbox
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    DeviceRow,
    FirmRow,
    JobRow,
    NodePlaceRow,
    NodeRow,
    NodeStateRow,
    PoolRow,
    QueueRow,
)

# Enrolled, but the controller has not heard of it yet.
NEW = "enrolled"


@dataclass(frozen=True, slots=True)
class Occupant:
    """The task that holds a device."""

    firm_id: str
    job_id: str
    job_name: str
    array_index: int | None
    attempt: int
    rank: int
    share_ppm: int


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device with its health and who holds it or parts of it."""

    device_id: str
    index: int
    vendor: str
    model: str
    memory_bytes: int
    driver: str
    simulated: bool
    health: str
    occupants: tuple[Occupant, ...]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node with its devices."""

    node_id: str
    name: str
    pool: str
    state: str
    cordoned: bool
    isolation: str | None
    agent_version: str | None
    silent_since_ms: int | None
    place: Place
    one_firm: bool  # takes tasks of one firm only
    one_firm_id: str | None  # of which, once it has served one
    container_engine: str | None  # what it runs container images with
    devices: tuple[DeviceRecord, ...]

    @property
    def usable(self) -> bool:
        """Whether new tasks may be placed here."""
        return self.state == NodeState.CONNECTED and not self.cordoned

    def shares(self, device: DeviceRecord, firm_id: str | None) -> bool:
        """Whether the rest of a device may go to the firm (None: to some firm): parts of one device are several firms'
        only where the node keeps them apart.
        """
        if firm_id is None:
            return True
        if self.one_firm and self.one_firm_id not in {None, firm_id}:
            return False
        return self.isolation == Isolation.NAMESPACE or all(
            one.firm_id == firm_id for one in device.occupants
        )


@dataclass(frozen=True, slots=True)
class FreeCount:
    """How many devices of a model a pool has, how many are free for new work, and how many hold some.

    The others cannot be used: they are faulty, or their node is away or takes no new tasks. Devices of which parts are
    held are `in_use`; what is held is `in_use_ppm`, and what may be had of their rest `free_parts_ppm`, both in
    millionths of a device, summed. For a firm's people these two are what their firm holds and may have.
    """

    pool: str
    device_model: str
    devices: int
    free: int
    in_use: int
    simulated: int  # of the devices
    in_use_ppm: int
    free_parts_ppm: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """What `list_nodes` answers."""

    nodes: Sequence[NodeRecord]
    free: Sequence[FreeCount]


async def list_nodes(session: AsyncSession, principal: Principal) -> Inventory:
    """All nodes for operators and auditors.

    A firm's people see the counts of the pools that their queues use, and of the nodes only those that run
    their tasks, with their own devices.
    """
    authorise(principal, Action.READ_NODES)
    nodes = await _load(session)
    free = _free(nodes, principal.firm_id)
    if principal.firm_id is None:
        return Inventory(nodes, free)
    queues = await session.scalars(select(QueueRow.pools).where(QueueRow.firm_id == principal.firm_id))
    pools = {pool for names in queues for pool in names}
    own = [_own_part(node, principal.firm_id) for node in nodes]
    return Inventory([node for node in own if node.devices], [count for count in free if count.pool in pools])


async def _load(session: AsyncSession) -> list[NodeRecord]:
    states = {row.node_id: row for row in await session.scalars(select(NodeStateRow))}
    occupants = await _occupants(session)
    devices: dict[str, list[DeviceRecord]] = {}
    for row in await session.scalars(select(DeviceRow).order_by(DeviceRow.node_id, DeviceRow.index)):
        state = states.get(row.node_id)
        health = (
            Health.OK.value if state is None else str(state.unhealthy.get(row.device_id, Health.OK.value))
        )
        devices.setdefault(row.node_id, []).append(
            DeviceRecord(
                row.device_id, row.index, row.vendor, row.model, row.memory_bytes, row.driver,
                row.simulated, health, occupants.get(row.device_id, ()),
            )
        )  # fmt: skip
    places = {row.name: row for row in await session.scalars(select(NodePlaceRow))}
    result = []
    for node in await session.scalars(select(NodeRow).order_by(NodeRow.name)):
        state = states.get(node.node_id)
        result.append(
            NodeRecord(
                node_id=node.node_id,
                name=node.name,
                pool=node.pool,
                state=NEW if state is None else state.state,
                cordoned=False if state is None else state.cordoned,
                isolation=None if state is None else state.isolation,
                agent_version=None if state is None else state.agent_version,
                silent_since_ms=None if state is None else state.silent_since_ms,
                place=_place(node.name, state, places),
                one_firm=state is not None and state.one_firm,
                one_firm_id=None if state is None else state.one_firm_id,
                container_engine=None if state is None else state.container_engine,
                devices=tuple(devices.get(node.node_id, ())),
            )
        )
    return result


def _place(name: str, state: NodeStateRow | None, places: Mapping[str, NodePlaceRow]) -> Place:
    said = Place() if state is None else Place(**state.place)
    row = places.get(name)
    return said if row is None else Place(row.zone, row.supernode, row.leaf, row.position).over(said)


async def _occupants(session: AsyncSession) -> Mapping[str, tuple[Occupant, ...]]:
    rows = await session.execute(
        select(
            AllocationDeviceRow.device_id,
            AllocationRow.firm_id,
            AllocationRow.job_id,
            JobRow.name,
            JobRow.array_index,
            AllocationRow.attempt,
            AllocationRow.rank,
            AllocationDeviceRow.share_ppm,
        )
        .join(AllocationRow, AllocationRow.allocation_id == AllocationDeviceRow.allocation_id)
        .join(JobRow, JobRow.job_id == AllocationRow.job_id)
        .where(AllocationDeviceRow.live)
    )
    found: dict[str, tuple[Occupant, ...]] = {}
    for row in rows:
        one = Occupant(
            row.firm_id, row.job_id, row.name, row.array_index, row.attempt, row.rank, row.share_ppm
        )
        found[row.device_id] = (*found.get(row.device_id, ()), one)
    return found


def _free(nodes: Sequence[NodeRecord], firm_id: str | None) -> list[FreeCount]:
    """As the firm's people may know it; None: operators and auditors."""
    devices: Counter[tuple[str, str]] = Counter()
    free: Counter[tuple[str, str]] = Counter()
    in_use: Counter[tuple[str, str]] = Counter()
    simulated: Counter[tuple[str, str]] = Counter()
    in_use_ppm: Counter[tuple[str, str]] = Counter()
    free_parts_ppm: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        for device in node.devices:
            key = (node.pool, device.model)
            devices[key] += 1
            simulated[key] += device.simulated
            usable = node.usable and device.health != Health.FAULTY
            if device.occupants:
                ours = [one for one in device.occupants if firm_id in {None, one.firm_id}]
                in_use[key] += 1
                in_use_ppm[key] += sum(one.share_ppm for one in ours)
                if usable and node.shares(device, firm_id):
                    free_parts_ppm[key] += WHOLE_PPM - sum(one.share_ppm for one in device.occupants)
            elif usable:
                free[key] += 1
    counted = (devices, free, in_use, simulated, in_use_ppm, free_parts_ppm)
    return [FreeCount(*key, *(count[key] for count in counted)) for key in sorted(devices)]


def _own_part(node: NodeRecord, firm_id: str) -> NodeRecord:
    own = []
    for device in node.devices:
        ours = tuple(occupant for occupant in device.occupants if occupant.firm_id == firm_id)
        if ours:
            own.append(replace(device, occupants=ours))
    return replace(node, devices=tuple(own))


async def cordon_node(
    session: AsyncSession, principal: Principal, node: str, *, cordoned: bool, now_ms: int, ids: Ids
) -> str:
    """Ask the controller to place no new tasks on a node (or to do so again). Returns the node's id.

    `node` is an id or a name. Raises NotFound.
    """
    authorise(principal, Action.CORDON_NODE)
    node_id = await session.scalar(
        select(NodeRow.node_id).where(or_(NodeRow.node_id == node, NodeRow.name == node))
    )
    if node_id is None:
        raise NotFound(f"there is no node {node}")
    await inbox.put(session, "CordonRequested", {"node_id": node_id, "cordoned": cordoned})
    act = "node_cordoned" if cordoned else "node_uncordoned"
    await note_act(session, principal, act, node_id, now_ms, ids.new(now_ms))
    return node_id


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool with its policy."""

    name: str
    backend: str
    patience_ms: int
    volumes: tuple[PoolVolume, ...]
    object_stores: tuple[ObjectStore, ...]


async def list_pools(session: AsyncSession, principal: Principal) -> Sequence[PoolRecord]:
    """All pools; for a firm's people those that their queues use, with the volumes that they may use."""
    authorise(principal, Action.READ_CATALOGUE)
    rows = (await session.scalars(select(PoolRow).order_by(PoolRow.name))).all()
    if principal.firm_id is not None:
        queues = await session.scalars(select(QueueRow.pools).where(QueueRow.firm_id == principal.firm_id))
        used = {pool for names in queues for pool in names}
        firm = await session.scalar(select(FirmRow.name).where(FirmRow.firm_id == principal.firm_id)) or ""
        return [_pool(row, volumes_of_firm(row.volumes, firm).values()) for row in rows if row.name in used]
    return [_pool(row, map(volume_from_json, row.volumes)) for row in rows]


def _pool(row: PoolRow, volumes: Iterable[PoolVolume]) -> PoolRecord:
    return PoolRecord(
        row.name, row.backend, row.patience_ms, tuple(volumes), tuple(map(store_from_json, row.object_stores))
    )
