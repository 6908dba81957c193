"""Between a WebSocket and a tunnel: binary messages are bytes, text messages are JSON objects about them.

Both ways the reader waits for the writer, so that nothing piles up here.
"""

import asyncio
import json
from typing import Any

import structlog
from prometheus_client import Gauge
from starlette.websockets import WebSocket, WebSocketDisconnect

from scheduler.api.auth import SessionCheck
from scheduler.api.problems import database_away, from_error
from scheduler.domain.errors import Conflict, DomainError, FieldProblem, Invalid, Unavailable
from scheduler.storage.engine import DatabaseAway
from scheduler.tunnels.dial import TunnelRefused
from scheduler.tunnels.frames import FrameError, FrameStream, Kind, read_object

RECHECK_S = 15.0
MOST_COLUMNS = 10_000
# Close codes for programs (RFC 6455, 4000-4999 are the application's).
ENDED = 1000
BROKEN = 4500
REVOKED = 4401

OPEN_TUNNELS = Gauge("suanli_api_tunnels", "WebSockets that carry a tunnel.", ["kind"])

_log = structlog.get_logger(__name__)

# What the agent or the gateway may answer, and what it means to a caller.
_TEMPORARY = frozenset({"busy", "not_connected", "no_answer", "failed"})


def refusal(error: TunnelRefused) -> DomainError:
    """A tunnel that was not opened, as an error of the API."""
    if error.reason in _TEMPORARY:
        return Unavailable(error.detail)
    return Conflict(error.detail, {"reason": error.reason})


async def deny(socket: WebSocket, error: DomainError | DatabaseAway) -> None:
    """Answer the handshake with a problem document instead of a WebSocket."""
    request_id = socket.scope.get("state", {}).get("request_id")
    if isinstance(error, DomainError):
        await socket.send_denial_response(from_error(error, request_id))
    else:
        await socket.send_denial_response(database_away(request_id))


async def carry(socket: WebSocket, line: FrameStream, check: SessionCheck) -> dict[str, Any] | None:
    """Pass on until either side ends it; returns what the task's side said last, None where it said nothing."""
    down = asyncio.create_task(_to_task(socket, line))
    up = asyncio.create_task(_from_task(socket, line))
    recheck = asyncio.create_task(_until_revoked(check))
    said: dict[str, Any] | None = None
    try:
        await asyncio.wait({down, up, recheck}, return_when=asyncio.FIRST_COMPLETED)
        if up.done() and up.exception() is None:
            said = up.result()
            reason = "" if said is None else str(said.get("detail") or "")
            await close(socket, BROKEN if said is None else ENDED, reason)
        elif down.done() and isinstance(down.exception(), Invalid):
            await close(socket, 1008, str(down.exception()))
        elif recheck.done():
            await close(socket, REVOKED, "the API key was revoked")
        else:
            await close(socket, BROKEN, "the connection to the node broke")
    finally:
        for task in (down, up, recheck):
            task.cancel()
        await asyncio.gather(down, up, recheck, return_exceptions=True)
        await line.close()
    return said


async def close(socket: WebSocket, code: int, reason: str) -> None:
    """Close with a reason, which may hold anything that a caller or a node has sent."""
    try:
        # A close frame has room for 123 bytes (RFC 6455).
        await socket.close(code, reason.encode("utf-8", "replace")[:120].decode("utf-8", "ignore"))
    except (RuntimeError, WebSocketDisconnect):
        return  # the client was faster


async def _until_revoked(check: SessionCheck) -> None:
    while True:
        await asyncio.sleep(RECHECK_S)
        try:
            if not await check.still_valid():
                return
        except DatabaseAway:
            continue


async def _to_task(socket: WebSocket, line: FrameStream) -> None:
    """Raises Invalid where a text message is not understood."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        if data is not None:
            await line.write(Kind.DATA, data)
        else:
            await _control(line, message.get("text") or "")


async def _control(line: FrameStream, text: str) -> None:
    try:
        value = read_object(text.encode())
    except FrameError as error:
        raise Invalid([FieldProblem("message", str(error), "a JSON object")]) from None
    if value.get("type") == "finished":
        await line.write(Kind.FINISHED)
    elif value.get("type") == "size":
        await line.write_json(Kind.SIZE, size_of(value))
    else:
        raise Invalid([FieldProblem("message.type", str(value.get("type"))[:60], "finished or size")])


def size_of(value: dict[str, Any]) -> dict[str, int]:
    """Columns and rows of a terminal. Raises Invalid."""
    size = {name: value.get(name) for name in ("columns", "rows")}
    for name, number in size.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST_COLUMNS:
            raise Invalid([FieldProblem(f"message.{name}", str(number)[:60], f"1 to {MOST_COLUMNS}")])
    return {name: int(number or 0) for name, number in size.items()}


async def _from_task(socket: WebSocket, line: FrameStream) -> dict[str, Any] | None:
    while (frame := await line.read()) is not None:
        kind, payload = frame
        if kind is Kind.DATA:
            await socket.send_bytes(payload)
        elif kind is Kind.FINISHED:
            await socket.send_text('{"type":"finished"}')
        elif kind is Kind.ENDED:
            said = read_object(payload)
            await socket.send_text(json.dumps({"type": "ended", **said}))
            return said
        else:
            raise FrameError(f"{kind.name} from the gateway")
    return None
