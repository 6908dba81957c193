"""Enrolment over real TLS: who becomes a node, and who does not."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protos.suanli.fleet.v1 import control_pb2
from tests.builders.database import DatabaseUrls
from tests.builders.gateway import (
    Agent,
    RunningGateway,
    another_server_pair,
    claims,
    make_pki,
    now_ms,
    running_gateway,
)
from tests.builders.ledger import World, make_keys


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


async def refused(
    agent: Agent, gateway: RunningGateway, token: str, **changes: object
) -> grpc.aio.AioRpcError:
    """The error that enrolment ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.enrol(gateway, token, **changes)
    return caught.value


async def test_a_host_with_a_join_token_becomes_a_node(world: World, gateway: RunningGateway) -> None:
    agent = Agent()
    answer = await agent.enrol(gateway, await world.join_token())

    certificate = x509.load_pem_x509_certificate(answer.certificate_pem)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == answer.node_id
    assert certificate.public_key() == agent.tls_key.public_key()
    assert [device.index for device in answer.devices] == [0, 1]
    assert answer.window_ms == 1_000
    assert await world.rows("SELECT node_id, name, pool, metering_from_ms FROM nodes") == [
        (answer.node_id, "node-1", "pool-a", answer.metering_from_ms)
    ]
    assert await world.rows("SELECT key_id, stored_seq FROM agent_keys") == [(agent.key.key_id, 0)]
    found = await world.rows(
        "SELECT count(*) FROM inbox WHERE kind = 'NodeEnrolled' AND body->>'node_id' = :n", n=answer.node_id
    )
    assert found == [(1,)]


async def test_key_and_devices_are_left_for_the_evidence_log(world: World, gateway: RunningGateway) -> None:
    agent = Agent()
    answer = await agent.enrol(gateway, await world.join_token())

    facts = await world.rows(
        "SELECT fact, type, signature FROM evidence_intake "
        "WHERE type NOT IN ('firm', 'administrative_act') ORDER BY intake_id"
    )
    assert facts == [
        (f"key/{agent.key.key_id}/added", "key_event", None),
        *((f"device/{device.device_id}/enrolled", "device_event", None) for device in answer.devices),
    ]


async def test_asking_again_with_the_same_key_changes_nothing_even_when_the_token_is_used_up(
    world: World, gateway: RunningGateway
) -> None:
    agent = Agent()
    token = await world.join_token(uses=1)
    first = await agent.enrol(gateway, token)
    again = await agent.enrol(gateway, token)

    assert (again.node_id, again.metering_from_ms) == (first.node_id, first.metering_from_ms)
    assert [d.device_id for d in again.devices] == [d.device_id for d in first.devices]
    assert await world.rows("SELECT count(*) FROM nodes") == [(1,)]
    assert await world.rows("SELECT count(*) FROM evidence_intake WHERE type = 'key_event'") == [(1,)]
    assert await world.rows("SELECT uses_left FROM join_tokens") == [(0,)]


async def test_hosts_that_enrol_at_once_use_up_exactly_what_the_token_allows(
    world: World, gateway: RunningGateway
) -> None:
    token = await world.join_token(uses=2)
    agents = [Agent(name=f"node-{n}") for n in range(5)]
    outcomes = await asyncio.gather(
        *(agent.enrol(gateway, token) for agent in agents), return_exceptions=True
    )

    errors = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(errors) == 3
    assert {error.code() for error in errors} == {grpc.StatusCode.UNAUTHENTICATED}
    assert await world.rows("SELECT count(*) FROM nodes") == [(2,)]


async def test_an_unknown_token_is_refused(world: World, gateway: RunningGateway) -> None:
    error = await refused(Agent(), gateway, "sjt_" + "A" * 43)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "no such join token" in error.details()
    assert await world.rows("SELECT count(*) FROM nodes") == [(0,)]


async def test_an_expired_token_is_refused(world: World, gateway: RunningGateway) -> None:
    token = await world.join_token()
    await world.execute("UPDATE join_tokens SET expires_at = now() - interval '1 second'")
    error = await refused(Agent(), gateway, token)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "expired" in error.details()


async def test_a_name_that_another_key_holds_is_refused(world: World, gateway: RunningGateway) -> None:
    token = await world.join_token()
    await Agent().enrol(gateway, token)
    error = await refused(Agent(), gateway, token)
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "node-1" in error.details()


async def test_a_proof_of_another_key_is_refused(world: World, gateway: RunningGateway) -> None:
    agent, other = Agent(), Agent()
    proof = other.key.sign(b"suanli/enrol/v1\nnode-1")
    error = await refused(agent, gateway, await world.join_token(), proof=proof)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_clock_that_is_off_is_told_by_how_much(world: World, gateway: RunningGateway) -> None:
    error = await refused(Agent(), gateway, await world.join_token(), metering_from_ms=now_ms() - 120_000)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "synchronise" in error.details()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"devices": []}, "devices"),
        ({"devices": [claims(0), claims(0)]}, "devices[1].index"),
        ({"devices": [claims(0, serial="a\0b")]}, "devices[0].serial"),
        ({"devices": [claims(0, model="")]}, "devices[0].model"),
        ({"devices": [claims(0, memory_bytes=2**64 - 1)]}, "devices[0].memory_bytes"),
        ({"devices": [claims(0, fast_link_group=2**32 - 1)]}, "devices[0].fast_link_group"),
        ({"node_name": "../../etc"}, "node_name"),
        ({"public_key": b"short"}, "public_key"),
        ({"metering_from_ms": -1}, "metering_from_ms"),
        ({"certificate_request_pem": b"-----BEGIN CERTIFICATE REQUEST-----"}, "certificate_request_pem"),
    ],
)
async def test_malformed_applications_name_the_field(
    world: World, gateway: RunningGateway, changes: dict[str, object], named: str
) -> None:
    error = await refused(Agent(), gateway, await world.join_token(), **changes)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert named in error.details()
    assert await world.rows("SELECT count(*) FROM nodes") == [(0,)]


async def test_a_tls_key_of_another_curve_is_refused(world: World, gateway: RunningGateway) -> None:
    agent = Agent(tls_key=ec.generate_private_key(ec.SECP384R1()))
    error = await refused(agent, gateway, await world.join_token())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_revoked_key_does_not_enrol_again(world: World, gateway: RunningGateway) -> None:
    agent, token = Agent(), await world.join_token()
    await agent.enrol(gateway, token)
    await world.execute("UPDATE agent_keys SET revoked_at = now()")
    error = await refused(agent, gateway, token)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "revoked" in error.details()


async def test_a_host_that_comes_back_with_other_devices_is_refused(
    world: World, gateway: RunningGateway
) -> None:
    agent, token = Agent(), await world.join_token()
    await agent.enrol(gateway, token)
    error = await refused(agent, gateway, token, devices=[claims(0)])
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS


def renewal(agent: Agent, by: Agent | None = None) -> control_pb2.RenewCertificateRequest:
    """What a node sends for another certificate, proved by its own key or another's."""
    request = agent.request_pem()
    proof = (by or agent).key.sign(b"suanli/renew/v1\n" + request)
    return control_pb2.RenewCertificateRequest(certificate_request_pem=request, proof=proof)


async def test_a_node_renews_its_certificate_over_the_identity_that_it_has(
    world: World, gateway: RunningGateway
) -> None:
    agent = Agent()
    await agent.enrol(gateway, await world.join_token())
    old = x509.load_pem_x509_certificate(agent.certificate_pem)
    async with agent.stubs(gateway) as stubs:
        answer = await stubs.control.RenewCertificate(renewal(agent), timeout=20)
    new = x509.load_pem_x509_certificate(answer.certificate_pem)
    assert (new.subject, new.public_key()) == (old.subject, old.public_key())
    assert new.serial_number != old.serial_number
    assert new.not_valid_after_utc >= old.not_valid_after_utc
    agent.certificate_pem = answer.certificate_pem
    async with agent.stubs(gateway) as stubs:
        await stubs.control.RenewCertificate(renewal(agent), timeout=20)


async def test_who_has_stolen_the_tls_key_alone_does_not_renew_it(
    world: World, gateway: RunningGateway
) -> None:
    agent, thief = Agent(), Agent()
    await agent.enrol(gateway, await world.join_token())
    async with agent.stubs(gateway) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.control.RenewCertificate(renewal(agent, by=thief), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await world.execute("UPDATE agent_keys SET revoked_at = now()")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.control.RenewCertificate(renewal(agent), timeout=20)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def shown(address: str) -> str:
    """The certificate that a port shows to whoever connects, PEM."""
    host, _, port = address.rpartition(":")
    return (await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=20)).strip()


async def test_a_renewed_certificate_of_the_gateway_is_used_without_a_restart(
    world: World, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    pki = make_pki(tmp_path / "pki")
    certificate, key = another_server_pair(pki)
    async with running_gateway(database_urls.gateway, tmp_path, pki) as gateway:
        first = pki.server_certificate.read_text().strip()
        assert await shown(gateway.enrolment) == first
        pki.server_key.write_bytes(key)  # half of a pair is none: the one before goes on
        assert await shown(gateway.enrolment) == first
        pki.server_certificate.write_bytes(certificate)
        assert await shown(gateway.enrolment) == certificate.decode().strip()
        agent = Agent()
        await agent.enrol(gateway, await world.join_token())
        assert await shown(gateway.fleet) == certificate.decode().strip()
