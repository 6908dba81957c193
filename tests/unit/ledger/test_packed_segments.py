"""Segments in one compressed piece: what is taken for one, and how much memory a page of them may take."""

import base64
import json
import os
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import zstandard
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from protos.suanli.fleet.v1 import usage_pb2
from scheduler.rpc.server import MOST_MESSAGE_BYTES
from scheduler.storage.payload_archive import ArchivedEntry, PayloadArchive, parse_archived
from scheduler.storage.segments import (
    UNPACKED_LIMIT_BYTES,
    opened_segments,
    pack_segments,
    unpack_segments,
)
from suanli.evidence.bundle import PayloadLine, encode_payload_line
from suanli.evidence.entries import PAYLOAD_LIMIT_BYTES
from suanli.evidence.errors import EvidenceError
from suanli.evidence.windows import SEGMENTS_PER_WINDOW, SaltedSegment, join_segments

ONE = SaltedSegment(b"s" * 32, b"{}")
LARGE = tuple(SaltedSegment(b"s" * 32, b"x" * 16_000) for _ in range(250))


def archived(index: int, packed: bytes | None) -> ArchivedEntry:
    return ArchivedEntry(index, b"s" * 32, b"payload", "window/k/1", None, ("firm", None), packed)


def with_empty_blocks(packed: bytes, blocks: int) -> bytes:
    """The same frame with raw blocks of nothing before its own: whatever it says, it is as long as it is."""
    head = zstandard.frame_header_size(packed)
    return packed[:head] + b"\0\0\0" * blocks + packed[head:]


class NoRows:
    """A database in which no segment names an allocation."""

    async def execute(self, _query: object) -> Iterable[Any]:
        return []


@pytest.mark.parametrize(
    "packed",
    [
        pack_segments([ONE]) + b"more",
        pack_segments([]) + b"more",
        pack_segments([ONE]) + pack_segments([ONE]),
        pack_segments([ONE] * (SEGMENTS_PER_WINDOW + 1)),
        zstandard.ZstdCompressor(write_content_size=False).compress(join_segments([ONE])),
        with_empty_blocks(pack_segments([ONE]), 1_000),
        b"",
    ],
    ids=["more behind it", "more behind nothing", "two frames", "too many", "no size", "blown up", "nothing"],
)
def test_anything_but_one_frame_of_a_window_is_refused(packed: bytes) -> None:
    with pytest.raises(EvidenceError):
        unpack_segments(packed)


@pytest.mark.parametrize("level", [-100, 1, 19])
@pytest.mark.parametrize("size", [0, 1, 200, 16_000])
def test_a_frame_of_what_cannot_be_compressed_is_taken_at_every_level(level: int, size: int) -> None:
    segments = tuple(SaltedSegment(os.urandom(32), os.urandom(size)) for _ in range(200))
    packed = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(join_segments(segments))
    assert unpack_segments(packed) == segments


def test_a_window_is_archived_as_it_is_packed_and_reads_back_whole() -> None:
    segments = (ONE, SaltedSegment(b"t" * 32, b'{"busy_ms":0}'))
    entry = archived(7, pack_segments(segments))
    assert parse_archived(entry.encode().rstrip(b"\n")) == entry
    assert entry.segments() == segments
    assert archived(7, None).segments() == ()


def test_an_archived_line_of_before_has_its_segments_one_by_one_and_is_read_the_same() -> None:
    segments = (ONE, SaltedSegment(b"t" * 32, b'{"busy_ms":0}'))
    line = PayloadLine(7, b"s" * 32, b"payload", segments)
    known = {"fact": "window/k/1", "firm_id": None, "segment_firms": ["firm", None]}
    before = json.dumps(known | json.loads(encode_payload_line(line))).encode()
    assert parse_archived(before) == archived(7, pack_segments(segments))


def test_an_archived_line_that_withholds_a_segment_is_refused_and_not_read_without_it() -> None:
    line = PayloadLine(7, b"s" * 32, b"payload", (ONE, None))
    known = {"fact": "window/k/1", "firm_id": None, "segment_firms": ["firm", None]}
    with pytest.raises(EvidenceError, match="withheld"):
        parse_archived(json.dumps(known | json.loads(encode_payload_line(line))).encode())


def test_an_archive_that_unpacks_to_more_than_memory_is_read_one_window_at_a_time(tmp_path: Path) -> None:
    archive, packed = PayloadArchive(tmp_path), pack_segments(LARGE)
    archive.create()
    archive.replace(0, [archived(n, packed).encode() for n in range(40)])
    tracemalloc.start()
    try:
        entries = archive.read(0)
        bodies = sum(len(one.body) for n in range(40) for one in entries[n].segments())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bodies == 40 * 250 * 16_000
    assert peak < 5 * 250 * 16_000


def test_a_line_of_the_archive_that_unpacks_to_more_than_any_window_is_refused_by_name(
    tmp_path: Path,
) -> None:
    archive = PayloadArchive(tmp_path)
    archive.create()
    most = [SaltedSegment(b"s" * 32, bytes(16 * 1024))] * SEGMENTS_PER_WINDOW
    archive.replace(
        0, [archived(0, pack_segments(most)).encode(), archived(1, pack_segments([ONE])).encode()]
    )
    entries = archive.read(0)
    with pytest.raises(EvidenceError, match=f"want at most {UNPACKED_LIMIT_BYTES} bytes"):
        entries[0].segments()
    assert entries[1].segments() == (ONE,)


def test_a_damaged_file_is_read_a_line_at_a_time_and_said_once(tmp_path: Path) -> None:
    archive = PayloadArchive(tmp_path)
    archive.create()
    noise = b"x" * 1_000_000 + b"\n"
    archive.replace(0, [archived(0, None).encode(), *[noise] * 60, b"y" * 20_000_000 + b"\n"])
    archive.append(62, [archived(62, None).encode(), archived(63, None).encode()])
    tracemalloc.start()
    try:
        with capture_logs() as said:
            entries = archive.read(0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sorted(entries) == [0, 62, 63]
    assert sorted(archive.read(0, lambda entry: 0 < entry.index < 63)) == [62]
    assert [(one["event"], one["file"], one["lines"]) for one in said] == [("archive_lines_left_out", 0, 61)]
    assert peak < 40_000_000, "the file has eighty million bytes"


def line_of(index: int, **changes: object) -> bytes:
    return json.dumps(json.loads(archived(index, None).encode()) | changes).encode() + b"\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"segment_firms": [None] * (SEGMENTS_PER_WINDOW + 1)},
        {"segment_firms": [None] * 2_500_000},
        {"payload": base64.b64encode(bytes(PAYLOAD_LIMIT_BYTES + 1)).decode()},
        {"more": [[]] * 3_000_000},
    ],
    ids=["a firm too many", "millions of firms", "a payload that nothing has", "values that no line has"],
)
def test_a_line_that_holds_more_than_any_entry_is_damaged(tmp_path: Path, changes: dict[str, object]) -> None:
    archive = PayloadArchive(tmp_path)
    archive.create()
    long = line_of(0, **changes)
    archive.replace(0, [*[long] * 3, archived(3, None).encode()])
    tracemalloc.start()
    try:
        with capture_logs() as said:
            assert sorted(archive.read(0)) == [3]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [one["lines"] for one in said] == [3]
    assert peak < 60_000_000, "a few copies of a line of fifteen million bytes, and none of its values"


def test_of_the_lines_for_an_index_the_first_that_opens_it_is_taken(tmp_path: Path) -> None:
    archive = PayloadArchive(tmp_path)
    archive.create()
    right, other = archived(0, None), line_of(0, fact="another")
    archive.replace(0, [other, right.encode(), other, other])
    assert archive.read(0, lambda entry: entry.fact == right.fact) == {0: right}
    assert archive.read(0)[0].fact == "another"
    assert archive.read(0, lambda _: False) == {}


def test_a_file_of_the_archive_has_no_lines_but_its_own(tmp_path: Path) -> None:
    archive = PayloadArchive(tmp_path)
    archive.create()
    archive.replace(1, [archived(n, None).encode() for n in (255, 256, 511, 512)])
    assert sorted(archive.read(1)) == [256, 511]


def test_every_window_that_an_agent_can_send_in_one_message_is_read_back_from_the_archive() -> None:
    one = usage_pb2.SaltedSegment(salt=b"s" * 32, body=b"x" * 16_000)
    room = MOST_MESSAGE_BYTES - usage_pb2.UploadRequest(segments=[one]).ByteSize() * 500
    segments = [SaltedSegment(one.salt, one.body)] * 500 + [SaltedSegment(one.salt, b"x" * (room - 48))]
    sent = usage_pb2.UploadRequest(
        segments=[usage_pb2.SaltedSegment(salt=s.salt, body=s.body) for s in segments]
    )
    assert MOST_MESSAGE_BYTES - 16 < sent.ByteSize() <= MOST_MESSAGE_BYTES
    assert unpack_segments(pack_segments(segments)) == tuple(segments)


@pytest.mark.parametrize("packed", [1, "", "no base64", "AAAA"])
def test_an_archived_line_whose_segments_are_no_frame_is_refused(packed: object) -> None:
    known: dict[str, object] = {"fact": "window/k/1", "firm_id": None, "segments": [], "packed": packed}
    line = json.dumps(known | {"index": 7, "salt": "00" * 32, "payload": "AAAA"}).encode()
    with pytest.raises(EvidenceError):
        parse_archived(line).segments()


async def test_the_windows_of_a_page_are_unpacked_one_after_the_other() -> None:
    packed = pack_segments(LARGE)
    page: dict[int, bytes | None] = dict.fromkeys(range(40), packed)
    tracemalloc.start()
    try:
        opened = await opened_segments(cast(AsyncSession, NoRows()), page)
        bodies = sum(len(one.body) for window in opened.values() for one in window.segments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bodies == 40 * 250 * 16_000
    assert peak < 5 * 250 * 16_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"fact": 5},
        {"fact": None},
        {"fact": "a\0b"},
        {"fact": "\ud800"},
        {"fact": "x" * 257},
        {"firm_id": ["x"]},
        {"firm_id": "a\nb"},
        {"segment_firms": "ab"},
        {"segment_firms": None},
        {"segment_firms": ["firm", 1]},
    ],
    ids=str,
)
def test_an_archived_line_whose_names_the_database_could_not_hold_is_refused(wrong: dict[str, Any]) -> None:
    line = json.loads(archived(7, pack_segments([ONE])).encode()) | wrong
    with pytest.raises(EvidenceError, match=f"archive.{next(iter(wrong))}"):
        parse_archived(json.dumps(line).encode())
