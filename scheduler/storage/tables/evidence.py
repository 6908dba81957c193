"""Evidence. Intake by gateway and controller, the log by the ledger alone."""

from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Identity, Index, Integer, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base, created


class UsageIntakeRow(Base):
    """A verified window that waits for its log index; deleted in the transaction that sequences it."""

    __tablename__ = "usage_intake"
    key_id: Mapped[str] = mapped_column(ForeignKey("agent_keys.key_id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[str]
    header: Mapped[bytes]
    signature: Mapped[bytes]
    segments: Mapped[bytes]  # storage/segments.py: salts and exact bytes, in the header's order
    segments_bytes: Mapped[
        int | None
    ]  # of these, unpacked; None: from a gateway of before, which did not pack them
    received_at: Mapped[datetime] = created()


class EvidenceIntakeRow(Base):
    """A fact of the control plane that waits for its log index. Without a signature, the ledger signs it."""

    __tablename__ = "evidence_intake"
    intake_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    type: Mapped[str]  # an entry type of suanli.evidence.entries
    firm_id: Mapped[str | None]
    body: Mapped[bytes]
    signature: Mapped[bytes | None]
    producer_key_id: Mapped[str | None]
    # The same fact twice has one effect: unique, for instance "allocation/<id>/granted".
    fact: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = created()


class FirmKeyRow(Base):
    """A key with which a firm signs receipts; its events are in the log."""

    __tablename__ = "firm_keys"
    key_id: Mapped[str] = mapped_column(primary_key=True)
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), index=True)
    public_key: Mapped[bytes]
    proof: Mapped[bytes]
    created_at: Mapped[datetime] = created()
    revoked_at: Mapped[datetime | None]


class ReceiptRow(Base):
    """What a firm signed of an allocation: exact bytes, of which the SHA-256 is the id. Never changed."""

    __tablename__ = "receipts"
    receipt_id: Mapped[str] = mapped_column(primary_key=True)
    firm_id: Mapped[str]
    job_id: Mapped[str]
    allocation_id: Mapped[str]
    stance: Mapped[str]  # agreed | contested
    at_ms: Mapped[int]  # by the firm's clock: the newest stands
    key_id: Mapped[str] = mapped_column(ForeignKey("firm_keys.key_id"))
    body: Mapped[bytes]
    signature: Mapped[bytes]
    received_at: Mapped[datetime] = created()
    __table_args__ = (
        ForeignKeyConstraint(
            ["firm_id", "allocation_id"], ["allocations.firm_id", "allocations.allocation_id"]
        ),
        Index("ix_receipts_job", "firm_id", "job_id"),
        Index("ix_receipts_at", "at_ms", "receipt_id"),
    )


class LogEntryRow(Base):
    """One leaf of the evidence log with what it commits to. Never changed, never deleted."""

    __tablename__ = "log_entries"
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str]
    producer_key_id: Mapped[str]
    firm_id: Mapped[str | None]
    firm_seq: Mapped[int | None]
    leaf: Mapped[bytes]
    salt: Mapped[bytes]
    payload: Mapped[bytes]
    segments: Mapped[
        bytes | None
    ]  # of a window, as in usage_intake; opened only as far as they are the reader's own
    fact: Mapped[str] = mapped_column(unique=True)  # of the intake; "window/<key_id>/<seq>" for windows
    node_id: Mapped[str | None]
    seq: Mapped[int | None]
    start_ms: Mapped[int | None]  # of a window, or at_ms of an event
    end_ms: Mapped[int | None]
    sequenced_at: Mapped[datetime] = created()
    __table_args__ = (
        Index("ix_log_entries_node", "node_id", "end_ms"),
        Index("ix_log_entries_type", "type", "log_index"),
        # A firm's own entries are numbered without a gap, so that none can be kept from it.
        UniqueConstraint("firm_id", "firm_seq"),
    )


class WindowSegmentRow(Base):
    """Whose a segment of a logged window is that names an allocation; all others are nobody's."""

    __tablename__ = "window_segments"
    # No foreign key: it would be looked up for each of thousands a second, and one statement writes both.
    log_index: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    firm_id: Mapped[str | None]
    allocation_id: Mapped[str | None]
    device_id: Mapped[str]
    # Only of windows that were logged before `log_entries.segments` was there; these have rows of every segment.
    salt: Mapped[bytes | None]
    body: Mapped[bytes | None]


class LogCheckpointRow(Base):
    """A signed log checkpoint as published."""

    __tablename__ = "log_checkpoints"
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[str]
    note: Mapped[bytes]
    made_ms: Mapped[int]


class CosignatureRow(Base):
    """A witness's signature line under a log checkpoint."""

    __tablename__ = "cosignatures"
    size: Mapped[int] = mapped_column(ForeignKey("log_checkpoints.size"), primary_key=True)
    witness: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[bytes]
    at_ms: Mapped[int]


class ChargeRow(Base):
    """The exact price of one stretch of one allocation on one device. Never changed."""

    __tablename__ = "charges"
    charge_id: Mapped[str] = mapped_column(primary_key=True)
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"))
    job_id: Mapped[str]
    allocation_id: Mapped[str]
    device_id: Mapped[str]
    device_model: Mapped[str]
    # The segment that was rated. A charge of no time says that it was looked at and nothing of it is owed.
    log_index: Mapped[int] = mapped_column(ForeignKey("log_entries.log_index"))
    n: Mapped[int] = mapped_column(Integer)
    # The charge that this one takes back in part, because its allocation turned out to have ended earlier.
    corrects: Mapped[str | None] = mapped_column(ForeignKey("charges.charge_id"))
    from_ms: Mapped[int]
    to_ms: Mapped[int]
    billable_ms: Mapped[int]
    live_ms: Mapped[int]
    worked_ms: Mapped[int]
    share_ppm: Mapped[int]
    price_id: Mapped[str | None] = mapped_column(ForeignKey("price_versions.price_id"))
    amount_fen_numerator: Mapped[int] = mapped_column(Numeric(60, 0))
    amount_fen_denominator: Mapped[int] = mapped_column(Numeric(60, 0))
    __table_args__ = (
        Index("ix_charges_firm", "firm_id", "job_id"),
        Index("ix_charges_segment", "log_index", "n"),
        Index("ix_charges_allocation_id", "allocation_id"),
    )
