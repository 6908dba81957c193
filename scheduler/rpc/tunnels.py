"""Tunnels through the gateway: from the API's line to the agent's stream and back.

The API says which node and task; we tell the agent on its control stream, it calls back with the tunnel's
id, and from then on bytes are only passed on. Neither side is read faster than the other takes.
"""

import asyncio
import hmac
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import structlog

from protos.suanli.fleet.v1 import control_pb2, tunnel_pb2, tunnel_pb2_grpc
from scheduler.domain.errors import NotFound
from scheduler.rpc.connections import Connections
from scheduler.rpc.identity import caller, certificate_name
from scheduler.rpc.metrics import TUNNEL_BYTES, TUNNELS
from scheduler.rpc.statuses import Context, StreamEnded, refusals
from scheduler.storage.engine import Database
from scheduler.tunnels.frames import FrameError, FrameStream, Kind, read_object

OPEN_FRAME_TIMEOUT_S = 5.0
CALL_BACK_TIMEOUT_S = 10.0
# For the agent to reach its task, or to start a process in it.
OPENED_TIMEOUT_S = 8.0
MOST_TUNNELS = 4096
# Half of what one agent carries: no firm closes a node, or a gateway, to the others.
MOST_TUNNELS_OF_A_FIRM = 512
MOST_TUNNELS_OF_A_TASK = 256

_log = structlog.get_logger(__name__)
_Carry = AsyncIterator[tunnel_pb2.CarryRequest]


@dataclass(eq=False, slots=True)
class Tunnel:
    """One tunnel that the API asked for."""

    firm_id: str
    node_id: str
    allocation_id: str
    line: FrameStream
    called: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class TunnelDoor:
    """Where the API calls. Opens nothing for whoever does not know the installation's secret."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.open: dict[str, Tunnel] = {}
        self._server: asyncio.Server | None = None
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._handling: set[asyncio.Task[None]] = set()

    async def listen(
        self, host: str, port: int, certificate: Path, key: Path, secret_file: Path
    ) -> str | None:
        """Listen; returns host:port, or None where the installation has no tunnel secret. Raises OSError."""
        try:
            secret = secret_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            _log.warning("tunnels_off", reason=f"{secret_file} is not there")
            return None
        if len(secret) < 32:
            raise OSError(f"{secret_file} holds no secret: 32 characters or more are needed")
        self.certify(certificate, key)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._handling.add(task)
                task.add_done_callback(self._handling.discard)
            line = FrameStream(reader, writer)
            try:
                await self._handle(line, secret)
            except (OSError, FrameError, TimeoutError) as error:
                _log.info("tunnel_line_broke", reason=str(error) or type(error).__name__)
            finally:
                await line.close()

        self._server = await asyncio.start_server(handle, host, port, ssl=self._context)
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def certify(self, certificate: Path, key: Path) -> None:
        """From now on with this certificate; lines that are open go on. Raises OSError."""
        self._context.load_cert_chain(certificate, key)

    async def close(self) -> None:
        """End every tunnel."""
        if self._server is not None:
            self._server.close()
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    async def _handle(self, line: FrameStream, secret: str) -> None:
        async with asyncio.timeout(OPEN_FRAME_TIMEOUT_S):
            first = await line.read()
        if first is None or first[0] is not Kind.OPEN:
            return
        wanted = read_object(first[1])
        if not hmac.compare_digest(str(wanted.get("secret", "")).encode("utf-8", "replace"), secret.encode()):
            _log.warning("tunnel_refused", reason="the caller does not know the installation's secret")
            return
        firm_id, node_id, allocation_id = (
            str(wanted.get(name, "")) for name in ("firm_id", "node_id", "allocation_id")
        )
        refused = self._full(firm_id, allocation_id)
        if refused is None:
            tunnel_id = secrets.token_hex(16)
            tunnel = Tunnel(firm_id, node_id, allocation_id, line)
            self.open[tunnel_id] = tunnel
            try:
                refused = await self._run(tunnel_id, tunnel, wanted)
            finally:
                del self.open[tunnel_id]
                tunnel.over.set()
        if refused is not None:
            await line.write_json(Kind.ENDED, {"reason": refused[0], "detail": refused[1]})

    def _full(self, firm_id: str, allocation_id: str) -> tuple[str, str] | None:
        if len(self.open) >= MOST_TUNNELS:
            return "busy", f"this gateway carries {MOST_TUNNELS} tunnels already; try again later"
        of_firm = sum(tunnel.firm_id == firm_id for tunnel in self.open.values())
        if of_firm >= MOST_TUNNELS_OF_A_FIRM:
            return "busy", f"the firm has {MOST_TUNNELS_OF_A_FIRM} open connections already; close some"
        of_task = sum(tunnel.allocation_id == allocation_id for tunnel in self.open.values())
        if of_task >= MOST_TUNNELS_OF_A_TASK:
            return "busy", f"the task has {MOST_TUNNELS_OF_A_TASK} open connections already; close some"
        return None

    async def _run(self, tunnel_id: str, tunnel: Tunnel, wanted: dict[str, Any]) -> tuple[str, str] | None:
        """From the order to the agent until the tunnel is over; what to say where it was never opened."""
        order = order_of(tunnel_id, tunnel.allocation_id, wanted)
        if not self._connections.say(tunnel.node_id, control_pb2.ConnectResponse(open_tunnel=order)):
            return "not_connected", "the node is not connected to this gateway just now; try again"
        try:
            async with asyncio.timeout(CALL_BACK_TIMEOUT_S):
                await tunnel.called.wait()
        except TimeoutError:
            return "no_answer", "the node's agent did not answer; is it older than tunnels?"
        await tunnel.over.wait()
        return None


def order_of(tunnel_id: str, allocation_id: str, wanted: dict[str, Any]) -> tunnel_pb2.OpenTunnel:
    """The order to the agent. Raises FrameError where the API's words make none."""
    try:
        if "samples" in wanted:
            stretches = [
                tunnel_pb2.SampleStretch(
                    device_id=str(asked["device_id"]),
                    allocation_id=str(asked["allocation_id"]),
                    start_ms=int(asked["start_ms"]),
                    end_ms=int(asked["end_ms"]),
                )
                for asked in wanted["samples"]
            ]
            return tunnel_pb2.OpenTunnel(
                tunnel_id=tunnel_id, samples=tunnel_pb2.RawSamples(stretches=stretches)
            )
        if "port" in wanted:
            return tunnel_pb2.OpenTunnel(
                tunnel_id=tunnel_id, allocation_id=allocation_id, port=int(wanted["port"])
            )
        return tunnel_pb2.OpenTunnel(
            tunnel_id=tunnel_id,
            allocation_id=allocation_id,
            terminal=tunnel_pb2.Terminal(
                local_rank=int(wanted["local_rank"]),
                command=list(wanted["command"]),
                kind=str(wanted["kind"]),
                size=tunnel_pb2.WindowSize(columns=int(wanted["columns"]), rows=int(wanted["rows"])),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a target that is none: {error}") from None


class TunnelServicer(tunnel_pb2_grpc.TunnelServiceServicer):
    """Where agents call back."""

    def __init__(self, database: Database, door: TunnelDoor) -> None:
        self._database = database
        self._door = door

    async def Carry(self, requests: _Carry, context: Context) -> None:
        """One tunnel, until either side ends it."""
        async with refusals(context, "Carry"):
            node_id = certificate_name(context)
            try:
                async with asyncio.timeout(OPENED_TIMEOUT_S):
                    first = await anext(requests)
            except (StopAsyncIteration, TimeoutError):
                raise StreamEnded(grpc.StatusCode.INVALID_ARGUMENT, "a tunnel_id comes first") from None
            tunnel = self._door.open.get(first.tunnel_id)
            # Another node learns nothing of this tunnel.
            if tunnel is None or tunnel.node_id != node_id or tunnel.called.is_set():
                raise NotFound("nobody waits for this tunnel")
            await caller(self._database, node_id)  # for a tunnel that is waited for only
            if tunnel.called.is_set():
                raise NotFound("nobody waits for this tunnel")
            tunnel.called.set()
            TUNNELS.inc()
            try:
                await _pass_on(tunnel, requests, context)
            finally:
                TUNNELS.dec()
                tunnel.over.set()


async def _pass_on(tunnel: Tunnel, requests: _Carry, context: Context) -> None:
    """Both directions until one of them is over for good."""
    up = asyncio.create_task(_from_task(tunnel.line, requests))
    down = asyncio.create_task(_to_task(tunnel.line, context))
    try:
        # The task's side says the last word; the API's side ends the tunnel by closing its line.
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for done in (up, down):
            if done.done():
                done.result()
    except (OSError, FrameError) as error:
        _log.info("tunnel_broke", reason=str(error) or type(error).__name__)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _from_task(line: FrameStream, requests: _Carry) -> None:
    async for message in requests:
        kind = message.WhichOneof("message")
        if kind == "data":
            TUNNEL_BYTES.labels(direction="from_task").inc(len(message.data))
            await line.write(Kind.DATA, message.data)
        elif kind == "opened":
            await line.write(Kind.OPENED)
        elif kind == "finished":
            await line.write(Kind.FINISHED)
        elif kind == "ended":
            ended = message.ended
            code = ended.exit_code if ended.HasField("exit_code") else None
            said = {"reason": ended.reason[:64], "detail": ended.detail[:2000], "exit_code": code}
            await line.write_json(Kind.ENDED, said)
            return


async def _to_task(line: FrameStream, context: Context) -> None:
    make: dict[Kind, Callable[[bytes], tunnel_pb2.CarryResponse]] = {
        Kind.DATA: lambda data: tunnel_pb2.CarryResponse(data=data),
        Kind.FINISHED: lambda _: tunnel_pb2.CarryResponse(finished=tunnel_pb2.TunnelFinished()),
        Kind.SIZE: _size,
    }
    while (frame := await line.read()) is not None:
        kind, payload = frame
        if kind not in make:
            raise FrameError(f"{kind.name} from the API")
        if kind is Kind.DATA:
            TUNNEL_BYTES.labels(direction="to_task").inc(len(payload))
        await context.write(make[kind](payload))


def _size(payload: bytes) -> tunnel_pb2.CarryResponse:
    value = read_object(payload)
    try:
        size = tunnel_pb2.WindowSize(columns=int(value["columns"]), rows=int(value["rows"]))
    except (KeyError, TypeError, ValueError):
        raise FrameError("a size that is none") from None
    return tunnel_pb2.CarryResponse(size=size)
