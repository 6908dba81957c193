"""Published tiles outrank the database: what it lost is read back from the tiles and the payload archive.

After a restore to an earlier point, or a failover to a replica that lagged, the database holds the beginning of
what was published. Every missing entry is taken from the published bundle and opened with the archive, against
the commitments that were signed; where one cannot be opened, the ledger halts rather than go on beside it. What
the archive says beside that, the name of a fact and whose it is, must follow from what was opened.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg
import structlog
from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger.halt import Halted
from scheduler.ledger.metrics import RESTORED
from scheduler.ledger.rows import ENTRY_COLUMNS, SEGMENT_COLUMNS, Values, read_back
from scheduler.storage.bulk import copy_in, table_of
from scheduler.storage.engine import Database
from scheduler.storage.fact_names import allocation_fact, has_new_id, is_name_of
from scheduler.storage.payload_archive import ArchivedEntry, PayloadArchive
from scheduler.storage.tables import AgentKeyRow, LeaderRow, LogEntryRow, WindowSegmentRow
from scheduler.storage.tile_store import TileMissing, TileStore
from scheduler.storage.windows import forget_windows, window_fact
from suanli.evidence.entries import (
    ALLOCATION_EVENT,
    FIRM_SCOPED,
    USAGE_WINDOW,
    Entry,
    parse_entry,
    parse_payload,
    payload_commitment,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.merkle import leaf_hash
from suanli.evidence.records import AllocationEvent, parse_record
from suanli.evidence.tiles import WIDTH, parse_hash_tile
from suanli.evidence.windows import header_hash, parse_header, segment_commitment

TERMS_LOST = 1_000
"""More changes of the controller's leader than happen between a backup and its restore."""

Guard = Callable[[AsyncSession], Awaitable[None]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lost:
    """Entries [first, stop) are published and not in the database."""

    first: int
    stop: int


async def restore(
    database: Database, guard: Guard, store: TileStore, archive: PayloadArchive, lost: Lost
) -> None:
    """Put lost entries back, 256 at a time, each batch in a transaction under `guard`.

    Raises Halted where a tile or a payload is missing or is not what was published.
    """
    _log.warning("log_restoring", first=lost.first, entries=lost.stop - lost.first)
    events_above = 0
    for number in range(lost.first // WIDTH, -(-lost.stop // WIDTH)):
        begin = number * WIDTH
        first, stop = max(begin, lost.first), min(begin + WIDTH, lost.stop)
        leaves = _published(store, number, stop - begin)[first - begin :]
        entries = _opened(archive, number, first, leaves)
        async with database.transaction() as session:
            await guard(session)
            await _insert(session, leaves, entries)
            await _advance_chains(session, entries)
            events_above = max(events_above, *(_event_seq(*opened) for opened in entries))
            await _outrank(session, events_above)
        RESTORED.inc(len(entries))
    _log.warning("log_restored", first=lost.first, entries=lost.stop - lost.first)


def _published(store: TileStore, number: int, width: int) -> list[bytes]:
    """The first `width` entries of a bundle, which must have the hashes of the published tile."""
    try:
        leaves = store.entries(number, width)
        hashes = parse_hash_tile(store.hash_tile(0, number, width), width)
    except (TileMissing, EvidenceError) as error:
        raise Halted(f"the database lost entries and their tiles cannot be read: {error}") from error
    if [leaf_hash(leaf) for leaf in leaves] != hashes:
        raise Halted(f"entry bundle {number} does not have the hashes of its tile")
    return leaves


_Opened = tuple[Entry, ArchivedEntry]


def _opened(archive: PayloadArchive, number: int, first: int, leaves: Sequence[bytes]) -> list[_Opened]:
    """Entries from `first` on with their payloads, which must be those that were committed to.

    Each line is checked as it is read: nothing is kept that was not signed.
    """
    try:
        entries = {first + n: parse_entry(leaf) for n, leaf in enumerate(leaves)}
    except EvidenceError as error:
        raise Halted(f"the database lost an entry, and what was published of it is none: {error}") from error
    refused: dict[int, str] = {}

    def opens(archived: ArchivedEntry) -> bool:
        entry = entries.get(archived.index)
        if entry is None:
            return False
        try:
            _check(entry, archived)
        except EvidenceError as error:
            refused.setdefault(archived.index, str(error))
            return False
        return True

    read = archive.read(number, opens)
    for index in entries:
        if index in refused and index not in read:
            raise Halted(
                f"the database lost entry {index}, and the archive holds something else: {refused[index]}"
            )
        if index not in read:
            raise Halted(f"the database lost entry {index}, and the archive does not have its payload")
    return [(entry, read[index]) for index, entry in entries.items()]


def _check(entry: Entry, archived: ArchivedEntry) -> None:
    """That a line opens an entry: payload and segments are those committed to. Raises EvidenceError."""
    where = f"archive line {archived.index}"
    if archived.salt is None or archived.payload is None:
        raise EvidenceError(where, "no payload", "the payload that was committed to")
    if payload_commitment(archived.salt, archived.payload) != entry.payload_commitment:
        raise EvidenceError(where, "another payload", "the payload that was committed to")
    body = parse_payload(archived.payload).body
    committed = tuple(segment_commitment(s.salt, s.body) for s in archived.segments())
    wanted: tuple[str, ...] = ()
    firm_id: str | None = None
    if entry.type == USAGE_WINDOW:
        header = parse_header(body)
        wanted = header.segments
        named = archived.fact == window_fact(entry.producer_key_id, header.seq)
    else:
        record = parse_record(entry.type, body)
        named = is_name_of(archived.fact, record, body)
        firm_id = getattr(record, "firm_id", None) if entry.type in FIRM_SCOPED else None
    if committed != wanted:
        raise EvidenceError(where, "other segments", "the segments that were committed to")
    if len(archived.segment_firms) != len(wanted):
        raise EvidenceError(
            f"{where}: segment_firms", len(archived.segment_firms), f"{len(wanted)}, one a segment"
        )
    if not named:
        raise EvidenceError(f"{where}: fact", archived.fact, "the name of what was committed to")
    if archived.firm_id != firm_id:
        raise EvidenceError(f"{where}: firm_id", archived.firm_id, f"{firm_id}, as was committed to")


async def _insert(session: AsyncSession, leaves: Sequence[bytes], entries: Sequence[_Opened]) -> None:
    try:
        rows = [read_back(leaf, *opened) for leaf, opened in zip(leaves, entries, strict=True)]
    except EvidenceError as error:
        raise Halted(f"an archived entry cannot be read: {error}") from error
    try:
        await copy_in(session, table_of(LogEntryRow), ENTRY_COLUMNS, [row for row, _ in rows])
        segments = await _owned(session, [segment for _, of_one in rows for segment in of_one])
        await copy_in(session, table_of(WindowSegmentRow), SEGMENT_COLUMNS, segments)
    except DBAPIError as error:
        # Starting again would not help: the archive says the same the next time.
        if isinstance(error.orig, psycopg.DataError | psycopg.IntegrityError):
            raise Halted(f"the database does not take what the archive holds: {error.orig}") from error
        raise
    await _check_waiting(session, entries)


_GRANTS = text("SELECT payload FROM log_entries WHERE type = :type AND fact = ANY(CAST(:facts AS text[]))")


async def _owned(session: AsyncSession, segments: Sequence[Values]) -> list[Values]:
    """Rows of `window_segments` with the firms that the log's grants name: these come before the windows.

    A segment that was nobody's, because the database of then had forgotten the allocation, is its firm's now. One of an
    allocation that the log does not grant, because that entry was refused, is nobody's, whatever the archive says.
    """
    names = sorted({allocation_fact(str(row[3]), "granted") for row in segments})
    if not names:
        return []
    firms: dict[tuple[object, object], str] = {}
    granted: set[object] = set()
    for payload in await session.scalars(_GRANTS, {"type": ALLOCATION_EVENT, "facts": names}):
        record = parse_record(ALLOCATION_EVENT, parse_payload(payload).body)
        if isinstance(record, AllocationEvent):
            granted.add(record.allocation_id)
            firms |= {(record.allocation_id, share.device_id): record.firm_id for share in record.devices}
    refused = {str(row[3]) for row in segments} - granted
    if refused:
        _log.warning("restored_segments_of_no_grant", allocations=len(refused), first=min(refused))
    owned: list[Values] = []
    for index, n, firm_id, allocation_id, device_id in segments:
        owner = firms.get((allocation_id, device_id))
        if allocation_id in granted and firm_id not in (None, owner):
            raise Halted(
                f"archive line {index}: segment_firms[{n}]: got {firm_id}, want {owner}, as the log granted"
                f" allocation {allocation_id}"
            )
        owned.append((index, n, owner, allocation_id, device_id))
    return owned


_WAITING = text("SELECT fact, body FROM evidence_intake WHERE fact = ANY(CAST(:facts AS text[]))")


async def _check_waiting(session: AsyncSession, entries: Sequence[_Opened]) -> None:
    """What waits under the name of a logged fact is dropped: where the name follows from no record, it must be
    the same fact. Those that are yet to come have ids that nobody can know."""
    bodies: dict[str, bytes] = {}
    for entry, archived in entries:
        if entry.type != USAGE_WINDOW and archived.payload is not None:
            body = parse_payload(archived.payload).body
            if has_new_id(parse_record(entry.type, body)):
                bodies[archived.fact] = body
    for fact, body in await session.execute(_WAITING, {"facts": list(bodies)}):
        if body != bodies[fact]:
            raise Halted(f"the archive gives an entry the name of another fact, which still waits: {fact}")


async def _advance_chains(session: AsyncSession, entries: Sequence[_Opened]) -> None:
    """The gateway goes on after the last window of each key; the agents have forgotten those before."""
    newest: dict[str, tuple[int, str, int]] = {}
    restored: list[tuple[str, int]] = []
    for entry, archived in entries:
        if entry.type != USAGE_WINDOW or archived.payload is None:
            continue
        body = parse_payload(archived.payload).body
        header = parse_header(body)
        restored.append((entry.producer_key_id, header.seq))
        if header.seq > newest.get(entry.producer_key_id, (0, "", 0))[0]:
            newest[entry.producer_key_id] = header.seq, header_hash(body), header.end_ms
    for key_id, (seq, sha256, end_ms) in newest.items():
        await session.execute(
            update(AgentKeyRow)
            .where(AgentKeyRow.key_id == key_id, AgentKeyRow.stored_seq < seq)
            .values(stored_seq=seq, stored_header_sha256=sha256, stored_end_ms=end_ms)
            .execution_options(synchronize_session=False)
        )
    if restored:
        await forget_windows(session, restored)


def _event_seq(entry: Entry, archived: ArchivedEntry) -> int:
    """The number of the controller's event that an entry tells of; 0 for others."""
    if entry.type != ALLOCATION_EVENT or archived.payload is None:
        return 0
    record = parse_record(entry.type, parse_payload(archived.payload).body)
    return record.event_seq if isinstance(record, AllocationEvent) else 0


async def _outrank(session: AsyncSession, events_above: int) -> None:
    """The next controller numbers its events above those that are logged, and its term is above all that agents
    have obeyed, which this database has forgotten with the rest. One that leads already has to begin anew."""
    row = insert(LeaderRow).values(
        role="controller", term=TERMS_LOST, holder="nobody: restored", events_above=events_above
    )
    await session.execute(
        row.on_conflict_do_update(
            index_elements=[LeaderRow.role],
            set_={
                "term": LeaderRow.term + TERMS_LOST,
                "events_above": func.greatest(LeaderRow.events_above, events_above),
            },
        )
    )
