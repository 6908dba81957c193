"""Output of jobs: keyed by offset, idempotent, and only from the node that runs the task."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from protos.suanli.fleet.v1 import logs_pb2
from scheduler.storage.job_logs import JobLogs, LogKey
from tests.builders.database import DatabaseUrls
from tests.builders.gateway import Agent, RunningGateway, now_ms, running_gateway
from tests.builders.ledger import World, make_keys

KEY = LogKey("firm-a", "job-1", 1, 0, 0, "stdout")


@pytest.fixture
async def world(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database_urls, make_keys(tmp_path / "keys"))
    await made.configure()
    yield made
    await made.close()


@pytest.fixture
async def gateway(world: World, database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    limits = {"job_log_limit_bytes": 1000, "attempt_log_limit_bytes": 1500}
    async with running_gateway(database_urls.gateway, tmp_path, **limits) as running:
        yield running


@pytest.fixture
async def agent(world: World, gateway: RunningGateway) -> Agent:
    made = Agent()
    await made.enrol(gateway, await world.join_token())
    await world.allocate("al-1", made.node_id, [d.device_id for d in made.devices], now_ms())
    return made


@pytest.fixture
def output(gateway: RunningGateway) -> JobLogs:
    return JobLogs(gateway.config.job_log_folder, gateway.config.job_log_limit_bytes)


def chunk(offset: int, data: bytes = b"", **changes: object) -> logs_pb2.AppendRequest:
    """A chunk of the first process's standard output."""
    base: dict[str, object] = {"allocation_id": "al-1", "stream": logs_pb2.LOG_STREAM_STDOUT}
    return logs_pb2.AppendRequest(**{**base, "offset": offset, "data": data, **changes})


async def append(agent: Agent, gateway: RunningGateway, *chunks: logs_pb2.AppendRequest) -> list[int]:
    """How much is stored after each chunk."""
    async with agent.stubs(gateway) as stubs:
        call = stubs.logs.Append()
        stored = []
        for request in chunks:
            await call.write(request)
            answer = await call.read()
            if answer == grpc.aio.EOF:
                await call
            stored.append(answer.stored)
        await call.done_writing()
        return stored


async def test_chunks_make_one_file_whatever_is_repeated(
    agent: Agent, gateway: RunningGateway, output: JobLogs
) -> None:
    answers = await append(
        agent,
        gateway,
        chunk(0),
        chunk(0, b"hello "),
        chunk(0, b"hello "),
        chunk(6, b"world"),
        chunk(3, b"lo world!"),
        chunk(50, b"beyond a gap"),
        chunk(12, b"\n", complete=True),
    )
    assert answers == [0, 6, 6, 11, 12, 12, 13]
    assert output.read(KEY, 0, 100) == b"hello world!\n"
    assert output.is_complete(KEY)
    assert output.streams("firm-a", "job-1", 1) == [KEY]


async def test_an_incomplete_stream_is_not_complete_before_its_last_byte(
    agent: Agent, gateway: RunningGateway, output: JobLogs
) -> None:
    assert await append(agent, gateway, chunk(5, b"end", complete=True)) == [0]
    assert not output.is_complete(KEY)
    assert await append(agent, gateway, chunk(0, b"begin"), chunk(5, b"end", complete=True)) == [5, 8]
    assert output.is_complete(KEY)


async def test_streams_and_processes_are_apart(
    agent: Agent, gateway: RunningGateway, output: JobLogs
) -> None:
    await append(
        agent,
        gateway,
        chunk(0, b"out"),
        chunk(0, b"err", stream=logs_pb2.LOG_STREAM_STDERR),
        chunk(0, b"second", local_rank=1),
    )
    found = {
        (key.local_rank, key.stream): output.read(key, 0, 99) for key in output.streams("firm-a", "job-1", 1)
    }
    assert found == {(0, "stdout"): b"out", (0, "stderr"): b"err", (1, "stdout"): b"second"}


async def test_output_beyond_the_limit_is_dropped_and_the_agent_goes_on(
    agent: Agent, gateway: RunningGateway, output: JobLogs
) -> None:
    answers = await append(
        agent, gateway, chunk(0, b"a" * 900), chunk(900, b"b" * 300), chunk(1200, b"c" * 50)
    )
    assert answers == [900, 1200, 1250]
    assert output.stored(KEY) == 1000
    assert output.is_cut(KEY)


async def test_all_output_of_an_attempt_is_bounded_and_the_agent_goes_on(
    agent: Agent, gateway: RunningGateway, output: JobLogs
) -> None:
    answers = await append(
        agent,
        gateway,
        chunk(0, b"a" * 900),
        chunk(0, b"b" * 900, local_rank=1),
        chunk(900, b"c" * 100, local_rank=1),
        chunk(900, b"d" * 50),
        chunk(0, b"e", stream=logs_pb2.LOG_STREAM_STDERR),
    )
    assert answers == [900, 900, 1000, 950, 1]
    stored = [output.stored(key) for key in output.streams("firm-a", "job-1", 1)]
    assert sum(stored) == 1500
    assert JobLogs(gateway.config.job_log_folder, 1000, 1500).is_cut(KEY)
    assert not JobLogs(gateway.config.job_log_folder, 1000, 1501).is_cut(KEY)


async def test_output_is_taken_after_the_end_of_the_allocation(
    world: World, agent: Agent, gateway: RunningGateway
) -> None:
    await world.execute("UPDATE allocations SET live = false, ended_ms = 1")
    assert await append(agent, gateway, chunk(0, b"last words")) == [10]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (chunk(0, b"x", allocation_id="al-none"), grpc.StatusCode.NOT_FOUND),
        (chunk(0, b"x", allocation_id="../../../etc/passwd"), grpc.StatusCode.NOT_FOUND),
        (chunk(0, b"x", allocation_id=""), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(0, b"x", allocation_id="a\0"), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(0, b"x", stream=0), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(0, b"x", stream=7), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(0, b"x", local_rank=2**32 - 1), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(0, b"x", local_rank=2), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(2**64 - 1, b"x"), grpc.StatusCode.INVALID_ARGUMENT),
        (chunk(0, b"x" * 65_537), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=[
        "unknown",
        "path",
        "empty",
        "nul",
        "no stream",
        "other stream",
        "rank",
        "process",
        "offset",
        "large",
    ],
)
async def test_hostile_chunks_end_the_stream_and_write_nothing(
    agent: Agent,
    gateway: RunningGateway,
    output: JobLogs,
    request_: logs_pb2.AppendRequest,
    status: grpc.StatusCode,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await append(agent, gateway, request_)
    assert caught.value.code() is status
    assert output.streams("firm-a", "job-1", 1) == []
    assert await append(agent, gateway, chunk(0, b"still here")) == [10]


async def test_a_node_cannot_write_the_output_of_another_nodes_task(
    world: World, agent: Agent, gateway: RunningGateway, output: JobLogs
) -> None:
    other = Agent(name="node-2")
    await other.enrol(gateway, await world.join_token())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await append(other, gateway, chunk(0, b"forged"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert output.stored(KEY) == 0
