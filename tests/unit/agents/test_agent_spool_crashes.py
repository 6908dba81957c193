"""The spool torn at any byte: nothing promised is lost in silence, and no chain is signed twice.

The files are taken as they lie before and after a window is kept, and put together as a crash or a bad disk may
leave them. What opens is the state before or the state after; what does not is refused by name.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.refusals import StateUnusable
from agents.signing import Chain
from agents.spool import Spool
from suanli.evidence.windows import SignedWindow, header_hash, parse_header
from tests.unit.agents.test_agent_spool import KEY, sealed

FILES = ("spool.db", "spool.db-wal", "chain.head")


@dataclass(frozen=True)
class Content:
    """What must not be lost or changed."""

    windows: tuple[SignedWindow, ...]
    chain: Chain
    journal: object


def content(spool: Spool) -> Content:
    """What a spool holds."""
    return Content(tuple(s.window for s in spool.waiting(0, 100)), spool.chain(), spool.journal())


def opened(folder: Path) -> Content | None:
    """What is found after the restart; None where it is refused."""
    try:
        spool = Spool(folder / "spool.db")
    except StateUnusable:
        return None
    try:
        spool.check_signatures(KEY.public_key)
        return content(spool)
    except StateUnusable:
        return None
    finally:
        spool.close()


@dataclass(frozen=True)
class Moments:
    """The files before and after two windows were kept, and what was in them."""

    before: dict[str, bytes]
    after: dict[str, bytes]
    content_before: Content
    content_after: Content

    def lay(self, folder: Path, **files: bytes) -> Path:
        """A folder with these files; the names as keywords, with dots and dashes as underscores."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        for name in FILES:
            (folder / name).write_bytes(files[name.replace(".", "_").replace("-", "_")])
        return folder


def keep(spool: Spool, first: int, count: int) -> None:
    """Windows from a number on."""
    spool.append(
        [lambda chain, n=n: sealed(n, chain) for n in range(first, first + count)],  # type: ignore[misc]
        {"open": first + count},
    )


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Moments:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder / "spool.db")
    keep(spool, 0, 2)
    before, content_before = {name: (folder / name).read_bytes() for name in FILES}, content(spool)
    keep(spool, 2, 2)
    after, content_after = {name: (folder / name).read_bytes() for name in FILES}, content(spool)
    spool.close()
    assert len(content_after.windows) == 4
    assert before["spool.db"] == after["spool.db"]  # all that was written lies in the write-ahead log
    return Moments(before, after, content_before, content_after)


def places(length: int, stride: int, first: int = 0) -> Iterator[int]:
    """Places in a file, its last byte among them."""
    yield from range(first, length - 1, stride)
    yield length - 1


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: on a disk, tens of thousands of spools wait only for its flushes."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="suanli-spool-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(
    params=[
        "some bytes",
        pytest.param("every byte, long", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ]
)
def stride(request: pytest.FixtureRequest) -> int:
    return 1 if request.param.startswith("every") else 331


def test_a_crash_at_any_byte_of_the_writing_leaves_the_state_before_or_after(
    moments: Moments, scratch: Path, stride: int
) -> None:
    wal = moments.after["spool.db-wal"]
    seen = set()
    for cut in places(len(wal) + 1, stride, len(moments.before["spool.db-wal"])):
        folder = moments.lay(
            scratch / "crash",
            spool_db=moments.before["spool.db"],
            spool_db_wal=wal[:cut],
            chain_head=moments.before["chain.head"],
        )
        found = opened(folder)
        assert found in (moments.content_before, moments.content_after)
        seen.add(found == moments.content_after)
        spool = Spool(folder / "spool.db")
        keep(spool, 5, 1)
        newest = spool.waiting(0, 100)[-1].window
        assert found is not None
        assert parse_header(newest.header).prev_hash == header_hash(found.windows[-1].header)
        spool.close()
    assert seen == {True, False}


def test_a_log_torn_after_the_promise_never_goes_on_at_an_older_number(
    moments: Moments, scratch: Path, stride: int
) -> None:
    wal = moments.after["spool.db-wal"]
    outcomes = set()
    for cut in places(len(wal) + 1, stride):
        folder = moments.lay(
            scratch / "torn",
            spool_db=moments.after["spool.db"],
            spool_db_wal=wal[:cut],
            chain_head=moments.after["chain.head"],
        )
        found = opened(folder)
        assert found in (None, moments.content_after)
        outcomes.add(found is None)
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused_or_changes_nothing(
    moments: Moments, scratch: Path, stride: int, name: str
) -> None:
    # The database file alone, with the log written back into it, as it lies most of the time.
    folder = moments.lay(
        scratch / "whole",
        **{file.replace(".", "_").replace("-", "_"): data for file, data in moments.after.items()},
    )
    Spool(folder / "spool.db").close()
    files = {
        "spool.db": (folder / "spool.db").read_bytes(),
        "spool.db-wal": b"",
        "chain.head": moments.after["chain.head"],
    }
    if name == "spool.db-wal":
        files = dict(moments.after)
    for place in places(len(files[name]), stride):
        changed = bytearray(files[name])
        changed[place] ^= 0x01
        laid = moments.lay(
            scratch / "changed",
            **{f.replace(".", "_").replace("-", "_"): d for f, d in {**files, name: bytes(changed)}.items()},
        )
        assert opened(laid) in (None, moments.content_after), f"byte {place} of {name}"


def test_both_slots_of_the_head_torn_is_no_reason_to_stop(moments: Moments, tmp_path: Path) -> None:
    folder = moments.lay(
        tmp_path / "head",
        spool_db=moments.after["spool.db"],
        spool_db_wal=moments.after["spool.db-wal"],
        chain_head=b"",
    )
    assert opened(folder) == moments.content_after


def test_a_spool_put_back_from_a_copy_says_so_when_the_log_knows_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    keep(spool, 0, 2)
    spool.acknowledged(2)
    with pytest.raises(StateUnusable, match="the log has windows up to 5 and this spool signed 2"):
        spool.acknowledged(5)
    with pytest.raises(StateUnusable, match="put back from a copy"):
        keep(spool, 2, 1)
    assert spool.chain().seq == 3
    spool.close()


def test_a_window_whose_bytes_are_gone_is_refused_and_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    keep(spool, 0, 2)
    spool.close()
    with sqlite3.connect(path) as connection:  # a type that STRICT would refuse, as a changed byte makes it
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(replace(sql, 'NOT NULL', ''), 'STRICT', '')"
        )
    connection.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE windows SET segments = NULL WHERE seq = 2")
    connection.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(StateUnusable, match="window 2 in the spool is damaged"):
            Spool(path)
    assert len(os.listdir("/proc/self/fd")) == before


def damage_page_of(path: Path, kind: str, name: str) -> None:
    """Makes the root page of a table or index one that SQLite calls malformed."""
    with sqlite3.connect(path) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = ? AND tbl_name = ?", (kind, name)
        ).fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size] ^= 0x01  # the byte that says what kind of page it is
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", ["table", "index"])
@pytest.mark.parametrize("name", ["facts", "launched", "firms"])
def test_a_malformed_page_is_refused_when_the_spool_is_opened(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    keep(spool, 0, 1)
    spool.close()
    damage_page_of(path, kind, name)
    with pytest.raises(StateUnusable, match=r"spool.*(damaged|malformed)"):
        Spool(path)


def test_a_fact_whose_name_is_damaged_is_not_taken_for_one_that_never_was(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    keep(spool, 0, 1)
    spool.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE facts SET name = 'kournal' WHERE name = 'journal'")
    connection.close()
    with pytest.raises(StateUnusable, match="kournal in the spool is damaged"):
        Spool(path)


def test_a_page_that_is_damaged_while_the_agent_runs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    Spool(path).close()
    spool = Spool(path)
    keep(spool, 0, 1)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO launched VALUES ('another', 1)"
        )  # so that no page is taken from memory
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for kind, name in (("table", "facts"), ("table", "windows"), ("index", "launched"), ("table", "firms")):
        damage_page_of(path, kind, name)
    for read in (spool.journal, spool.count, spool.launched, spool.firms, lambda: spool.waiting(0, 9)):
        with pytest.raises(StateUnusable, match=r"cannot be read: .*malformed"):
            read()
    spool.close()


def test_a_table_that_lost_a_column_is_refused(tmp_path: Path) -> None:
    Spool(tmp_path / "spool.db").close()
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("ALTER TABLE windows RENAME COLUMN refused TO sefused")
    connection.close()
    with pytest.raises(StateUnusable, match="windows of the spool has lost refused"):
        Spool(tmp_path / "spool.db")


def test_windows_of_another_key_are_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    keep(spool, 0, 1)
    with pytest.raises(StateUnusable, match="of another key"):
        spool.check_signatures(bytes(32))
    spool.close()
