"""Taking signed usage windows in: what is stored waits for its index in the evidence log.

Per key the sequence numbers are stored without a gap, each window's header naming the hash of the one before,
under a lock of the key's row. A number that came before with the same bytes is fine; with other bytes it is a
fork of the chain, which only a stolen or misused key can make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import Unauthenticated
from scheduler.services.enrolment import device_of
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import (
    AgentKeyRow,
    CosignatureRow,
    DeviceRow,
    LogCheckpointRow,
    LogEntryRow,
    NodeRow,
    UsageIntakeRow,
)
from suanli.evidence.entries import parse_payload
from suanli.evidence.errors import EvidenceError
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import verify_signature
from suanli.evidence.signed_note import parse_note, parse_signature_line, with_signatures
from suanli.evidence.strict_json import encode_base64
from suanli.evidence.window_checks import ReadWindow, read_window
from suanli.evidence.windows import (
    NO_PREVIOUS,
    Segment,
    SignedWindow,
    WindowHeader,
    header_hash,
    parse_header,
)

RENEWAL_LABEL = b"suanli/renew/v1\n"
FUTURE_TOLERANCE_MS = 300_000
"""How far a window may end ahead of our clock; beyond it, somebody signs time that has not happened."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """The caller of the gateway: a node, the key that signs its windows, and what is registered of it."""

    node_id: str
    key_id: str
    public_key: bytes
    metering_from_ms: int
    devices: Mapping[str, DeviceIdentity]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a window was not stored. `fork` is true where the same number was stored with other bytes."""

    seq: int
    field: str
    detail: str
    fork: bool = False


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a batch: the highest number stored now, how many were new, and the refusals."""

    stored_seq: int
    stored: int
    refused: tuple[Refusal, ...]


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


@dataclass(slots=True)
class _Chain:
    """How far a key's chain goes."""

    seq: int
    header_sha256: str
    end_ms: int


async def store_windows(
    session: AsyncSession, key: NodeKey, windows: Sequence[SignedWindow], now_ms: int
) -> Intake:
    """Store those windows of a batch that continue the chain; the others are refused one by one.

    The key's row stays locked until the session's transaction ends. A key revoked meanwhile stores nothing.
    """
    row = await session.scalar(select(AgentKeyRow).where(AgentKeyRow.key_id == key.key_id).with_for_update())
    if row is None or row.revoked_at is not None:
        return Intake(0, 0, tuple(Refusal(_seq(w), "key", "the key is revoked") for w in windows))
    chain = _Chain(row.stored_seq, row.stored_header_sha256, key.metering_from_ms)
    if chain.seq:
        header = await _stored_header(session, key.key_id, chain.seq)
        chain.end_ms = parse_header(header).end_ms
    first_seq = chain.seq
    refused: list[Refusal] = []
    rows: list[dict[str, object]] = []
    for window in windows:
        checked = _check(key, window, now_ms)
        if isinstance(checked, Refusal):
            refused.append(checked)
            continue
        if checked.seq <= chain.seq:
            pending = {row["seq"]: row["header"] for row in rows}
            stored = pending.get(checked.seq) or await _stored_header(session, key.key_id, checked.seq)
            problem = None if stored == window.header else _fork(checked.seq)
            if problem is None:
                continue
        else:
            problem = _continues(checked, chain)
        if problem is not None:
            refused.append(problem)
            continue
        chain = _Chain(checked.seq, header_hash(window.header), checked.end_ms)
        rows.append(_intake_row(key, checked.seq, window))
    if rows:
        await session.execute(insert(UsageIntakeRow).inline(), rows)
        await session.execute(
            update(AgentKeyRow)
            .where(AgentKeyRow.key_id == key.key_id)
            .values(stored_seq=chain.seq, stored_header_sha256=chain.header_sha256)
            .execution_options(synchronize_session=False)
        )
        await poke(session, Channel.EVIDENCE)
    return Intake(chain.seq, chain.seq - first_seq, tuple(refused))


def _seq(window: SignedWindow) -> int:
    """The number a window claims, as far as it can be read."""
    try:
        return parse_header(window.header).seq
    except EvidenceError:
        return 0


def _check(key: NodeKey, window: SignedWindow, now_ms: int) -> WindowHeader | Refusal:
    """What can be said of a window without its chain: signature, commitments, tiling, bounds, its devices."""
    read = read_window(window, key.public_key)
    if not isinstance(read, ReadWindow):
        first = read[0]
        more = f" (and {len(read) - 1} more problems)" if len(read) > 1 else ""
        return Refusal(_seq(window), first.field, f"got {first.got}, want {first.want}{more}")
    header = read.header
    if header.node_id != key.node_id:
        return Refusal(header.seq, "node_id", f"got {header.node_id}, want {key.node_id}")
    if header.end_ms > now_ms + FUTURE_TOLERANCE_MS:
        detail = f"got {header.end_ms}, want at most {FUTURE_TOLERANCE_MS} ms after now, {now_ms}"
        return Refusal(header.seq, "end_ms", detail)
    return _check_devices(key, header, read.segments) or header


def _check_devices(key: NodeKey, header: WindowHeader, segments: Sequence[Segment]) -> Refusal | None:
    """Every enrolled device is in the window, no other is, and each is priced as what it was enrolled as."""
    for n, segment in enumerate(segments):
        registered = key.devices.get(segment.device.device_id)
        where = f"segments[{n}].device"
        if registered is None:
            detail = f"got {segment.device.device_id}, want a device of this node"
            return Refusal(header.seq, f"{where}.device_id", detail)
        for name in ("vendor", "model", "index", "simulated"):
            got, want = getattr(segment.device, name), getattr(registered, name)
            if got != want:
                return Refusal(header.seq, f"{where}.{name}", f"got {got}, want {want} as enrolled")
    missing = key.devices.keys() - {segment.device.device_id for segment in segments}
    if missing:
        return Refusal(header.seq, "segments", f"no segment of device {min(missing)}: idle time is time too")
    return None


def _continues(header: WindowHeader, chain: _Chain) -> Refusal | None:
    checks: tuple[tuple[str, object, object], ...] = (
        ("seq", header.seq, chain.seq + 1),
        ("prev_hash", header.prev_hash, chain.header_sha256 if chain.seq else NO_PREVIOUS),
        ("start_ms", header.start_ms, chain.end_ms),
    )
    for field, got, want in checks:
        if got != want:
            return Refusal(header.seq, field, f"got {got}, want {want}")
    return None


def _fork(seq: int) -> Refusal:
    return Refusal(seq, "seq", f"window {seq} is stored with other bytes: two chains of one key", fork=True)


async def _stored_header(session: AsyncSession, key_id: str, seq: int) -> bytes:
    """Exact header bytes of a stored window, from the intake or from the log."""
    waiting = await session.scalar(
        select(UsageIntakeRow.header).where(UsageIntakeRow.key_id == key_id, UsageIntakeRow.seq == seq)
    )
    if waiting is not None:
        return waiting
    payload = await session.scalar(
        select(LogEntryRow.payload).where(LogEntryRow.fact == window_fact(key_id, seq))
    )
    if payload is None:
        raise LookupError(f"window {seq} of key {key_id} counts as stored and is nowhere")
    return parse_payload(payload).body


def window_fact(key_id: str, seq: int) -> str:
    """The unique name of a window among the log's facts."""
    return f"window/{key_id}/{seq}"


def _intake_row(key: NodeKey, seq: int, window: SignedWindow) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "seq": seq,
        "node_id": key.node_id,
        "header": window.header,
        "signature": window.signature,
        "segments": [{"salt": s.salt.hex(), "body": encode_base64(s.body)} for s in window.segments],
    }


_LOGGED = text(
    """
    SELECT asked.key_id, newest.seq
    FROM unnest(CAST(:nodes AS text[]), CAST(:keys AS text[])) AS asked (node_id, key_id)
    CROSS JOIN LATERAL (
        SELECT seq FROM log_entries
        WHERE node_id = asked.node_id AND end_ms IS NOT NULL AND producer_key_id = asked.key_id
          AND log_index < :size
        ORDER BY end_ms DESC LIMIT 1
    ) AS newest
    """
)


@dataclass(frozen=True, slots=True)
class Logged:
    """How far windows are in the published log: per key the highest number, and the checkpoint over them."""

    seqs: Mapping[str, int]
    log_checkpoint: bytes


async def logged_windows(session: AsyncSession, keys: Mapping[str, str]) -> Logged:
    """How far the windows of `keys` (key_id -> node_id) are under the newest signed log checkpoint."""
    newest = await newest_checkpoint(session)
    if newest is None:
        return Logged({}, b"")
    size, note = newest
    found = await session.execute(
        _LOGGED, {"nodes": list(keys.values()), "keys": list(keys.keys()), "size": size}
    )
    return Logged(dict(found.all()), note)


async def newest_checkpoint(session: AsyncSession) -> tuple[int, bytes] | None:
    """Size and note of the newest signed log checkpoint; None before the first."""
    found = await session.execute(
        select(LogCheckpointRow.size, LogCheckpointRow.note).order_by(LogCheckpointRow.size.desc()).limit(1)
    )
    row = found.one_or_none()
    return None if row is None else (row[0], row[1])


async def cosigned_checkpoint(
    session: AsyncSession, at_least: int, witnesses: int
) -> tuple[int, bytes] | None:
    """Newest log checkpoint of at least this size with at least so many cosignatures, lines included."""
    count = func.count(CosignatureRow.witness)
    statement = (
        select(LogCheckpointRow.size, LogCheckpointRow.note)
        .outerjoin(CosignatureRow, CosignatureRow.size == LogCheckpointRow.size)
        .where(LogCheckpointRow.size >= at_least)
        .group_by(LogCheckpointRow.size)
        .having(count >= witnesses)
        .order_by(LogCheckpointRow.size.desc())
        .limit(1)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    size, note = row
    lines = await session.scalars(
        select(CosignatureRow.line).where(CosignatureRow.size == size).order_by(CosignatureRow.witness)
    )
    return size, with_cosignatures(note, list(lines))


def with_cosignatures(note: bytes, lines: Sequence[bytes]) -> bytes:
    """The note with stored cosignature lines (with or without their newline) under it."""
    parsed = [parse_signature_line(line.decode("utf-8").rstrip("\n")) for line in lines]
    return with_signatures(parse_note(note), parsed).encode()
