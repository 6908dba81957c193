"""Bundles: all evidence of a period in one ZIP file that anybody can check offline.

The auditor is given everything; a firm is given every header, its own segments and its own facts, and of the
others' only the leaves. Written page by page to a file, so that a long log needs little memory.
"""

import asyncio
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import FieldProblem, Invalid, Unavailable
from scheduler.domain.time import to_rfc3339
from scheduler.services.evidence import with_cosignatures
from scheduler.services.usage import Covered, covered
from scheduler.storage.segments import Opened, opened_segments
from scheduler.storage.stamp_store import StampStore
from scheduler.storage.tables import CosignatureRow, LogCheckpointRow, LogEntryRow
from scheduler.storage.tile_store import TileMissing, TileStore
from suanli.evidence.bundle import (
    CHECKPOINT,
    MANIFEST,
    PAYLOADS,
    STATEMENT,
    BundleHead,
    FileClaim,
    PayloadLine,
    Scope,
    encode_manifest,
    encode_payload_line,
)
from suanli.evidence.entries import STATEMENT as CLOSING
from suanli.evidence.entries import USAGE_WINDOW, parse_payload
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.records import parse_record
from suanli.evidence.signed_note import parse_note
from suanli.evidence.stamps import STAMP, STAMPED
from suanli.evidence.statement_entry import Statement
from suanli.evidence.strict_json import encode
from suanli.evidence.tiles import tile_paths
from suanli.evidence.windows import SaltedSegment, parse_header, parse_segment
from suanli.rating.statements import build_statement

ENTRIES_PER_PAGE = 512
WITNESS_MEMORY_MS = 3_600_000
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """For whom, and for which time; None means from the beginning, and as far as the log covers all nodes."""

    scope: Scope
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class MadeBundle:
    """What was written: the period, the size of the log in it, and its origin."""

    log_origin: str
    from_ms: int
    to_ms: int
    log_size: int


async def write_bundle(
    session: AsyncSession, store: TileStore, request: BundleRequest, target: BinaryIO, now_ms: int
) -> MadeBundle:
    """Write the bundle as a ZIP file to `target`, which must be seekable.

    The session must read one snapshot or the log must only grow, which it does. Raises Unavailable where the
    time is not logged and cosigned yet, Invalid for a period that is none.
    """
    size, note = await _checkpoint(session)
    period = await _period(session, request, size)
    made = MadeBundle(parse_log_checkpoint(parse_note(note).text).origin, *period, size)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        writer = _Writer(archive)
        writer.add(CHECKPOINT, note)
        for path in tile_paths(size):
            try:
                writer.add(path, await asyncio.to_thread(store.tile, path))
            except TileMissing as error:
                raise Unavailable(f"the published log misses a tile: {error}") from error
        stamp = await asyncio.to_thread(StampStore(store.place).newest, size)
        if stamp is not None:
            writer.add(STAMPED, stamp.stamped)
            writer.add(STAMP, stamp.answer)
        collector = RatingCollector()
        closed_at = await _closed_at(session, period, size)
        await _write_payloads(session, writer, request.scope, (size, closed_at), collector)
        statement = await asyncio.to_thread(
            build_statement, collector.inputs(closed_at), *period, request.scope.firm_id
        )
        writer.add(STATEMENT, encode(statement))
        head = BundleHead(made.log_origin, *period, now_ms, request.scope)
        archive.writestr(zipfile.ZipInfo(MANIFEST, _EPOCH), encode_manifest(writer.claims, head))
    return made


class _Writer:
    """A ZIP file and what the manifest will say of each file in it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.claims: dict[str, FileClaim] = {}

    def add(self, path: str, data: bytes) -> None:
        """Write a whole file."""
        self._archive.writestr(zipfile.ZipInfo(path, _EPOCH), data)
        self.claims[path] = FileClaim(hashlib.sha256(data).hexdigest(), len(data))

    def stream(self, path: str) -> "_Stream":
        """Begin a file that comes in pieces; nothing else may be written until it is closed."""
        return _Stream(self, self._archive, path)


class _Stream:
    def __init__(self, writer: _Writer, archive: zipfile.ZipFile, path: str) -> None:
        self._writer = writer
        self._path = path
        self._file = archive.open(zipfile.ZipInfo(path, _EPOCH), "w", force_zip64=True)
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Add a piece."""
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def close(self) -> None:
        """End the file."""
        self._file.close()
        self._writer.claims[self._path] = FileClaim(self._hash.hexdigest(), self._size)


async def _checkpoint(session: AsyncSession) -> tuple[int, bytes]:
    """Size and note of the log checkpoint to build on: the newest that as many witnesses cosigned as do now.

    "Now" is the last hour before the newest cosignature, so that a witness that is gone for good holds
    nobody up. Without any witness it is the newest. Raises Unavailable before the first.
    """
    checkpoint, cosignature = LogCheckpointRow, CosignatureRow
    last_ms = select(func.max(cosignature.at_ms)).scalar_subquery()
    recent = (
        select(cosignature.size)
        .join(checkpoint, checkpoint.size == cosignature.size)
        .where(checkpoint.made_ms >= last_ms - WITNESS_MEMORY_MS)
        .group_by(cosignature.size)
        .order_by(func.count().desc(), cosignature.size.desc())
        .limit(1)
    )
    chosen = await session.scalar(recent)
    statement = select(checkpoint.size, checkpoint.note).order_by(checkpoint.size.desc()).limit(1)
    if chosen is not None:
        statement = statement.where(checkpoint.size == chosen)
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise Unavailable("the evidence log holds nothing yet")
    lines = await session.scalars(
        select(CosignatureRow.line).where(CosignatureRow.size == row[0]).order_by(CosignatureRow.witness)
    )
    return row[0], with_cosignatures(row[1], list(lines))


async def _period(session: AsyncSession, request: BundleRequest, size: int) -> tuple[int, int]:
    known = await covered(session, size)
    if known is None:
        raise Unavailable("no node is enrolled: there is no time to account for")
    from_ms = known.from_ms if request.from_ms is None else request.from_ms
    to_ms = await _default_to(session, known, from_ms, size) if request.to_ms is None else request.to_ms
    if to_ms > known.to_ms:
        raise Unavailable(
            f"usage windows of every living node are logged and cosigned up to {to_rfc3339(known.to_ms)},"
            f" which is before {to_rfc3339(to_ms)}: ask again later",
            {"covered_to_ms": known.to_ms},
        )
    if to_ms <= from_ms and request.to_ms is None:
        logged = f"a time before {to_rfc3339(to_ms)}, up to which all windows are logged"
        raise Invalid([FieldProblem("from", to_rfc3339(from_ms), logged)])
    if to_ms <= from_ms:
        begins = f"a time after {to_rfc3339(from_ms)}, where the period begins"
        raise Invalid([FieldProblem("to", to_rfc3339(to_ms), begins)])
    return from_ms, to_ms


async def _default_to(session: AsyncSession, known: Covered, from_ms: int, size: int) -> int:
    """As far as the log covers every living node, back to a line of the windows' grid where there is one."""
    row = LogEntryRow
    payload = await session.scalar(
        select(row.payload)
        .where(row.type == USAGE_WINDOW, row.log_index < size)
        .order_by(row.log_index.desc())
        .limit(1)
    )
    window_ms = 1 if payload is None else parse_header(parse_payload(payload).body).window_ms
    rounded_ms = known.to_ms // window_ms * window_ms
    return rounded_ms if rounded_ms > from_ms else known.to_ms


async def _closed_at(session: AsyncSession, period: tuple[int, int], size: int) -> int:
    """The log size at which the period was closed; while it was not, the whole tree counts."""
    row = LogEntryRow
    payload = await session.scalar(
        select(row.payload)
        .where(
            row.type == CLOSING, row.log_index < size, row.fact.like(f"statement/%/{period[0]}/{period[1]}")
        )
        .order_by(row.log_index)
        .limit(1)
    )
    entry = None if payload is None else parse_record(CLOSING, parse_payload(payload).body)
    return entry.log_size if isinstance(entry, Statement) else size


async def collect_page(
    session: AsyncSession, first: int, stop: int, scope: Scope, collector: RatingCollector
) -> bytes:
    """Entries first to stop for a reader; the collector is fed with them, the lines that open them are returned."""
    entries = await _entries(session, first, stop)
    opened = await opened_segments(session, {entry.log_index: entry.segments for entry in entries})
    # In a thread: parsing a page takes longer than other requests should wait.
    return await asyncio.to_thread(_page, entries, opened, scope, collector)


async def _write_payloads(
    session: AsyncSession,
    writer: _Writer,
    scope: Scope,
    sizes: tuple[int, int],
    collector: RatingCollector,
) -> None:
    """Lines of the whole tree, the first of the two sizes; the collector takes what lies below the second."""
    size, closed_at = sizes
    stream = writer.stream(PAYLOADS)
    try:
        for first in range(0, size, ENTRIES_PER_PAGE):
            stop = min(first + ENTRIES_PER_PAGE, size)
            middle = min(max(first, closed_at), stop)
            for begin, end, taker in ((first, middle, collector), (middle, stop, RatingCollector())):
                if begin < end:
                    stream.write(await collect_page(session, begin, end, scope, taker))
    finally:
        stream.close()


async def _entries(session: AsyncSession, first: int, stop: int) -> Sequence[LogEntryRow]:
    rows = await session.scalars(
        select(LogEntryRow)
        .where(LogEntryRow.log_index >= first, LogEntryRow.log_index < stop)
        .order_by(LogEntryRow.log_index)
        .execution_options(populate_existing=True)
    )
    entries = rows.all()
    session.expunge_all()
    if [entry.log_index for entry in entries] != list(range(first, stop)):
        raise Unavailable(f"log entries between {first} and {stop - 1} are missing in the database")
    return entries


def _page(
    entries: Sequence[LogEntryRow],
    opened: Mapping[int, Opened],
    scope: Scope,
    collector: RatingCollector,
) -> bytes:
    """Lines of a page; the collector is fed with exactly what the reader is given."""
    lines = []
    for entry in entries:
        line = open_line(entry, opened.get(entry.log_index), scope)
        lines.append(encode_payload_line(line))
        if line.payload is None:
            continue
        if entry.type == USAGE_WINDOW:
            collector.add_segments(parse_segment(s.body) for s in line.segments if s is not None)
        else:
            collector.add_record(entry.log_index, parse_record(entry.type, parse_payload(line.payload).body))
    return b"".join(lines)


def open_line(entry: LogEntryRow, opened: Opened | None, scope: Scope) -> PayloadLine:
    """What opens an entry to a reader, and no more than concerns a firm where the reader is one."""
    firm_id = scope.firm_id
    if firm_id is not None and entry.firm_id not in (None, firm_id):
        return PayloadLine(entry.log_index, None, None)
    shown: tuple[SaltedSegment | None, ...] = ()
    if opened is not None:
        shown = tuple(
            one if firm_id is None or owner == firm_id else None
            for one, owner in zip(opened.segments, opened.firms, strict=True)
        )
    return PayloadLine(entry.log_index, entry.salt, entry.payload, shown)
