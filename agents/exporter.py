"""Metrics of the agent in the Prometheus text format, and a health page. Nothing but asyncio.

Format: Prometheus text exposition format 0.0.4.
"""

import asyncio
import hmac
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from agents.refusals import AddressTaken

REQUEST_LIMIT_BYTES = 8192
REQUEST_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Metric:
    """One family; `samples` are (labels, value)."""

    name: str
    kind: str
    text: str
    samples: tuple[tuple[dict[str, str], int | float], ...]


def exposition(metrics: Iterable[Metric]) -> str:
    """The page. Pure."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.samples:
            inner = ",".join(f'{name}="{_escape(text)}"' for name, text in sorted(labels.items()))
            lines.append(f"{metric.name}{{{inner}}} {value}" if inner else f"{metric.name} {value}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


async def serve(
    address: str, metrics: Callable[[], Iterable[Metric]], token: str | None = None
) -> asyncio.Server:
    """Listen on HOST:PORT. With a token, /metrics is for those who bear it. Raises AddressTaken."""
    host, _, port = address.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(head, metrics, token))
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    try:
        return await asyncio.start_server(answer, host.strip("[]"), int(port), limit=REQUEST_LIMIT_BYTES)
    except (OSError, ValueError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AddressTaken(
            f"metrics cannot be served on {address}: {why}; choose another --metrics"
        ) from None


def _bears(head: bytes, token: str) -> bool:
    """Whether the request's head holds `Authorization: Bearer TOKEN` (RFC 6750)."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"authorization":
            scheme, _, given = value.strip().partition(b" ")
            return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode("ascii"))
    return False


def _response(head: bytes, metrics: Callable[[], Iterable[Metric]], token: str | None) -> bytes:
    parts = head.split(b"\r\n", 1)[0].split(b" ")
    path = parts[1].partition(b"?")[0] if len(parts) == 3 and parts[0] == b"GET" else b""
    if path == b"/metrics" and token is not None and not _bears(head, token):
        status, kind, body = "401 Unauthorized", "text/plain; charset=utf-8", "bear the metrics token\n"
    elif path == b"/metrics":
        status, kind, body = "200 OK", "text/plain; version=0.0.4; charset=utf-8", exposition(metrics())
    elif path == b"/healthz":
        status, kind, body = "200 OK", "text/plain; charset=utf-8", "ok\n"
    else:
        status, kind, body = "404 Not Found", "text/plain; charset=utf-8", "GET /metrics or /healthz\n"
    content = body.encode("utf-8")
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    if status.startswith("401"):
        lines.append("WWW-Authenticate: Bearer")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content
