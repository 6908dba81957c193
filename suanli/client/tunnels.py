"""Into a running job from this machine: ports of it as local ports, and a terminal in it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from suanli.client.errors import ClientError, Unreachable, refused
from suanli.client.transport import CONNECT_TIMEOUT_S, is_loopback

READ_BYTES = 65_536
Bearer = str | Callable[[], str]  # a key, or what gives the token of now
_FINISHED = '{"type":"finished"}'


@asynccontextmanager
async def open_socket(
    server: str, bearer: Bearer, job_id: str, verb: str, query: Mapping[str, Any]
) -> AsyncIterator[ClientConnection]:
    """A WebSocket to a verb of a job. Raises Refused (and its kinds) and Unreachable."""
    base = "ws" + server.removeprefix("http")
    url = f"{base}/v1/jobs/{quote(job_id, safe='')}/{verb}?{urlencode(query)}"
    try:
        socket = await connect(
            url,
            additional_headers={"Authorization": f"Bearer {await _now(bearer)}"},
            user_agent_header="suanli",
            proxy=None if is_loopback(server) else True,
            ssl=ssl.create_default_context() if url.startswith("wss:") else None,
            compression=None,
            open_timeout=CONNECT_TIMEOUT_S + 25,
            max_queue=4,
        )
    except InvalidStatus as error:
        raise _refused(error, server) from None
    except (OSError, TimeoutError, WebSocketException) as error:
        raise Unreachable(f"cannot reach {server}: {error or type(error).__name__}") from error
    try:
        yield socket
    finally:
        await socket.close()


async def _now(bearer: Bearer) -> str:
    """Giving a token may mean to refresh it, which waits for an answer."""
    return bearer if isinstance(bearer, str) else await asyncio.to_thread(bearer)


def _refused(error: InvalidStatus, server: str) -> ClientError:
    answer = error.response
    try:
        value = json.loads(answer.body or b"")
    except ValueError:
        return Unreachable(
            f"{server} answered with HTTP status {answer.status_code}, but not as a Suanli API does"
        )
    return refused(answer.status_code, value, answer.headers.get("x-request-id"))


class Forwarder:
    """Serves a local port; each connection to it becomes one to the job's port."""

    def __init__(
        self,
        server: str,
        bearer: Bearer,
        job_id: str,
        port: int,
        rank: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._where = (
            server,
            bearer,
            job_id,
            "forward",
            {"port": port, **({} if rank is None else {"rank": rank})},
        )
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def check(self) -> None:
        """Connect once, so that a wrong job, port or rank is said at once. Raises ClientError."""
        async with open_socket(*self._where):
            return

    async def listen(self, host: str, port: int) -> str:
        """Serve; returns host:port. Raises OSError where the address cannot be had."""
        self._server = await asyncio.start_server(self._serve, host, port)
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            async with open_socket(*self._where) as socket:
                await _pass_on(socket, reader, writer)
        except ClientError as error:
            self._tell(str(error))
        except (OSError, ConnectionClosed):
            pass  # one connection of many; its own client sees it end
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _pass_on(
    socket: ClientConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    up = asyncio.create_task(_to_job(socket, reader))
    down = asyncio.create_task(_from_job(socket, writer))
    try:
        # The job's side ends a connection, unless sending to it fails.
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in (up, down):
            task.cancel()
        for result in await asyncio.gather(up, down, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, (OSError, ConnectionClosed)):
                raise result


async def _to_job(socket: ClientConnection, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(READ_BYTES):
        await socket.send(data)
    await socket.send(_FINISHED)


async def _from_job(socket: ClientConnection, writer: asyncio.StreamWriter) -> None:
    async for message in socket:
        if isinstance(message, bytes):
            writer.write(message)
            await writer.drain()
        elif json.loads(message).get("type") == "finished":
            writer.write_eof()
        else:
            break
    raise ConnectionResetError("the job's side has ended the connection")


class Session:
    """A terminal in a job: `output` gets its bytes as they come."""

    def __init__(self, socket: ClientConnection, output: Callable[[bytes], None]) -> None:
        self._socket = socket
        self._output = output

    async def start(self, columns: int, rows: int, kind: str, command: Sequence[str]) -> None:
        """Say what to start."""
        start = {"type": "start", "columns": columns, "rows": rows, "kind": kind, "command": list(command)}
        await self._socket.send(json.dumps(start))

    async def send(self, data: bytes) -> None:
        """What was typed."""
        await self._socket.send(data)

    async def finish(self) -> None:
        """Nothing more will be typed: an end of file."""
        await self._socket.send(_FINISHED)

    async def resize(self, columns: int, rows: int) -> None:
        """The window has another size."""
        await self._socket.send(json.dumps({"type": "size", "columns": columns, "rows": rows}))

    async def run(self) -> Mapping[str, Any]:
        """Until the session has ended: its last word, {reason, detail, exit_code}. Raises Unreachable."""
        try:
            async for message in self._socket:
                if isinstance(message, bytes):
                    self._output(message)
                    continue
                value: dict[str, Any] = json.loads(message)
                if value.get("type") == "ended":
                    return value
        except ConnectionClosed:
            pass
        why = self._socket.close_reason or "the connection broke"
        raise Unreachable(f"the session is over: {why}")
