"""Output of tasks over a real stream that breaks: the next stream goes on, and nothing is left with the broken one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest_asyncio

from agents.log_upload import LogUpload
from protos.suanli.fleet.v1 import logs_pb2, logs_pb2_grpc


class Gateway(logs_pb2_grpc.LogServiceServicer):
    """Keeps what comes, and ends the first stream when it has answered once."""

    def __init__(self) -> None:
        self.output: dict[tuple[str, int, int], bytes] = {}
        self.streams = 0

    async def Append(self, requests: Any, context: Any) -> AsyncIterator[logs_pb2.AppendResponse]:
        self.streams += 1
        first = self.streams == 1
        async for request in requests:
            key = request.allocation_id, request.local_rank, request.stream
            stored = self.output.setdefault(key, b"")
            if request.offset == len(stored):
                stored = self.output[key] = stored + request.data
            yield logs_pb2.AppendResponse(
                allocation_id=key[0], local_rank=key[1], stream=key[2], stored=len(stored)
            )
            if first and len(self.output) == 2:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the gateway ends")


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[tuple[Gateway, grpc.aio.Channel]]:
    served, server = Gateway(), grpc.aio.server()
    logs_pb2_grpc.add_LogServiceServicer_to_server(served, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield served, channel
    await server.stop(None)


async def test_what_is_written_after_a_stream_broke_goes_with_the_next(
    gateway: tuple[Gateway, grpc.aio.Channel], tmp_path: Path
) -> None:
    served, channel = gateway
    upload = LogUpload()
    upload.follow("task", tmp_path, processes=1)
    async with asyncio.timeout(20):
        with suppress(grpc.aio.AioRpcError):
            await upload.run(channel)
    (tmp_path / "0.stdout").write_bytes(b"said after the gateway came back\n")
    again = asyncio.create_task(upload.run(channel))
    key = ("task", 0, logs_pb2.LOG_STREAM_STDOUT)
    async with asyncio.timeout(20):
        while not served.output[key]:
            await asyncio.sleep(0)
    again.cancel()
    await asyncio.wait([again])
    assert served.output[key] == b"said after the gateway came back\n"
    assert served.streams == 2
