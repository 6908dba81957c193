"""Signed windows on their way to the evidence log. A window is kept until the log has it."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable

import grpc.aio

from agents import wire
from agents.refusals import SpoolFull
from agents.spool import Spool, StoredWindow
from protos.suanli.fleet.v1 import usage_pb2, usage_pb2_grpc

BATCH = 16
IN_FLIGHT = 64
TAKES_PACKED = ("takes", "packed")  # in the initial metadata of a gateway's stream

# How the gateway says that a window came before the one that it waits for.
_WANTED = re.compile(r"got [0-9]+, want ([0-9]+)")
_log = logging.getLogger("agents.usage_upload")


class _Stream:
    """What one stream has sent. A stream of its own, because gRPC may ask a dead one for another window."""

    def __init__(self) -> None:
        self.more = asyncio.Event()
        self.more.set()
        self.sent = 0  # whatever was not acknowledged is sent again: it has one effect
        self.in_flight: set[int] = set()  # sent, and not a word about it yet
        self.packed = False  # whether the gateway said that it takes segments so: those of before do not
        self.ended = False

    def end(self) -> None:
        """Give out nothing more."""
        self.ended = True
        self.more.set()


class UsageUpload:
    """The stream that carries windows; `poke` says that there is a new one."""

    def __init__(self, spool: Spool, seen_checkpoint: Callable[[bytes], None]) -> None:
        self._spool = spool
        self._seen_checkpoint = seen_checkpoint
        self._stream = _Stream()
        self.acknowledged = 0

    def poke(self) -> None:
        """There may be a new window."""
        self._stream.more.set()

    def delivered(self) -> bool:
        """True when the gateway has every window, or refused it."""
        return not self._stream.in_flight and not self._spool.waiting(self._stream.sent, 1)

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Carry until the stream breaks. Raises grpc.aio.AioRpcError."""
        stream = self._stream = _Stream()
        stub = usage_pb2_grpc.UsageServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Upload(self.requests(stream))
        learning = asyncio.create_task(_learn(call, stream))
        try:
            async for answer in call:
                self._answered(answer)
        finally:
            stream.end()
            self._stream = _Stream()
            call.cancel()
            learning.cancel()
            await asyncio.gather(learning, return_exceptions=True)

    async def requests(self, stream: _Stream) -> AsyncIterator[usage_pb2.UploadRequest]:
        """The windows in order, for as long as this stream lives."""
        while not stream.ended:
            await stream.more.wait()
            stream.more.clear()
            while not stream.ended and (batch := self._batch(stream)):
                for stored in batch:
                    if stream.ended:
                        return
                    stream.sent = stored.seq
                    stream.in_flight.add(stored.seq)
                    yield wire.upload(stored.window, packed=stream.packed)

    def _batch(self, stream: _Stream) -> list[StoredWindow]:
        free = IN_FLIGHT - len(stream.in_flight)
        return self._spool.waiting(stream.sent, min(BATCH, free)) if free > 0 else []

    def _answered(self, answer: usage_pb2.UploadResponse) -> None:
        kind = answer.WhichOneof("message")
        try:
            if kind == "acknowledged":
                self._spool.acknowledged(answer.acknowledged.seq)
                self.acknowledged = max(self.acknowledged, answer.acknowledged.seq)
                self._landed(answer.acknowledged.seq)
                if answer.acknowledged.log_checkpoint:
                    self._seen_checkpoint(answer.acknowledged.log_checkpoint)
            elif kind == "refused":
                refused = answer.refused
                self._refused(refused)
            elif kind == "stored":
                self._landed(answer.stored.seq)
        except SpoolFull as error:
            _log.warning("%s; the windows concerned are sent again later", error)
        self._stream.more.set()

    def _refused(self, refused: usage_pb2.Refused) -> None:
        _log.error("window %d was refused: %s: %s", refused.seq, refused.field, refused.detail)
        self._stream.in_flight.discard(refused.seq)
        wanted = _WANTED.fullmatch(refused.detail) if refused.field == "seq" else None
        if wanted is not None:
            missing = self._spool.waiting(int(wanted[1]) - 1, 1)
            if missing and missing[0].seq == int(wanted[1]) < refused.seq:
                # One before it has not arrived, and it is here: from there again.
                self._stream.sent = min(self._stream.sent, int(wanted[1]) - 1)
                return
        self._spool.refused(refused.seq, f"{refused.field}: {refused.detail}")

    def _landed(self, seq: int) -> None:
        self._stream.in_flight = {waiting for waiting in self._stream.in_flight if waiting > seq}


async def _learn(
    call: grpc.aio.StreamStreamCall[usage_pb2.UploadRequest, usage_pb2.UploadResponse], stream: _Stream
) -> None:
    """Hear what the gateway takes; one of before says nothing before its first answer."""
    metadata = await call.initial_metadata()
    stream.packed = TAKES_PACKED in tuple(metadata)
