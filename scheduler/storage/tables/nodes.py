"""Nodes. Registered by the gateway (enrolment), their state moved by the controller."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base, created


class NodeRow(Base):
    """A host with accelerators. Inserted by the gateway at enrolment, never changed."""

    __tablename__ = "nodes"
    node_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    pool: Mapped[str] = mapped_column(ForeignKey("pools.name"))
    metering_from_ms: Mapped[int]
    enrolled_at: Mapped[datetime] = created()


class DeviceRow(Base):
    """One physical accelerator (or a simulated one), with its identity claims as evidence."""

    __tablename__ = "devices"
    device_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"), index=True)
    index: Mapped[int] = mapped_column(Integer)
    vendor: Mapped[str]
    model: Mapped[str]
    driver: Mapped[str]
    simulated: Mapped[bool]
    memory_bytes: Mapped[int]
    fast_link_group: Mapped[int] = mapped_column(Integer)
    claims: Mapped[dict[str, Any]]  # serial, die_id, uuid, bus_address, driver_version, firmware
    __table_args__ = (UniqueConstraint("node_id", "index"),)


class NodePlaceRow(Base):
    """Where a node hangs in the network, as the operator says; it may be said before the node is enrolled."""

    __tablename__ = "node_places"
    name: Mapped[str] = mapped_column(primary_key=True)  # of the node
    zone: Mapped[str | None]
    supernode: Mapped[str | None]
    leaf: Mapped[str | None]
    position: Mapped[int | None] = mapped_column(Integer)


class NodeStateRow(Base):
    """What the controller knows of a node."""

    __tablename__ = "node_states"
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"), primary_key=True)
    state: Mapped[str]  # connected | silent | lost
    cordoned: Mapped[bool] = mapped_column(server_default=text("false"))
    generation: Mapped[int]  # of the desired state; the leader term of the change beside it
    leader_term: Mapped[int]
    boot_id: Mapped[str | None]
    agent_version: Mapped[str | None]
    isolation: Mapped[str | None]  # none | uid | namespace
    rendezvous_address: Mapped[str | None]
    place: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # as the agent says
    one_firm: Mapped[bool] = mapped_column(server_default=text("false"))  # takes tasks of one firm only
    one_firm_id: Mapped[str | None]  # of which
    container_engine: Mapped[str | None]  # what it runs container images with
    understands: Mapped[list[str]] = mapped_column(server_default="{}")  # what older agents cannot do
    report_seq: Mapped[int] = mapped_column(server_default="0")
    gateway_id: Mapped[str | None]
    unhealthy: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # device_id -> degraded | faulty
    silent_since_ms: Mapped[int | None]
    changed_ms: Mapped[int]


class JoinTokenRow(Base):
    """Lets hosts become nodes of a pool. Only the SHA-256 of the secret is kept."""

    __tablename__ = "join_tokens"
    token_id: Mapped[str] = mapped_column(primary_key=True)
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    pool: Mapped[str] = mapped_column(ForeignKey("pools.name"))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = created()
    expires_at: Mapped[datetime]
    uses_left: Mapped[int] = mapped_column(Integer)


class AgentKeyRow(Base):
    """A key that signs usage windows, and how far its chain has been stored."""

    __tablename__ = "agent_keys"
    key_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"), index=True)
    public_key: Mapped[bytes]
    certificate_pem: Mapped[bytes]
    stored_seq: Mapped[int] = mapped_column(server_default="0")
    stored_header_sha256: Mapped[str] = mapped_column(server_default="0" * 64)
    stored_end_ms: Mapped[int | None]  # of the last stored window; null where nobody noted it
    created_at: Mapped[datetime] = created()
    revoked_at: Mapped[datetime | None]


class GatewayRow(Base):
    """A living gateway; a dead gateway is not 2,000 dead nodes."""

    __tablename__ = "gateways"
    gateway_id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = created()
    enrolment_address: Mapped[str]
    fleet_address: Mapped[str]
    tunnel_address: Mapped[str | None]  # where the API asks for tunnels
