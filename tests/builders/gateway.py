"""A real gateway on real ports with TLS, and an agent as it would speak to it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents import wire
from protos.suanli.fleet.v1 import (
    control_pb2,
    control_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    logs_pb2_grpc,
    node_pb2,
    usage_pb2,
    usage_pb2_grpc,
)
from scheduler.rpc.server import GatewayConfig, serve
from scheduler.services.enrolment import ENROL_LABEL
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import SigningKey
from suanli.evidence.window_writing import build_window
from suanli.evidence.windows import NO_PREVIOUS, SeenCheckpoint, SignedWindow, header_hash, signature_hash
from tests.builders.evidence import header, segment
from tests.builders.running import ended
from tests.builders.waiting import until

WINDOW_MS = 1_000


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Pki:
    """An installation's authority and the gateway's certificate, in files."""

    ca_certificate: Path
    ca_key: Path
    server_certificate: Path
    server_key: Path


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_pki(folder: Path, name: str = "Suanli test authority") -> Pki:
    """A fresh authority and a certificate for 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pki = Pki(folder / "ca.crt", folder / "ca.key", folder / "server.crt", folder / "server.key")
    pki.ca_certificate.write_bytes(_certificate(name, ca_key, issuer, ca_key, ca=True))
    pki.ca_key.write_bytes(_key_pem(ca_key))
    pki.server_certificate.write_bytes(_certificate("gateway", server_key, issuer, ca_key, ca=False))
    pki.server_key.write_bytes(_key_pem(server_key))
    return pki


def another_server_pair(pki: Pki) -> tuple[bytes, bytes]:
    """A new certificate for 127.0.0.1 of the same authority, and its key, PEM."""
    ca_key = serialization.load_pem_private_key(pki.ca_key.read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes()).subject
    key = ec.generate_private_key(ec.SECP256R1())
    return _certificate("gateway", key, issuer, ca_key, ca=False), _key_pem(key)


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that serves, and what agents must know of it."""

    enrolment: str
    fleet: str
    ca_pem: bytes
    config: GatewayConfig


@asynccontextmanager
async def running_gateway(
    database_url: str, folder: Path, pki: Pki | None = None, **changes: object
) -> AsyncIterator[RunningGateway]:
    """A gateway until the block ends."""
    made = pki or make_pki(folder / "pki")
    config = GatewayConfig(
        database_url=database_url,
        gateway_id="gateway-1",
        ca_certificate=made.ca_certificate,
        ca_key=made.ca_key,
        server_certificate=made.server_certificate,
        server_key=made.server_key,
        job_log_folder=folder / "logs",
        window_ms=WINDOW_MS,
        heartbeat_ms=500,
        period_ms=200,
    )
    config = replace(config, **changes)  # type: ignore[arg-type]
    stop = asyncio.Event()
    addresses: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(config, stop, addresses.set_result))
    try:
        await asyncio.wait([task, addresses], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        found = addresses.result()
        yield RunningGateway(found["enrolment"], found["fleet"], made.ca_certificate.read_bytes(), config)
    finally:
        stop.set()
        await ended(task)


def claims(index: int = 0, **changes: object) -> node_pb2.DeviceClaims:
    """A simulated device as a host claims it."""
    base: dict[str, object] = {
        "vendor": "ascend",
        "model": "ascend-910b3",
        "index": index,
        "serial": f"SN-{index}",
        "driver": "simulated",
        "simulated": True,
        "memory_bytes": 64 << 30,
        "fast_link_group": 0,
        "health": node_pb2.DEVICE_HEALTH_OK,
    }
    return node_pb2.DeviceClaims(**{**base, **changes})  # type: ignore[arg-type]


@dataclass
class Stay:
    """A device in use for an allocation over a stretch."""

    device_id: str
    start_ms: int
    end_ms: int
    allocation_id: str


@dataclass
class Agent:
    """Keys and state of one host; before `enrol` it is no node yet."""

    name: str = "node-1"
    key: SigningKey = field(default_factory=lambda: SigningKey(os.urandom(32)))
    tls_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    node_id: str = ""
    certificate_pem: bytes = b""
    devices: list[node_pb2.DeviceClaims] = field(default_factory=list)
    window_ms: int = WINDOW_MS
    seq: int = 0
    prev_hash: str = NO_PREVIOUS
    prev_signature_hash: str | None = None
    at_ms: int = 0
    stays: list[Stay] = field(default_factory=list)
    seen: SeenCheckpoint | None = None

    def request_pem(self) -> bytes:
        """The signing request of the TLS key."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        request = (
            x509.CertificateSigningRequestBuilder().subject_name(name).sign(self.tls_key, hashes.SHA256())
        )
        return request.public_bytes(serialization.Encoding.PEM)

    def enrol_request(self, join_token: str, **changes: object) -> enrolment_pb2.EnrolRequest:
        """What it sends to become a node: two devices, metered from ten seconds ago."""
        base: dict[str, object] = {
            "join_token": join_token,
            "node_name": self.name,
            "public_key": self.key.public_key,
            "proof": self.key.sign(ENROL_LABEL + self.name.encode()),
            "certificate_request_pem": self.request_pem(),
            "devices": [claims(0), claims(1)],
            "metering_from_ms": now_ms() - 10_000,
            "agent_version": "0.1.0",
        }
        return enrolment_pb2.EnrolRequest(**{**base, **changes})  # type: ignore[arg-type]

    async def enrol(
        self, gateway: RunningGateway, join_token: str, **changes: object
    ) -> enrolment_pb2.EnrolResponse:
        """Becomes a node."""
        credentials = grpc.ssl_channel_credentials(gateway.ca_pem)
        async with grpc.aio.secure_channel(gateway.enrolment, credentials) as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            answer = await stub.Enrol(self.enrol_request(join_token, **changes), timeout=20)
        self.node_id = answer.node_id
        self.certificate_pem = answer.certificate_pem
        self.devices = list(answer.devices)
        self.window_ms = answer.window_ms
        self.at_ms = answer.metering_from_ms
        return answer

    def channel(self, gateway: RunningGateway) -> grpc.aio.Channel:
        """Mutual TLS to the fleet's port."""
        credentials = grpc.ssl_channel_credentials(
            gateway.ca_pem, private_key=_key_pem(self.tls_key), certificate_chain=self.certificate_pem
        )
        return grpc.aio.secure_channel(gateway.fleet, credentials)

    @asynccontextmanager
    async def stubs(self, gateway: RunningGateway) -> AsyncIterator["Stubs"]:
        """The three services over one connection."""
        async with self.channel(gateway) as channel:
            yield Stubs(
                control_pb2_grpc.ControlServiceStub(channel),
                usage_pb2_grpc.UsageServiceStub(channel),
                logs_pb2_grpc.LogServiceStub(channel),
            )

    def hello(self, **changes: object) -> control_pb2.ConnectRequest:
        """First message of a control stream."""
        base: dict[str, object] = {
            "protocol_min": 1,
            "protocol_max": 1,
            "agent_version": "0.1.0",
            "node_id": self.node_id,
            "boot_id": "boot-1",
            "agent_started_ms": now_ms(),
            "devices": self.devices,
            "isolation": node_pb2.ISOLATION_UID,
            "rendezvous_address": "127.0.0.1",
        }
        return control_pb2.ConnectRequest(hello=control_pb2.Hello(**{**base, **changes}))  # type: ignore[arg-type]

    def identities(self) -> list[DeviceIdentity]:
        """Its devices as they stand in segments."""
        return [
            DeviceIdentity(
                device_id=d.device_id,
                vendor=d.vendor,
                model=d.model,
                index=d.index,
                serial=d.serial or None,
                uuid=d.uuid or None,
                bus_address=d.bus_address or None,
                driver=d.driver,
                driver_version=d.driver_version or None,
                simulated=d.simulated,
            )
            for d in self.devices
        ]

    def cut(self, end_ms: int | None = None, **changes: object) -> SignedWindow:
        """Closes the next window: at `end_ms`, or at the next line of the grid."""
        on_grid = end_ms is None
        end = (self.at_ms // self.window_ms + 1) * self.window_ms if end_ms is None else end_ms
        self.seq += 1
        pieces = [piece for identity in self.identities() for piece in self._tile(identity, end)]
        numbered = [replace(p, n=n, seq=self.seq, node_id=self.node_id) for n, p in enumerate(pieces)]
        head = header(
            self.key,
            self.at_ms,
            end,
            node_id=self.node_id,
            seq=self.seq,
            prev_hash=self.prev_hash,
            prev_signature_hash=self.prev_signature_hash if self.seq > 1 else None,
            window_ms=self.window_ms,
            closed_by="grid" if on_grid else "stop",
            log_checkpoint=self.seen,
        )
        head = replace(head, **changes)  # type: ignore[arg-type]
        window = build_window(head, numbered, [os.urandom(32) for _ in numbered], self.key.sign)
        self.prev_hash, self.prev_signature_hash = (
            header_hash(window.header),
            signature_hash(window.signature),
        )
        self.at_ms = end
        return window

    def windows_until(self, end_ms: int) -> list[SignedWindow]:
        """Whole windows of the grid up to a time."""
        windows = []
        while (self.at_ms // self.window_ms + 1) * self.window_ms <= end_ms:
            windows.append(self.cut())
        return windows

    def _tile(self, identity: DeviceIdentity, end_ms: int) -> list:  # type: ignore[type-arg]
        pieces, at = [], self.at_ms
        for stay in sorted(self.stays, key=lambda s: s.start_ms):
            first, last = max(stay.start_ms, at), min(stay.end_ms, end_ms)
            if stay.device_id != identity.device_id or first >= last:
                continue
            if at < first:
                pieces.append(segment(identity, at, first))
            length = last - first
            pieces.append(
                segment(
                    identity,
                    first,
                    last,
                    observed="in_use",
                    allocation_id=stay.allocation_id,
                    live_ms=length,
                    busy_ms=length // 2,
                    processes_max=1,
                    measured_by="shim",
                )
            )
            at = last
        if at < end_ms:
            pieces.append(segment(identity, at, end_ms))
        return pieces


@dataclass(frozen=True)
class Stubs:
    """The services that a node calls."""

    control: control_pb2_grpc.ControlServiceStub
    usage: usage_pb2_grpc.UsageServiceStub
    logs: logs_pb2_grpc.LogServiceStub


def upload(window: SignedWindow) -> usage_pb2.UploadRequest:
    """A window on the wire."""
    return usage_pb2.UploadRequest(
        header=window.header,
        signature=window.signature,
        segments=[usage_pb2.SaltedSegment(salt=s.salt, body=s.body) for s in window.segments],
    )


class UsageStream:
    """An open usage stream, and everything that was answered."""

    def __init__(self, stubs: Stubs) -> None:
        self.call = stubs.usage.Upload()
        self.stored = 0
        self.acknowledged = 0
        self.log_checkpoint = b""
        self.refused: list[usage_pb2.Refused] = []
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for answer in self.call:
            match answer.WhichOneof("message"):
                case "stored":
                    self.stored = answer.stored.seq
                case "acknowledged":
                    self.acknowledged = answer.acknowledged.seq
                    self.log_checkpoint = answer.acknowledged.log_checkpoint
                case "refused":
                    self.refused.append(answer.refused)

    async def send(self, windows: Sequence[SignedWindow]) -> None:
        """Sends windows in order."""
        for window in windows:
            await self.call.write(upload(window))

    async def send_packed(self, window: SignedWindow, packed: bytes | None = None) -> None:
        """Sends a window as newer agents do, or with something else where its packed segments should be."""
        request = wire.upload(window, packed=True)
        if packed is not None:
            request.packed = packed
        await self.call.write(request)

    async def until_stored(self, seq: int) -> None:
        """Waits until the gateway says so."""
        await until(lambda: self.stored >= seq)

    async def until_acknowledged(self, seq: int) -> None:
        """Waits until the log holds them."""
        await until(lambda: self.acknowledged >= seq)

    async def until_refused(self, count: int = 1) -> None:
        """Waits for refusals."""
        await until(lambda: len(self.refused) >= count)

    async def close(self) -> None:
        """Ends the stream."""
        await self.call.done_writing()
        self.call.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)
