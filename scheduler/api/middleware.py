"""Around every request: its id, its size, its line in the log, its place in the metrics."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from scheduler.api.languages import LANGUAGE, chosen
from scheduler.api.problems import internal, problem

REQUEST_ID_HEADER = "X-Request-Id"
BODY_LIMIT_BYTES = 1 << 20
LINGER_BYTES, LINGER_S = 8 << 20, 2.0  # of a body that is refused: as much is read and dropped
# Objects of uploads come several in one body, and so do 10,000 jobs.
LARGE_BODIES = {
    "/v1/uploads/objects": 9 << 20,
    "/v1/jobs/batch": 32 << 20,
    "/v1/jobs/batch/validate": 32 << 20,
}
_REQUEST_ID = REQUEST_ID_HEADER.lower().encode()
_OURS = frozenset({_REQUEST_ID, b"x-content-type-options"})
_STREAMS = (b"text/event-stream", b"application/x-ndjson")
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

REQUESTS = Counter("suanli_api_requests_total", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram(
    "suanli_api_request_seconds",
    "Time until the answer was complete; streams are left out.",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)

_log = structlog.get_logger(__name__)


class BodyTooLarge(Exception):
    """More bytes came than the limit allows."""


class RequestContext:
    """Outermost: nothing leaves without a request id, nothing fails without a line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":
            headers = dict(scope["headers"])
            request_id = scope.setdefault("state", {})["request_id"] = _request_id(headers)
            _note_language(headers)
            if _unnamable(scope):
                await WebSocket(scope, receive, send).send_denial_response(_bad_address(request_id))
            else:
                await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            if exchange.announced_bytes > exchange.limit_bytes:
                await exchange.refuse_body()
            elif _unnamable(scope):
                await _bad_address(exchange.request_id)(scope, receive, exchange.send)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except BodyTooLarge:
            await exchange.refuse_body()
        except Exception:  # noqa: BLE001 - the last resort: logged in full, answered with the id alone
            _log.exception("request_failed", request_id=exchange.request_id, path=scope["path"])
            if not exchange.started:
                await internal(exchange.request_id)(scope, receive, exchange.send)
        finally:
            exchange.finish()


def _note_language(headers: Mapping[bytes, bytes]) -> None:
    """Once a request, before anything can be refused."""
    if b"accept-language" in headers:
        LANGUAGE.set(chosen(headers[b"accept-language"].decode("latin-1")))


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(_REQUEST_ID)
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given.decode("ascii")
    return os.urandom(12).hex()


def _unnamable(scope: Scope) -> bool:
    """No name here holds a NUL character, and PostgreSQL takes none."""
    return "\0" in scope["path"] or b"%00" in scope["query_string"]


def _bad_address(request_id: str) -> Response:
    title, detail = "The request cannot be read", "the address holds a NUL character"
    return problem(400, "bad_request", title, detail, request_id=request_id)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        headers = dict(scope["headers"])
        self.request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = self.request_id
        _note_language(headers)
        length = headers.get(b"content-length", b"")
        self.announced_bytes = int(length) if length.isdigit() else 0
        self.limit_bytes = LARGE_BODIES.get(scope["path"], BODY_LIMIT_BYTES)
        self._asks_first = b"expect" in headers and headers[b"expect"].lower() == b"100-continue"
        self._received_bytes = 0
        self._begun_s = time.perf_counter()
        self._status = 0
        self._streaming = False

    @property
    def started(self) -> bool:
        """Whether the answer's head has left."""
        return self._status != 0

    async def receive(self) -> Message:
        """The next part of the body. Raises BodyTooLarge."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            if self._received_bytes > self.limit_bytes:
                raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        """Puts the id and what browsers should know on the answer's head."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = self._head(message["headers"])
        await self._send(message)

    def _head(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        head = [*headers]
        names = dict(head)
        if not _OURS.isdisjoint(names):
            head = [pair for pair in head if pair[0] not in _OURS]
        self._streaming = names.get(b"content-type", b"").startswith(_STREAMS)
        head += ((_REQUEST_ID, self.request_id.encode()), (b"x-content-type-options", b"nosniff"))
        # Answers belong to one caller; the public log says for itself what may be kept.
        if b"cache-control" not in names:
            head.append((b"cache-control", b"no-store"))
        allowance = self._scope["state"].get("allowance")
        if allowance is not None:
            head += allowance.headers()
        return head

    async def refuse_body(self) -> None:
        """413, when the answer has not begun.

        What is on its way is read first, within bounds: a connection closed over unread bytes is reset, and its
        peer may lose the answer with it.
        """
        if self.started:
            return
        if self._received_bytes or not self._asks_first:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._drop_body()
        await problem(
            413,
            "limit_exceeded",
            "Too large",
            f"the body is larger than {self.limit_bytes} bytes",
            request_id=self.request_id,
            headers={"Connection": "close"},
        )(self._scope, self._receive, self.send)

    async def _drop_body(self) -> None:
        dropped_bytes = 0
        while dropped_bytes < LINGER_BYTES:
            message = await self._receive()
            dropped_bytes += len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    def finish(self) -> None:
        """The line in the log and the count. Paths only: a query may hold what nobody should keep."""
        seconds = time.perf_counter() - self._begun_s
        route: Any = self._scope.get("route")
        name = getattr(route, "path", None) or "(none)"
        count, duration = _meters(self._scope["method"], name, self._status)
        count.inc()
        if not self._streaming:
            duration.observe(seconds)
        principal = self._scope["state"].get("principal")
        _log.info(
            "request",
            request_id=self.request_id,
            method=self._scope["method"],
            path=self._scope["path"],
            status=self._status,
            ms=round(seconds * 1000, 1),
            principal=None if principal is None else principal.name,
        )


@lru_cache(maxsize=1024)
def _meters(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The counters of a kind of request; finding them by their labels takes as long as counting."""
    return REQUESTS.labels(method, route, str(status)), DURATION.labels(route)
