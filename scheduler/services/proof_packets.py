"""Proof packets: the entries that somebody drew out of the log under a seed, each with its proof and opening.

Who inspects draws; nothing is chosen here. Given is what a bundle for the same reader would open, and besides
it the entries that say whose keys speak. Cost: a proof reads one tile per 256-fold level; tiles are read once.
"""

import asyncio
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import FieldProblem, Invalid, Unavailable
from scheduler.domain.time import to_rfc3339
from scheduler.services.bundles import open_line
from scheduler.services.evidence import with_cosignatures
from scheduler.services.usage import covered, published_size
from scheduler.storage.segments import opened_segments
from scheduler.storage.tables import CosignatureRow, LogCheckpointRow, LogEntryRow
from scheduler.storage.tile_store import TileMissing, TileStore
from suanli.evidence.bundle import PAYLOADS, PayloadLine, Scope, encode_payload_line
from suanli.evidence.entries import FIRM_KEY, KEY_EVENT
from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint
from suanli.evidence.proof_file import make_proof
from suanli.evidence.signed_note import parse_note
from suanli.evidence.steps.packet import proof_path

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PacketRequest:
    """For whom; the log checkpoint that gave the seed; what was drawn; the end of the period, if one is meant."""

    scope: Scope
    seed_checkpoint: bytes
    indexes: Sequence[int]
    to_ms: int | None = None


async def write_packet(
    session: AsyncSession, store: TileStore, request: PacketRequest, target: BinaryIO
) -> None:
    """Write the packet as a ZIP file to `target`.

    Raises Unavailable where the period is not logged yet, Invalid for a seed that is none or from before the
    close of the period, and for indexes that the seed's tree does not have.
    """
    head, note = await _seed(session, request.seed_checkpoint)
    await _check_closed(session, request.to_ms, head.size)
    _check_indexes(request.indexes, head.size)
    lines = await _lines(session, request, head.size)
    await asyncio.to_thread(_write, store, note, lines, target)


async def _seed(session: AsyncSession, given: bytes) -> tuple[LogCheckpoint, bytes]:
    """The seed's log checkpoint, and the note with every cosignature that there is now."""
    try:
        head = parse_log_checkpoint(parse_note(given).text)
    except EvidenceError as error:
        raise Invalid(
            [
                FieldProblem(
                    "seed_checkpoint",
                    f"{error.field}: {error.got}",
                    f"a signed log checkpoint ({error.want})",
                )
            ]
        ) from None
    note = await session.scalar(select(LogCheckpointRow.note).where(LogCheckpointRow.size == head.size))
    if note is None or parse_log_checkpoint(parse_note(note).text) != head:
        got = f"{head.origin} with {head.size} entries and root {head.root.hex()[:16]}..."
        raise Invalid([FieldProblem("seed_checkpoint", got, "a log checkpoint that this log published")])
    lines = await session.scalars(
        select(CosignatureRow.line).where(CosignatureRow.size == head.size).order_by(CosignatureRow.witness)
    )
    return head, with_cosignatures(note, list(lines))


async def _check_closed(session: AsyncSession, to_ms: int | None, size: int) -> None:
    if to_ms is None:
        return
    now = await covered(session, await published_size(session))
    if now is None:
        raise Unavailable("no node is enrolled: there is no time to inspect")
    if now.to_ms < to_ms:
        raise Unavailable(
            f"the period is not closed: usage windows of every living node are logged up to {to_rfc3339(now.to_ms)},"
            f" which is before {to_rfc3339(to_ms)}: ask again later",
            {"covered_to_ms": now.to_ms},
        )
    then = await covered(session, size)
    if then is None or then.to_ms < to_ms:
        known = "no time" if then is None else f"windows up to {to_rfc3339(then.to_ms)}"
        raise Invalid(
            [
                FieldProblem(
                    "seed_checkpoint",
                    f"a tree of {size} entries, which has {known}",
                    f"one published after the period closed at {to_rfc3339(to_ms)},"
                    " so that nobody knew the seed before",
                )
            ]
        )


def _check_indexes(indexes: Sequence[int], size: int) -> None:
    problems = [
        FieldProblem(f"indexes[{n}]", str(index), f"0 to {size - 1}: the seed's tree has {size} entries")
        for n, index in enumerate(indexes)
        if not 0 <= index < size
    ]
    first: dict[int, int] = {}
    problems += [
        FieldProblem(f"indexes[{n}]", str(index), f"each index once; indexes[{first[index]}] is the same")
        for n, index in enumerate(indexes)
        if first.setdefault(index, n) != n
    ]
    if problems:
        raise Invalid(problems)


async def _lines(session: AsyncSession, request: PacketRequest, size: int) -> list[PayloadLine]:
    row = LogEntryRow
    drawn = (await session.scalars(select(row).where(row.log_index.in_(request.indexes)))).all()
    missing = set(request.indexes) - {entry.log_index for entry in drawn}
    if missing:
        raise Unavailable(f"log entry {min(missing)} is missing in the database")
    producers = sorted({entry.producer_key_id for entry in drawn})
    facts = [
        f"{kind}/{key_id}/{event}"
        for key_id in producers
        for kind in ("key", "firm_key")
        for event in ("added", "revoked")
    ]
    # Who speaks: the operator's keys at index 0, then the lives of the keys that signed what was drawn.
    known = await session.scalars(
        select(row).where(
            row.log_index < size,
            or_(row.log_index == 0, row.type.in_((KEY_EVENT, FIRM_KEY)) & row.fact.in_(facts)),
        )
    )
    entries = {entry.log_index: entry for entry in (*drawn, *known)}
    opened = await opened_segments(session, {index: entry.segments for index, entry in entries.items()})
    return [open_line(entries[index], opened.get(index), request.scope) for index in sorted(entries)]


def _write(store: TileStore, note: bytes, lines: Sequence[PayloadLine], target: BinaryIO) -> None:
    read: Callable[[str], bytes] = cache(store.tile)
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            opened = b"".join(encode_payload_line(line) for line in lines)
            archive.writestr(zipfile.ZipInfo(PAYLOADS, _EPOCH), opened)
            for line in lines:
                proof = make_proof(line.index, note, read).encode()
                archive.writestr(zipfile.ZipInfo(proof_path(line.index), _EPOCH), proof)
    except (TileMissing, EvidenceError) as error:
        raise Unavailable(f"the published log does not prove its entries: {error}") from error
