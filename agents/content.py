"""Content on its way between a task and the control plane: objects by their hashes, a few at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from agents.link import RETRIED, Backoff, NowAndThen
from protos.suanli.fleet.v1 import content_pb2, content_pb2_grpc

CALL_TIMEOUT_S = 60.0
MOST_TRIES = 40  # about five minutes
AT_ONCE = 16  # half of the calls that a gateway takes of one node at once

_T = TypeVar("_T")
_log = logging.getLogger("agents.content")


class ContentRefused(Exception):
    """The control plane does not give or take this; the sentence is for the researcher."""


class Content:
    """Calls of ContentService over one channel, opened when first needed."""

    def __init__(self, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self._open_channel = open_channel
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._places = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()

    async def fetch(self, allocation_id: str, sha256: str) -> bytes:
        """An object; the caller checks its hash. Raises ContentRefused."""
        request = content_pb2.FetchObjectRequest(allocation_id=allocation_id, sha256=sha256)
        answer = await self._ask(lambda stub: stub.FetchObject(request, timeout=CALL_TIMEOUT_S))
        return bytes(answer.data)

    async def find_missing(self, allocation_id: str, hashes: Sequence[str]) -> list[str]:
        """Which of these are still to be sent. Raises ContentRefused."""
        request = content_pb2.FindMissingRequest(allocation_id=allocation_id, sha256=hashes)
        answer = await self._ask(lambda stub: stub.FindMissing(request, timeout=CALL_TIMEOUT_S))
        return list(answer.sha256)

    async def store(self, allocation_id: str, data: bytes) -> None:
        """Send an object. Raises ContentRefused."""
        request = content_pb2.StoreObjectRequest(allocation_id=allocation_id, data=data)
        await self._ask(lambda stub: stub.StoreObject(request, timeout=CALL_TIMEOUT_S))

    async def complete(self, allocation_id: str, manifest_sha256: str, problem: str) -> None:
        """The last word about results. Raises ContentRefused."""
        request = content_pb2.CompleteResultsRequest(
            allocation_id=allocation_id, manifest_sha256=manifest_sha256, problem=problem
        )
        await self._ask(lambda stub: stub.CompleteResults(request, timeout=CALL_TIMEOUT_S))

    async def _ask(self, call: Callable[[Any], Awaitable[_T]]) -> _T:
        """Ask until there is an answer, or for so long that nobody should wait any longer."""
        backoff = Backoff()
        saying = NowAndThen(_log)
        last = ""
        for _ in range(MOST_TRIES):
            if self._channel is None:
                self._channel = self._open_channel()
                self._stub = content_pb2_grpc.ContentServiceStub(self._channel)  # type: ignore[no-untyped-call]
            try:
                async with self._places:
                    return await call(self._stub)
            except grpc.aio.AioRpcError as error:
                last = str(error.details())
                if error.code() not in RETRIED:
                    raise ContentRefused(last) from None
            saying.say(f"content waits for the gateway: {last}")
            await backoff.pause()
        raise ContentRefused(f"the gateway does not answer: {last}")
