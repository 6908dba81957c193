"""The exporter: what a process counts, for Prometheus to fetch. Each room defines its own metrics."""

import asyncio
import contextlib
import hmac
import platform
import socket
import sys
import threading
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import Gauge, make_wsgi_app

from suanli.evidence.keys import SIGNATURES_BY

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_PATIENCE_S = (
    5.0  # for each read and each write; who is slower than that all the time makes room, see below
)
MOST_REQUESTS = 32  # at a time; the oldest makes room for one more

BUILD_INFO = Gauge(
    "suanli_build_info",
    "1 for the running version; which event loop it runs on, and which library checks its signatures.",
    ["process", "version", "python", "loop", "signatures"],
)


def product_version() -> str:
    """Version of the installed control plane."""
    try:
        return version("suanli-scheduler")
    except PackageNotFoundError:
        return "unknown"


def describe_build(process: str, loop: asyncio.AbstractEventLoop) -> None:
    """Let the version be seen beside the other metrics, and what makes a process fast or, where it is missing, slow."""
    loop_name = type(loop).__module__.partition(".")[0]
    BUILD_INFO.labels(process, product_version(), platform.python_version(), loop_name, SIGNATURES_BY).set(1)


class Exporter:
    """A thread that serves /metrics, with a token to those who bear it (RFC 6750), and /healthz to anybody."""

    def __init__(
        self, host: str, port: int, token: str | None = None, patience_s: float = REQUEST_PATIENCE_S
    ) -> None:
        """Listen. Port 0 takes any free one. Raises OSError."""
        self._server = _Server(host, port, patience_s)
        self._server.set_app(_guarded(make_wsgi_app(), token))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, none of which keeps the process from ending."""

    daemon_threads = True

    def __init__(self, host: str, port: int, patience_s: float) -> None:
        """Listen at an address of either family. Raises OSError."""
        self._patience_s = patience_s
        self._under_way: dict[Any, None] = {}
        self._lock = threading.Lock()
        self.address_family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__((str(address[0]), port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next one's connection, which may not keep us waiting."""
        connection, address = super().get_request()
        connection.settimeout(self._patience_s)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take it in, for which the oldest may have to go: nobody uses up the process's threads and descriptors."""
        with self._lock:
            self._under_way[request] = None
            if len(self._under_way) > MOST_REQUESTS:
                oldest = next(iter(self._under_way))
                del self._under_way[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It is over."""
        with self._lock:
            self._under_way.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of those who went away, or said nothing, nobody needs to be told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


def _guarded(metrics: "WSGIApplication", token: str | None) -> "WSGIApplication":
    def answer(environment: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/metrics":
            if token is None or _bears(environment.get("HTTP_AUTHORIZATION", ""), token):
                return metrics(environment, start)
            status, said = "401 Unauthorized", b"bear the metrics token\n"
        elif path == "/healthz":
            status, said = "200 OK", b"ok\n"
        else:
            status, said = "404 Not Found", b"GET /metrics or /healthz\n"
        challenge = [("WWW-Authenticate", "Bearer")] if status.startswith("401") else []
        start(status, [("Content-Type", "text/plain; charset=utf-8"), *challenge])
        return [said]

    return answer


def _bears(authorization: str, token: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
