"""The connection to the gateway: one channel with mutual TLS, three streams that each come back by themselves.

Nothing here decides anything: desired states go to the node, observed states come from it.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import grpc
import grpc.aio

from agents import wire
from agents.core.messages import DesiredArrived
from agents.live_task import FetchRefused
from agents.refusals import SpoolFull
from agents.runtime.spec import TaskSpec
from agents.settings import UNDERSTANDS
from protos.suanli.fleet.v1 import control_pb2, control_pb2_grpc, tunnel_pb2

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
SAY_AGAIN_S = 60.0
OBSERVED_PERIOD_S = 10.0
OBSERVED_GAP_S = 0.005
DEFAULT_HEARTBEAT_S = 5.0
FETCH_TIMEOUT_S = 10.0
CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.enable_retries", 0),
    # Without this, channels to one address share a connection, and bulk would stand in control's way.
    ("grpc.use_local_subchannel_pool", 1),
)
# RESOURCE_EXHAUSTED: this node asks for too much at once.
RETRIED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_log = logging.getLogger("agents.link")


class Node(Protocol):
    """What the control stream needs of the node."""

    def hello(self) -> control_pb2.Hello:
        """First message of a stream."""
        ...

    def observed(self) -> control_pb2.Observed:
        """The node as it is. Raises SpoolFull."""
        ...

    def desired(self, message: DesiredArrived) -> None:
        """A desired state arrived."""
        ...

    def seen_checkpoint(self, note: bytes) -> None:
        """A log checkpoint arrived."""
        ...

    def open_tunnel(self, order: tunnel_pb2.OpenTunnel) -> None:
        """A tunnel into a task is asked for."""
        ...

    def greeted(self) -> None:
        """The gateway answered: other streams need not wait."""
        ...


class Backoff:
    """Pauses between attempts: doubling, with jitter, so that a fleet does not come back in step."""

    def __init__(self, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

        self._hurry = asyncio.Event()

    def reset(self) -> None:
        """It worked."""
        self._next_s = self._first_s

    def hurry(self) -> None:
        """There is reason to think that the next attempt will work: end the pause."""
        self.reset()
        self._hurry.set()

    async def pause(self) -> None:
        """Until the next attempt."""
        pause_s = self._next_s
        self._next_s = min(self._longest_s, pause_s * 2)
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(pause_s / 2, pause_s)):  # noqa: S311 - jitter
                await self._hurry.wait()


@dataclass
class NowAndThen:
    """Says the same sentence once a while only."""

    logger: logging.Logger
    period_s: float = SAY_AGAIN_S
    _said: str = ""
    _at_s: float = float("-inf")

    def say(self, sentence: str) -> None:
        """Warn, unless this was said within the period."""
        now_s = time.monotonic()
        if sentence != self._said or now_s - self._at_s >= self.period_s:
            self.logger.warning("%s", sentence)
            self._said, self._at_s = sentence, now_s

    def over(self) -> None:
        """It is well again."""
        self._said = ""


def open_channel(
    target: str, authority_pem: bytes, key_pem: bytes, certificate_pem: bytes
) -> grpc.aio.Channel:
    """A channel to the gateway on which both sides prove themselves; each has a connection of its own."""
    credentials = grpc.ssl_channel_credentials(authority_pem, key_pem, certificate_pem)
    return grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)


async def keep_up(name: str, run: Callable[[], Awaitable[None]], backoff: Backoff) -> None:
    """Run a stream again and again; a broken one is said once a while, never an error of the agent."""
    saying = NowAndThen(_log)
    while True:
        began_s = time.monotonic()
        try:
            await run()
            why = "the gateway ended it"
        except grpc.aio.AioRpcError as error:
            why = f"{error.code().name}: {error.details()}"
        if time.monotonic() - began_s > LONGEST_PAUSE_S:
            backoff.reset()
        saying.say(f"{name}: {why}; trying again")
        await backoff.pause()


class FleetChannel:
    """The channel to the gateway. With a new certificate there is a new one: streams take it when they begin
    anew, and those that run go on over the old one, whose certificate was good when it was opened.
    """

    def __init__(self, target: str, authority_pem: bytes, key_pem: bytes, certificate_pem: bytes) -> None:
        self._open: Callable[[bytes], grpc.aio.Channel] = lambda pem: open_channel(
            target, authority_pem, key_pem, pem
        )
        self._certificate_pem = certificate_pem
        self._channels = [self.another()]

    @property
    def now(self) -> grpc.aio.Channel:
        """The newest."""
        return self._channels[-1]

    def certify(self, certificate_pem: bytes) -> None:
        """From now on with this certificate."""
        self._certificate_pem = certificate_pem
        self._channels.append(self.another())

    def another(self) -> grpc.aio.Channel:
        """One more, for whoever must not share a connection with the streams; theirs to close."""
        return self._open(self._certificate_pem)

    async def close(self) -> None:
        """End every stream."""
        for channel in self._channels:
            await channel.close()


class ControlLink:
    """The control stream of one node."""

    def __init__(self, channel: FleetChannel, node: Node) -> None:
        self._channel = channel
        self._node = node
        self._changed = asyncio.Event()
        self._heartbeat_s = DEFAULT_HEARTBEAT_S
        self.connected = False

    def _stub(self) -> control_pb2_grpc.ControlServiceStub:
        return control_pb2_grpc.ControlServiceStub(self._channel.now)  # type: ignore[no-untyped-call]

    def report(self) -> None:
        """The observed state changed."""
        self._changed.set()

    async def run(self) -> None:
        """One stream from hello to its end. Raises grpc.aio.AioRpcError."""
        greeted = asyncio.Event()
        self._changed.set()
        call = self._stub().Connect(self._requests(greeted))
        try:
            async for answer in call:
                kind = answer.WhichOneof("message")
                if kind == "welcome":
                    self._welcome(answer.welcome)
                    greeted.set()
                elif kind == "desired":
                    self._desired(answer.desired)
                elif kind == "open_tunnel":
                    self._node.open_tunnel(answer.open_tunnel)
        finally:
            self.connected = False
            call.cancel()

    def _welcome(self, welcome: control_pb2.Welcome) -> None:
        self.connected = True
        self._heartbeat_s = (
            max(0.05, welcome.heartbeat_ms / 1000) if welcome.heartbeat_ms else DEFAULT_HEARTBEAT_S
        )
        if welcome.log_checkpoint:
            self._node.seen_checkpoint(welcome.log_checkpoint)
        _log.info("connected to the gateway")
        self._node.greeted()

    def _desired(self, message: control_pb2.Desired) -> None:
        try:
            self._node.desired(wire.desired(message))
        except ValueError as error:
            _log.error("a desired state was not understood: %s", error)

    async def _requests(self, greeted: asyncio.Event) -> AsyncIterator[control_pb2.ConnectRequest]:
        yield control_pb2.ConnectRequest(hello=self._node.hello())
        await greeted.wait()
        loop = asyncio.get_running_loop()
        observed_s = 0.0
        while True:
            if self._changed.is_set() or loop.time() - observed_s >= OBSERVED_PERIOD_S:
                self._changed.clear()
                observed_s = loop.time()
                try:
                    yield control_pb2.ConnectRequest(observed=self._node.observed())
                except SpoolFull as error:
                    _log.warning("the observed state waits: %s", error)
                await asyncio.sleep(OBSERVED_GAP_S)
            else:
                yield control_pb2.ConnectRequest(
                    heartbeat=control_pb2.Heartbeat(now_ms=time.time_ns() // 1_000_000)
                )
            try:
                async with asyncio.timeout(
                    self._heartbeat_s
                ):  # `wait_for` may lose a cancellation before 3.12
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def fetch(self, allocation_id: str) -> TaskSpec:
        """What to run; asks until the gateway can answer. Raises FetchRefused where it will not."""
        backoff = Backoff()
        saying = NowAndThen(_log)
        while True:
            request = control_pb2.FetchTaskRequest(allocation_id=allocation_id, understands=UNDERSTANDS)
            try:
                return wire.spec(await self._stub().FetchTask(request, timeout=FETCH_TIMEOUT_S))
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRIED:
                    raise FetchRefused(
                        f"the gateway does not give this task out: {error.details()}"
                    ) from None
                saying.say(f"task {allocation_id} waits for the gateway: {error.details()}")
            await backoff.pause()

    async def renew(self, certificate_request_pem: bytes, proof: bytes) -> bytes:
        """Another certificate. Raises grpc.aio.AioRpcError."""
        request = control_pb2.RenewCertificateRequest(
            certificate_request_pem=certificate_request_pem, proof=proof
        )
        answer = await self._stub().RenewCertificate(request, timeout=FETCH_TIMEOUT_S)
        return bytes(answer.certificate_pem)
