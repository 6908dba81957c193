"""ControlService: desired state down, observed state up, one stream per agent."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from protos.suanli.fleet.v1 import control_pb2, control_pb2_grpc
from scheduler.domain.errors import FieldProblem, Forbidden, Invalid
from scheduler.rpc.allowances import Allowances, StreamLimits
from scheduler.rpc.certificates import CertificateAuthority
from scheduler.rpc.connections import Connection, Connections, now_ms
from scheduler.rpc.control_messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    choose_protocol,
    connected_body,
    fetched,
    reported_body,
    reported_content,
)
from scheduler.rpc.identity import calling
from scheduler.rpc.metrics import DESIRED_PUSHES, DISCONNECTS, OBSERVED
from scheduler.rpc.statuses import Context, StreamEnded, refusals
from scheduler.services.evidence import NodeKey, check_renewal, newest_checkpoint
from scheduler.services.sealing import SecretKeys
from scheduler.services.tasks import TaskToRun, task_to_run
from scheduler.storage import inbox
from scheduler.storage.engine import Database
from scheduler.storage.uninterrupted import whole

# A peer that said nothing for so many heartbeats is gone, whatever TCP believes.
SILENT_HEARTBEATS = 5
HELLO_TIMEOUT_S = 10.0
# An agent pauses 5 ms between observed states: this is more than it sends. Each that says something new costs the
# controller work.
CONTROL_LIMITS = StreamLimits(messages_burst=2_000, bytes_per_s=2 << 20, bytes_burst=16 << 20)
# What a connection counts among them: it is a message to the controller, and an event for good.
CONNECTION_MESSAGES = 100

_log = structlog.get_logger(__name__)
_Requests = AsyncIterator[control_pb2.ConnectRequest]


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Who this gateway is and how often agents say that they live."""

    gateway_id: str
    heartbeat_ms: int
    secret_keys: SecretKeys | None = None  # by which the secrets of tasks are opened
    limits: StreamLimits = CONTROL_LIMITS


class ControlServicer(control_pb2_grpc.ControlServiceServicer):
    """Serves the control streams of this gateway."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        authority: CertificateAuthority,
        config: ControlConfig,
        calls: Allowances,
    ) -> None:
        self._database = database
        self._authority = authority
        self._connections = connections
        self._config = config
        self._allowances = Allowances(config.limits)
        self._calls = calls

    async def Connect(self, requests: _Requests, context: Context) -> None:
        """One agent's stream, until either side ends it."""
        async with refusals(context, "Connect"), calling(self._database, self._allowances, context) as key:
            await self._connect(key, requests, context)

    async def _connect(self, key: NodeKey, requests: _Requests, context: Context) -> None:
        hello, protocol = await _hello(requests, key.node_id)
        await self._pace(key.node_id, hello.ByteSize(), CONNECTION_MESSAGES)
        body = connected_body(hello, key.devices.keys(), self._config.gateway_id, now_ms())
        await context.write(await whole(self._welcome(protocol)))
        connection = Connection(key)
        why = "the gateway failed"
        try:
            await whole(self._connections.open(connection, body))
            _log.info("agent_connected", node_id=key.node_id, agent_version=body["agent_version"])
            why = await self._serve(connection, requests, context)
        except asyncio.CancelledError:
            why = "the connection broke"
            raise
        except StreamEnded as ended:
            why = ended.detail
            raise
        finally:
            self._connections.close(connection)
            DISCONNECTS.labels(why=why if why in _WHYS else "refused").inc()
            _log.info("agent_disconnected", node_id=key.node_id, why=why)

    async def _welcome(self, protocol: int) -> control_pb2.ConnectResponse:
        async with self._database.read() as session:
            newest = await newest_checkpoint(session)
        return control_pb2.ConnectResponse(
            welcome=control_pb2.Welcome(
                protocol=protocol,
                heartbeat_ms=self._config.heartbeat_ms,
                now_ms=now_ms(),
                log_checkpoint=b"" if newest is None else newest[1],
            )
        )

    async def _serve(self, connection: Connection, requests: _Requests, context: Context) -> str:
        """Both directions at once; returns why the stream ended in peace, raises why it did not."""
        reading = asyncio.create_task(self._listen(connection, requests))
        writing = asyncio.create_task(_speak(connection, context))
        try:
            done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            # The writer knows why we end a stream; the reader only sees it end.
            return (writing if writing in done else reading).result()
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _listen(self, connection: Connection, requests: _Requests) -> str:
        silence_s = self._config.heartbeat_ms * SILENT_HEARTBEATS / 1000
        forwarded: dict[str, object] | None = None
        while True:
            try:
                async with asyncio.timeout(
                    silence_s
                ):  # `wait_for` may lose a cancellation before Python 3.12
                    message = await anext(requests)
            except StopAsyncIteration:
                return _AGENT_LEFT
            except TimeoutError:
                raise StreamEnded(grpc.StatusCode.DEADLINE_EXCEEDED, _SILENT) from None
            await self._pace(connection.node_id, message.ByteSize())
            kind = message.WhichOneof("message")
            if kind == "observed":
                content = reported_content(message.observed, connection.key.devices.keys())
                OBSERVED.labels(forwarded=str(content != forwarded).lower()).inc()
                if content != forwarded:
                    body = reported_body(content, message.observed, connection.node_id, now_ms())
                    await whole(self._report(body))
                    forwarded = content
            elif kind != "heartbeat":
                raise Invalid([FieldProblem("message", str(kind), "observed or heartbeat after the hello")])

    async def _pace(self, node_id: str, size_bytes: int, messages: int = 1) -> None:
        """Read no more of a node that sends too much, for as long as it takes: the others wait for nothing of it."""
        wait_s = self._allowances.pace_s(node_id, size_bytes, messages)
        if wait_s:
            await asyncio.sleep(wait_s)

    async def _report(self, body: Mapping[str, Any]) -> None:
        async with self._database.transaction() as session:
            await inbox.put(session, "NodeReported", body)

    async def _task(self, node_id: str, allocation_id: str) -> TaskToRun:
        async with self._database.read() as session:
            return await task_to_run(session, node_id, allocation_id, self._config.secret_keys)

    async def FetchTask(
        self, request: control_pb2.FetchTaskRequest, context: Context
    ) -> control_pb2.FetchTaskResponse:
        """What to run for a live allocation of the calling node."""
        async with refusals(context, "FetchTask"), calling(self._database, self._calls, context) as key:
            if "\0" in request.allocation_id or len(request.allocation_id) > 64:
                raise Invalid([FieldProblem("allocation_id", "no id", "an id of an allocation")])
            task = await whole(self._task(key.node_id, request.allocation_id))
            task.require_understood(request.understands)
            return fetched(task)
        raise AssertionError("refusals() ends every failed call")

    async def RenewCertificate(
        self, request: control_pb2.RenewCertificateRequest, context: Context
    ) -> control_pb2.RenewCertificateResponse:
        """Another certificate for the calling node, while its key stands."""
        async with (
            refusals(context, "RenewCertificate"),
            calling(self._database, self._calls, context) as key,
        ):
            check_renewal(key, request.certificate_request_pem, request.proof)
            pem = self._authority.sign(request.certificate_request_pem, key.node_id)
            _log.info("certificate_renewed", node_id=key.node_id)
            return control_pb2.RenewCertificateResponse(certificate_pem=pem)
        raise AssertionError("refusals() ends every failed call")


_AGENT_LEFT = "the agent left"
_SILENT = "the agent was silent for too long"
_REPLACED = "replaced by a newer connection of the same node"
_WHYS = frozenset({_AGENT_LEFT, _SILENT, _REPLACED, "the connection broke", "the gateway stops"})


async def _hello(requests: _Requests, node_id: str) -> tuple[control_pb2.Hello, int]:
    """The first message and the protocol version both sides speak. Raises Invalid, Forbidden, StreamEnded."""
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            first = await anext(requests)
    except (StopAsyncIteration, TimeoutError):
        raise Invalid([FieldProblem("message", "nothing", "a hello first")]) from None
    if first.WhichOneof("message") != "hello":
        raise Invalid([FieldProblem("message", str(first.WhichOneof("message")), "a hello first")])
    hello = first.hello
    if hello.node_id != node_id:
        raise Forbidden("the hello names another node than the certificate")
    protocol = choose_protocol(hello)
    if protocol is None:
        raise StreamEnded(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"this gateway speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}, the agent"
            f" {hello.protocol_min} to {hello.protocol_max}: upgrade the older of the two",
        )
    return hello, protocol


async def _speak(connection: Connection, context: Context) -> str:
    """Send desired states as they come; ends the stream when the gateway wants it to end."""
    while True:
        await connection.wake.wait()
        connection.wake.clear()
        if connection.ended:
            raise StreamEnded(grpc.StatusCode.UNAVAILABLE, connection.ended)
        desired, connection.desired = connection.desired, None
        if desired is not None:
            await context.write(control_pb2.ConnectResponse(desired=desired))
            DESIRED_PUSHES.inc()
        while connection.orders:
            await context.write(connection.orders.popleft())
