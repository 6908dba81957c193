"""The witness over HTTP: POST /add-checkpoint, GET /metrics, GET /healthz. Standard library only.

One lock makes "check and store" a single step; the head is on the disk before the cosignature leaves.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from suanli.evidence.witness import REQUEST_LIMIT_BYTES, TEXT_CONTENT_TYPE, Witness, WitnessAnswer
from suanli.witness.folder import WitnessFolder

READ_TIMEOUT_S = 30


class WitnessService:
    """The state machine, its folder and its counters. Safe to call from many threads."""

    def __init__(self, folder: WitnessFolder, now_s: Callable[[], int]) -> None:
        """Loads everything; raises EvidenceError or OSError when the folder is not whole."""
        self._folder = folder
        self._now_s = now_s
        self._lock = threading.Lock()
        self._heads = folder.heads()
        self._logs_changed_ns = folder.logs_changed_ns()
        self._witness = Witness(folder.cosigner(), folder.logs())
        self._answers: Counter[tuple[str, int]] = Counter()

    @property
    def name(self) -> str:
        """Name of the witness's key in notes."""
        return self._witness.cosigner.key.name

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Answers one request; when it cosigns, the new head is durable first."""
        with self._lock:
            self._learn_logs()
            answer = self._witness.add_checkpoint(body, self._heads, self._now_s())
            if answer.store is not None and answer.origin is not None:
                heads = {**self._heads, answer.origin: answer.store}
                self._folder.store_heads(heads)
                self._heads = heads
            self._answers[answer.origin or "", answer.status] += 1
            return answer

    def _learn_logs(self) -> None:
        """A log that was made known while we serve is known from the next request on."""
        changed_ns = self._folder.logs_changed_ns()
        if changed_ns != self._logs_changed_ns:
            self._witness = replace(self._witness, logs=self._folder.logs())
            self._logs_changed_ns = changed_ns

    def metrics(self) -> bytes:
        """Counters in the Prometheus text format."""
        with self._lock:
            lines = [
                "# HELP suanli_witness_answers_total Answers to add-checkpoint by log and status.",
                "# TYPE suanli_witness_answers_total counter",
            ]
            for (origin, status), count in sorted(self._answers.items()):
                labels = f'origin="{_label(origin)}",status="{status}"'
                lines.append(f"suanli_witness_answers_total{{{labels}}} {count}")
            lines.append("# HELP suanli_witness_log_size Size of the newest tree cosigned.")
            lines.append("# TYPE suanli_witness_log_size gauge")
            for origin, head in sorted(self._heads.items()):
                lines.append(f'suanli_witness_log_size{{origin="{_label(origin)}"}} {head.size}')
        return "".join(line + "\n" for line in lines).encode("utf-8")


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "suanli-witness"
    sys_version = ""
    timeout = READ_TIMEOUT_S
    server: WitnessServer

    def do_POST(self) -> None:
        """add-checkpoint."""
        if self.path != "/add-checkpoint":
            self._refuse(404, "not found")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(411, "Content-Length is needed")
        elif int(length) > REQUEST_LIMIT_BYTES:
            self._refuse(413, f"more than {REQUEST_LIMIT_BYTES} bytes")
        else:
            answer = self.server.service.add_checkpoint(self.rfile.read(int(length)))
            self._send(answer.status, answer.body, answer.content_type)

    def do_GET(self) -> None:
        """Metrics and health."""
        if self.path == "/metrics":
            self._send(200, self.server.service.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/healthz":
            self._send(200, b"ok\n", TEXT_CONTENT_TYPE)
        else:
            self._refuse(404, "not found")

    def _refuse(self, status: int, text: str) -> None:
        # What may still be unread in the connection must not be taken for the next request.
        self.close_connection = True
        self._send(status, f"{text}\n".encode(), TEXT_CONTENT_TYPE)

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """One line per request through the server's own sink."""
        self.server.log_line(format % args)


class WitnessServer(ThreadingHTTPServer):
    """The HTTP server around a service. `port` 0 takes a free one."""

    daemon_threads = True
    # The default of 5 waiting connections resets clients as soon as several logs ask at once.
    request_queue_size = 128

    def __init__(
        self, service: WitnessService, host: str, port: int, log_line: Callable[[str], None]
    ) -> None:
        self.service = service
        self.log_line = log_line
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


def make_witness(
    folder: Path, host: str, port: int, log_line: Callable[[str], None] = lambda _line: None
) -> WitnessServer:
    """A server over the witness in `folder`, listening but not yet serving."""
    service = WitnessService(WitnessFolder(folder), lambda: int(time.time()))
    return WitnessServer(service, host, port, log_line)
