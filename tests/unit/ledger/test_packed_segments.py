"""Segments in one compressed piece: what is taken for one, and how much memory a page of them may take."""

import json
import tracemalloc
from collections.abc import Iterable
from typing import Any, cast

import pytest
import zstandard
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.payload_archive import ArchivedEntry, parse_archived
from scheduler.storage.segments import join_segments, opened_segments, pack_segments, unpack_segments
from suanli.evidence.bundle import PayloadLine, encode_payload_line
from suanli.evidence.errors import EvidenceError
from suanli.evidence.windows import SEGMENTS_PER_WINDOW, SaltedSegment

ONE = SaltedSegment(b"s" * 32, b"{}")
LARGE = tuple(SaltedSegment(b"s" * 32, b"x" * 16_000) for _ in range(250))


class NoRows:
    """A database in which no segment names an allocation."""

    async def execute(self, _query: object) -> Iterable[Any]:
        return []


@pytest.mark.parametrize(
    "packed",
    [
        pack_segments([ONE]) + b"more",
        pack_segments([ONE]) + pack_segments([ONE]),
        pack_segments([ONE] * (SEGMENTS_PER_WINDOW + 1)),
        zstandard.ZstdCompressor(write_content_size=False).compress(join_segments([ONE])),
        b"",
    ],
    ids=["more behind it", "two frames", "too many", "no size", "nothing"],
)
def test_anything_but_one_frame_of_a_window_is_refused(packed: bytes) -> None:
    with pytest.raises(EvidenceError):
        unpack_segments(packed)


def test_a_window_is_archived_as_it_is_packed_and_reads_back_whole() -> None:
    segments = (ONE, SaltedSegment(b"t" * 32, b'{"busy_ms":0}'))
    line = PayloadLine(7, b"s" * 32, b"payload", segments)
    entry = ArchivedEntry(line, "window/k/1", None, ("firm", None), pack_segments(segments))
    assert parse_archived(entry.encode().rstrip(b"\n")) == entry


def test_a_window_whose_segments_would_be_left_out_is_not_archived() -> None:
    line = PayloadLine(7, b"s" * 32, b"payload", (ONE,))
    with pytest.raises(ValueError, match="entry 7"):
        ArchivedEntry(line, "window/k/1", None, (None,)).encode()


def test_an_archived_line_of_before_has_its_segments_one_by_one_and_is_read_the_same() -> None:
    segments = (ONE, SaltedSegment(b"t" * 32, b'{"busy_ms":0}'))
    line = PayloadLine(7, b"s" * 32, b"payload", segments)
    known = {"fact": "window/k/1", "firm_id": None, "segment_firms": ["firm", None]}
    before = json.dumps(known | json.loads(encode_payload_line(line))).encode()
    now = ArchivedEntry(line, "window/k/1", None, ("firm", None), pack_segments(segments))
    assert parse_archived(before) == now


@pytest.mark.parametrize("packed", [1, "", "no base64", "AAAA"])
def test_an_archived_line_whose_segments_are_no_frame_is_refused(packed: object) -> None:
    known: dict[str, object] = {"fact": "window/k/1", "firm_id": None, "segments": [], "packed": packed}
    with pytest.raises(EvidenceError):
        parse_archived(json.dumps(known | {"index": 7, "salt": "00" * 32, "payload": "AAAA"}).encode())


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
