"""Signed windows on their way to the evidence log. A window is kept until the log has it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import grpc.aio

from agents import wire
from agents.refusals import SpoolFull
from agents.spool import Spool, StoredWindow
from protos.suanli.fleet.v1 import usage_pb2, usage_pb2_grpc

BATCH = 16
IN_FLIGHT = 64

_log = logging.getLogger("agents.usage_upload")


class UsageUpload:
    """The stream that carries windows; `poke` says that there is a new one."""

    def __init__(self, spool: Spool, seen_checkpoint: Callable[[bytes], None]) -> None:
        self._spool = spool
        self._seen_checkpoint = seen_checkpoint
        self._more = asyncio.Event()
        self._sent = 0
        self._in_flight: set[int] = set()  # sent on this stream, and not a word about it yet
        self.acknowledged = 0

    def poke(self) -> None:
        """There may be a new window."""
        self._more.set()

    def delivered(self) -> bool:
        """True when the gateway has every window, or refused it."""
        return not self._in_flight and not self._spool.waiting(self._sent, 1)

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Carry until the stream breaks. Raises grpc.aio.AioRpcError."""
        self._sent = 0  # whatever was not acknowledged is sent again: it has one effect
        self._in_flight.clear()
        self._more.set()
        stub = usage_pb2_grpc.UsageServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Upload(self._requests())
        try:
            async for answer in call:
                self._answered(answer)
        finally:
            self._sent = 0
            call.cancel()

    async def _requests(self) -> AsyncIterator[usage_pb2.UploadRequest]:
        while True:
            await self._more.wait()
            self._more.clear()
            while batch := self._batch():
                for stored in batch:
                    self._sent = stored.seq
                    self._in_flight.add(stored.seq)
                    yield wire.upload(stored.window)

    def _batch(self) -> list[StoredWindow]:
        free = IN_FLIGHT - len(self._in_flight)
        return self._spool.waiting(self._sent, min(BATCH, free)) if free > 0 else []

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
                _log.error("window %d was refused: %s: %s", refused.seq, refused.field, refused.detail)
                self._in_flight.discard(refused.seq)
                self._spool.refused(refused.seq, f"{refused.field}: {refused.detail}")
            elif kind == "stored":
                self._landed(answer.stored.seq)
        except SpoolFull as error:
            _log.warning("%s; the windows concerned are sent again later", error)
        self._more.set()

    def _landed(self, seq: int) -> None:
        self._in_flight = {waiting for waiting in self._in_flight if waiting > seq}
