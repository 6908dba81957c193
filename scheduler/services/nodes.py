"""Nodes, devices and pools as far as the caller may see them; cordoning."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.devices import Health
from scheduler.domain.errors import NotFound
from scheduler.domain.ids import Ids
from scheduler.domain.nodes import NodeState
from scheduler.services.administration import note_act
from scheduler.services.authorise import Action, Principal, authorise
from scheduler.storage import inbox
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    DeviceRow,
    JobRow,
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
    attempt: int
    rank: int


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device with its health and who holds it."""

    device_id: str
    index: int
    vendor: str
    model: str
    memory_bytes: int
    driver: str
    simulated: bool
    health: str
    occupant: Occupant | None


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
    devices: tuple[DeviceRecord, ...]

    @property
    def usable(self) -> bool:
        """Whether new tasks may be placed here."""
        return self.state == NodeState.CONNECTED and not self.cordoned


@dataclass(frozen=True, slots=True)
class FreeCount:
    """How many devices of a model a pool has, and how many of them are free for new work."""

    pool: str
    device_model: str
    devices: int
    free: int


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
    free = _free(nodes)
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
                row.simulated, health, occupants.get(row.device_id),
            )
        )  # fmt: skip
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
                devices=tuple(devices.get(node.node_id, ())),
            )
        )
    return result


async def _occupants(session: AsyncSession) -> Mapping[str, Occupant]:
    rows = await session.execute(
        select(
            AllocationDeviceRow.device_id,
            AllocationRow.firm_id,
            AllocationRow.job_id,
            JobRow.name,
            AllocationRow.attempt,
            AllocationRow.rank,
        )
        .join(AllocationRow, AllocationRow.allocation_id == AllocationDeviceRow.allocation_id)
        .join(JobRow, JobRow.job_id == AllocationRow.job_id)
        .where(AllocationDeviceRow.live)
    )
    return {row.device_id: Occupant(row.firm_id, row.job_id, row.name, row.attempt, row.rank) for row in rows}


def _free(nodes: Sequence[NodeRecord]) -> list[FreeCount]:
    devices: Counter[tuple[str, str]] = Counter()
    free: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        for device in node.devices:
            key = (node.pool, device.model)
            devices[key] += 1
            if node.usable and device.occupant is None and device.health != Health.FAULTY:
                free[key] += 1
    return [
        FreeCount(pool, model, devices[pool, model], free[pool, model]) for pool, model in sorted(devices)
    ]


def _own_part(node: NodeRecord, firm_id: str) -> NodeRecord:
    own = tuple(d for d in node.devices if d.occupant is not None and d.occupant.firm_id == firm_id)
    return NodeRecord(
        node.node_id, node.name, node.pool, node.state, node.cordoned, node.isolation, node.agent_version,
        node.silent_since_ms, own,
    )  # fmt: skip


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
    await note_act(session, principal, act, node_id, now_ms, f"cordon/{ids.new(now_ms)}")
    return node_id


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool with its policy."""

    name: str
    backend: str
    patience_ms: int


async def list_pools(session: AsyncSession, principal: Principal) -> Sequence[PoolRecord]:
    """All pools; for a firm's people those that their queues use."""
    authorise(principal, Action.READ_CATALOGUE)
    rows = (await session.scalars(select(PoolRow).order_by(PoolRow.name))).all()
    if principal.firm_id is not None:
        queues = await session.scalars(select(QueueRow.pools).where(QueueRow.firm_id == principal.firm_id))
        used = {pool for names in queues for pool in names}
        rows = [row for row in rows if row.name in used]
    return [PoolRecord(row.name, row.backend, row.patience_ms) for row in rows]
