"""Into a running job, over WebSocket: a port of it, or a terminal in it."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from scheduler.api.auth import Attacher, PortForwarder, SessionCheck
from scheduler.api.state import Api, api_of
from scheduler.api.tunnel_socket import BROKEN, OPEN_TUNNELS, carry, close, deny, refusal, size_of
from scheduler.domain.authorise import Principal
from scheduler.domain.errors import DomainError, FieldProblem, Invalid, Unavailable
from scheduler.domain.gangs import MOST_RANK
from scheduler.services.tunnels import TunnelTarget, find_port, find_process, note_attached
from scheduler.storage.engine import DatabaseAway
from scheduler.tunnels.dial import GatewayAway, TunnelRefused
from scheduler.tunnels.frames import FrameError, FrameStream, read_object

START_TIMEOUT_S = 10.0
MOST_COMMAND_BYTES = 32 * 1024
_NUMBER = re.compile(r"[0-9]{1,9}")

router = APIRouter(tags=["jobs"])

_log = structlog.get_logger(__name__)
_Find = Callable[[Api], Awaitable[TunnelTarget]]


@router.websocket("/v1/jobs/{job_id}/forward")
async def forward(socket: WebSocket, job_id: str, principal: PortForwarder) -> None:
    """One TCP connection to a port that the job declares: `?port=8888`, and `rank` for another task than the job says.

    Binary messages are bytes; the text {"type": "finished"} says that a side sends no more.
    """

    async def find(api: Api) -> TunnelTarget:
        port = _number(socket, "port", None, 1, 65_535)
        given = "rank" in socket.query_params
        rank = _number(socket, "rank", None, 0, MOST_RANK) if given else None
        async with api.database.read() as session:
            return await find_port(session, principal, job_id, rank=rank, port=port)

    port = socket.query_params.get("port", "")
    found = await _found(socket, find)
    if found is None:
        return
    line = await _dialled(socket, found, {"port": int(port)})
    if line is None:
        return
    await socket.accept()
    await _carry(socket, line, found, f"port {port}")


@router.websocket("/v1/jobs/{job_id}/attach")
async def attach(socket: WebSocket, job_id: str, principal: Attacher) -> None:
    """A terminal in the job's allocation, as the user, in the folder and with the devices of its process `rank`.

    The client begins with the text {"type": "start", "columns": 80, "rows": 24, "kind": "xterm-256color",
    "command": [...]}; without a command a shell starts. Binary messages are the terminal's bytes,
    {"type": "size", ...} changes its size, and {"type": "ended", "exit_code": ...} is the server's last word.
    """

    async def find(api: Api) -> TunnelTarget:
        rank = _number(socket, "rank", 0, 0, MOST_RANK)
        async with api.database.read() as session:
            return await find_process(session, principal, job_id, rank=rank)

    found = await _found(socket, find)
    if found is None:
        return
    await socket.accept()
    try:
        start = await _start(socket)
    except Invalid as error:
        await close(socket, 1008, str(error))
        return
    except WebSocketDisconnect:
        return
    api = api_of(socket)
    try:
        line = await api.tunnels.open(
            found.gateway_address, {**_names(found), "local_rank": found.local_rank, **start}
        )
    except (TunnelRefused, GatewayAway) as error:
        said = refusal(error) if isinstance(error, TunnelRefused) else _away(error)
        await _refuse(socket, said.message)
        return
    try:
        async with api.database.transaction() as session:
            await note_attached(session, principal, found.job_id)
    except DatabaseAway:
        # Nobody enters a job without its history saying so.
        await line.close()
        await _refuse(socket, "the database does not answer; the same may succeed in a moment")
        return
    await socket.send_text('{"type":"started"}')
    await _carry(socket, line, found, "terminal")


async def _refuse(socket: WebSocket, sentence: str) -> None:
    await socket.send_json({"type": "ended", "reason": "refused", "detail": sentence, "exit_code": None})
    await close(socket, BROKEN, sentence)


async def _found(socket: WebSocket, find: _Find) -> TunnelTarget | None:
    """The target; None where the handshake was answered with a problem."""
    try:
        return await find(api_of(socket))
    except (DomainError, DatabaseAway) as error:
        await deny(socket, error)
        return None


async def _dialled(socket: WebSocket, found: TunnelTarget, target: dict[str, Any]) -> FrameStream | None:
    try:
        return await api_of(socket).tunnels.open(found.gateway_address, {**_names(found), **target})
    except TunnelRefused as error:
        await deny(socket, refusal(error))
    except GatewayAway as error:
        await deny(socket, _away(error))
    return None


def _away(error: GatewayAway) -> Unavailable:
    _log.warning("gateway_away", reason=str(error))
    return Unavailable("the gateway of the job's node cannot be reached; the job goes on")


def _names(found: TunnelTarget) -> dict[str, Any]:
    return {"firm_id": found.firm_id, "node_id": found.node_id, "allocation_id": found.allocation_id}


async def _carry(socket: WebSocket, line: FrameStream, found: TunnelTarget, what: str) -> None:
    check: SessionCheck = socket.state.session_check
    principal: Principal = socket.state.principal
    kind = "terminal" if what == "terminal" else "port"
    begun_s = time.monotonic()
    about = {"job_id": found.job_id, "principal": principal.name, "target": what}
    _log.info("tunnel_opened", **about)
    OPEN_TUNNELS.labels(kind=kind).inc()
    try:
        await carry(socket, line, check)
    finally:
        OPEN_TUNNELS.labels(kind=kind).dec()
        _log.info("tunnel_closed", seconds=round(time.monotonic() - begun_s, 3), **about)


def _number(socket: WebSocket, name: str, default: int | None, low: int, high: int) -> int:
    text = socket.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or _NUMBER.fullmatch(text) is None or not low <= int(text) <= high:
        raise Invalid([FieldProblem(f"query {name}", str(text)[:60], f"a whole number from {low} to {high}")])
    return int(text)


async def _start(socket: WebSocket) -> dict[str, Any]:
    """The first message. Raises Invalid, WebSocketDisconnect."""
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        value = read_object((message.get("text") or "").encode())
    except (TimeoutError, FrameError):
        raise Invalid(
            [FieldProblem("message", "something else", 'a text {"type": "start", ...} first')]
        ) from None
    if value.get("type") != "start":
        raise Invalid([FieldProblem("message.type", str(value.get("type"))[:60], "start")])
    command = value.get("command", [])
    if not isinstance(command, list) or not all(
        isinstance(part, str) and "\0" not in part for part in command
    ):
        raise Invalid([FieldProblem("message.command", "something else", "a list of program and arguments")])
    if sum(len(part.encode("utf-8", "surrogatepass")) for part in command) > MOST_COMMAND_BYTES:
        raise Invalid([FieldProblem("message.command", "more", f"at most {MOST_COMMAND_BYTES} bytes")])
    kind = value.get("kind", "xterm-256color")
    if not isinstance(kind, str) or not kind.isascii() or not kind.isprintable() or len(kind) > 64:
        raise Invalid([FieldProblem("message.kind", str(kind)[:60], "the name of a kind of terminal")])
    return {**size_of({"columns": 80, "rows": 24, **value}), "kind": kind, "command": command}
