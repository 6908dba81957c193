"""A gateway for the tests of the agent: the four services over real, mutual TLS, kept in memory."""

import asyncio
import datetime
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protos.suanli.fleet.v1 import (
    control_pb2,
    control_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    logs_pb2,
    logs_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)
from suanli.evidence.keys import verify_signature
from suanli.evidence.window_checks import check_window
from suanli.evidence.windows import (
    SaltedSegment,
    Segment,
    SignedWindow,
    WindowHeader,
    header_hash,
    parse_header,
    parse_segment,
)

JOIN_TOKEN = "sjt_" + "A" * 43


# --- certificates -----------------------------------------------------------------------------------------


@dataclass
class Authority:
    """A certificate authority made for one test."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = (
            self._builder(name, self.key.public_key())
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self) -> tuple[bytes, bytes]:
        """Key and certificate of a server on the loopback address."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        )
        certificate = (
            self._builder(name, key.public_key())
            .issuer_name(self.certificate.subject)
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem, certificate.public_bytes(serialization.Encoding.PEM)

    def client(self, request_pem: bytes, node_id: str, life_s: float) -> bytes:
        """A certificate for an agent's request."""
        request = x509.load_pem_x509_csr(request_pem)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=1))
            .not_valid_after(now + datetime.timedelta(seconds=life_s))
            .issuer_name(self.certificate.subject)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


# --- gateway ----------------------------------------------------------------------------------------------


@dataclass
class TestGateway:
    """The three services and enrolment, kept in memory; time of arrival of what matters for latency."""

    __test__ = False

    window_ms: int = 2_000
    authority: Authority = field(default_factory=Authority)
    node_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    term: int = 1
    generation: int = 0
    desired: dict[str, control_pb2.DesiredTask] = field(default_factory=dict)
    specs: dict[str, control_pb2.FetchTaskResponse] = field(default_factory=dict)
    observed: control_pb2.Observed | None = None
    observations: list[control_pb2.Observed] = field(default_factory=list)
    hellos: list[control_pb2.Hello] = field(default_factory=list)
    heartbeats: int = 0
    windows: dict[int, SignedWindow] = field(default_factory=dict)
    acknowledge: bool = True
    certificate_life_s: float = 86_400
    renew: bool = True
    renewals: list[control_pb2.RenewCertificateRequest] = field(default_factory=list)
    refuse_enrolment: grpc.StatusCode | None = None
    enrolments: list[enrolment_pb2.EnrolRequest] = field(default_factory=list)
    output: dict[tuple[str, int, str], bytearray] = field(default_factory=dict)
    complete: set[tuple[str, int, str]] = field(default_factory=set)
    output_at: dict[tuple[str, int, str], float] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    queues: set["asyncio.Queue[control_pb2.Desired]"] = field(default_factory=set)
    fleet_port: int = 0
    enrolment_port: int = 0

    async def note(self) -> None:
        """Something arrived."""
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool], what: str, patience_s: float = 20.0) -> None:
        """Wait until it is so."""
        try:
            async with asyncio.timeout(patience_s), self.changed:
                await self.changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"waited in vain until {what}; observed: {self.observed}") from None

    # what a controller would do

    def want(self, allocation_id: str, goal: Any, **rest: Any) -> None:
        """Change one task of the desired state."""
        self.desired[allocation_id] = control_pb2.DesiredTask(allocation_id=allocation_id, goal=goal, **rest)
        self.push()

    def drop(self, allocation_id: str) -> None:
        """Name a task no longer."""
        del self.desired[allocation_id]
        self.push()

    def push(self) -> None:
        """Send the desired state under a new generation."""
        self.generation += 1
        for queue in self.queues:
            queue.put_nowait(self.message())

    def message(self) -> control_pb2.Desired:
        """The desired state."""
        return control_pb2.Desired(
            leader_term=self.term, generation=self.generation, tasks=list(self.desired.values())
        )

    def task(self, allocation_id: str) -> control_pb2.ObservedTask | None:
        """A task as it was observed last."""
        tasks = self.observed.tasks if self.observed else []
        return next((t for t in tasks if t.allocation_id == allocation_id), None)

    def in_phase(self, allocation_id: str, phase: Any) -> bool:
        """Whether a task was observed there last."""
        task = self.task(allocation_id)
        return task is not None and task.phase == phase

    async def run_task(self, spec: control_pb2.FetchTaskResponse) -> control_pb2.ObservedTask:
        """Prepare and run; returns when it runs (or has ended already)."""
        allocation_id = spec.allocation_id
        self.specs[allocation_id] = spec
        self.want(allocation_id, control_pb2.TASK_GOAL_PREPARE)
        ready_or_over = {control_pb2.TASK_PHASE_READY, control_pb2.TASK_PHASE_ENDED}
        await self.until(
            lambda: (t := self.task(allocation_id)) is not None and t.phase in ready_or_over, "it is ready"
        )
        ready = self.task(allocation_id)
        assert ready is not None
        assert ready.phase == control_pb2.TASK_PHASE_READY, ready.detail
        self.want(
            allocation_id,
            control_pb2.TASK_GOAL_RUN,
            master_address="127.0.0.1",
            master_port=ready.rendezvous_port,
        )
        past = {control_pb2.TASK_PHASE_RUNNING, control_pb2.TASK_PHASE_STOPPING, control_pb2.TASK_PHASE_ENDED}
        await self.until(lambda: (t := self.task(allocation_id)) is not None and t.phase in past, "it runs")
        running = self.task(allocation_id)
        assert running is not None
        return running

    async def ended(self, allocation_id: str, patience_s: float = 20.0) -> control_pb2.ObservedTask:
        """Wait for a task's end."""
        await self.until(
            lambda: self.in_phase(allocation_id, control_pb2.TASK_PHASE_ENDED), "it ended", patience_s
        )
        task = self.task(allocation_id)
        assert task is not None
        return task

    async def all_output(self, allocation_id: str, local_rank: int = 0, stream: str = "stdout") -> bytes:
        """The whole output of a process, when it is complete."""
        key = (allocation_id, local_rank, stream)
        await self.until(lambda: key in self.complete, f"{key} is complete")
        return bytes(self.output.get(key, b""))

    # what came in

    def checked(self) -> list[tuple[WindowHeader, list[Segment]]]:
        """Every window in order, after checking signatures, tiling and chain with the verifier's code."""
        public_key = self.enrolments[-1].public_key
        chain, previous = [], None
        for seq in range(1, max(self.windows, default=0) + 1):
            window = self.windows[seq]
            assert check_window(window, public_key) == []
            header = parse_header(window.header)
            assert header.seq == seq
            if previous is not None:
                assert header.prev_hash == header_hash(previous)
                assert header.start_ms == parse_header(previous).end_ms
            previous = window.header
            chain.append((header, [parse_segment(s.body) for s in window.segments]))
        return chain

    def segments(self) -> list[Segment]:
        """All segments of all windows."""
        return [segment for _, segments in self.checked() for segment in segments]

    @asynccontextmanager
    async def serving(self, fleet_port: int = 0) -> AsyncIterator["TestGateway"]:
        """Listen on two ports of the loopback address."""
        key, certificate = self.authority.server()
        fleet, enrolment = grpc.aio.server(), grpc.aio.server()
        control_pb2_grpc.add_ControlServiceServicer_to_server(_Control(self), fleet)  # type: ignore[no-untyped-call]
        usage_pb2_grpc.add_UsageServiceServicer_to_server(_Usage(self), fleet)  # type: ignore[no-untyped-call]
        logs_pb2_grpc.add_LogServiceServicer_to_server(_Logs(self), fleet)  # type: ignore[no-untyped-call]
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(_Enrolment(self), enrolment)  # type: ignore[no-untyped-call]
        mutual = grpc.ssl_server_credentials(
            [(key, certificate)], self.authority.pem, require_client_auth=True
        )
        self.fleet_port = fleet.add_secure_port(f"127.0.0.1:{fleet_port}", mutual)
        self.enrolment_port = enrolment.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)])
        )
        await fleet.start()
        await enrolment.start()
        try:
            yield self
        finally:
            await fleet.stop(None)
            await enrolment.stop(None)


class _Enrolment(enrolment_pb2_grpc.EnrolmentServiceServicer):
    def __init__(self, gateway: TestGateway) -> None:
        self.gateway = gateway

    async def Enrol(self, request: enrolment_pb2.EnrolRequest, context: Any) -> Any:
        if self.gateway.refuse_enrolment is not None:
            await context.abort(self.gateway.refuse_enrolment, "the join token has expired")
        if request.join_token != JOIN_TOKEN:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the join token is not known")
        self.gateway.enrolments.append(request)
        for index, device in enumerate(request.devices):
            device.device_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.gateway.node_id}/{index}"))
        await self.gateway.note()
        return enrolment_pb2.EnrolResponse(
            node_id=self.gateway.node_id,
            devices=request.devices,
            certificate_pem=self.gateway.authority.client(
                request.certificate_request_pem, self.gateway.node_id, self.gateway.certificate_life_s
            ),
            window_ms=self.gateway.window_ms,
            metering_from_ms=request.metering_from_ms,
        )


class _Control(control_pb2_grpc.ControlServiceServicer):
    def __init__(self, gateway: TestGateway) -> None:
        self.gateway = gateway

    async def Connect(self, requests: Any, context: Any) -> None:
        gateway = self.gateway
        assert context.auth_context()["x509_common_name"] == [gateway.node_id.encode()]
        first = await anext(requests)
        gateway.hellos.append(first.hello)
        welcome = control_pb2.Welcome(protocol=1, heartbeat_ms=200, now_ms=time.time_ns() // 1_000_000)
        await context.write(control_pb2.ConnectResponse(welcome=welcome))
        queue: asyncio.Queue[control_pb2.Desired] = asyncio.Queue()
        gateway.queues.add(queue)
        queue.put_nowait(gateway.message())
        await gateway.note()

        async def speak() -> None:
            while True:
                await context.write(control_pb2.ConnectResponse(desired=await queue.get()))

        speaking = asyncio.create_task(speak())
        try:
            async for message in requests:
                if message.WhichOneof("message") == "observed":
                    gateway.observed = message.observed
                    gateway.observations.append(message.observed)
                else:
                    gateway.heartbeats += 1
                await gateway.note()
        finally:
            speaking.cancel()
            gateway.queues.discard(queue)

    async def RenewCertificate(self, request: Any, context: Any) -> Any:
        gateway = self.gateway
        assert context.auth_context()["x509_common_name"] == [gateway.node_id.encode()]
        message = b"suanli/renew/v1\n" + request.certificate_request_pem
        assert verify_signature(gateway.enrolments[0].public_key, message, request.proof)
        gateway.renewals.append(request)
        await gateway.note()
        if not gateway.renew:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        pem = gateway.authority.client(
            request.certificate_request_pem, gateway.node_id, gateway.certificate_life_s
        )
        return control_pb2.RenewCertificateResponse(certificate_pem=pem)

    async def FetchTask(self, request: Any, context: Any) -> Any:
        spec = self.gateway.specs.get(request.allocation_id)
        if spec is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such allocation")
        return spec


class _Usage(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self, gateway: TestGateway) -> None:
        self.gateway = gateway

    async def Upload(self, requests: Any, context: Any) -> None:
        async for request in requests:
            segments = tuple(SaltedSegment(s.salt, s.body) for s in request.segments)
            window = SignedWindow(request.header, request.signature, segments)
            seq = parse_header(window.header).seq
            known = self.gateway.windows.setdefault(seq, window)
            assert known == window, "two windows with one number"
            await self.gateway.note()
            await context.write(usage_pb2.UploadResponse(stored=usage_pb2.Stored(seq=seq)))
            if self.gateway.acknowledge:
                await context.write(usage_pb2.UploadResponse(acknowledged=usage_pb2.Acknowledged(seq=seq)))


class _Logs(logs_pb2_grpc.LogServiceServicer):
    def __init__(self, gateway: TestGateway) -> None:
        self.gateway = gateway

    async def Append(self, requests: Any, context: Any) -> None:
        names = {logs_pb2.LOG_STREAM_STDOUT: "stdout", logs_pb2.LOG_STREAM_STDERR: "stderr"}
        async for request in requests:
            assert len(request.data) <= 65_536
            key = (request.allocation_id, request.local_rank, names[request.stream])
            kept = self.gateway.output.setdefault(key, bytearray())
            if request.data and request.offset <= len(kept):
                kept += request.data[len(kept) - request.offset :]
                self.gateway.output_at.setdefault(key, time.time())
            if request.complete and request.offset + len(request.data) <= len(kept):
                self.gateway.complete.add(key)
            await self.gateway.note()
            await context.write(
                logs_pb2.AppendResponse(
                    allocation_id=request.allocation_id,
                    local_rank=request.local_rank,
                    stream=request.stream,
                    stored=len(kept),
                )
            )


def task(command: list[str], **changes: Any) -> control_pb2.FetchTaskResponse:
    """What to run: one process on device 0, unless told otherwise."""
    values: dict[str, Any] = {
        "allocation_id": str(uuid.uuid4()),
        "firm_id": str(uuid.uuid5(uuid.NAMESPACE_OID, "a firm")),
        "job_id": str(uuid.uuid4()),
        "job_name": "test",
        "attempt": 1,
        "rank": 0,
        "gang_size": 1,
        "processes": 1,
        "device_indices": [0],
        "device_model": "ascend-910b3",
        "command": command,
        "grace_ms": 5_000,
    }
    values.update(changes)
    values.setdefault("firm_uid", 400_000 + zlib.crc32(values["firm_id"].encode()) % 100_000)
    return control_pb2.FetchTaskResponse(**values)
