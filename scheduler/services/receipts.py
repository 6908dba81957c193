"""What firms say of their use: the keys that sign for them, and the receipts that they sign.

Both become entries of the evidence log. A key's holder proves that it holds it; a receipt is checked as the
verifier will check it, so that nothing is logged that would later be found wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from sqlalchemy import Select, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise, require_firm
from scheduler.domain.errors import Conflict, FieldProblem, Forbidden, Invalid, NotFound
from scheduler.domain.time import from_datetime, to_datetime
from scheduler.services.jobs import read_job
from scheduler.storage.fact_names import fact_of, receipt_fact
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    EvidenceIntakeRow,
    FirmKeyRow,
    FirmRow,
    LogEntryRow,
    NodeRow,
    ReceiptRow,
)
from suanli.evidence.entries import JOB_RECEIPT, signing_message
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import key_id, verify_signature
from suanli.evidence.receipts import FirmKey, JobReceipt
from suanli.evidence.records import encode_record, entry_type, parse_record

FUTURE_TOLERANCE_MS = 300_000
KEYS_PER_FIRM = 100
RECEIPTS_PER_ALLOCATION = 20


@dataclass(frozen=True, slots=True)
class FirmKeyRecord:
    """A key with which a firm signs receipts. `public_key` is raw, 32 bytes."""

    key_id: str
    firm_id: str
    firm: str
    public_key: bytes
    created_ms: int
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A receipt as kept. `log_index` is None until the ledger has given it one."""

    receipt_id: str
    receipt: JobReceipt
    key_id: str
    received_ms: int
    log_index: int | None


@dataclass(frozen=True, slots=True)
class AllocationRecord:
    """What a receipt is about: one task's devices on one node. `receipt` is the one that stands."""

    allocation_id: str
    job_id: str
    firm_id: str
    attempt: int
    rank: int
    node: str
    devices: int
    granted_ms: int
    started_ms: int | None
    ended_ms: int | None
    receipt: ReceiptRecord | None


async def add_firm_key(
    session: AsyncSession, principal: Principal, public_key: bytes, proof: bytes, now_ms: int
) -> FirmKeyRecord:
    """Register a key of the caller's firm; the same again changes nothing. Raises Invalid, Conflict, Forbidden."""
    authorise(principal, Action.MANAGE_FIRM_KEYS)
    firm_id = require_firm(principal)
    name = key_id(public_key)
    known = await session.get(FirmKeyRow, name)
    if known is not None:
        if known.firm_id != firm_id or known.revoked_at is not None:
            raise Conflict(f"key {name} was registered before and cannot be registered again; make a new one")
        return await _firm_key(session, name)
    # Two at once might both see room for one more; the limit only keeps a firm from filling the log.
    held = await session.scalars(select(FirmKeyRow.key_id).where(FirmKeyRow.firm_id == firm_id))
    if len(held.all()) >= KEYS_PER_FIRM:
        raise Conflict(f"the firm has registered {KEYS_PER_FIRM} keys, which is the most")
    event = FirmKey("added", firm_id, name, public_key.hex(), proof.hex(), principal.principal_id, now_ms)
    await _log_key_event(session, event)
    await session.execute(
        insert(FirmKeyRow).values(key_id=name, firm_id=firm_id, public_key=public_key, proof=proof)
    )
    return await _firm_key(session, name)


async def revoke_firm_key(session: AsyncSession, principal: Principal, name: str, now_ms: int) -> None:
    """End a key: receipts that it signed stand, new ones are refused. Raises NotFound, Forbidden."""
    authorise(principal, Action.MANAGE_FIRM_KEYS)
    firm_id = require_firm(principal)
    row = await session.scalar(
        select(FirmKeyRow).where(FirmKeyRow.key_id == name, FirmKeyRow.firm_id == firm_id).with_for_update()
    )
    if row is None:
        raise NotFound(f"there is no key {name}")
    if row.revoked_at is not None:
        return
    event = FirmKey(
        "revoked", firm_id, name, row.public_key.hex(), row.proof.hex(), principal.principal_id, now_ms
    )
    await _log_key_event(session, event)
    await session.execute(
        update(FirmKeyRow).where(FirmKeyRow.key_id == name).values(revoked_at=to_datetime(now_ms))
    )


async def _log_key_event(session: AsyncSession, event: FirmKey) -> None:
    try:
        body = encode_record(event)
    except EvidenceError as error:
        raise Invalid([FieldProblem(error.field.removeprefix("firm_key."), error.got, error.want)]) from None
    await session.execute(
        insert(EvidenceIntakeRow)
        .values(type=entry_type(event), firm_id=event.firm_id, body=body, fact=fact_of(event))
        .inline()
    )
    await poke(session, Channel.EVIDENCE)


def _keys_query() -> Select[FirmKeyRow, str]:
    return (
        select(FirmKeyRow, FirmRow.name)
        .join(FirmRow, FirmRow.firm_id == FirmKeyRow.firm_id)
        .execution_options(populate_existing=True)
    )


async def _firm_key(session: AsyncSession, name: str) -> FirmKeyRecord:
    row, firm = (await session.execute(_keys_query().where(FirmKeyRow.key_id == name))).one()
    return _key_record(row, firm)


def _key_record(row: FirmKeyRow, firm: str) -> FirmKeyRecord:
    revoked_ms = None if row.revoked_at is None else from_datetime(row.revoked_at)
    return FirmKeyRecord(
        row.key_id, row.firm_id, firm, row.public_key, from_datetime(row.created_at), revoked_ms
    )


async def list_firm_keys(session: AsyncSession, principal: Principal) -> Sequence[FirmKeyRecord]:
    """Keys of the caller's firm; of every firm for operators and auditors."""
    authorise(principal, Action.READ_RECEIPTS)
    query = _keys_query().order_by(FirmKeyRow.created_at, FirmKeyRow.key_id)
    if principal.firm_id is not None:
        query = query.where(FirmKeyRow.firm_id == principal.firm_id)
    return [_key_record(row, firm) for row, firm in await session.execute(query)]


async def add_receipt(
    session: AsyncSession, principal: Principal, *, name: str, body: bytes, signature: bytes, now_ms: int
) -> ReceiptRecord:
    """Keep a signed receipt for the log; the same again changes nothing. `name` is the key's id.

    Raises Invalid for what the verifier would not take, NotFound, Forbidden, Conflict for a revoked key.
    """
    authorise(principal, Action.SIGN_RECEIPT)
    firm_id = require_firm(principal)
    receipt = _read(body)
    if receipt.firm_id != firm_id:
        raise Forbidden("a receipt speaks for the firm of whoever sends it")
    receipt_id = sha256(body).hexdigest()
    # The lock orders it before or after a revocation, in the log as here.
    key = await session.scalar(
        select(FirmKeyRow)
        .where(FirmKeyRow.key_id == name, FirmKeyRow.firm_id == firm_id)
        .with_for_update(read=True)
    )
    if key is None:
        raise Invalid([FieldProblem("key_id", name, "a registered key of the firm")])
    if not verify_signature(key.public_key, signing_message(JOB_RECEIPT, body), signature):
        raise Invalid([FieldProblem("signature", "no match", f"a signature of key {name} over the receipt")])
    if await session.get(ReceiptRow, receipt_id) is not None:
        return await _receipt(session, receipt_id)
    if key.revoked_at is not None:
        raise Conflict(f"key {name} is revoked")
    await _check_use(session, firm_id, receipt, now_ms)
    made = await session.scalar(
        upsert(ReceiptRow)
        .values(
            receipt_id=receipt_id,
            firm_id=firm_id,
            job_id=receipt.job_id,
            allocation_id=receipt.allocation_id,
            stance=receipt.stance,
            at_ms=receipt.at_ms,
            key_id=name,
            body=body,
            signature=signature,
        )
        .on_conflict_do_nothing()
        .returning(ReceiptRow.receipt_id)
    )
    if made is not None:
        await session.execute(
            insert(EvidenceIntakeRow)
            .values(
                type=JOB_RECEIPT,
                firm_id=firm_id,
                body=body,
                signature=signature,
                producer_key_id=name,
                fact=receipt_fact(body),
            )
            .inline()
        )
        await poke(session, Channel.EVIDENCE)
    return await _receipt(session, receipt_id)


def _read(body: bytes) -> JobReceipt:
    try:
        record = parse_record(JOB_RECEIPT, body)
    except EvidenceError as error:
        field = error.field.removeprefix("job_receipt.")
        raise Invalid([FieldProblem(f"receipt.{field}", error.got, error.want)]) from None
    return cast(JobReceipt, record)


async def _check_use(session: AsyncSession, firm_id: str, receipt: JobReceipt, now_ms: int) -> None:
    """A receipt is for an allocation that the firm had and that has ended; who agrees, agrees to all of it."""
    row = await session.get(AllocationRow, (firm_id, receipt.allocation_id))
    if row is None or row.job_id != receipt.job_id:
        raise NotFound(f"job {receipt.job_id} has no allocation {receipt.allocation_id}")
    if row.ended_ms is None:
        raise Conflict(
            f"allocation {receipt.allocation_id} has not ended yet: a receipt is for the whole of it"
        )
    held = await session.scalar(
        select(func.count()).where(
            ReceiptRow.firm_id == firm_id,
            ReceiptRow.job_id == receipt.job_id,
            ReceiptRow.allocation_id == receipt.allocation_id,
        )
    )
    if (held or 0) >= RECEIPTS_PER_ALLOCATION:
        raise Conflict(
            f"allocation {receipt.allocation_id} has {RECEIPTS_PER_ALLOCATION} receipts, which is the most"
        )
    problems = []
    if receipt.at_ms > now_ms + FUTURE_TOLERANCE_MS:
        want = f"at most {now_ms + FUTURE_TOLERANCE_MS}: five minutes from now"
        problems.append(FieldProblem("receipt.at_ms", str(receipt.at_ms), want))
    if receipt.stance == "agreed":
        whole = f"[{row.granted_ms}, {row.ended_ms}), for which the devices were held; or contest it"
        if receipt.start_ms > row.granted_ms or receipt.end_ms < row.ended_ms:
            got = f"[{receipt.start_ms}, {receipt.end_ms})"
            problems.append(FieldProblem("receipt.start_ms", got, whole))
    if problems:
        raise Invalid(problems)


def _receipts_query() -> Select[ReceiptRow, int]:
    return select(ReceiptRow, LogEntryRow.log_index).outerjoin(
        LogEntryRow, LogEntryRow.fact == "receipt/" + ReceiptRow.receipt_id
    )


def _receipt_record(row: ReceiptRow, log_index: int | None) -> ReceiptRecord:
    return ReceiptRecord(
        row.receipt_id, _read(row.body), row.key_id, from_datetime(row.received_at), log_index
    )


async def _receipt(session: AsyncSession, receipt_id: str) -> ReceiptRecord:
    found = await session.execute(_receipts_query().where(ReceiptRow.receipt_id == receipt_id))
    row, log_index = found.one()
    return _receipt_record(row, log_index)


async def list_receipts(
    session: AsyncSession,
    principal: Principal,
    *,
    job_id: str | None = None,
    stance: str | None = None,
    limit: int,
    after: tuple[int | str, str] | None = None,
) -> Sequence[ReceiptRecord]:
    """Receipts, the newest first. `after`: `at_ms` and id of the last one of the page before."""
    authorise(principal, Action.READ_RECEIPTS)
    place = (ReceiptRow.at_ms, ReceiptRow.receipt_id)
    query = _receipts_query().order_by(*(column.desc() for column in place)).limit(limit)
    if principal.firm_id is not None:
        query = query.where(ReceiptRow.firm_id == principal.firm_id)
    if job_id is not None:
        query = query.where(ReceiptRow.job_id == job_id)
    if stance is not None:
        query = query.where(ReceiptRow.stance == stance)
    if after is not None:
        query = query.where(tuple_(*place) < after)
    return [_receipt_record(row, log_index) for row, log_index in await session.execute(query)]


async def list_allocations(
    session: AsyncSession, principal: Principal, job_id: str
) -> Sequence[AllocationRecord]:
    """Allocations of a job by attempt and rank, each with the receipt that stands. Raises NotFound, Forbidden."""
    job = await read_job(session, principal, job_id)
    a, d = AllocationRow, AllocationDeviceRow
    found = await session.execute(
        select(a, NodeRow.name)
        .join(NodeRow, NodeRow.node_id == a.node_id)
        .where(a.firm_id == job.firm_id, a.job_id == job_id)
        .order_by(a.attempt, a.rank)
    )
    rows: list[tuple[Any, str]] = [(row, node) for row, node in found]
    owned = await session.scalars(
        select(d.allocation_id).where(
            d.firm_id == job.firm_id, d.allocation_id.in_([row.allocation_id for row, _ in rows])
        )
    )
    devices: dict[str, int] = {}
    for allocation_id in owned:
        devices[allocation_id] = devices.get(allocation_id, 0) + 1
    receipts = await session.execute(
        _receipts_query()
        .where(ReceiptRow.firm_id == job.firm_id, ReceiptRow.job_id == job_id)
        .order_by(ReceiptRow.at_ms, ReceiptRow.stance, ReceiptRow.receipt_id)  # "contested" after "agreed"
    )
    standing = {row.allocation_id: _receipt_record(row, index) for row, index in receipts}
    return [
        AllocationRecord(
            row.allocation_id,
            row.job_id,
            row.firm_id,
            row.attempt,
            row.rank,
            node,
            devices.get(row.allocation_id, 0),
            row.granted_ms,
            row.started_ms,
            row.ended_ms,
            standing.get(row.allocation_id),
        )
        for row, node in rows
    ]
