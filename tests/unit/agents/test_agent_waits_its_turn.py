"""A gateway that says "not so much at once": the agent waits, and asks again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from agents.content import AT_ONCE, Content, ContentRefused
from agents.link import ControlLink
from protos.suanli.fleet.v1 import content_pb2, content_pb2_grpc, control_pb2, control_pb2_grpc

REFUSED = 2


class Gateway(control_pb2_grpc.ControlServiceServicer, content_pb2_grpc.ContentServiceServicer):
    """Refuses the first calls of each kind as too many at once, and counts those that it has at a time."""

    def __init__(self) -> None:
        self.tasks = self.objects = self.now = self.most = 0

    async def FetchTask(self, request: Any, context: Any) -> control_pb2.FetchTaskResponse:
        self.tasks += 1
        if self.tasks <= REFUSED:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "calls: too many")
        return control_pb2.FetchTaskResponse(allocation_id=request.allocation_id, job_id="job")

    async def FetchObject(self, request: Any, context: Any) -> content_pb2.FetchObjectResponse:
        self.objects += 1
        if self.objects <= REFUSED:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "calls: too many")
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(20):  # so that others come meanwhile
            await asyncio.sleep(0)
        self.now -= 1
        return content_pb2.FetchObjectResponse(data=b"data")

    async def StoreObject(self, request: Any, context: Any) -> content_pb2.StoreObjectResponse:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the firm keeps 5 bytes")
        raise AssertionError


class OneChannel:
    """As FleetChannel, without certificates."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.now = channel


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[tuple[Gateway, str]]:
    served, server = Gateway(), grpc.aio.server()
    control_pb2_grpc.add_ControlServiceServicer_to_server(served, server)  # type: ignore[no-untyped-call]
    content_pb2_grpc.add_ContentServiceServicer_to_server(served, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield served, f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_task_is_asked_for_again(gateway: tuple[Gateway, str]) -> None:
    served, address = gateway
    async with asyncio.timeout(20), grpc.aio.insecure_channel(address) as channel:
        link = ControlLink(OneChannel(channel), None)  # type: ignore[arg-type]
        assert (await link.fetch("allocation")).allocation_id == "allocation"
    assert served.tasks == REFUSED + 1


async def test_content_is_asked_for_again_and_never_too_much_of_it_at_once(
    gateway: tuple[Gateway, str],
) -> None:
    served, address = gateway
    content = Content(lambda: grpc.aio.insecure_channel(address))
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(content.fetch("allocation", f"{n:064x}") for n in range(3 * AT_ONCE)))
        assert set(found) == {b"data"}
        assert served.objects == 3 * AT_ONCE + REFUSED
        assert 1 < served.most <= AT_ONCE
        with pytest.raises(ContentRefused, match="keeps 5 bytes"):  # that is no matter of time
            await content.store("allocation", b"more")
        await content.close()
