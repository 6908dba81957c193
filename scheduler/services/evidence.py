"""Nodes' keys, and the log checkpoints over what they signed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import Unauthenticated
from scheduler.services.enrolment import device_of
from scheduler.storage.tables import (
    AgentKeyRow,
    DeviceRow,
    LogCheckpointRow,
    NodeRow,
)
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import verify_signature
from suanli.evidence.signed_note import parse_note, parse_signature_line, with_signatures

RENEWAL_LABEL = b"suanli/renew/v1\n"


@dataclass(frozen=True, slots=True)
class NodeKey:
    """The caller of the gateway: a node, the key that signs its windows, and what is registered of it."""

    node_id: str
    key_id: str
    public_key: bytes
    metering_from_ms: int
    devices: Mapping[str, DeviceIdentity]


async def node_key(session: AsyncSession, node_id: str) -> NodeKey | None:
    """The key under which a node signs now; None where it has none that is not revoked."""
    found = await session.execute(
        select(AgentKeyRow.key_id, AgentKeyRow.public_key, NodeRow.metering_from_ms)
        .join(NodeRow, NodeRow.node_id == AgentKeyRow.node_id)
        .where(AgentKeyRow.node_id == node_id, AgentKeyRow.revoked_at.is_(None))
        .order_by(AgentKeyRow.created_at.desc())
        .limit(1)
    )
    row = found.one_or_none()
    if row is None:
        return None
    devices = await session.scalars(select(DeviceRow).where(DeviceRow.node_id == node_id))
    identities = {device.device_id: device_of(device).identity for device in devices}
    return NodeKey(node_id, *row, identities)


def check_renewal(key: NodeKey, certificate_request_pem: bytes, proof: bytes) -> None:
    """That the holder of the node's window key wants this certificate. Raises Unauthenticated."""
    if not verify_signature(key.public_key, RENEWAL_LABEL + certificate_request_pem, proof):
        raise Unauthenticated("the proof is no signature of the node's key over the certificate request")


async def revoked_nodes(session: AsyncSession, node_ids: Sequence[str]) -> set[str]:
    """Those of the nodes whose every key is revoked: their streams have to end."""
    good = await session.scalars(
        select(AgentKeyRow.node_id).where(AgentKeyRow.node_id.in_(node_ids), AgentKeyRow.revoked_at.is_(None))
    )
    return set(node_ids) - set(good)


async def newest_checkpoint(session: AsyncSession) -> tuple[int, bytes] | None:
    """Size and note of the newest signed log checkpoint; None before the first."""
    found = await session.execute(
        select(LogCheckpointRow.size, LogCheckpointRow.note).order_by(LogCheckpointRow.size.desc()).limit(1)
    )
    row = found.one_or_none()
    return None if row is None else (row[0], row[1])


def with_cosignatures(note: bytes, lines: Sequence[bytes]) -> bytes:
    """The note with stored cosignature lines (with or without their newline) under it."""
    parsed = [parse_signature_line(line.decode("utf-8").rstrip("\n")) for line in lines]
    return with_signatures(parse_note(note), parsed).encode()
