"""Where the evidence log lies: a folder and a bucket keep the same promises.

The bucket is that of an S3-compatible server in a process of its own (`tests/builders/buckets.py`).
"""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.storage.objects import Objects, StoreAway, open_objects
from scheduler.storage.payload_archive import ArchivedEntry, PayloadArchive
from scheduler.storage.tile_store import TileStore
from suanli.evidence import merkle
from suanli.evidence.keys import SigningKey
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint, sign_log_checkpoint
from suanli.evidence.signed_note import parse_note
from tests.builders.buckets import BucketServer, running_bucket_server
from tests.builders.evidence import seed

KEY = SigningKey(seed("log"))
BUCKET = "evidence-log"


@pytest.fixture(scope="module")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with running_bucket_server(tmp_path_factory.mktemp("buckets"), BUCKET) as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | str:
    if request.param == "folder":
        return tmp_path / "log"
    server: BucketServer = request.getfixturevalue("bucket_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def objects(place: Path | str) -> Objects:
    made = open_objects(place)
    made.prepare()
    return made


def test_what_was_written_is_read_and_what_was_not_is_none(objects: Objects) -> None:
    assert objects.read("a/b") is None
    assert not objects.exists("a/b")
    objects.write("a/b", b"one")
    objects.write("a/b", b"two")
    assert objects.read("a/b") == b"two"
    assert objects.exists("a/b")


def test_creating_never_overwrites(objects: Objects) -> None:
    assert objects.create("a/b", b"one")
    assert not objects.create("a/b", b"two")
    assert objects.read("a/b") == b"one"


def test_swapping_wants_what_was_there(objects: Objects) -> None:
    assert not objects.swap("head", b"none", b"one")
    assert objects.swap("head", None, b"one")
    assert not objects.swap("head", None, b"two")
    assert not objects.swap("head", b"other", b"two")
    assert objects.swap("head", b"one", b"two")
    assert objects.read("head") == b"two"


def test_names_are_those_of_one_folder(objects: Objects) -> None:
    for path in ("f/2", "f/1", "f/deeper/3", "g/4", "5"):
        objects.write(path, b"x")
    assert objects.names("f") == ["1", "2"]
    assert objects.names("none") == []
    objects.remove("f/1")
    objects.remove("f/1")
    assert objects.names("f") == ["2"]


def _note(size: int) -> bytes:
    head = LogCheckpoint("log.example", size, merkle.EMPTY_ROOT)
    return sign_log_checkpoint(head, KEY.public_key, KEY.sign).encode()


def test_of_many_publishers_the_largest_tree_stays(place: Path | str, objects: Objects) -> None:
    store = TileStore(place)
    threads = [threading.Thread(target=store.publish, args=(_note(size),)) for size in (3, 9, 1, 7, 5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    published = store.checkpoint()
    assert published is not None
    assert parse_log_checkpoint(parse_note(published).text).size == 9
    assert not store.publish(_note(8))


def test_partial_tiles_go_when_the_full_one_is_there(place: Path | str, objects: Objects) -> None:
    store = TileStore(place)
    hashes = [bytes([number]) * 32 for number in range(256)]
    store.put("tile/0/000.p/7", b"".join(hashes[:7]))
    with pytest.raises(FileExistsError):
        store.put("tile/0/000.p/7", b"".join(hashes[1:8]))
    assert store.hash_tile(0, 0, 5) == b"".join(hashes[:5])
    store.put("tile/0/000", b"".join(hashes))
    store.drop_partial("tile/0/000")
    assert store.file("tile/0/000.p/7") is None
    assert store.hash_tile(0, 0, 7) == b"".join(hashes[:7])


def _archived(index: int) -> ArchivedEntry:
    return ArchivedEntry(index, bytes([index % 256]) * 32, f"payload {index}".encode(), f"fact/{index}", None)


def test_an_archive_is_read_as_it_was_added_to_in_whatever_pieces(
    place: Path | str, objects: Objects
) -> None:
    archive = PayloadArchive(place)
    index = 0
    for count in (1, 5, 100, 149, 3, 200, 90, 1):  # across two ends of files
        archive.append(index, [_archived(n).encode() for n in range(index, index + count)])
        index += count
    assert [archive.complete(number) for number in range(3)] == [True, True, False]
    for number in range(3):
        assert archive.read(number) == {
            n: _archived(n) for n in range(number * 256, min(index, (number + 1) * 256))
        }


def test_a_part_written_twice_reads_as_once(place: Path | str, objects: Objects) -> None:
    """A ledger that died after writing, and came back with more."""
    archive = PayloadArchive(place)
    archive.append(0, [_archived(n).encode() for n in range(3)])
    archive.append(0, [_archived(n).encode() for n in range(5)])
    assert sorted(archive.read(0)) == [0, 1, 2, 3, 4]
    archive.append(5, [_archived(n).encode() for n in range(5, 256)])
    assert archive.read(0) == {n: _archived(n) for n in range(256)}


def test_a_store_that_is_away_says_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "nobody")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        with pytest.raises(StoreAway, match="s3://some-bucket/log/checkpoint"):
            TileStore("s3://some-bucket/log").checkpoint()


def test_a_store_that_does_not_know_the_key_says_so(
    bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(StoreAway, match=f"s3://{BUCKET}/log/checkpoint"):
        TileStore(f"s3://{BUCKET}/log").checkpoint()
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StoreAway, match=f"s3://{BUCKET}/log/checkpoint"):
        TileStore(f"s3://{BUCKET}/log").checkpoint()
