"""Sequencing: intake becomes log entries, in one transaction that the leader's term guards.

The order within a batch: facts by intake number, then windows by key and number, so that a node's key and
devices stand in the log before its first window. A row is deleted in the transaction that gives it its index:
it is in the log exactly once, through any crash.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import structlog
from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger.halt import Halted
from scheduler.ledger.metrics import FOREIGN_SEGMENTS
from scheduler.ledger.rows import (
    ENTRY_COLUMNS,
    SEGMENT_COLUMNS,
    Place,
    Span,
    Values,
    entry_row,
    record_span,
    segment_rows,
    window_span,
)
from scheduler.storage.bulk import copy_in, table_of
from scheduler.storage.fact_names import fact_of
from scheduler.storage.payload_archive import ArchivedEntry
from scheduler.storage.segments import unpack
from scheduler.storage.tables import (
    AllocationDeviceRow,
    EvidenceIntakeRow,
    FirmKeyRow,
    LogEntryRow,
    WindowSegmentRow,
)
from scheduler.storage.windows import (
    WaitingWindow,
    forget_windows,
    waiting_windows,
    window_fact,
)
from suanli.evidence.entries import (
    FIRM_SCOPED,
    JOB_RECEIPT,
    Entry,
    SealedEntry,
    build_entry,
    build_payload,
    payload_commitment,
    read_entry,
    seal_window,
    signing_message,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import Signer, key_id, verify_signature
from suanli.evidence.receipts import JobReceipt
from suanli.evidence.records import OperatorKeys, Record, encode_record, entry_type, parse_record
from suanli.evidence.tiles import WIDTH
from suanli.evidence.windows import (
    SALT_BYTES,
    WindowHeader,
    parse_header,
)

FACTS_PER_BATCH = 500
WINDOWS_PER_BATCH = 4 * WIDTH
BATCH_BYTES = 32 << 20  # of headers and unpacked segments: four thousand of these may stand in a window

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the log is and who may sign facts for it."""

    origin: str
    signer: Signer
    controller_key: bytes
    random: Callable[[int], bytes] = field(default=os.urandom)

    def producer_keys(self) -> dict[str, bytes]:
        """Raw public keys that sign facts, by key id."""
        keys = (self.signer.public_key, self.controller_key)
        return {key_id(key): key for key in keys}


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction sequenced: leaves from `first_index` on, and the types for counting."""

    first_index: int
    leaves: tuple[bytes, ...]
    archived: tuple[bytes, ...]  # lines of the payload archive, one a leaf
    types: tuple[str, ...]
    full: bool  # whether more may wait


@dataclass(slots=True)
class _Draft:
    """A batch while it is made."""

    next_index: int
    firm_seqs: dict[str, int]
    leaves: list[bytes] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    entries: list[Values] = field(default_factory=list)
    segments: list[Values] = field(default_factory=list)
    archived: list[bytes] = field(default_factory=list)

    def add(self, sealed: SealedEntry, entry: Entry, fact: str, span: Span, firm_id: str | None) -> None:
        """Give the next index to a fact."""
        archived = ArchivedEntry(self.next_index, sealed.salt, sealed.payload, fact, firm_id)
        self._add(sealed, entry, archived, span)

    def add_window(self, sealed: SealedEntry, opened: "_Opened", firms: tuple[str | None, ...]) -> None:
        """Give the next index to a window with its segments; `firms` says whose each of these is."""
        waiting = opened.waiting
        fact = window_fact(waiting.key_id, waiting.seq)
        archived = ArchivedEntry(
            self.next_index, sealed.salt, sealed.payload, fact, None, firms, waiting.segments
        )
        self._add(sealed, read_entry(sealed.entry), archived, window_span(opened.header))
        self.segments.extend(segment_rows(archived, opened.places))

    def _add(self, sealed: SealedEntry, entry: Entry, archived: ArchivedEntry, span: Span) -> None:
        self.leaves.append(sealed.entry)
        self.types.append(entry.type)
        self.entries.append(entry_row(sealed.entry, entry, archived, span))
        self.archived.append(archived.encode())
        self.next_index += 1


class Sequencer:
    """Sequences batches; `size` is how many entries the log must hold, whatever the database says."""

    def __init__(self, identity: Identity, size: int) -> None:
        self._identity = identity
        self.size = size
        # Intake that can never be logged: left where it is, named once, and not looked at again.
        self.refused: set[int] = set()
        self.refused_windows: set[tuple[str, int]] = set()

    async def sequence(self, session: AsyncSession, now_ms: int) -> Batch:
        """Give the waiting facts and windows their indexes. The caller guards the term and commits.

        Raises Halted where the database does not hold exactly the entries it must.
        """
        await self._check_size(session)
        # Windows are read first: what a window of the batch stands on is then visible among the facts.
        # As many as end a bundle, so that under load no file is written in parts first.
        most = WINDOWS_PER_BATCH - self.size % WIDTH
        windows = await waiting_windows(session, most, BATCH_BYTES, self.refused_windows)
        facts = await self._waiting_facts(session)
        draft = _Draft(self.size, await _firm_seqs(session, facts))
        if self.size == 0:
            self._add_operator_keys(draft, now_ms)
        await self._add_facts(session, draft, facts)
        crowded = len(facts) == FACTS_PER_BATCH
        if not crowded and windows:
            await self._add_windows(session, draft, windows)
        await copy_in(session, table_of(LogEntryRow), ENTRY_COLUMNS, draft.entries)
        await copy_in(session, table_of(WindowSegmentRow), SEGMENT_COLUMNS, draft.segments)
        full = crowded or len(windows) == most or sum(w.weight for w in windows) >= BATCH_BYTES
        return Batch(self.size, tuple(draft.leaves), tuple(draft.archived), tuple(draft.types), full)

    async def _check_size(self, session: AsyncSession) -> None:
        newest = await session.scalar(select(func.max(LogEntryRow.log_index)))
        found = 0 if newest is None else newest + 1
        if found != self.size:
            raise Halted(
                f"the database holds {found} log entries where {self.size} were sequenced: rows were removed,"
                " restored from an older state, or written by somebody else"
            )

    async def _waiting_facts(self, session: AsyncSession) -> Sequence[EvidenceIntakeRow]:
        statement = select(EvidenceIntakeRow).order_by(EvidenceIntakeRow.intake_id).limit(FACTS_PER_BATCH)
        if self.refused:
            statement = statement.where(EvidenceIntakeRow.intake_id.not_in(self.refused))
        return (await session.scalars(statement)).all()

    def _add_operator_keys(self, draft: _Draft, now_ms: int) -> None:
        identity = self._identity
        keys = OperatorKeys(
            log_origin=identity.origin,
            log_public_key=identity.signer.public_key.hex(),
            controller_key=identity.controller_key.hex(),
            at_ms=now_ms,
        )
        self._add_fact(draft, entry_type(keys), encode_record(keys), fact_of(keys), record_span(keys))

    async def _add_facts(
        self, session: AsyncSession, draft: _Draft, facts: Sequence[EvidenceIntakeRow]
    ) -> None:
        if not facts:
            return
        names = [row.fact for row in facts]
        logged = set(await session.scalars(select(LogEntryRow.fact).where(LogEntryRow.fact.in_(names))))
        keys = {**self._identity.producer_keys(), **await _firm_keys(session, facts)}
        done: list[int] = []
        for row in facts:
            if row.fact in logged:  # the same fact twice has one effect
                done.append(row.intake_id)
                continue
            try:
                record = self._read(row, keys)
            except EvidenceError as error:
                self.refused.add(row.intake_id)
                _log.error("fact_refused", intake_id=row.intake_id, fact=row.fact, reason=str(error))
                continue
            firm_id = row.firm_id if row.type in FIRM_SCOPED else None
            span = record_span(record)
            signed = None if row.signature is None else (row.producer_key_id or "", row.signature)
            self._add_fact(draft, row.type, row.body, row.fact, span, signed=signed, firm_id=firm_id)
            done.append(row.intake_id)
        if done:
            await session.execute(
                delete(EvidenceIntakeRow)
                .where(EvidenceIntakeRow.intake_id.in_(done))
                .execution_options(synchronize_session=False)
            )

    def _read(self, row: EvidenceIntakeRow, keys: Mapping[str, bytes]) -> Record:
        """The record of a fact that may be logged: what is in the log can never be taken back.

        `keys` are raw public keys by id: those that speak for the operator, and those of firms.
        """
        record = parse_record(row.type, row.body)
        if row.type in FIRM_SCOPED and row.firm_id != getattr(record, "firm_id", None):
            raise EvidenceError(
                "firm_id", row.firm_id, f"the firm of the body, {getattr(record, 'firm_id', None)}"
            )
        if row.signature is None:
            if isinstance(record, JobReceipt):
                raise EvidenceError("signature", None, "the firm's, for the ledger speaks for no firm")
            return record
        key = keys.get(row.producer_key_id or "")
        if key is None:
            raise EvidenceError("producer_key_id", row.producer_key_id, "a key that the log knows")
        if not verify_signature(key, signing_message(row.type, row.body), row.signature):
            raise EvidenceError("signature", "no match", "a signature over the body")
        return record

    def _add_fact(
        self,
        draft: _Draft,
        kind: str,
        body: bytes,
        fact: str,
        span: Span,
        *,
        signed: tuple[str, bytes] | None = None,
        firm_id: str | None = None,
    ) -> None:
        """`signed` is key id and signature of a fact that came signed; without it the log key signs."""
        identity = self._identity
        signer = identity.signer
        producer, signature = signed or (signer.key_id, signer.sign(signing_message(kind, body)))
        payload = build_payload(body, signature)
        firm_seq = None
        if firm_id is not None:
            firm_seq = draft.firm_seqs[firm_id] = draft.firm_seqs.get(firm_id, 0) + 1
        salt = identity.random(SALT_BYTES)
        entry = Entry(kind, producer, firm_seq, payload_commitment(salt, payload))
        sealed = SealedEntry(entry=build_entry(entry), payload=payload, salt=salt)
        draft.add(sealed, entry, fact, span, firm_id)

    async def _add_windows(
        self, session: AsyncSession, draft: _Draft, windows: Sequence[WaitingWindow]
    ) -> None:
        opened: list[_Opened] = []
        for window in windows:
            # After a window that cannot be logged its chain stands still: a gap would be there for ever.
            if any(key_id == window.key_id for key_id, _ in self.refused_windows):
                continue
            taken_apart = self._open(window)
            if taken_apart is not None:
                opened.append(taken_apart)
        if not opened:
            return
        named = {
            (allocation, device)
            for one in opened
            for allocation, device in one.places
            if allocation is not None
        }
        firms = await _firms(session, {allocation_id for allocation_id, _ in named})
        for allocation_id, device_id in sorted(named - firms.keys()):
            # Evidence is kept as it was signed; it is shown to auditors, and to no firm.
            _log.warning("segment_of_no_allocation", allocation_id=allocation_id, device_id=device_id)
            FOREIGN_SEGMENTS.inc()
        for one in opened:
            waiting, salt = one.waiting, self._identity.random(SALT_BYTES)
            sealed = seal_window(waiting.header, waiting.signature, waiting.key_id, salt=salt)
            of_firms = tuple([firms.get((allocation or "", device)) for allocation, device in one.places])
            draft.add_window(sealed, one, of_firms)
        await forget_windows(session, [(one.waiting.key_id, one.waiting.seq) for one in opened])

    def _open(self, waiting: WaitingWindow) -> "_Opened | None":
        """A window taken apart. One that cannot be is left where it is: it must not hold the others up."""
        try:
            return _opened(waiting)
        except EvidenceError as error:
            self.refused_windows.add((waiting.key_id, waiting.seq))
            _log.error("window_refused", key_id=waiting.key_id, seq=waiting.seq, reason=str(error))
            return None


@dataclass(slots=True)
class _Opened:
    """A waiting window and what it says."""

    waiting: WaitingWindow
    header: WindowHeader
    places: tuple[Place, ...]


def _opened(waiting: WaitingWindow) -> _Opened:
    data, bodies = unpack(waiting.segments)
    header = parse_header(waiting.header)
    if header.seq != waiting.seq or header.key_id != waiting.key_id:
        raise EvidenceError("seq", header.seq, f"{waiting.seq} of key {waiting.key_id}")
    if len(bodies) != len(header.segments):
        raise EvidenceError("segments", f"{len(bodies)} segments", f"{len(header.segments)} segments")
    places = tuple([_place(data, begin, end) for begin, end in bodies])
    return _Opened(waiting, header, places)


# How a segment begins as agents write it: sorted keys, nothing escaped.
_BEGINNING = re.compile(
    rb'\{"allocation_id":(?:null|"([ !#-\[\]-~]+)"),"busy_ms":[0-9]+,"cpu_time_ms":(?:null|[0-9]+),'
    rb'"device":\{"bus_address":(?:null|"[ !#-\[\]-~]*"),"device_id":"([ !#-\[\]-~]+)",'
)


def _place(data: bytes, begin: int, end: int) -> Place:
    """Of a segment that the gateway has read strictly: its beginning is enough, or else plain JSON."""
    found = _BEGINNING.match(data, begin, end)
    if found is not None:
        allocation, device = found.groups()
        return None if allocation is None else allocation.decode("ascii"), device.decode("ascii")
    try:
        value = orjson.loads(data[begin:end])
        return value["allocation_id"], value["device"]["device_id"]
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError("segments", f"{type(error).__name__}: {error}", "a segment") from None


async def _firm_keys(session: AsyncSession, facts: Sequence[EvidenceIntakeRow]) -> dict[str, bytes]:
    """Public keys by id of the firms that signed some of these facts."""
    named = {row.producer_key_id for row in facts if row.type == JOB_RECEIPT}
    if not named:
        return {}
    found = await session.execute(
        select(FirmKeyRow.key_id, FirmKeyRow.public_key).where(FirmKeyRow.key_id.in_(named))
    )
    return {row.key_id: row.public_key for row in found}


_FIRM_SEQS = text(
    """
    SELECT asked.firm_id, newest.firm_seq
    FROM unnest(CAST(:firms AS text[])) AS asked (firm_id)
    CROSS JOIN LATERAL (
        SELECT firm_seq FROM log_entries WHERE firm_id = asked.firm_id ORDER BY firm_seq DESC LIMIT 1
    ) AS newest
    """
)


async def _firm_seqs(session: AsyncSession, facts: Sequence[EvidenceIntakeRow]) -> dict[str, int]:
    firms = sorted({row.firm_id for row in facts if row.firm_id is not None})
    if not firms:
        return {}
    found = await session.execute(_FIRM_SEQS, {"firms": firms})
    return {str(row[0]): int(row[1]) for row in found}


async def _firms(session: AsyncSession, allocation_ids: set[str]) -> dict[tuple[str, str], str]:
    """The firm by allocation and device: a node that names an allocation of devices that it never had
    speaks of nobody's use, whatever it signs."""
    if not allocation_ids:
        return {}
    row = AllocationDeviceRow
    found = await session.execute(
        select(row.allocation_id, row.device_id, row.firm_id).where(row.allocation_id.in_(allocation_ids))
    )
    return {(allocation_id, device_id): firm_id for allocation_id, device_id, firm_id in found}


# Of each key its first: a look at all rows is one at all that were deleted and not swept up, under load a hundred
# thousand. Facts are few.
_OLDEST = text(
    """
    WITH RECURSIVE firsts AS (
        (SELECT key_id, received_at FROM usage_intake ORDER BY key_id, seq LIMIT 1)
        UNION ALL
        SELECT next.* FROM firsts CROSS JOIN LATERAL (
            SELECT key_id, received_at FROM usage_intake
            WHERE key_id > firsts.key_id ORDER BY key_id, seq LIMIT 1
        ) AS next
    )
    SELECT extract(epoch FROM now() - least(
        (SELECT min(received_at) FROM firsts), (SELECT min(created_at) FROM evidence_intake)
    ))
    """
)


async def intake_age_s(session: AsyncSession) -> float:
    """Age of the oldest fact or window that waits, in seconds; 0 when nothing does."""
    return float(await session.scalar(_OLDEST) or 0.0)
