"""Publishing: payloads and tiles first, then the signed log checkpoint in its file, then in the database.

The database comes last because agents and witnesses are told what stands there: what they hear of is published
already, whatever the database may lose. Nothing is signed unless the tree extends what is published, proved
from the published tiles themselves.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger.halt import Halted
from scheduler.ledger.restoring import Guard, Lost, restore
from scheduler.ledger.sequencer import Batch
from scheduler.ledger.tree import GrowingTree
from scheduler.storage.engine import Database
from scheduler.storage.leadership import LeadershipLost
from scheduler.storage.payload_archive import ArchivedEntry, PayloadArchive
from scheduler.storage.segments import Opened, opened_segments, pack_segments
from scheduler.storage.tables import LogCheckpointRow, LogEntryRow
from scheduler.storage.tile_store import TileMissing, TileStore
from suanli.evidence.cosignature import Cosigner, cosign
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_ED25519, Signer, VerifierKey, verifier_key
from suanli.evidence.log_checkpoint import LogCheckpoint, open_log_checkpoint, sign_log_checkpoint
from suanli.evidence.merkle import CompactRange, consistency_proof, leaf_hash, verify_consistency
from suanli.evidence.signed_note import with_signatures
from suanli.evidence.tiles import WIDTH, TileReader, parse_hash_tile

REBUILD_ENTRIES = 2048
# How much of the log's end is compared with the tiles before anything is added to it.
COMPARED_BUNDLES = 16

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A signed tree that the world may have seen."""

    size: int
    root: bytes


class Publisher:
    """The published log of one leader."""

    def __init__(
        self,
        store: TileStore,
        archive: PayloadArchive,
        origin: str,
        signer: Signer,
        cosigners: Sequence[Cosigner] = (),
    ) -> None:
        self.store = store
        self.archive = archive
        self.origin = origin
        self._signer = signer
        self._cosigners = cosigners
        self.log_key: VerifierKey = verifier_key(origin, NOTE_ED25519, signer.public_key)
        self.tree = GrowingTree()
        self.published: Published | None = None
        # Complete tiles written since the last publication: their partial ones go when it is done.
        self._completed: list[str] = []
        # Lines of the payload archive that are not written yet, by the index of their first entry.
        self._lines: list[tuple[int, Sequence[bytes]]] = []

    def _open(self, note: bytes, where: str) -> LogCheckpoint:
        try:
            return open_log_checkpoint(note, self.log_key)[0]
        except EvidenceError as error:
            raise Halted(f"the log checkpoint in {where} is not ours: {error}") from error

    def _file_head(self) -> LogCheckpoint | None:
        note = self.store.checkpoint()
        return None if note is None else self._open(note, f"{self.store.where}/checkpoint")

    async def recover(self, database: Database, guard: Guard) -> None:
        """Load the published tree, compare it with the database, and take in what was not published yet.

        What the database has lost of the published log is put back from tiles and archive, under `guard`.
        Raises Halted where that cannot be, or where the database holds something else than what was signed.
        """
        self.store.create()
        self.archive.create()
        head = self._file_head()
        async with database.read() as session:
            size, count = await _sizes(session)
            row = await session.scalar(
                select(LogCheckpointRow).order_by(LogCheckpointRow.size.desc()).limit(1)
            )
        signed = None if row is None else self._open(row.note, f"log_checkpoints, size {row.size}")
        if count != size:
            raise Halted(f"the database holds {count} log entries below index {size}: rows were removed")
        published = 0 if head is None else head.size
        if signed is not None and signed.size > max(size, published):
            raise Halted(
                f"log_checkpoints is signed at {signed.size} entries, the database holds {size} and"
                f" {self.store.where} {published}: bring the published log back from a copy"
            )
        if head is not None:
            self._load(head)
            await self._compare_end(database, min(size, head.size))
            if head.size > size:
                await restore(database, guard, self.store, self.archive, Lost(size, head.size))
                size = head.size
        self.published = None if head is None else Published(head.size, head.root)
        await self._fill_archive(database, size, published)
        await self._take_in(database, size, signed)
        _log.info("log_recovered", size=size, published=published)

    async def _fill_archive(self, database: Database, size: int, published: int) -> None:
        """Write anew what the archive lacks, and whatever of it was not published yet."""
        number = min(size, published) // WIDTH
        while number and not self.archive.complete(number - 1):
            number -= 1
        while number <= size // WIDTH:
            async with database.read() as session:
                lines = await archived_lines(session, number * WIDTH, min(size, (number + 1) * WIDTH))
            self.archive.replace(number, lines)
            number += 1

    def _load(self, head: LogCheckpoint) -> None:
        try:
            self.tree = GrowingTree.load(head.size, self.store.tile)
        except (TileMissing, EvidenceError) as error:
            raise Halted(f"the published tiles cannot be read: {error}") from error
        if self.tree.root() != head.root:
            raise Halted(
                f"the published tiles have another root than the log checkpoint at {head.size} entries"
            )

    async def _compare_end(self, database: Database, size: int) -> None:
        """Compare the end of the database's first `size` entries. Raises Halted."""
        last = (size - 1) // WIDTH if size else -1
        for number in range(max(last - COMPARED_BUNDLES + 1, 0), last + 1):
            async with database.read() as session:
                await self.compare(session, number, size)

    async def compare(self, session: AsyncSession, number: int, size: int) -> None:
        """Compare the `number`th 256 of `size` entries in the database with the published tile.

        Raises Halted.
        """
        width = min(WIDTH, size - number * WIDTH)
        first = number * WIDTH
        leaves = await _leaves(session, first, first + width)
        try:
            hashes = parse_hash_tile(self.store.hash_tile(0, number, width), width)
        except TileMissing as error:
            raise Halted(f"a published tile is gone: {error}") from error
        if [leaf_hash(leaf) for leaf in leaves] != hashes:
            raise Halted(
                f"log entries {first} to {first + width - 1} of the database are not those published"
            )

    async def _take_in(self, database: Database, size: int, signed: LogCheckpoint | None) -> None:
        """Entries that are in the database and not in the tiles: a crash, or a folder that was lost."""
        if signed is not None and signed.size > self.tree.size:
            await self._check_signed(database, signed)
        while self.tree.size < size:
            stop = min(size, self.tree.size + REBUILD_ENTRIES)
            async with database.read() as session:
                self.tree.extend(await _leaves(session, self.tree.size, stop))
            self._write(self.tree.drain_full())

    async def _check_signed(self, database: Database, signed: LogCheckpoint) -> None:
        """That the entries have the root that was signed, before a single tile of them is written."""
        trial = CompactRange(self.tree.size, self.tree.peaks)
        while trial.size < signed.size:
            stop = min(signed.size, trial.size + REBUILD_ENTRIES)
            async with database.read() as session:
                for leaf in await _leaves(session, trial.size, stop):
                    trial.append(leaf_hash(leaf))
        if trial.root() != signed.root:
            raise Halted(f"the database's entries have another root than was signed at {signed.size}")

    def take(self, batch: Batch) -> None:
        """Add entries that the database has committed."""
        self.tree.extend(batch.leaves)
        if batch.archived:
            self._lines.append((batch.first_index, batch.archived))

    def write_tiles(self) -> None:
        """Write payloads and what is new of the tree, durably.

        Raises Halted where a tile is there with other bytes.
        """
        with self.archive.together():
            for first_index, lines in self._lines:
                self.archive.append(first_index, lines)
        self._lines.clear()
        with self.store.together():
            self._write(self.tree.drain_full())
            self._write(self.tree.partial())

    def _write(self, files: Sequence[tuple[str, bytes]]) -> None:
        try:
            for path, data in files:
                self.store.put(path, data)
                if ".p/" not in path:
                    self._completed.append(path)
        except FileExistsError as error:
            raise Halted(f"another tree has been written: {error}") from error

    def sign(self) -> bytes:
        """The tree's signed log checkpoint, after proof that it extends the published one. Raises Halted."""
        size, root = self.tree.size, self.tree.root()
        head = self._file_head()
        if head is None and self.published is not None:
            raise Halted("the published log checkpoint is gone")
        if head is not None and head.size > size:
            raise Halted(f"{head.size} entries are published and the tree has {size}")
        if head is not None and head.size:
            self._prove(head, size, root)
        tree_head = LogCheckpoint(self.origin, size, root)
        note = sign_log_checkpoint(tree_head, self._signer.public_key, self._signer.sign)
        # Time 0: these lines say nothing of when, which is for witnesses to say.
        return with_signatures(note, [cosign(note.text, each, 0) for each in self._cosigners]).encode()

    def _prove(self, head: LogCheckpoint, size: int, root: bytes) -> None:
        """That the tree of `size` extends the published one, by the tiles as they lie there."""
        try:
            proof = consistency_proof(head.size, size, TileReader(size, self.store.tile))
        except (TileMissing, EvidenceError) as error:
            raise Halted(f"the tiles do not prove that the log only grew: {error}") from error
        if not verify_consistency(head.size, size, head.root, root, proof):
            raise Halted(f"the tree of {size} entries does not extend the published one of {head.size}")

    async def publish(self, session: AsyncSession, note: bytes, now_ms: int) -> None:
        """Make the checkpoint public and keep it in the database; the caller guards the term and commits.

        Raises LeadershipLost where a larger tree is public.
        """
        if not await asyncio.to_thread(self.store.publish, note):
            # By a later leader of the same log, or so its recovery has to show.
            raise LeadershipLost("a larger tree was published meanwhile")
        self.published = Published(self.tree.size, self.tree.root())
        await session.execute(
            insert(LogCheckpointRow)
            .values(size=self.tree.size, root=self.tree.root().hex(), note=note, made_ms=now_ms)
            .on_conflict_do_nothing(index_elements=[LogCheckpointRow.size])
        )

    def tidy(self) -> None:
        """Remove partial tiles that nobody needs any more: their full ones are published."""
        for path in self._completed:
            self.store.drop_partial(path)
        self._completed.clear()

    @property
    def due(self) -> bool:
        """Whether the tree holds entries that are not published."""
        return self.published is None or self.published.size != self.tree.size


async def _sizes(session: AsyncSession) -> tuple[int, int]:
    """(one above the highest index, number of rows)."""
    found = await session.execute(
        select(func.max(LogEntryRow.log_index), func.count()).select_from(LogEntryRow)
    )
    highest, count = found.one()
    return (0 if highest is None else highest + 1), count


async def _leaves(session: AsyncSession, first: int, stop: int) -> list[bytes]:
    """Leaves [first, stop) in order. Raises Halted where one is missing."""
    found = await session.execute(
        select(LogEntryRow.log_index, LogEntryRow.leaf)
        .where(LogEntryRow.log_index >= first, LogEntryRow.log_index < stop)
        .order_by(LogEntryRow.log_index)
    )
    rows = found.all()
    if [row[0] for row in rows] != list(range(first, stop)):
        raise Halted(f"log entries between {first} and {stop - 1} are missing in the database")
    return [row[1] for row in rows]


async def archived_lines(session: AsyncSession, first: int, stop: int) -> list[bytes]:
    """Lines of the payload archive for entries [first, stop), from the database."""
    entry = LogEntryRow
    found = await session.execute(
        select(entry.log_index, entry.salt, entry.payload, entry.segments, entry.fact, entry.firm_id)
        .where(entry.log_index >= first, entry.log_index < stop)
        .order_by(entry.log_index)
    )
    rows = found.all()
    opened = await opened_segments(session, {row.log_index: row.segments for row in rows})
    lines: list[bytes] = []
    for index, salt, payload, column, fact, firm_id in rows:
        window = opened.get(index, Opened((), ()))
        packed = pack_segments(window.segments) if column is None and window.segments else column
        lines.append(ArchivedEntry(index, salt, payload, fact, firm_id, tuple(window.firms), packed).encode())
    return lines
