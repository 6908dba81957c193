"""The published log as files: whole or not at all, never rewritten, never smaller."""

import stat
import threading
from pathlib import Path

import pytest

from scheduler.storage.tile_store import TileMissing, TileStore
from suanli.evidence import merkle, tiles
from suanli.evidence.keys import SigningKey
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint, sign_log_checkpoint
from suanli.evidence.signed_note import parse_note
from tests.builders.evidence import seed

KEY = SigningKey(seed("log"))


def note(size: int) -> bytes:
    """A signed checkpoint of some size."""
    head = LogCheckpoint("log.example", size, merkle.EMPTY_ROOT)
    return sign_log_checkpoint(head, KEY.public_key, KEY.sign).encode()


@pytest.fixture
def store(tmp_path: Path) -> TileStore:
    return TileStore(tmp_path / "log")


def test_the_published_checkpoint_never_goes_back(store: TileStore) -> None:
    assert store.checkpoint() is None
    assert store.publish(note(5))
    assert store.publish(note(9))
    assert not store.publish(note(7))
    assert store.checkpoint() == note(9)


def test_a_checkpoint_of_the_same_size_may_gain_signatures(store: TileStore) -> None:
    store.publish(note(5))
    longer = note(5) + "— witness.example/w AAAAAAAA\n".encode()
    assert store.publish(longer)
    assert store.checkpoint() == longer


def test_many_publishers_at_once_end_at_the_largest(store: TileStore) -> None:
    threads = [threading.Thread(target=store.publish, args=(note(size),)) for size in (3, 9, 1, 7, 5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    published = store.checkpoint()
    assert published is not None
    assert parse_log_checkpoint(parse_note(published).text).size == 9


def test_a_tile_is_never_rewritten(store: TileStore) -> None:
    store.put("tile/0/000.p/1", b"a" * 32)
    store.put("tile/0/000.p/1", b"a" * 32)
    with pytest.raises(FileExistsError):
        store.put("tile/0/000.p/1", b"b" * 32)
    assert store.file("tile/0/000.p/1") == b"a" * 32


def test_a_partial_tile_is_read_out_of_a_wider_one(store: TileStore) -> None:
    hashes = [bytes([number]) * 32 for number in range(256)]
    store.put("tile/0/000.p/7", b"".join(hashes[:7]))
    assert store.hash_tile(0, 0, 5) == b"".join(hashes[:5])
    store.put("tile/0/000", b"".join(hashes))
    store.drop_partial("tile/0/000")
    assert not (store.place / "tile/0/000.p").exists()
    assert store.hash_tile(0, 0, 7) == b"".join(hashes[:7])
    assert store.tile("tile/0/000.p/9") == b"".join(hashes[:9])
    with pytest.raises(TileMissing):
        store.hash_tile(0, 1, 3)


def test_a_partial_bundle_is_read_out_of_a_wider_one(store: TileStore) -> None:
    entries = [str(number).encode() for number in range(20)]
    store.put(tiles.entries_path(1234067, 20), tiles.encode_entry_bundle(entries))
    assert store.entries(1234067, 3) == entries[:3]
    path = tiles.entries_path(1234067, 4)
    assert path == "tile/entries/x001/x234/067.p/4"
    assert store.tile(path) == tiles.encode_entry_bundle(entries[:4])


def test_partial_tiles_stay_while_the_full_one_is_not_there(store: TileStore) -> None:
    store.put("tile/0/000.p/1", b"a" * 32)
    store.drop_partial("tile/0/000")
    assert store.file("tile/0/000.p/1") is not None


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "tile/../../secret",
        "tile/0/../../checkpoint",
        ".lock",
        "tile/0",
        "tile/0/000.p",
        "/etc/passwd",
        "",
    ],
)
def test_only_the_paths_of_a_log_are_served(store: TileStore, path: str) -> None:
    (store.place.parent / "secret").write_text("secret")
    store.publish(note(1))
    store.put("tile/0/000.p/1", b"a" * 32)
    assert store.file(path) is None


def test_files_are_for_the_owner_and_nothing_temporary_stays(store: TileStore) -> None:
    store.publish(note(1))
    store.put("tile/0/000.p/1", b"a" * 32)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.place.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert [path.name for path in store.place.rglob("*.tmp")] == []
