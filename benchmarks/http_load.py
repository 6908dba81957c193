"""A closed loop of HTTP/1.1 requests over a fixed number of connections, in a process of its own.

`python -m benchmarks.http_load` reads one JSON object from standard input and writes one to standard output.
Each connection sends a request, waits for the whole answer, and sends the next; latency is from the first byte
sent to the last received. One thread and epoll: 25 to 30 us a small request, so that the machine is left to the server.
"""

import gc
import json
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness import quantile

_RECEIVE_BYTES = 1 << 18
_STALL_S = 30.0
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)\r\n")


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: the requests in turn, by each connection, for so long or so many in total."""

    host: str
    port: int
    connections: int
    requests: tuple[str, ...]
    seconds: float = 10.0
    most: int = 1 << 40


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came back. Rates and latencies count answers with a status below 400 only."""

    answers: int
    refusals: dict[str, int]
    seconds: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    received_bytes: int
    cpu_s: float  # of the load generator
    # Bodies of the answers, where few enough were asked for.
    bodies: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def request(method: str, path: str, key: str, body: Any = None, headers: Sequence[str] = ()) -> str:
    """One request as text of HTTP/1.1."""
    content = "" if body is None else json.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: suanli", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content.encode())}"]
    return "\r\n".join([*lines, "", content])


def run(load: Load) -> Loaded:
    """Run the load in another process. Raises subprocess.CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=json.dumps(asdict(load)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Loaded(**json.loads(done.stdout))


class _Connection:
    def __init__(self, load: Load, offset: int, requests: Sequence[bytes]) -> None:
        self.socket = socket.create_connection((load.host, load.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._next = offset
        self.begun_s = 0.0
        self._received: list[bytes] = []
        self._missing = 0  # bytes

    def send(self) -> None:
        data = self._requests[self._next % len(self._requests)]
        self._next += 1
        self.begun_s = time.perf_counter()
        self.socket.sendall(data)

    def receive(self) -> bytes | None:
        """The whole answer, or None while it is not."""
        got = self.socket.recv(_RECEIVE_BYTES)
        if not got:
            raise ConnectionError("the server closed the connection")
        if not self._missing:
            length = _LENGTH.search(got)
            if length is None:
                raise ValueError("an answer without Content-Length in its first piece")
            self._missing = got.index(b"\r\n\r\n") + 4 + int(length[1])
        self._missing -= len(got)
        if not self._missing and not self._received:
            return got
        self._received.append(got)
        if self._missing:
            return None
        answer, self._received = b"".join(self._received), []
        return answer


def _loop(load: Load) -> Loaded:
    requests = [text.encode() for text in load.requests]
    connections = {}
    gc.disable()  # it would stop all connections at once, and the server would have the latency
    poll = select.epoll()
    for number in range(load.connections):
        connection = _Connection(load, number * 7919, requests)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    latencies: list[float] = []
    refusals: dict[str, int] = {}
    bodies: list[str] = []
    received = 0
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    left = load.most
    flying = 0
    for connection in connections.values():
        if left:
            left -= 1
            flying += 1
            connection.send()
    while flying:
        ready = poll.poll(_STALL_S)
        if not ready:
            raise TimeoutError(f"no answer for {_STALL_S:g} s")
        for descriptor, _ in ready:
            connection = connections[descriptor]
            answer = connection.receive()
            if answer is None:
                continue
            now_s = time.perf_counter()
            received += len(answer)
            status = answer[9:12]
            if status < b"400":
                latencies.append(now_s - connection.begun_s)
                if load.most <= 10_000:
                    bodies.append(answer.partition(b"\r\n\r\n")[2].decode())
            else:
                text = answer.decode(errors="replace")
                refusals[text[-300:] if not refusals else text[9:12]] = refusals.get(text[9:12], 0) + 1
            if left and now_s - begun_s < load.seconds:
                left -= 1
                connection.send()
            else:
                flying -= 1
    seconds = time.perf_counter() - begun_s
    ms = sorted(1000 * value for value in latencies) or [0.0]
    return Loaded(
        len(latencies),
        refusals,
        seconds,
        quantile(ms, 0.5),
        quantile(ms, 0.99),
        ms[-1],
        received,
        time.process_time() - begun_cpu_s,
        tuple(bodies),
    )


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given["requests"] = tuple(given["requests"])
    json.dump(asdict(_loop(Load(**given))), sys.stdout)
