"""What must survive the agent: signed windows until the log has them, the fence, launches, firms' users.

SQLite in WAL mode. What was promised to somebody (a window, the fence, a launch) is written with
synchronous=FULL. The journal of the open window is written every sample by a connection of its own with
synchronous=NORMAL: it survives a killed agent without a disk flush a second; a power cut may cost the last
moments of it, which are then unknown.
"""

import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.chain_head import ChainHead
from agents.core.fence import Fence
from agents.refusals import SpoolFull, StateUnusable
from agents.signing import Chain
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import verify_signature
from suanli.evidence.windows import (
    NO_PREVIOUS,
    SaltedSegment,
    SignedWindow,
    header_hash,
    parse_header,
    segment_commitment,
    signature_hash,
    window_message,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS windows (
    seq INTEGER PRIMARY KEY, header BLOB NOT NULL, signature BLOB NOT NULL, segments BLOB NOT NULL,
    refused TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS launched (allocation_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS firms (firm_id TEXT PRIMARY KEY, uid INTEGER UNIQUE) STRICT;
"""
NEW_KEY = (
    "A chain is never signed twice: move the state folder away and enrol the host again with a join token;"
    " what was not metered stays unknown and is not billed"
)
REPORT_SEQ_BLOCK = 1_000
LAUNCHED_KEPT_MS = 90 * 86_400_000


@dataclass(frozen=True)
class StoredWindow:
    """A window waiting for the log."""

    seq: int
    window: SignedWindow


class Spool:
    """The spool of one agent. Every write raises SpoolFull where the disk takes no more."""

    def __init__(self, path: Path) -> None:
        """Raises StateUnusable."""
        self._lock = threading.RLock()
        self._behind = ""
        try:
            with ExitStack() as opened:  # what is refused leaves nothing open
                path.touch(mode=0o600, exist_ok=True)
                self._durable = self._open(path, "FULL", opened)
                self._journal = self._open(path, "NORMAL", opened)
                self._durable.executescript(SCHEMA)
                self._check_pages()
                self._check_columns()
                self._report_seq = self._report_seq_end = int(self._fact("report_seq_end") or 0)
                self._head = ChainHead(path.with_name("chain.head"))
                opened.callback(self._head.close)
                self._check_chain()
                opened.pop_all()
        except (sqlite3.Error, OSError, ValueError, EvidenceError) as error:
            raise StateUnusable(f"the spool {path} cannot be used: {error}") from None

    def _check_pages(self) -> None:
        """That every page can be read and every fact is whole: damage must not wait until it is asked for.

        A fact whose name is damaged would look like one that never was. Linear in what is kept. Raises StateUnusable.
        """
        found = [str(row[0]) for row in self._durable.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise StateUnusable(f"the spool is damaged: {'; '.join(found)}. {NEW_KEY}")
        for (name,) in self._durable.execute("SELECT name FROM facts"):
            self._fact(str(name))

    def _check_columns(self) -> None:
        """That no table has lost a column to a damaged schema, which would show only when it is asked for.

        Raises StateUnusable.
        """
        with closing(sqlite3.connect(":memory:")) as whole:
            whole.executescript(SCHEMA)
            for (table,) in whole.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                want = {row[1] for row in whole.execute(f"PRAGMA table_info({table})")}
                found = {row[1] for row in self._durable.execute(f"PRAGMA table_info({table})")}
                if not want <= found:
                    lost = ", ".join(sorted(want - found))
                    raise StateUnusable(
                        f"table {table} of the spool has lost {lost}: it is damaged. {NEW_KEY}"
                    )

    def _check_chain(self) -> None:
        """That what is kept is the end of one chain, and no shorter than what was promised.

        Raises StateUnusable.
        """
        chain, head = self.chain(), self._head.chain
        if head is not None and (head.seq, head.prev_hash) != (chain.seq, chain.prev_hash):
            if head.seq >= chain.seq:
                raise StateUnusable(
                    f"the spool goes on at window {chain.seq} and {head.seq - 1} were signed: it has lost some,"
                    f" or was put back from a copy. {NEW_KEY}"
                )
            self._head.write(chain)  # a crash came between the database and its head
        rows = self._durable.execute("SELECT seq, header, signature, segments FROM windows ORDER BY seq DESC")
        seq, header_sha256 = chain.seq, chain.prev_hash
        for row_seq, header, signature, segments in rows:
            if not all(isinstance(value, bytes) for value in (header, signature, segments)):
                raise StateUnusable(f"window {seq - 1} in the spool is damaged. {NEW_KEY}")
            window = SignedWindow(header, signature, tuple(_split(segments)))
            said = parse_header(header)
            committed = tuple(segment_commitment(s.salt, s.body) for s in window.segments)
            if (row_seq, said.seq, header_hash(header), committed) != (
                seq - 1,
                seq - 1,
                header_sha256,
                said.segments,
            ):
                raise StateUnusable(f"window {seq - 1} in the spool is damaged or missing. {NEW_KEY}")
            seq, header_sha256 = said.seq, said.prev_hash

    def check_signatures(self, public_key: bytes) -> None:
        """That the windows kept are signed by the node's key. Raises StateUnusable."""
        for stored in self.waiting(0, 1 << 30):
            window = stored.window
            if not verify_signature(public_key, window_message(window.header), window.signature):
                raise StateUnusable(
                    f"window {stored.seq} in the spool is damaged or of another key. {NEW_KEY}"
                )

    @staticmethod
    def _open(path: Path, synchronous: str, opened: ExitStack) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
        opened.callback(connection.close)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:  # firms are noted from the thread that prepares a task
            try:
                self._durable.execute("BEGIN IMMEDIATE")
                yield self._durable
                self._durable.execute("COMMIT")
            except sqlite3.Error as error:
                raise SpoolFull(f"the spool could not be written: {error}") from None
            finally:
                if self._durable.in_transaction:
                    self._durable.execute("ROLLBACK")

    def _read(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows. Raises StateUnusable where a page was damaged since it was opened."""
        try:
            return self._durable.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise StateUnusable(f"the spool cannot be read: {error}. {NEW_KEY}") from None

    def _fact(self, name: str) -> str | None:
        rows = self._read("SELECT value FROM facts WHERE name = ?", (name,))
        if not rows:
            return None
        crc, _, value = str(rows[0][0]).partition(" ")
        if crc != _crc(name, value):
            raise StateUnusable(f"{name} in the spool is damaged. {NEW_KEY}")
        return value

    @staticmethod
    def _put(connection: sqlite3.Connection, name: str, value: str) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, f"{_crc(name, value)} {value}")
        )

    # --- windows ---------------------------------------------------------------------------------------

    def chain(self) -> Chain:
        """The number of the next window and the hashes that it follows."""
        value = self._fact("chain")
        if value is None:
            return Chain(1, NO_PREVIOUS)
        chain: dict[str, Any] = json.loads(value)
        return Chain(chain["seq"], chain["prev_hash"], chain.get("prev_signature_hash"))

    def append(self, windows: Sequence[Callable[[Chain], SignedWindow]], journal: dict[str, Any]) -> None:
        """Sign and keep windows, and with them the journal of what follows: all or nothing."""
        if self._behind:
            raise StateUnusable(self._behind)
        chain = self.chain()
        with self._writing() as connection:
            for sign in windows:
                window = sign(chain)
                salted = b"".join(s.salt + len(s.body).to_bytes(4, "big") + s.body for s in window.segments)
                connection.execute(
                    "INSERT INTO windows (seq, header, signature, segments) VALUES (?, ?, ?, ?)",
                    (chain.seq, window.header, window.signature, salted),
                )
                chain = Chain(chain.seq + 1, header_hash(window.header), signature_hash(window.signature))
            self._put(connection, "chain", json.dumps(asdict(chain)))
            self._put(connection, "journal", json.dumps(journal))
        with suppress(SpoolFull):  # behind the database is where a crash may leave it too
            self._head.write(chain)

    def waiting(self, after_seq: int, most: int) -> list[StoredWindow]:
        """Windows not yet in the log and not refused, in order."""
        rows = self._read(
            "SELECT seq, header, signature, segments FROM windows WHERE seq > ? AND refused = '' ORDER BY seq LIMIT ?",
            (after_seq, most),
        )
        return [
            StoredWindow(seq, SignedWindow(h, s, tuple(_split(segments)))) for seq, h, s, segments in rows
        ]

    def count(self) -> int:
        """Windows kept."""
        return int(self._read("SELECT count(*) FROM windows")[0][0])

    def acknowledged(self, seq: int) -> None:
        """The log has everything up to here: it may go.

        Raises StateUnusable where the log has more than this spool ever signed.
        """
        signed = self.chain().seq - 1
        if seq > signed:
            # Signing on would be a second chain under one key, which looks like theft, and is refused for ever.
            self._behind = (
                f"the log has windows up to {seq} and this spool signed {signed}: it was put back from a copy,"
                f" or another agent has its key. {NEW_KEY}"
            )
            raise StateUnusable(self._behind)
        with self._writing() as connection:
            connection.execute("DELETE FROM windows WHERE seq <= ?", (seq,))

    def refused(self, seq: int, why: str) -> None:
        """The gateway kept this window as a finding; it is not sent again."""
        with self._writing() as connection:
            connection.execute("UPDATE windows SET refused = ? WHERE seq = ?", (why or "refused", seq))

    # --- open window -----------------------------------------------------------------------------------

    def write_journal(self, journal: dict[str, Any]) -> None:
        """The open window as it stands; survives a killed agent."""
        try:
            self._put(self._journal, "journal", json.dumps(journal))
        except sqlite3.Error as error:
            raise SpoolFull(f"the journal could not be written: {error}") from None

    def journal(self) -> dict[str, Any] | None:
        """The open window of the agent's last life."""
        value = self._fact("journal")
        if value is None:
            return None
        journal: dict[str, Any] = json.loads(value)
        return journal

    # --- control ---------------------------------------------------------------------------------------

    def fence(self) -> Fence:
        """Highest leader term and generation obeyed."""
        value = self._fact("fence")
        return Fence(*json.loads(value)) if value else Fence()

    def obey(self, fence: Fence) -> None:
        """Note before obeying."""
        with self._writing() as connection:
            self._put(connection, "fence", json.dumps([fence.leader_term, fence.generation]))

    def launched(self) -> set[str]:
        """Allocations that were ever started here, as far back as is kept."""
        return {row[0] for row in self._read("SELECT allocation_id FROM launched")}

    def note_launch(self, allocation_id: str, at_ms: int) -> None:
        """Note before starting."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO launched VALUES (?, ?)", (allocation_id, at_ms))
            connection.execute("DELETE FROM launched WHERE at_ms < ?", (at_ms - LAUNCHED_KEPT_MS,))

    def next_report_seq(self) -> int:
        """Rises across restarts; a block at a time is made durable."""
        if self._report_seq >= self._report_seq_end:
            end = self._report_seq + REPORT_SEQ_BLOCK
            with self._writing() as connection:
                self._put(connection, "report_seq_end", str(end))
            self._report_seq_end = end
        self._report_seq += 1
        return self._report_seq

    # --- firms -----------------------------------------------------------------------------------------

    def firms(self) -> dict[str, int | None]:
        """Firms that ever ran here, with their user id; None where tasks run as the agent's user."""
        return {row[0]: row[1] for row in self._read("SELECT firm_id, uid FROM firms")}

    def note_firm(self, firm_id: str, uid: int | None) -> None:
        """Give a firm its user id for good."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO firms VALUES (?, ?)", (firm_id, uid))

    def close(self) -> None:
        """Close both connections."""
        self._journal.close()
        self._durable.close()
        self._head.close()


def _crc(name: str, value: str) -> str:
    return f"{zlib.crc32(f'{name} {value}'.encode()):08x}"


def _split(data: bytes) -> Iterator[SaltedSegment]:
    position = 0
    while position < len(data):
        salt = data[position : position + 32]
        length = int.from_bytes(data[position + 32 : position + 36], "big")
        yield SaltedSegment(salt, data[position + 36 : position + 36 + length])
        position += 36 + length
