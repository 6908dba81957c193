"""Windows taken in by the real processes: from gRPC over mutual TLS to the acknowledgement, all on one core.

`scheduler up` runs as it is shipped, every process of it and PostgreSQL pinned to one core; the nodes are streams of
this process, on the other. They sign everything before, and each has as many windows on their way as an agent has. The
clock runs from the first window sent to the last one acknowledged, that is: signed for in the published log. So one
row says by the clock what one core takes in, and the others whose CPU time that is.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc.aio
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.cpu import cpu_s
from benchmarks.evidence_nodes import DEVICES, WINDOW_MS, Node, node, register
from benchmarks.harness import Row
from benchmarks.installation import POOL, Installation, installation
from protos.suanli.fleet.v1 import usage_pb2
from scheduler.rpc.certificates import CertificateAuthority
from scheduler.settings import load
from scheduler.storage.segments import pack_segments

GOAL_WINDOWS_PER_S = 2_000.0
IN_FLIGHT = 64  # as agents/usage_upload.py
FIRST_WINDOWS = 4  # of each node, before the clock runs: connections, plans and caches are made
STALL_S = 60.0
_UPLOAD = "/suanli.fleet.v1.UsageService/Upload"
_MEASURED = ("gateway", "ledger", "postgresql")


def measure(windows: int, nodes: int, in_flight: int = IN_FLIGHT) -> list[Row]:
    """Rows of so many windows of so many nodes, each with at most `in_flight` that are not stored yet."""
    cores = sorted(os.sched_getaffinity(0))
    rounds = max(windows // nodes, 1)
    from_ms = (time.time_ns() // 1_000_000 // WINDOW_MS - FIRST_WINDOWS - rounds) * WINDOW_MS
    senders = [_Sender(node(from_ms), in_flight) for _ in range(nodes)]
    for sender in senders:
        sender.sign(FIRST_WINDOWS + rounds)
    with _on(cores[:1]), installation(0) as house:
        os.sched_setaffinity(0, set(cores[-1:]))
        with house.database() as connection:
            register(connection, [sender.node for sender in senders], POOL)
            connection.execute("ANALYZE nodes, devices, agent_keys")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            spent = runner.run(_send(house, senders, rounds))
    count = rounds * nodes
    case = f"{count} windows of {DEVICES} devices over gRPC, {nodes} nodes, {in_flight} on their way each"
    by_name = {name: spent.cpu_s.get(name, 0.0) / count * 1e6 for name in _MEASURED}
    total_us = sum(by_name.values())
    pinned = "on one core" if len(cores) > 1 else "on one core, shared with the sender"
    return [
        Row("evidence", case, f"accepted, all processes {pinned}, by the clock", count / spent.wall_s, "/s", "higher",
            goal=GOAL_WINDOWS_PER_S),
        Row("evidence", case, "accepted, by one core's CPU time", 1e6 / total_us, "/s", "higher",
            goal=GOAL_WINDOWS_PER_S),
        *(Row("evidence", case, f"CPU of {name} a window", us, "µs") for name, us in by_name.items()),
        Row("evidence", case, "CPU of all others of the control plane",
            sum(s for name, s in spent.cpu_s.items() if name not in _MEASURED) / count * 1e6, "µs"),
        Row("evidence", case, "CPU of the sender a window", spent.sender_s / count * 1e6, "µs"),
    ]  # fmt: skip


@contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """Run what is started in the block on these cores; this process is back on its own ones afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds of one run."""

    wall_s: float
    cpu_s: dict[str, float]
    sender_s: float


@dataclass(slots=True)
class _Sender:
    """A node on its stream."""

    node: Node
    in_flight: int
    requests: list[bytes] = field(default_factory=list)
    most: int = 0  # windows that may be sent so far
    sent: int = 0
    stored: int = 0
    acknowledged: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    delivered: asyncio.Event = field(default_factory=asyncio.Event)

    def sign(self, windows: int) -> None:
        """Cut so many windows and lay them out for the wire."""
        for _ in range(windows):
            window = self.node.cut()
            request = usage_pb2.UploadRequest(
                header=window.header, signature=window.signature, packed=pack_segments(window.segments)
            )
            self.requests.append(request.SerializeToString())

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Send whatever may be sent until cancelled. Raises RuntimeError for a refusal."""
        upload: grpc.aio.StreamStreamMultiCallable[bytes, usage_pb2.UploadResponse]
        upload = channel.stream_stream(_UPLOAD, response_deserializer=usage_pb2.UploadResponse.FromString)
        async for answer in upload(self._windows()):
            kind = answer.WhichOneof("message")
            if kind == "refused":
                raise RuntimeError(f"window {answer.refused.seq}: {answer.refused.detail}")
            if kind == "stored":
                self.stored = answer.stored.seq
            else:
                self.acknowledged = answer.acknowledged.seq
                if self.acknowledged == self.most:
                    self.delivered.set()
            self.changed.set()

    async def _windows(self) -> AsyncIterator[bytes]:
        while True:
            while self.sent < self.most and self.sent - self.stored < self.in_flight:
                self.sent += 1
                yield self.requests[self.sent - 1]
            self.changed.clear()
            await self.changed.wait()

    async def deliver(self, most: int) -> None:
        """Let windows go until there are so many, and wait until the last of them is acknowledged."""
        self.most = most
        self.delivered.clear()
        self.changed.set()
        await self.delivered.wait()


async def _send(house: Installation, senders: Sequence[_Sender], rounds: int) -> _Spent:
    address = house.fleet_address
    settings = load(data=house.folder)
    authority = CertificateAuthority.load(settings.secret("ca.crt"), settings.secret("ca.key"))
    channels = [_channel(address, authority, sender.node.key.node_id) for sender in senders]
    streams = [asyncio.create_task(s.run(c)) for s, c in zip(senders, channels, strict=True)]
    try:
        await _all(senders, streams, FIRST_WINDOWS)
        before, sender_s = cpu_s(house.process.pid), time.process_time()
        began_s = time.perf_counter()
        await _all(senders, streams, FIRST_WINDOWS + rounds)
        wall_s = time.perf_counter() - began_s
        after, sender_s = cpu_s(house.process.pid), time.process_time() - sender_s
    finally:
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        for channel in channels:
            await channel.close()
    return _Spent(wall_s, {name: used - before.get(name, 0.0) for name, used in after.items()}, sender_s)


async def _all(senders: Sequence[_Sender], streams: Sequence[asyncio.Task[None]], most: int) -> None:
    """Until every node's windows are acknowledged. Raises what a stream that ended raised, or TimeoutError."""
    delivered = asyncio.create_task(_deliver(senders, most))
    async with asyncio.timeout(STALL_S):
        await asyncio.wait([delivered, *streams], return_when=asyncio.FIRST_COMPLETED)
    for stream in streams:
        if stream.done():
            delivered.cancel()
            stream.result()
    await delivered


async def _deliver(senders: Sequence[_Sender], most: int) -> None:
    await asyncio.gather(*(sender.deliver(most) for sender in senders))


def _channel(address: str, authority: CertificateAuthority, node_id: str) -> grpc.aio.Channel:
    """A connection of its own for a node, by mutual TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    certificate = authority.sign(request.public_bytes(serialization.Encoding.PEM), node_id)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credentials = grpc.ssl_channel_credentials(authority.certificate_pem, key_pem, certificate)
    return grpc.aio.secure_channel(address, credentials)
