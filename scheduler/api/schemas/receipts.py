"""Firms' keys and receipts over HTTP."""

from typing import Annotated, Literal

from pydantic import Field

from scheduler.api.schemas.base import In, Out, Page, utc, utc_or_none
from scheduler.services.receipts import AllocationRecord, FirmKeyRecord, ReceiptRecord
from suanli.evidence.keys import NOTE_ED25519, verifier_key

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
StanceName = Literal["agreed", "contested"]


class FirmKeyIn(In):
    """A key with which the caller's firm will sign receipts, and the proof that it is held."""

    public_key: Annotated[Hex32, Field(description="Raw Ed25519 public key in hex.")]
    proof: Annotated[
        Hex64,
        Field(description="Its signature over `suanli/firm_key_proof/v1\\n`, the firm's id, `\\n`, the key."),
    ]


class FirmKeyOut(Out):
    """A registered key; `vkey` is the line that an auditor wants in the list of firms' keys."""

    key_id: str
    firm: str
    firm_id: str
    public_key: str
    vkey: str
    created_at: str
    revoked_at: str | None


class FirmKeysOut(Out):
    """Registered keys, the oldest first."""

    firm_id: Annotated[str | None, Field(description="The caller's own firm, which the proof names.")]
    keys: list[FirmKeyOut]


def firm_key_out(record: FirmKeyRecord) -> FirmKeyOut:
    """A key for the wire."""
    return FirmKeyOut(
        key_id=record.key_id,
        firm=record.firm,
        firm_id=record.firm_id,
        public_key=record.public_key.hex(),
        vkey=str(verifier_key(record.firm_id, NOTE_ED25519, record.public_key)),
        created_at=utc(record.created_ms),
        revoked_at=utc_or_none(record.revoked_ms),
    )


class ReceiptIn(In):
    """A receipt as it was signed: exact bytes and the signature over `suanli/job_receipt/v1\\n` and them."""

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    receipt: Annotated[
        str, Field(min_length=2, max_length=65_536, description="The JSON text that was signed.")
    ]
    signature: Hex64


class ReceiptOut(Out):
    """A receipt. `log_index` is null until the evidence log holds it."""

    receipt_id: str
    job_id: str
    allocation_id: str
    stance: StanceName
    reason: str
    start_at: str
    end_at: str
    signed_at: str
    received_at: str
    key_id: str
    log_index: int | None


class ReceiptsOut(Page):
    """Receipts, the newest first."""

    receipts: list[ReceiptOut]


def receipt_out(record: ReceiptRecord) -> ReceiptOut:
    """A receipt for the wire."""
    receipt = record.receipt
    return ReceiptOut(
        receipt_id=record.receipt_id,
        job_id=receipt.job_id,
        allocation_id=receipt.allocation_id,
        stance="agreed" if receipt.stance == "agreed" else "contested",
        reason=receipt.reason,
        start_at=utc(receipt.start_ms),
        end_at=utc(receipt.end_ms),
        signed_at=utc(receipt.at_ms),
        received_at=utc(record.received_ms),
        key_id=record.key_id,
        log_index=record.log_index,
    )


class AllocationOut(Out):
    """Devices of one node that a task of a job held; times as the controller put them into the log."""

    allocation_id: str
    firm_id: str
    attempt: int
    rank: int
    node: str
    devices: int
    granted_ms: int
    started_ms: int | None
    ended_ms: int | None
    receipt: Annotated[ReceiptOut | None, Field(description="The receipt that stands: the newest.")]


class AllocationsOut(Out):
    """Allocations by attempt and rank."""

    job_id: str
    allocations: list[AllocationOut]


def allocation_out(record: AllocationRecord) -> AllocationOut:
    """An allocation for the wire."""
    return AllocationOut(
        allocation_id=record.allocation_id,
        firm_id=record.firm_id,
        attempt=record.attempt,
        rank=record.rank,
        node=record.node,
        devices=record.devices,
        granted_ms=record.granted_ms,
        started_ms=record.started_ms,
        ended_ms=record.ended_ms,
        receipt=None if record.receipt is None else receipt_out(record.receipt),
    )
