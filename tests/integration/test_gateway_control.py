"""Control streams over mutual TLS: desired state down, observed state up, and who is connected."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from agents.settings import UNDERSTANDS
from protos.suanli.fleet.v1 import control_pb2, node_pb2
from scheduler.storage.pokes import Channel, poke
from tests.builders.database import DatabaseServer, DatabaseUrls, as_superuser
from tests.builders.gateway import Agent, RunningGateway, Stubs, make_pki, now_ms, running_gateway
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


async def connect(
    stubs: Stubs, agent: Agent, **changes: object
) -> grpc.aio.StreamStreamCall[control_pb2.ConnectRequest, control_pb2.ConnectResponse]:
    """A stream whose hello was welcomed."""
    call = stubs.control.Connect()
    await call.write(agent.hello(**changes))
    answer = await call.read()
    assert answer.WhichOneof("message") == "welcome"
    return call


async def messages(world: World, kind: str) -> list[dict]:
    """Bodies of a kind in the controller's inbox."""
    return [
        row[0] for row in await world.rows("SELECT body FROM inbox WHERE kind = :k ORDER BY inbox_id", k=kind)
    ]


async def node_state(world: World, agent: Agent, generation: int, term: int = 1) -> None:
    """What the controller would commit, with its poke."""
    async with world.owner.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO node_states (node_id, state, generation, leader_term, changed_ms)"
                " VALUES (:n, 'connected', :g, :t, 0) ON CONFLICT (node_id)"
                " DO UPDATE SET generation = :g, leader_term = :t"
            ),
            {"n": agent.node_id, "g": generation, "t": term},
        )
        await poke(session, Channel.DESIRED, agent.node_id)


async def read_desired(call) -> control_pb2.Desired:
    """The next desired state of a stream."""
    answer = await asyncio.wait_for(call.read(), 20)
    assert answer.WhichOneof("message") == "desired"
    return answer.desired


def observed(
    report_seq: int, *tasks: control_pb2.ObservedTask, **changes: object
) -> control_pb2.ConnectRequest:
    """An observed state."""
    return control_pb2.ConnectRequest(
        observed=control_pb2.Observed(
            leader_term=1, generation=3, report_seq=report_seq, tasks=list(tasks), **changes
        )
    )


RUNNING = control_pb2.ObservedTask(allocation_id="al-1", phase=control_pb2.TASK_PHASE_RUNNING, started_ms=5)


async def test_a_hello_is_welcomed_and_told_to_the_controller(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    sick = node_pb2.DeviceClaims()
    sick.CopyFrom(agent.devices[1])
    sick.health = node_pb2.DEVICE_HEALTH_FAULTY
    async with agent.stubs(gateway) as stubs:
        call = stubs.control.Connect()
        await call.write(agent.hello(devices=[agent.devices[0], sick], understands=UNDERSTANDS))
        welcome = (await call.read()).welcome
        assert (welcome.protocol, welcome.heartbeat_ms) == (1, 500)
        assert abs(welcome.now_ms - now_ms()) < 60_000
        await until(lambda: _count(world, "NodeConnected"))
        body = (await messages(world, "NodeConnected"))[0]
        call.cancel()
    assert body["node_id"] == agent.node_id
    assert body["gateway_id"] == "gateway-1"
    assert body["isolation"] == "uid"
    assert body["understands"] == list(UNDERSTANDS)
    assert body["unhealthy"] == {agent.devices[1].device_id: "faulty"}


async def _count(world: World, kind: str, count: int = 1) -> bool:
    return len(await messages(world, kind)) >= count


async def test_a_starting_gateway_says_so_before_any_node_connects(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as stubs:
        await connect(stubs, agent)
        await until(lambda: _count(world, "NodeConnected"))
    kinds = [row[0] for row in await world.rows("SELECT kind FROM inbox ORDER BY inbox_id")]
    assert kinds.index("GatewayStarted") < kinds.index("NodeConnected")
    found = await world.rows("SELECT fleet_address, now() - seen_at < interval '10 seconds' FROM gateways")
    assert found == [(gateway.fleet, True)]


async def test_a_starting_gateway_drops_those_that_are_long_dead_from_the_register(
    world: World, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    for name, hours in (("killed-yesterday", 25), ("cut-off-just-now", 1)):
        await world.execute(
            "INSERT INTO gateways (gateway_id, seen_at, enrolment_address, fleet_address)"
            " VALUES (:name, now() - make_interval(hours => :hours), '', '')",
            name=name,
            hours=hours,
        )
    async with running_gateway(database_urls.gateway, tmp_path):
        found = await world.rows("SELECT gateway_id FROM gateways ORDER BY gateway_id")
        assert found == [("cut-off-just-now",), ("gateway-1",)]


async def test_desired_state_is_pushed_when_it_changes(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        await node_state(world, agent, generation=1)
        assert (await read_desired(call)).tasks == []

        await world.allocate("al-1", agent.node_id, [agent.devices[0].device_id], now_ms())
        await world.execute("UPDATE attempts SET master_address = '10.0.0.1', master_port = 4000")
        await node_state(world, agent, generation=2)
        desired = await read_desired(call)
        assert (desired.leader_term, desired.generation) == (1, 2)
        [task] = desired.tasks
        assert (task.allocation_id, task.goal) == ("al-1", control_pb2.TASK_GOAL_RUN)
        assert (task.master_address, task.master_port) == ("10.0.0.1", 4000)

        await world.execute("UPDATE allocations SET goal = 'stop', stop_reason = 'cancelled'")
        await node_state(world, agent, generation=3)
        [task] = (await read_desired(call)).tasks
        assert (task.goal, task.reason, task.master_port) == (control_pb2.TASK_GOAL_STOP, "cancelled", 0)

        await world.execute("UPDATE allocations SET live = false")
        await node_state(world, agent, generation=4)
        assert (await read_desired(call)).tasks == []


async def test_a_lost_poke_only_delays_the_desired_state(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    await node_state(world, agent, generation=1)
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        assert (await read_desired(call)).generation == 1
        await world.execute("UPDATE node_states SET generation = 2")
        assert (await read_desired(call)).generation == 2


async def test_desired_state_of_one_node_is_not_pushed_to_another(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    other = Agent(name="node-2")
    await other.enrol(gateway, await world.join_token())
    await world.allocate("al-1", agent.node_id, [agent.devices[0].device_id], now_ms())
    async with agent.stubs(gateway) as mine, other.stubs(gateway) as theirs:
        call, second = await connect(mine, agent), await connect(theirs, other)
        await node_state(world, agent, generation=1)
        await node_state(world, other, generation=1)
        assert [task.allocation_id for task in (await read_desired(call)).tasks] == ["al-1"]
        assert (await read_desired(second)).tasks == []


async def test_observed_states_reach_the_inbox_only_when_they_say_something_new(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    failed = control_pb2.ObservedTask(
        allocation_id="al-1",
        phase=control_pb2.TASK_PHASE_ENDED,
        started_ms=5,
        ended_ms=9,
        exit_code=137,
        end_reason="out_of_memory",
        detail="killed\0 by the kernel",
        step_report=control_pb2.StepReport(step=7, of=100, loss_micros=-5, at_ms=8),
    )
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        for message in (
            observed(1, RUNNING),
            observed(2, RUNNING),
            control_pb2.ConnectRequest(heartbeat=control_pb2.Heartbeat(now_ms=now_ms())),
            observed(3, failed),
        ):
            await call.write(message)
        await until(lambda: _count(world, "NodeReported", 2))
        first, second = await messages(world, "NodeReported")
    assert (first["report_seq"], second["report_seq"]) == (1, 3)
    assert first["tasks"][0]["phase"] == "running"
    [task] = second["tasks"]
    assert (task["exit_code"], task["end_reason"], task["step_report"]["loss_micros"]) == (
        137,
        "out_of_memory",
        -5,
    )
    assert "\0" not in task["detail"]


async def test_the_end_of_a_stream_is_told_once(world: World, gateway: RunningGateway, agent: Agent) -> None:
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        await until(lambda: _count(world, "NodeConnected"))
        call.cancel()
        await until(lambda: _count(world, "NodeDisconnected"))
    [body] = await messages(world, "NodeDisconnected")
    assert (body["node_id"], body["gateway_id"]) == (agent.node_id, "gateway-1")


async def test_a_newer_stream_of_a_node_replaces_the_older_one_without_a_disconnection(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as old_stubs, agent.stubs(gateway) as new_stubs:
        old = await connect(old_stubs, agent)
        await until(lambda: _count(world, "NodeConnected"))
        new = await connect(new_stubs, agent, boot_id="boot-2")
        assert await old.code() is grpc.StatusCode.UNAVAILABLE
        await node_state(world, agent, generation=1)
        assert (await read_desired(new)).generation == 1
        assert await messages(world, "NodeDisconnected") == []
        assert [body["boot_id"] for body in await messages(world, "NodeConnected")] == ["boot-1", "boot-2"]


async def test_an_agent_that_falls_silent_counts_as_gone(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: _count(world, "NodeDisconnected"))


async def test_protocols_that_do_not_meet_are_refused(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as stubs:
        call = stubs.control.Connect()
        await call.write(agent.hello(protocol_min=2, protocol_max=9))
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "2 to 9" in await call.details()
    assert await messages(world, "NodeConnected") == []


HOSTILE = {
    "observed first": (observed(1), grpc.StatusCode.INVALID_ARGUMENT),
    "nothing in it": (control_pb2.ConnectRequest(), grpc.StatusCode.INVALID_ARGUMENT),
    "another node": (
        control_pb2.ConnectRequest(
            hello=control_pb2.Hello(node_id="somebody", protocol_min=1, protocol_max=1)
        ),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_wrong_first_message_ends_the_stream(
    world: World, gateway: RunningGateway, agent: Agent, case: str
) -> None:
    message, status = HOSTILE[case]
    async with agent.stubs(gateway) as stubs:
        call = stubs.control.Connect()
        await call.write(message)
        assert await call.code() is status
    assert await messages(world, "NodeConnected") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": [control_pb2.ObservedTask(allocation_id="a", phase=99)]},
        {"tasks": [control_pb2.ObservedTask(allocation_id="", phase=3)]},
        {"tasks": [RUNNING, RUNNING]},
        {"tasks": [control_pb2.ObservedTask(allocation_id="a", phase=5, end_reason="boredom")]},
        {"tasks": [control_pb2.ObservedTask(allocation_id="a", phase=3, started_ms=-1)]},
        {
            "tasks": [
                control_pb2.ObservedTask(allocation_id="a", phase=5, end_reason="exited", log_pattern=16)
            ]
        },
        {"generation": 2**64 - 1},
        {"unhealthy_devices": [node_pb2.DeviceClaims(device_id="x", health=3)]},
    ],
    ids=["phase", "no id", "twice", "reason", "time", "pattern", "generation", "device"],
)
async def test_hostile_reports_end_the_stream_and_not_the_gateway(
    world: World, gateway: RunningGateway, agent: Agent, changes: dict
) -> None:
    message = observed(1)
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(message.observed, name).extend(value)
        else:
            setattr(message.observed, name, value)
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        await call.write(message)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await messages(world, "NodeReported") == []
        again = await connect(stubs, agent)
        await again.write(observed(2, RUNNING))
        await until(lambda: _count(world, "NodeReported"))


async def test_fetched_tasks_hold_what_the_job_asked_for(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    devices = [device.device_id for device in agent.devices]
    await world.allocate("al-1", agent.node_id, devices, now_ms(), command=["python", "train.py", "--lr=1"])
    async with agent.stubs(gateway) as stubs:
        task = await stubs.control.FetchTask(control_pb2.FetchTaskRequest(allocation_id="al-1"), timeout=20)
    assert task.command == ["python", "train.py", "--lr=1"]
    assert (task.firm_id, task.job_id, task.attempt, task.rank, task.gang_size) == (
        "firm-a",
        "job-1",
        1,
        0,
        1,
    )
    assert (list(task.device_indices), task.device_model, task.processes) == ([0, 1], "ascend-910b3", 2)
    assert (task.grace_ms, task.model_checkpoint) == (30_000, False)
    assert await world.rows("SELECT uid FROM firms") == [(task.firm_uid,)]


async def test_an_agent_that_would_pass_over_what_a_task_asks_for_does_not_get_it(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    devices = [device.device_id for device in agent.devices]
    await world.allocate("al-1", agent.node_id, devices, now_ms())
    more = '{"outputs": [{"path": "out/**/*.bin"}]}'
    await world.execute("UPDATE jobs SET spec = spec || CAST(:more AS jsonb)", more=more)
    older = control_pb2.FetchTaskRequest(allocation_id="al-1", understands=["object_stores"])
    newer = control_pb2.FetchTaskRequest(allocation_id="al-1", understands=UNDERSTANDS)
    async with agent.stubs(gateway) as stubs:
        with pytest.raises(grpc.aio.AioRpcError, match="agent is older than output patterns"):
            await stubs.control.FetchTask(older, timeout=20)
        task = await stubs.control.FetchTask(newer, timeout=20)
    assert list(task.outputs) == ["out/**/*.bin"]


@pytest.mark.parametrize("asked", ["al-1", "al-none", "", "a\0b", "x" * 1000])
async def test_a_node_cannot_fetch_what_is_not_its_own(
    world: World, gateway: RunningGateway, agent: Agent, asked: str
) -> None:
    other = Agent(name="node-2")
    await other.enrol(gateway, await world.join_token())
    await world.allocate("al-1", other.node_id, [other.devices[0].device_id], now_ms())
    async with agent.stubs(gateway) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.control.FetchTask(control_pb2.FetchTaskRequest(allocation_id=asked), timeout=20)
    assert caught.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_certificate_of_another_authority_does_not_connect(
    world: World, gateway: RunningGateway, agent: Agent, tmp_path: Path
) -> None:
    foreign_pki = make_pki(tmp_path / "foreign")
    impostor = replace(agent, certificate_pem=foreign_pki.server_certificate.read_bytes())
    async with impostor.stubs(gateway) as stubs:
        call = stubs.control.Connect()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE  # the handshake fails: no status of ours
    assert await messages(world, "NodeConnected") == []


async def test_the_gateways_own_certificate_names_no_node(
    world: World, gateway: RunningGateway, agent: Agent, tmp_path: Path
) -> None:
    config = gateway.config
    impostor = replace(agent, certificate_pem=config.server_certificate.read_bytes())
    impostor.tls_key = _load_key(config.server_key)
    async with impostor.stubs(gateway) as stubs:
        call = stubs.control.Connect()
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


def _load_key(path: Path):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(path.read_bytes(), None)


async def test_a_revoked_node_loses_its_stream_and_gets_no_other(
    world: World, gateway: RunningGateway, agent: Agent
) -> None:
    async with agent.stubs(gateway) as stubs:
        call = await connect(stubs, agent)
        beats = asyncio.create_task(_beat(call))
        await until(lambda: _count(world, "NodeConnected"))
        await world.execute("UPDATE agent_keys SET revoked_at = now()")
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert "revoked" in await call.details()
        await beats
        again = stubs.control.Connect()
        assert await again.code() is grpc.StatusCode.PERMISSION_DENIED


async def _beat(call) -> None:
    while not call.done():
        try:
            await call.write(control_pb2.ConnectRequest(heartbeat=control_pb2.Heartbeat()))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return
        await asyncio.sleep(0.05)


async def test_without_a_database_agents_are_told_to_come_back(
    world: World,
    gateway: RunningGateway,
    agent: Agent,
    database_server: DatabaseServer,
    database_urls: DatabaseUrls,
) -> None:
    administrator = psycopg.connect(as_superuser(database_server, "postgres"), autocommit=True)
    name = sql.Identifier(database_urls.name)
    try:
        administrator.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(name))
        database_server.kill_connections(database_urls.name)
        async with agent.stubs(gateway) as stubs:
            call = stubs.control.Connect()
            await call.write(agent.hello())
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        administrator.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(name))
        async with agent.stubs(gateway) as stubs:
            await connect(stubs, agent)
    finally:
        administrator.close()
