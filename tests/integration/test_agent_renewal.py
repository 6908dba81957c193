"""A node's TLS certificate is renewed in time, over the identity that the node has."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from cryptography import x509

from agents.renewal import seconds_left
from tests.builders.agent_gateway import TestGateway
from tests.builders.agents import AgentProcess, running_agent


def certificate(agent: AgentProcess) -> x509.Certificate:
    return x509.load_pem_x509_certificate((agent.state / "tls.crt").read_bytes())


async def until_ended(pem: bytes) -> None:
    async with asyncio.timeout(60):
        while seconds_left(pem, datetime.now(UTC))[1] > 0:
            await asyncio.sleep(0.05)


async def test_a_certificate_is_renewed_before_it_ends_and_the_node_comes_back_with_the_new_one() -> None:
    gateway = TestGateway(certificate_life_s=12)
    async with AsyncExitStack() as first_life, AsyncExitStack() as host:
        await first_life.enter_async_context(gateway.serving())
        agent = await host.enter_async_context(running_agent(gateway))
        first = (agent.state / "tls.crt").read_bytes()
        gateway.certificate_life_s = 86_400
        await gateway.until(lambda: bool(gateway.renewals), "the agent asks for another certificate", 60)
        await until_ended(first)
        assert len(gateway.hellos) == 1  # streams that ran went on
        port = gateway.fleet_port
        await first_life.aclose()
        async with gateway.serving(port):
            await gateway.until(lambda: len(gateway.hellos) > 1, "the agent connects with the new one", 60)


async def test_renewal_is_tried_again_until_the_gateway_gives_one() -> None:
    gateway = TestGateway(certificate_life_s=20, renew=False)
    async with gateway.serving(), running_agent(gateway) as agent:
        before = certificate(agent).serial_number
        await gateway.until(lambda: len(gateway.renewals) > 1, "the agent asks again", 60)
        gateway.renew, gateway.certificate_life_s = True, 86_400
        async with asyncio.timeout(60):
            while certificate(agent).serial_number == before:
                await asyncio.sleep(0.05)
        assert "could not be renewed: not now" in agent.log()


async def test_a_host_that_was_away_until_its_certificate_had_ended_enrols_again_as_the_same_node() -> None:
    gateway = TestGateway(certificate_life_s=4, renew=False)
    async with gateway.serving(), running_agent(gateway) as agent:
        await agent.signal(signal.SIGTERM)
        await until_ended((agent.state / "tls.crt").read_bytes())
        gateway.certificate_life_s = 86_400
        await agent.start()
        await agent.connected()
        first, again = gateway.enrolments
        assert first.public_key == again.public_key
        assert [device.device_id for device in again.devices] == [
            device.device_id for device in gateway.hellos[-1].devices
        ]


async def test_an_ended_certificate_without_a_token_is_said_with_what_to_do() -> None:
    gateway = TestGateway(certificate_life_s=4, renew=False)
    async with gateway.serving(), running_agent(gateway) as agent:
        await agent.signal(signal.SIGTERM)
        await until_ended((agent.state / "tls.crt").read_bytes())
        (agent.folder / "token").unlink()
        await agent.start()
        assert agent.process is not None
        async with asyncio.timeout(60):
            assert await agent.process.wait() == 2
        assert "join token" in agent.log().splitlines()[-1]
