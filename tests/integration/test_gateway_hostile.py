"""Agents that lie, flood, replay and leave out: refused by name, nothing of it stored, and nobody else harmed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard
from sqlalchemy import text

from agents import wire
from protos.suanli.fleet.v1 import content_pb2, control_pb2, usage_pb2
from protos.suanli.fleet.v1.content_pb2_grpc import ContentServiceStub
from protos.suanli.fleet.v1.control_pb2_grpc import ControlServiceStub
from scheduler.rpc.allowances import StreamLimits
from scheduler.rpc.control import CONNECTION_MESSAGES
from scheduler.services.evidence import node_key
from scheduler.services.windows import Intake, Sent, SentWindow, check_windows, store_windows
from scheduler.storage.direct import Direct
from scheduler.storage.engine import DatabaseAway
from scheduler.storage.segments import UNPACKED_LIMIT_BYTES, pack_segments
from suanli.evidence.keys import SigningKey
from suanli.evidence.strict_json import encode
from suanli.evidence.windows import SaltedSegment, SignedWindow, segment_commitment, window_message
from tests.builders.database import DatabaseUrls
from tests.builders.evidence import seed
from tests.builders.gateway import (
    Agent,
    RunningGateway,
    UsageStream,
    now_ms,
    running_gateway,
    until,
)
from tests.builders.ledger import World, make_keys, running_ledger


@pytest.fixture
async def world(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database_urls, make_keys(tmp_path / "keys"))
    await made.configure()
    yield made
    await made.close()


@pytest.fixture
async def gateway(world: World, database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    limits = StreamLimits(messages_per_s=20, messages_burst=40, refused_burst=10, streams=2)
    control = StreamLimits(messages_per_s=20, messages_burst=CONNECTION_MESSAGES + 40, streams=2)
    calls = StreamLimits(streams=3)
    async with running_gateway(
        database_urls.gateway, tmp_path, usage_limits=limits, control_limits=control, call_limits=calls
    ) as running:
        yield running


async def enrolled(world: World, gateway: RunningGateway, name: str = "node-1") -> Agent:
    made = Agent(name)
    await made.enrol(gateway, await world.join_token(), metering_from_ms=now_ms() - 50_000)
    return made


async def stored(world: World, agent: Agent) -> list[int]:
    rows = await world.rows(
        "SELECT seq FROM usage_intake WHERE node_id = :node ORDER BY seq", node=agent.node_id
    )
    return [row[0] for row in rows]


def forged(agent: Agent) -> SignedWindow:
    """A window that somebody else has signed; the agent's own chain does not move."""
    window = replace(agent, devices=list(agent.devices)).cut()
    return replace(window, signature=SigningKey(seed("thief")).sign(window_message(window.header)))


async def status_of(stream: UsageStream) -> tuple[grpc.StatusCode, str]:
    """How the gateway ended a stream."""
    await asyncio.wait_for(asyncio.gather(stream.reader, return_exceptions=True), 30)
    return await stream.call.code(), await stream.call.details()


async def test_a_node_that_sends_what_is_good_for_nothing_is_sent_away_and_the_others_are_not(
    world: World, gateway: RunningGateway
) -> None:
    hostile, honest = await enrolled(world, gateway, "bad"), await enrolled(world, gateway, "good")
    async with hostile.stubs(gateway) as stubs, honest.stubs(gateway) as good_stubs:
        stream, good = UsageStream(stubs), UsageStream(good_stubs)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await stream.send([forged(hostile)] * 10_000)
        await status_of(stream)  # ended; a client that still writes may not hear why, so it asks again
        assert {r.field for r in stream.refused} == {"signature"}
        code, detail = await status_of(UsageStream(stubs))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail.startswith("refused: more than 10 windows of node")
        assert "come back in" in detail
        await good.send([honest.cut(), honest.cut()])
        await good.until_stored(2)
        await good.close()
    assert await stored(world, hostile) == []
    assert await stored(world, honest) == [1, 2]


async def test_a_node_may_not_open_one_usage_stream_after_another(
    world: World, gateway: RunningGateway
) -> None:
    agent = await enrolled(world, gateway)
    async with agent.stubs(gateway) as stubs:
        first, second = UsageStream(stubs), UsageStream(stubs)
        await first.send([agent.cut()])
        await first.until_stored(1)
        await second.send([agent.cut()])
        await second.until_stored(2)
        code, detail = await status_of(UsageStream(stubs))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail.startswith("streams: ")
        await second.close()
        third = agent.cut()

        async def opens() -> bool:
            stream = UsageStream(stubs)
            try:
                await stream.send([third])
                await asyncio.wait_for(stream.until_stored(3), 5)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                return False
            finally:
                stream.call.cancel()
            return True

        await until(opens)
        await first.close()


async def test_a_flood_of_good_windows_is_paced_and_the_others_are_not(
    world: World, gateway: RunningGateway
) -> None:
    busy, calm = await enrolled(world, gateway, "busy"), await enrolled(world, gateway, "calm")
    async with busy.stubs(gateway) as busy_stubs, calm.stubs(gateway) as calm_stubs:
        flood, quiet = UsageStream(busy_stubs), UsageStream(calm_stubs)
        windows = [busy.cut() for _ in range(60)]  # 40 at once, and then 20 a second
        sending = asyncio.create_task(flood.send(windows))
        await flood.until_stored(20)
        await quiet.send([calm.cut()])
        await quiet.until_stored(1)
        assert flood.stored < 60
        await flood.until_stored(60)
        await sending
        assert flood.refused == []
        await flood.close()
        await quiet.close()
    assert await stored(world, busy) == list(range(1, 61))


async def reports(world: World, agent: Agent) -> int:
    sql = "SELECT count(*) FROM inbox WHERE kind = 'NodeReported' AND body ->> 'node_id' = :node"
    return int((await world.rows(sql, node=agent.node_id))[0][0])


async def test_a_flood_of_reports_is_paced_and_the_others_are_not(
    world: World, gateway: RunningGateway
) -> None:
    busy, calm = await enrolled(world, gateway, "busy"), await enrolled(world, gateway, "calm")
    async with busy.stubs(gateway) as busy_stubs, calm.stubs(gateway) as calm_stubs:
        flood = busy_stubs.control.Connect()
        await flood.write(busy.hello())
        await flood.read()
        for number in range(1, 81):  # 40 at once, and then 20 a second
            await flood.write(observed(number))

        async def begun() -> bool:
            return await reports(world, busy) >= 40

        await until(begun)
        quiet = calm_stubs.control.Connect()  # only now: who is silent for long is sent away
        await quiet.write(calm.hello())
        await quiet.read()
        await quiet.write(observed(1))

        async def heard() -> bool:
            return await reports(world, calm) == 1

        await until(heard)
        assert await reports(world, busy) < 80

        async def all_there() -> bool:
            return await reports(world, busy) == 80

        await until(all_there)


async def test_a_node_may_not_open_one_control_stream_after_another(
    world: World, gateway: RunningGateway
) -> None:
    agent = await enrolled(world, gateway)
    async with agent.stubs(gateway) as stubs:
        silent = [stubs.control.Connect() for _ in range(3)]  # none of them says hello
        codes = await asyncio.wait_for(
            asyncio.wait(
                [asyncio.ensure_future(call.code()) for call in silent], return_when="FIRST_COMPLETED"
            ),
            5,
        )
        [refused] = codes[0]
        assert refused.result() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in silent:
            call.cancel()


async def test_a_node_may_not_have_more_calls_at_once_than_its_part(
    world: World, gateway: RunningGateway
) -> None:
    greedy, modest = await enrolled(world, gateway, "greedy"), await enrolled(world, gateway, "modest")
    task = control_pb2.FetchTaskRequest(allocation_id="none")
    thing = content_pb2.FetchObjectRequest(allocation_id="none", sha256="00" * 32)
    async with greedy.channel(gateway) as channel, modest.stubs(gateway) as other:
        control, content = ControlServiceStub(channel), ContentServiceStub(channel)
        async with world.owner.transaction() as session:
            await session.execute(text("LOCK TABLE agent_keys"))  # no call can be answered
            calls = [
                ask(one, timeout=60)
                for ask, one in [(control.FetchTask, task), (content.FetchObject, thing)] * 20
            ]
            codes = [asyncio.ensure_future(call.code()) for call in calls]

            async def refused() -> bool:
                return sum(code.done() for code in codes) == len(calls) - 3

            await until(refused)
            assert {code.result() for code in codes if code.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            late = other.control.FetchTask(task, timeout=60)
            answer = asyncio.ensure_future(late.code())
        assert await answer is grpc.StatusCode.NOT_FOUND
        assert [await code for code in codes].count(grpc.StatusCode.NOT_FOUND) == 3
        call = control.FetchTask(task, timeout=60)  # its places are free again
        assert await call.code() is grpc.StatusCode.NOT_FOUND


def observed(number: int) -> control_pb2.ConnectRequest:
    """A state that says something new each time."""
    task = control_pb2.ObservedTask(
        allocation_id="al-1", phase=control_pb2.TASK_PHASE_RUNNING, detail=str(number)
    )
    return control_pb2.ConnectRequest(observed=control_pb2.Observed(report_seq=number, tasks=[task]))


async def test_windows_that_are_played_again_change_nothing(world: World, gateway: RunningGateway) -> None:
    agent = await enrolled(world, gateway)
    async with agent.stubs(gateway) as stubs:
        stream = UsageStream(stubs)
        windows = [agent.cut() for _ in range(5)]
        await stream.send([*windows, *reversed(windows), *windows, agent.cut()])
        await stream.until_stored(6)
        assert stream.refused == []
        await stream.close()
    assert await stored(world, agent) == [1, 2, 3, 4, 5, 6]


async def test_a_window_of_another_node_is_refused(world: World, gateway: RunningGateway) -> None:
    agent, victim = await enrolled(world, gateway, "node-1"), await enrolled(world, gateway, "node-2")
    async with agent.stubs(gateway) as stubs:
        stream = UsageStream(stubs)
        await stream.send([victim.cut()])
        await stream.until_refused()
        assert stream.refused[0].field == "signature"
        await stream.close()
    assert await stored(world, victim) == []


def resigned(
    agent: Agent, header: dict[str, Any] | None = None, segment: dict[str, Any] | None = None
) -> SignedWindow:
    """The agent's next window with other values, and every hash and signature right."""
    window = agent.cut()
    bodies = [json.loads(s.body) for s in window.segments]
    bodies[0].update(segment or {})
    salted = tuple(SaltedSegment(s.salt, encode(b)) for s, b in zip(window.segments, bodies, strict=True))
    head = json.loads(window.header)
    head["segments"] = [segment_commitment(s.salt, s.body) for s in salted]
    head.update(header or {})
    data = encode(head)
    return SignedWindow(data, agent.key.sign(window_message(data)), salted)


def long_text(limit: int) -> str:
    return "x" * limit


ABSURD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"seq": 2}, {}, "window.prev_hash"),
    ({"seq": 2**63}, {}, "window.seq"),
    ({"seq": -1}, {}, "window.seq"),
    ({"end_ms": 2**62}, {}, "window.end_ms"),
    ({"start_ms": "now"}, {}, "window.start_ms"),
    ({"boot_start_ns": 1e9}, {}, "window.number"),
    ({"segments": ["00" * 32] * 5_000}, {}, "window.segments"),
    ({"segments": ["00" * 32] * 4_000}, {}, "segments"),
    ({"agent_version": long_text(65)}, {}, "window.agent_version"),
    ({"secret": 1}, {}, "window.secret"),
    ({}, {"busy_ms": 2_000, "live_ms": 2_000}, "segments[0].live_ms"),
    ({}, {"busy_ms": 500}, "segments[0].busy_ms"),
    ({}, {"live_ms": -1}, "segments[0].segment.live_ms"),
    ({}, {"energy_mj": 2**70, "energy_method": "counter"}, "segments[0].segment.energy_mj"),
    ({}, {"utilisation_mean_ppm": 1_000_001}, "segments[0].segment.utilisation_mean_ppm"),
    ({}, {"share_ppm": 0}, "segments[0].share_ppm"),
    ({}, {"observed": "in_use"}, "segments[0].allocation_id"),
    ({}, {"samples_taken": 10**9}, "segments[0].samples_taken"),
    ({}, {"allocation_id": long_text(20_000)}, "segments[0].segment"),
    ({}, {"node_id": "another"}, "segments[0].node_id"),
]


@pytest.mark.parametrize(("header", "segment", "field"), ABSURD)
async def test_absurd_values_are_refused_by_the_name_of_their_field(
    world: World,
    gateway: RunningGateway,
    header: dict[str, Any],
    segment: dict[str, Any],
    field: str,
) -> None:
    agent = await enrolled(world, gateway)
    async with agent.stubs(gateway) as stubs:
        stream = UsageStream(stubs)
        honest = replace(agent, devices=list(agent.devices))
        await stream.send([resigned(agent, header, segment)])
        await stream.until_refused()
        assert stream.refused[0].field == field
        # The stream goes on, and so does the chain.
        await stream.send([honest.cut()])
        await stream.until_stored(1)
        await stream.close()
    assert await stored(world, agent) == [1]


async def test_a_message_beyond_every_bound_ends_the_stream_alone(
    world: World, gateway: RunningGateway
) -> None:
    agent = await enrolled(world, gateway)
    async with agent.stubs(gateway) as stubs:
        stream = UsageStream(stubs)
        await stream.send([SignedWindow(bytes(9 << 20), b"", ())])
        code, _ = await status_of(stream)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        again = UsageStream(stubs)
        await again.send([agent.cut()])
        await again.until_stored(1)
        await again.close()


FRAMES = [
    (b"no frame", "error when determining content size"),
    (zstandard.compress(bytes(UNPACKED_LIMIT_BYTES + 1)), f"{UNPACKED_LIMIT_BYTES + 1} bytes"),
    (zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100), "-1 bytes"),
    (zstandard.compress(b"x" * 100), "100 bytes"),
    (pack_segments([]) + b"more", "13 bytes"),
    (b"\x28\xb5\x2f\xfd\x20\x28" + b"\0\0\0" * 1_000_000 + b"\x41\x01\0" + bytes(40), "3000049 bytes"),
]


@pytest.mark.parametrize(
    ("packed", "got"),
    FRAMES,
    ids=["none", "a bomb", "no size", "no segments in it", "more behind it", "blocks of nothing"],
)
async def test_what_does_not_unpack_to_segments_is_refused_by_name(
    world: World, gateway: RunningGateway, packed: bytes, got: str
) -> None:
    agent = await enrolled(world, gateway)
    async with agent.stubs(gateway) as stubs:
        stream = UsageStream(stubs)
        window = replace(agent, devices=list(agent.devices)).cut()
        await stream.send_packed(window, packed)
        await stream.until_refused()
        assert (stream.refused[0].seq, stream.refused[0].field) == (1, "segments")
        assert got in stream.refused[0].detail
        await stream.send([agent.cut()])
        await stream.until_stored(1)
        await stream.close()


@pytest.fixture
async def throttled(
    world: World, database_urls: DatabaseUrls, tmp_path: Path
) -> AsyncIterator[tuple[Agent, UsageStream]]:
    """A node, and its stream to a gateway that takes a mebibyte a second of it."""
    limits = StreamLimits(bytes_per_s=1 << 20, bytes_burst=1 << 20)
    async with running_gateway(database_urls.gateway, tmp_path, usage_limits=limits) as slow:
        agent = await enrolled(world, slow)
        async with agent.stubs(slow) as stubs:
            stream = UsageStream(stubs)
            yield agent, stream
            await stream.close()


async def test_a_node_is_charged_for_what_its_segments_are_unpacked(
    throttled: tuple[Agent, UsageStream],
) -> None:
    agent, stream = throttled
    began_s, bomb = time.monotonic(), zstandard.compress(bytes(1 << 20))
    for _ in range(4):
        await stream.send_packed(replace(agent, devices=list(agent.devices)).cut(), bomb)
    await stream.until_refused(4)
    assert time.monotonic() - began_s > 1.5


def with_both(request: usage_pb2.UploadRequest) -> None:
    request.segments.append(usage_pb2.SaltedSegment(body=bytes(1 << 20)))


def with_a_long_signature(request: usage_pb2.UploadRequest) -> None:
    request.signature = bytes(1 << 20)


def with_what_nobody_knows(request: usage_pb2.UploadRequest) -> None:
    request.MergeFromString(b"\x7a" + b"\x80\x80\x40" + bytes(1 << 20))  # field 15


def with_crumbs(request: usage_pb2.UploadRequest) -> None:
    request.ClearField("packed")
    request.MergeFromString(b"\x1a\0" * (1 << 19))


WEIGHTS = [
    (with_both, "segments", "want one of both"),
    (with_a_long_signature, "signature", "got 1048576 bytes, want 64 bytes"),
    (with_what_nobody_knows, None, ""),
    (with_crumbs, "segments", "got 524288, want at most 4096"),
]


@pytest.mark.parametrize(
    ("weigh_down", "field", "detail"), WEIGHTS, ids=lambda one: getattr(one, "__name__", "")
)
async def test_a_node_is_charged_for_all_that_a_message_holds_and_what_is_no_window_is_refused_by_name(
    throttled: tuple[Agent, UsageStream],
    weigh_down: Callable[[usage_pb2.UploadRequest], None],
    field: str | None,
    detail: str,
) -> None:
    agent, stream = throttled
    began_s, window = time.monotonic(), agent.cut()
    for _ in range(4):
        request = wire.upload(window, packed=True)
        weigh_down(request)
        await stream.call.write(request)
    await stream.send([window, agent.cut()])
    await stream.until_stored(2)
    assert time.monotonic() - began_s > 2.5
    assert [(r.seq, r.field) for r in stream.refused] == ([(1, field)] * 4 if field else [])
    assert all(detail in r.detail for r in stream.refused)


async def test_crumbs_by_the_million_hold_nobody_up(world: World, gateway: RunningGateway) -> None:
    hostile, honest = await enrolled(world, gateway, "bad"), await enrolled(world, gateway, "good")
    window = hostile.cut()
    async with hostile.stubs(gateway) as stubs, honest.stubs(gateway) as good_stubs:
        stream, good = UsageStream(stubs), UsageStream(good_stubs)
        request = usage_pb2.UploadRequest(header=window.header, signature=window.signature)
        request.MergeFromString(b"\x1a\0" * 4_000_000)
        await stream.call.write(request)
        await good.send([honest.cut()])
        await good.until_stored(1)
        await stream.until_refused()
        (refused,) = stream.refused
        # By their number, so that none of them was taken out, joined or packed.
        assert (refused.seq, refused.field, refused.detail) == (
            1,
            "segments",
            "got 4000000, want at most 4096",
        )
        await stream.close()
        await good.close()


async def test_one_chain_over_two_streams_at_once_is_stored_exactly_once(
    world: World, gateway: RunningGateway, database_urls: DatabaseUrls
) -> None:
    agent = await enrolled(world, gateway)
    async with world.api.read() as session:
        key = await node_key(session, agent.node_id)
    assert key is not None
    windows = [SentWindow.of(agent.cut()) for _ in range(8)]
    doors = [Direct(database_urls.gateway, f"door-{n}") for n in range(4)]
    try:
        answers = await asyncio.gather(
            *(
                store_windows(
                    door, check_windows([Sent(key, windows), Sent(key, windows[4:])], now_ms()), lambda: None
                )
                for door in doors
            )
        )
    finally:
        for door in doors:
            await door.close()
    found = [answer for pair in answers for answer in pair]
    assert all(isinstance(a, Intake) and (a.stored_seq, a.refused) == (8, ()) for a in found)
    assert sum(a.stored for a in found if isinstance(a, Intake)) == 8
    assert await stored(world, agent) == list(range(1, 9))


async def test_the_ledger_is_told_of_what_was_stored_also_where_the_rest_fails_and_of_nothing_else(
    world: World, gateway: RunningGateway, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await enrolled(world, gateway)
    async with world.api.read() as session:
        key = await node_key(session, agent.node_id)
    assert key is not None
    bad, told = SentWindow.of(forged(agent)), list[str]()
    windows = [SentWindow.of(agent.cut()) for _ in range(4)]
    direct = Direct(database_urls.gateway, "door")
    fetch, statements = direct.fetch, list[str]()

    async def away_at_the_third(statement: str, *args: Any, **kwargs: Any) -> Any:
        statements.append(statement)
        if len(statements) == 3:
            raise DatabaseAway("gone")
        return await fetch(statement, *args, **kwargs)

    async def store(*batches: list[SentWindow]) -> None:
        checked = check_windows([Sent(key, batch) for batch in batches], now_ms())
        await store_windows(direct, checked, lambda: told.append("moved"))

    await store([bad])
    assert told == []
    with monkeypatch.context() as patched:
        patched.setattr(direct, "fetch", away_at_the_third)
        with pytest.raises(DatabaseAway):
            await store(windows[:2], windows[2:])
    assert await stored(world, agent) == [1, 2]
    assert told == ["moved"]
    await store(windows[:2])
    assert told == ["moved"]
    await world.execute("UPDATE agent_keys SET revoked_at = now()")
    await store(windows[2:])
    assert told == ["moved"]
    await direct.close()


@pytest.mark.parametrize(("column", "value"), [("segments", b"\0"), ("segments", b""), ("header", b"\0")])
async def test_a_spoiled_row_stops_its_own_chain_and_nothing_else(
    world: World,
    gateway: RunningGateway,
    database_urls: DatabaseUrls,
    tmp_path: Path,
    column: str,
    value: bytes,
) -> None:
    broken, whole = await enrolled(world, gateway, "broken"), await enrolled(world, gateway, "whole")
    async with broken.stubs(gateway) as broken_stubs, whole.stubs(gateway) as whole_stubs:
        one, other = UsageStream(broken_stubs), UsageStream(whole_stubs)
        await one.send([broken.cut(), broken.cut(), broken.cut()])
        await other.send([whole.cut(), whole.cut()])
        await one.until_stored(3)
        await other.until_stored(2)
        await world.execute(
            f"UPDATE usage_intake SET {column} = :value WHERE seq = 2 AND key_id = :key",  # noqa: S608
            value=value,
            key=broken.key.key_id,
        )
        async with running_ledger(database_urls.ledger, make_keys(tmp_path / "keys"), tmp_path / "log"):
            await other.until_acknowledged(2)
            await one.until_acknowledged(1)
            await other.send([whole.cut()])
            await other.until_acknowledged(3)
            assert await stored(world, broken) == [2, 3]
            logged = await world.rows(
                "SELECT seq FROM log_entries WHERE node_id IS NOT NULL ORDER BY log_index"
            )
            assert sorted(row[0] for row in logged) == [1, 1, 2, 3]
        await one.close()
        await other.close()
