"""Enrolment: a host with a join token becomes a node, with its devices and its key in the register.

One transaction: the node, its devices and its key, the facts about them that go into the evidence log, and
the message to the controller. Repeating it with the same key changes nothing and gives the same answer, so
that an agent whose answer got lost just asks again.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import Conflict, DomainError, FieldProblem, Invalid, Unauthenticated
from scheduler.domain.ids import Ids
from scheduler.domain.time import to_datetime
from scheduler.services.join_tokens import token_sha256
from scheduler.storage import inbox
from scheduler.storage.fact_names import fact_of
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import (
    AgentKeyRow,
    DeviceRow,
    EvidenceIntakeRow,
    JoinTokenRow,
    NodeRow,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import PUBLIC_KEY_BYTES, key_id, verify_signature
from suanli.evidence.records import DeviceEvent, KeyEvent, encode_record, entry_type

ENROL_LABEL = b"suanli/enrol/v1\n"
CLOCK_TOLERANCE_MS = 60_000
MOST_DEVICES = 1024
NAME_PATTERN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_MOST_NUMBER = 2**63 - 1
_MOST_GROUP = 2**31 - 1

SignCertificate = Callable[[bytes, str], bytes]
"""(PEM certificate request, node_id) -> PEM certificate; raises Invalid for a request that is none."""


class ClockOff(DomainError):
    """The host's clock is too far from ours for its metering to begin there."""

    code: ClassVar[str] = "clock_off"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device as the host claims it; `identity.device_id` is empty until it is enrolled."""

    identity: DeviceIdentity
    memory_bytes: int
    fast_link_group: int


@dataclass(frozen=True, slots=True)
class Application:
    """What a host sends to become a node. Times are milliseconds of UTC."""

    join_token: str
    node_name: str
    public_key: bytes
    proof: bytes
    certificate_request_pem: bytes
    devices: tuple[NewDevice, ...]
    metering_from_ms: int

    def __repr__(self) -> str:
        return f"Application({self.node_name!r}, {len(self.devices)} devices)"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the register holds now. `first_time` is false where it held it already."""

    node_id: str
    devices: tuple[NewDevice, ...]
    certificate_pem: bytes
    metering_from_ms: int
    first_time: bool


async def enrol(
    session: AsyncSession, application: Application, sign_certificate: SignCertificate, ids: Ids, now_ms: int
) -> Enrolled:
    """Make the host a node, or repeat what was answered to the same key before.

    Raises Unauthenticated (no such token, used up, expired, key not proved, key revoked), Invalid (a field,
    no devices), Conflict (the name belongs to another node) and ClockOff.
    """
    _check(application)
    token = await _token(session, application.join_token)
    known = await _known(session, application, token, sign_certificate)
    if known is not None:
        return known
    _check_token(token, now_ms)
    difference_ms = application.metering_from_ms - now_ms
    if abs(difference_ms) > CLOCK_TOLERANCE_MS:
        raise ClockOff(
            f"the host's clock is {difference_ms} ms off the control plane's, more than"
            f" {CLOCK_TOLERANCE_MS} ms: synchronise it and enrol again",
            {"difference_ms": difference_ms},
        )
    node_id = ids.new(now_ms)
    certificate_pem = sign_certificate(application.certificate_request_pem, node_id)
    devices = tuple(
        replace(device, identity=replace(device.identity, device_id=ids.new(now_ms)))
        for device in application.devices
    )
    await _insert_node(session, application, token, node_id, certificate_pem)
    session.add_all(_device_row(node_id, device) for device in devices)
    await session.execute(
        update(JoinTokenRow)
        .where(JoinTokenRow.token_id == token.token_id)
        .values(uses_left=JoinTokenRow.uses_left - 1)
    )
    await _leave_facts(
        session,
        [
            _key_added(application, token, node_id, now_ms),
            *(_device_enrolled(application, token, node_id, device) for device in devices),
        ],
    )
    await inbox.put(session, "NodeEnrolled", {"node_id": node_id})
    await session.flush()
    return Enrolled(node_id, devices, certificate_pem, application.metering_from_ms, first_time=True)


def _check(application: Application) -> None:
    problems = []
    if not NAME_PATTERN.fullmatch(application.node_name):
        problems.append(
            FieldProblem("node_name", application.node_name[:80], "1 to 253 of A-Z a-z 0-9 . _ -")
        )
    if not 1 <= len(application.devices) <= MOST_DEVICES:
        got = f"{len(application.devices)} devices"
        problems.append(
            FieldProblem("devices", got, f"1 to {MOST_DEVICES}: a node without devices runs nothing")
        )
    if len(application.public_key) != PUBLIC_KEY_BYTES:
        got = f"{len(application.public_key)} bytes"
        problems.append(FieldProblem("public_key", got, "a raw Ed25519 key of 32 bytes"))
    if not 0 <= application.metering_from_ms < 1 << 48:
        problems.append(
            FieldProblem("metering_from_ms", str(application.metering_from_ms), "milliseconds of UTC")
        )
    problems.extend(_device_problems(application.devices))
    if problems:
        raise Invalid(problems)
    message = ENROL_LABEL + application.node_name.encode("utf-8")
    if not verify_signature(application.public_key, message, application.proof):
        raise Unauthenticated("the proof is no signature of the public key over the node's name")


def _device_problems(devices: Sequence[NewDevice]) -> list[FieldProblem]:
    problems = []
    indices: set[int] = set()
    for place, device in enumerate(devices):
        where = f"devices[{place}]"
        if device.identity.index in indices:
            problems.append(FieldProblem(f"{where}.index", str(device.identity.index), "each index once"))
        indices.add(device.identity.index)
        if device.memory_bytes > _MOST_NUMBER:
            problems.append(
                FieldProblem(f"{where}.memory_bytes", str(device.memory_bytes), "a signed 64-bit number")
            )
        if device.fast_link_group > _MOST_GROUP:
            problems.append(
                FieldProblem(f"{where}.fast_link_group", str(device.fast_link_group), "a smaller number")
            )
        # What the log could not carry must not enter the register; a placeholder stands for the id to come.
        trial = DeviceEvent(
            event="enrolled",
            device=replace(device.identity, device_id="-"),
            node_id="-",
            node_name="-",
            pool="-",
            at_ms=0,
        )
        try:
            encode_record(trial)
        except (EvidenceError, UnicodeEncodeError) as error:
            field = error.field if isinstance(error, EvidenceError) else "device"
            want = error.want if isinstance(error, EvidenceError) else "text that UTF-8 can hold"
            got = error.got if isinstance(error, EvidenceError) else "a lone surrogate"
            problems.append(FieldProblem(f"{where}.{field.rpartition('.')[2]}", got, want))
    return problems


async def _token(session: AsyncSession, token: str) -> JoinTokenRow:
    # The lock makes hosts that enrol with one token take turns, so that its uses are counted exactly.
    row = await session.scalar(
        select(JoinTokenRow).where(JoinTokenRow.secret_sha256 == token_sha256(token)).with_for_update()
    )
    if row is None:
        raise Unauthenticated("no such join token")
    return row


def _check_token(token: JoinTokenRow, now_ms: int) -> None:
    if token.expires_at <= to_datetime(now_ms):
        raise Unauthenticated(f"the join token expired at {token.expires_at.isoformat()}: ask for a new one")
    if token.uses_left < 1:
        raise Unauthenticated("the join token has been used as often as it may be: ask for a new one")


async def _known(
    session: AsyncSession, application: Application, token: JoinTokenRow, sign_certificate: SignCertificate
) -> Enrolled | None:
    """What this key was answered before. An expired token is good enough for a repetition in its own pool."""
    found = await session.execute(
        select(AgentKeyRow, NodeRow)
        .join(NodeRow, NodeRow.node_id == AgentKeyRow.node_id)
        .where(AgentKeyRow.key_id == key_id(application.public_key))
    )
    row = found.one_or_none()
    if row is None:
        return None
    key, node = row
    if key.revoked_at is not None:
        raise Unauthenticated("the key of this node was revoked: enrol with a new one")
    if node.name != application.node_name:
        raise Conflict(
            f"this key belongs to the node named {node.name}, not {application.node_name}",
            {"node_name": node.name},
        )
    if token.pool != node.pool:
        raise Unauthenticated(
            f"the join token is for pool {token.pool}, and this node is in pool {node.pool}"
        )
    rows = await session.scalars(select(DeviceRow).where(DeviceRow.node_id == node.node_id))
    by_index = {row.index: row for row in rows}
    asked = [device.identity.index for device in application.devices]
    if sorted(asked) != sorted(by_index):
        raise Conflict(
            f"node {node.name} is registered with devices {sorted(by_index)}, and came with {sorted(asked)}",
            {"registered": sorted(by_index), "found": sorted(asked)},
        )
    devices = tuple(device_of(by_index[index]) for index in asked)
    # Signed anew: a host that lost its TLS key, or whose certificate ends, gets another.
    certificate_pem = sign_certificate(application.certificate_request_pem, node.node_id)
    return Enrolled(node.node_id, devices, certificate_pem, node.metering_from_ms, first_time=False)


async def _insert_node(
    session: AsyncSession, application: Application, token: JoinTokenRow, node_id: str, certificate_pem: bytes
) -> None:
    inserted = await session.scalar(
        insert(NodeRow)
        .values(
            node_id=node_id,
            name=application.node_name,
            pool=token.pool,
            metering_from_ms=application.metering_from_ms,
        )
        .on_conflict_do_nothing(index_elements=[NodeRow.name])
        .returning(NodeRow.node_id)
    )
    if inserted is None:
        raise Conflict(
            f"a node named {application.node_name} is enrolled already with another key",
            {"node_name": application.node_name},
        )
    session.add(
        AgentKeyRow(
            key_id=key_id(application.public_key),
            node_id=node_id,
            public_key=application.public_key,
            certificate_pem=certificate_pem,
        )
    )


def _device_row(node_id: str, device: NewDevice) -> DeviceRow:
    identity = device.identity
    return DeviceRow(
        device_id=identity.device_id,
        node_id=node_id,
        index=identity.index,
        vendor=identity.vendor,
        model=identity.model,
        driver=identity.driver,
        simulated=identity.simulated,
        memory_bytes=device.memory_bytes,
        fast_link_group=device.fast_link_group,
        claims={
            "serial": identity.serial,
            "uuid": identity.uuid,
            "bus_address": identity.bus_address,
            "driver_version": identity.driver_version,
            "die_id": identity.die_id,
            "firmware": identity.firmware,
        },
    )


def device_of(row: DeviceRow) -> NewDevice:
    """A registered device with its claims as they were at enrolment."""
    identity = DeviceIdentity(
        device_id=row.device_id,
        vendor=row.vendor,
        model=row.model,
        index=row.index,
        serial=row.claims.get("serial"),
        uuid=row.claims.get("uuid"),
        bus_address=row.claims.get("bus_address"),
        driver=row.driver,
        driver_version=row.claims.get("driver_version"),
        simulated=row.simulated,
        die_id=row.claims.get("die_id"),
        firmware=row.claims.get("firmware"),
    )
    return NewDevice(identity, row.memory_bytes, row.fast_link_group)


"""The unique name of a fact, and what it says."""


def _key_added(application: Application, token: JoinTokenRow, node_id: str, now_ms: int) -> KeyEvent:
    return KeyEvent(
        event="added",
        key_id=key_id(application.public_key),
        public_key=application.public_key.hex(),
        node_id=node_id,
        at_ms=now_ms,
        enrolled_by=(token.created_by,),
        protected_by="file",
    )


def _device_enrolled(
    application: Application, token: JoinTokenRow, node_id: str, device: NewDevice
) -> DeviceEvent:
    return DeviceEvent(
        event="enrolled",
        device=device.identity,
        node_id=node_id,
        node_name=application.node_name,
        pool=token.pool,
        at_ms=application.metering_from_ms,
    )


async def _leave_facts(session: AsyncSession, records: Sequence[KeyEvent | DeviceEvent]) -> None:
    """Leave facts for the log, unsigned: the ledger speaks for the operator."""
    rows = [
        {"type": entry_type(record), "firm_id": None, "body": encode_record(record), "fact": fact_of(record)}
        for record in records
    ]
    if rows:
        await session.execute(insert(EvidenceIntakeRow).inline(), rows)
        await poke(session, Channel.EVIDENCE)


async def revoke_key(session: AsyncSession, node_id: str, now_ms: int) -> int:
    """Revoke every key of a node: its streams end and no window of it is taken any more.

    Returns how many keys were revoked now. The revocation enters the evidence log.
    """
    revoked = await session.execute(
        update(AgentKeyRow)
        .where(AgentKeyRow.node_id == node_id, AgentKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(AgentKeyRow.key_id, AgentKeyRow.public_key)
    )
    keys = revoked.all()
    events = [
        KeyEvent(
            event="revoked",
            key_id=revoked_id,
            public_key=public_key.hex(),
            node_id=node_id,
            at_ms=now_ms,
            enrolled_by=(),
            protected_by="file",
        )
        for revoked_id, public_key in keys
    ]
    await _leave_facts(session, events)
    return len(keys)
