"""Windows reach the gateway in order, whatever becomes of streams."""

import pytest

from agents import wire
from agents.spool import StoredWindow
from agents.usage_upload import UsageUpload, _Stream
from protos.suanli.fleet.v1 import usage_pb2
from scheduler.storage.segments import unpack_segments
from suanli.evidence.windows import SaltedSegment, SignedWindow


class Windows:
    """A spool with windows 1 to `count`, none of them acknowledged."""

    def __init__(self, count: int) -> None:
        self.kept = [
            StoredWindow(seq, SignedWindow(b"%d" % seq, bytes(64), ())) for seq in range(1, count + 1)
        ]
        self.refusals: list[int] = []

    def waiting(self, after: int, most: int) -> list[StoredWindow]:
        return [stored for stored in self.kept if stored.seq > after][:most]

    def refused(self, seq: int, _reason: str) -> None:
        self.refusals.append(seq)


def uploading(count: int) -> tuple[UsageUpload, Windows]:
    spool = Windows(count)
    return UsageUpload(spool, lambda _: None), spool  # type: ignore[arg-type]


async def test_a_dead_stream_takes_no_window_from_the_next() -> None:
    upload, _ = uploading(3)
    dead, alive = _Stream(), _Stream()
    asked = upload.requests(dead)
    assert (await anext(asked)).header == b"1"
    dead.end()
    with pytest.raises(StopAsyncIteration):
        await anext(asked)
    sent = upload.requests(alive)
    assert [(await anext(sent)).header for _ in range(3)] == [b"1", b"2", b"3"]


async def test_segments_go_packed_only_once_the_gateway_has_said_that_it_takes_them() -> None:
    segments = (SaltedSegment(b"s" * 32, b"{}"), SaltedSegment(b"t" * 32, b'{"n":1}'))
    upload, spool = uploading(2)
    spool.kept = [
        StoredWindow(kept.seq, SignedWindow(kept.window.header, kept.window.signature, segments))
        for kept in spool.kept
    ]
    stream = _Stream()
    sent = upload.requests(stream)
    first = await anext(sent)
    assert [(s.salt, s.body) for s in first.segments] == [(s.salt, s.body) for s in segments]
    assert first.packed == b""
    stream.packed = True
    second = await anext(sent)
    assert (unpack_segments(second.packed), list(second.segments)) == (segments, [])


def test_a_window_of_no_device_is_packed_as_the_gateway_takes_it() -> None:
    assert unpack_segments(wire.upload(SignedWindow(b"1", bytes(64), ()), packed=True).packed) == ()


@pytest.mark.parametrize(
    ("seq", "detail", "refusals"),
    [
        (3, "got 3, want 2", []),
        (3, "got 3, want 9", [3]),
        (3, "window 3 is stored with other bytes: two chains of one key", [3]),
    ],
    ids=["one before it is missing", "the missing one is not here", "a fork"],
)
def test_only_a_window_that_can_never_be_taken_is_given_up(
    seq: int, detail: str, refusals: list[int]
) -> None:
    upload, spool = uploading(3)
    upload._stream.sent = 3
    refused = usage_pb2.Refused(seq=seq, field="seq", detail=detail)
    upload._answered(usage_pb2.UploadResponse(refused=refused))
    assert spool.refusals == refusals
    assert upload._stream.sent == (3 if refusals else 1)
