"""Usage windows over the wire: what is stored, what is refused, and that chains never fork unnoticed."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from agents import wire
from agents.usage_upload import TAKES_PACKED
from protos.suanli.fleet.v1 import usage_pb2
from scheduler.ledger.sequencer import intake_age_s
from scheduler.storage.segments import unpack_segments
from scheduler.storage.windows import waiting_windows
from suanli.evidence.keys import SigningKey
from suanli.evidence.windows import NO_PREVIOUS, SaltedSegment, SignedWindow, join_segments
from tests.builders.database import DatabaseUrls
from tests.builders.gateway import Agent, RunningGateway, UsageStream, now_ms, running_gateway
from tests.builders.ledger import World, make_keys
from tests.builders.waiting import until


@pytest.fixture
async def world(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database_urls, make_keys(tmp_path / "keys"))
    await made.configure()
    yield made
    await made.close()


@pytest.fixture
async def gateway(world: World, database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(database_urls.gateway, tmp_path) as running:
        yield running


@pytest.fixture
async def agent(world: World, gateway: RunningGateway) -> Agent:
    made = Agent()
    await made.enrol(gateway, await world.join_token())
    return made


@pytest.fixture
async def stream(gateway: RunningGateway, agent: Agent) -> AsyncIterator[UsageStream]:
    async with agent.stubs(gateway) as stubs:
        opened = UsageStream(stubs)
        yield opened
        await opened.close()


async def stored(world: World) -> list[int]:
    """Numbers in the intake."""
    return [row[0] for row in await world.rows("SELECT seq FROM usage_intake ORDER BY seq")]


async def test_windows_are_stored_as_exact_bytes(world: World, agent: Agent, stream: UsageStream) -> None:
    window = agent.cut()
    await stream.send([window])
    await stream.until_stored(1)
    [(header, signature, segments)] = await world.rows("SELECT header, signature, segments FROM usage_intake")
    assert (header, signature) == (window.header, window.signature)
    assert unpack_segments(segments) == window.segments
    [(seq, hashed)] = await world.rows("SELECT stored_seq, stored_header_sha256 FROM agent_keys")
    assert (seq, hashed) == (1, agent.prev_hash)


async def test_packed_segments_are_stored_as_they_came_by_a_gateway_that_says_that_it_takes_them(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    assert TAKES_PACKED in tuple(await stream.call.initial_metadata())
    packed, unpacked = agent.cut(), agent.cut()
    await stream.send_packed(packed)
    await stream.send([unpacked])
    await stream.until_stored(2)
    found = await world.rows("SELECT segments, segments_bytes FROM usage_intake ORDER BY seq")
    assert found[0][0] == wire.upload(packed, packed=True).packed
    assert [unpack_segments(segments) for segments, _ in found] == [packed.segments, unpacked.segments]
    assert [size for _, size in found] == [len(join_segments(w.segments)) for w in (packed, unpacked)]


async def test_a_day_of_windows_comes_in_few_transactions_and_is_taken_up_to_a_number_and_a_size(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    windows = agent.windows_until(agent.at_ms + 9_000)
    await stream.send(windows)
    await stream.until_stored(len(windows))
    assert await stored(world) == list(range(1, len(windows) + 1))
    assert stream.refused == []

    async def taken(most: int, most_bytes: int, refused: Collection[tuple[str, int]] = ()) -> list[int]:
        async with world.owner.read() as session:
            return [one.seq for one in await waiting_windows(session, most, most_bytes, refused)]

    [(size,)] = await world.rows(
        "SELECT segments_bytes + octet_length(header) FROM usage_intake WHERE seq = 1"
    )
    assert await taken(3, 1 << 30) == [1, 2, 3]
    assert await taken(3, size + 1) == [1, 2]  # the second is the one that fills it
    assert await taken(3, 1) == [1]  # one at least, however large
    [(key_id,)] = await world.rows("SELECT DISTINCT key_id FROM usage_intake")
    assert await taken(3, 1 << 30, [(key_id, 2)]) == []
    # Whatever they say that they are unpacked: what is taken is read as it is.
    await world.execute("UPDATE usage_intake SET segments = :fat", fat=bytes(size * 10))
    assert await taken(9, size * 25) == [1, 2, 3]


async def test_what_waits_is_as_old_as_the_oldest_window_or_fact_of_any_node(
    world: World, gateway: RunningGateway
) -> None:
    async def age_s() -> float:
        async with world.owner.read() as session:
            return await intake_age_s(session)

    await world.execute("DELETE FROM evidence_intake")
    assert await age_s() == 0
    keys: list[str] = []
    for name in ("node-a", "node-b", "node-c"):
        agent = Agent(name)
        await agent.enrol(gateway, await world.join_token())
        async with agent.stubs(gateway) as stubs:
            stream = UsageStream(stubs)
            await stream.send([agent.cut(), agent.cut()])
            await stream.until_stored(2)
            await stream.close()
        keys.append(agent.key.key_id)
    await world.execute("DELETE FROM evidence_intake")
    assert 0 < await age_s() < 60
    for n, key_id in enumerate(sorted(keys), 1):
        await world.execute(
            "UPDATE usage_intake SET received_at = now() - :hours * interval '1 hour' WHERE key_id = :key AND seq = 1",
            hours=n,
            key=key_id,
        )
        assert n * 3_600 <= await age_s() < n * 3_600 + 60
    await world.execute(
        "INSERT INTO evidence_intake (type, body, fact, created_at) VALUES ('firm', '', 'f', now() - interval '1 day')"
    )
    assert 86_400 <= await age_s() < 86_460


async def test_a_window_that_a_gateway_of_before_stored_comes_out_as_all_others(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    window = agent.cut()
    await stream.send([window])
    await stream.until_stored(1)
    joined = join_segments(window.segments)
    await world.execute("UPDATE usage_intake SET segments = :joined, segments_bytes = NULL", joined=joined)
    async with world.owner.read() as session:
        [one] = await waiting_windows(session, 1, 1 << 30, [])
    assert (unpack_segments(one.segments), one.weight) == (window.segments, len(window.header) + len(joined))


async def test_the_same_window_twice_is_one_window(world: World, agent: Agent, stream: UsageStream) -> None:
    windows = [agent.cut(), agent.cut()]
    await stream.send([*windows, *windows, windows[0]])
    await stream.until_stored(2)
    third = agent.cut()
    await stream.send([third])
    await stream.until_stored(3)
    assert stream.refused == []
    assert await stored(world) == [1, 2, 3]


async def test_a_second_chain_of_one_key_is_a_fork(world: World, agent: Agent, stream: UsageStream) -> None:
    copy = replace(agent, devices=list(agent.devices))
    await stream.send([agent.cut(), agent.cut()])
    await stream.until_stored(2)
    await stream.send([copy.cut(closed_by="grid", agent_version="9.9.9")])
    await stream.until_refused()
    [refusal] = stream.refused
    assert (refusal.seq, refusal.field) == (1, "seq")
    assert "two chains" in refusal.detail
    assert await stored(world) == [1, 2]


async def test_a_window_out_of_order_is_refused_and_the_stream_goes_on(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    first, second, third = agent.cut(), agent.cut(), agent.cut()
    await stream.send([first, third])
    await stream.until_refused()
    assert (stream.refused[0].seq, stream.refused[0].field) == (3, "seq")
    await stream.send([second, third])
    await stream.until_stored(3)
    assert await stored(world) == [1, 2, 3]


def _forged(window: SignedWindow, _: Agent) -> SignedWindow:
    return replace(window, signature=SigningKey(os.urandom(32)).sign(window.header))


def _changed_segment(window: SignedWindow, _: Agent) -> SignedWindow:
    first = window.segments[0]
    other = SaltedSegment(first.salt, first.body.replace(b'"free"', b'"in_use"'))
    return replace(window, segments=(other, *window.segments[1:]))


def _missing_segment(window: SignedWindow, _: Agent) -> SignedWindow:
    return replace(window, segments=window.segments[1:])


def _garbage(window: SignedWindow, agent: Agent) -> SignedWindow:
    return SignedWindow(b"\xff{", agent.key.sign(b"suanli/window/v1\n\xff{"), ())


@pytest.mark.parametrize(
    ("tamper", "field"),
    [
        (_forged, "signature"),
        (_changed_segment, "segments[0]"),
        (_missing_segment, "segments"),
        (_garbage, "window"),
    ],
)
async def test_what_was_tampered_with_is_refused(
    world: World, agent: Agent, stream: UsageStream, tamper, field: str
) -> None:
    await stream.send([tamper(agent.cut(), agent)])
    await stream.until_refused()
    assert stream.refused[0].field == field
    assert await stored(world) == []


async def test_a_window_without_one_of_the_devices_is_refused(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    agent.devices.pop()
    await stream.send([agent.cut()])
    await stream.until_refused()
    assert "idle time is time too" in stream.refused[0].detail


async def test_a_device_that_claims_to_be_a_cheaper_model_is_refused(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    agent.devices[1].model = "ascend-310p"
    await stream.send([agent.cut()])
    await stream.until_refused()
    assert stream.refused[0].field == "segments[1].device.model"
    assert await stored(world) == []


async def test_time_before_metering_and_time_to_come_are_refused(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    early = replace(agent, at_ms=agent.at_ms - 5_000)
    await stream.send([early.cut()])
    await stream.until_refused()
    assert stream.refused[0].field == "start_ms"
    late = replace(agent, window_ms=300_000, at_ms=(now_ms() // 300_000 + 5) * 300_000)
    await stream.send([late.cut()])
    await stream.until_refused(2)
    assert stream.refused[1].field == "end_ms"
    assert await stored(world) == []


async def test_windows_of_another_node_are_refused(
    world: World, gateway: RunningGateway, agent: Agent, stream: UsageStream
) -> None:
    other = Agent(name="node-2")
    await other.enrol(gateway, await world.join_token())
    await stream.send([other.cut()])
    await stream.until_refused()
    assert stream.refused[0].field == "signature"
    impostor = replace(other, key=agent.key, seq=0, prev_hash=NO_PREVIOUS)
    await stream.send([impostor.cut()])
    await stream.until_refused(2)
    assert stream.refused[1].field == "node_id"


async def test_a_key_that_is_revoked_in_mid_stream_stores_nothing_more(
    world: World, agent: Agent, stream: UsageStream
) -> None:
    await stream.send([agent.cut()])
    await stream.until_stored(1)
    await world.execute("UPDATE agent_keys SET revoked_at = now()")
    await stream.send([agent.cut()])
    await stream.until_refused()
    assert stream.refused[0].field == "key"
    assert await stored(world) == [1]


async def test_two_streams_of_one_node_keep_one_chain(
    world: World, gateway: RunningGateway, agent: Agent, stream: UsageStream
) -> None:
    windows = agent.windows_until(agent.at_ms + 8_000)
    async with agent.stubs(gateway) as stubs:
        second = UsageStream(stubs)
        await asyncio.gather(stream.send(windows), second.send(windows))
        await until(lambda: _stored_all(world, len(windows)))
        await second.close()
    assert await stored(world) == list(range(1, len(windows) + 1))
    assert not [r for r in stream.refused + second.refused if "two chains" in r.detail]


async def _stored_all(world: World, count: int) -> bool:
    return len(await stored(world)) == count


async def test_a_message_over_the_limit_ends_the_stream_and_not_the_gateway(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as stubs:
        call = stubs.usage.Upload()
        await call.write(usage_pb2.UploadRequest(header=b"x" * (9 << 20)))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        opened = UsageStream(stubs)
        await opened.send([agent.cut()])
        await opened.until_stored(1)
        await opened.close()
