"""Many who follow on one API process: how soon they hear, and what they cost."""

import select
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import psycopg

from benchmarks.harness import Row, quantile
from benchmarks.installation import JOB, MODEL, Installation
from scheduler.settings import load
from suanli.client import Client

FOLLOWERS = 1_000  # half of them of events, half of the output of jobs
JOBS = 10
ROUNDS = 10
_TIMEOUT_S = 60.0
# As after a grant: no agent runs here, and the output of a job is what lies in its folder.
_RUNNING = """
WITH attempt AS (
    INSERT INTO attempts (firm_id, job_id, attempt, variant, device_model, state, why_here, allocated_ms, started_ms)
    SELECT firm_id, job_id, 1, 0, %(model)s, 'running', '{}', submitted_ms, submitted_ms
    FROM jobs WHERE job_id = %(job_id)s RETURNING firm_id, job_id, started_ms
)
INSERT INTO allocations (firm_id, allocation_id, job_id, attempt, rank, node_id, goal, phase, live, granted_ms,
    started_ms)
SELECT firm_id, gen_random_uuid()::text, job_id, 1, 0, (SELECT node_id FROM nodes LIMIT 1), 'run', 'running', true,
    started_ms, started_ms FROM attempt RETURNING firm_id
"""


class Followers:
    """Open streams, read by one thread."""

    def __init__(self, address: tuple[str, int], key: str, requests: Sequence[tuple[str, str]]) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for path, accept in requests:
            connection = socket.create_connection(address)
            head = f"GET {path} HTTP/1.1\r\nHost: suanli\r\nAuthorization: Bearer {key}\r\nAccept: {accept}\r\n\r\n"
            connection.sendall(head.encode())
            self._sockets[connection.fileno()] = connection
            self._poll.register(connection, select.EPOLLIN)

    def until_heard(self, mark: bytes, waiting: set[int]) -> list[float]:
        """Seconds until each of these streams has brought the mark. Raises TimeoutError, ConnectionError."""
        begun_s = time.perf_counter()
        left = set(waiting)
        heard: list[float] = []
        while left:
            ready = self._poll.poll(_TIMEOUT_S)
            if not ready:
                raise TimeoutError(f"{len(left)} of {len(waiting)} streams are silent")
            for descriptor, _ in ready:
                data = self._sockets[descriptor].recv(1 << 16)
                if not data:
                    raise ConnectionError("a stream ended")
                if descriptor in left and mark in data:
                    left.discard(descriptor)
                    heard.append(time.perf_counter() - begun_s)
        return heard

    def descriptors(self) -> list[int]:
        """In the order of the requests."""
        return list(self._sockets)

    def close(self) -> None:
        """Hang up."""
        for connection in self._sockets.values():
            connection.close()
        self._poll.close()


def measure_followers(house: Installation, nodes: int) -> list[Row]:
    """Rows of followers of events and of logs, of the jobs of one firm."""
    case = f"{nodes} nodes, {FOLLOWERS} followers"
    api = psutil.Process(house.pid_of("api"))
    before = api.memory_info().rss
    with Client(house.url, house.researcher_key) as client, house.database() as connection:
        jobs = [str(client.submit(JOB)["job_id"]) for _ in range(JOBS)]
        house.until_inbox_is_empty(connection, 60)
        files = [_let_run(house, connection, job_id) for job_id in jobs]
        half = FOLLOWERS // 2
        events = [(f"/v1/jobs/{jobs[n % JOBS]}/events?after=0", "text/event-stream") for n in range(half)]
        logs = [(f"/v1/jobs/{jobs[n % JOBS]}/logs?follow=true", "application/x-ndjson") for n in range(half)]
        followers = Followers(house.address, house.researcher_key, events + logs)
        try:
            of_events, of_logs = set(followers.descriptors()[:half]), set(followers.descriptors()[half:])
            followers.until_heard(b"HTTP/1.1 200", of_events | of_logs)
            rss = api.memory_info().rss
            cpu_s = sum(api.cpu_times()[:2])

            def event(mark: str) -> None:
                for job_id in jobs:
                    client.change(job_id, labels={"mark": mark})

            def line(mark: str) -> None:
                for file in files:
                    with file.open("a") as stream:
                        stream.write(mark + "\n")

            heard_events = _rounds(followers, of_events, event, "JobRevised")
            heard_logs = _rounds(followers, of_logs, line, "line of output ")
            cpu_s = sum(api.cpu_times()[:2]) - cpu_s
        finally:
            followers.close()
    return [
        Row("api", case, "an event until a follower hears, p50", 1000 * quantile(heard_events, 0.5), "ms"),
        Row("api", case, "an event until a follower hears, p99", 1000 * quantile(heard_events, 0.99), "ms"),
        Row(
            "api",
            case,
            "a line of output until a follower hears, p50",
            1000 * quantile(heard_logs, 0.5),
            "ms",
        ),
        Row(
            "api",
            case,
            "a line of output until a follower hears, p99",
            1000 * quantile(heard_logs, 0.99),
            "ms",
        ),
        Row(
            "api", case, "CPU of the api process for an answer heard", 1e6 * cpu_s / (2 * ROUNDS * half), "us"
        ),
        Row("api", case, "memory of a follower", (rss - before) / FOLLOWERS / 1024, "KiB"),
    ]


def _let_run(house: Installation, connection: psycopg.Connection, job_id: str) -> Path:
    """Give a job an attempt whose output can come; returns the file of its first process."""
    row = connection.execute(_RUNNING, {"job_id": job_id, "model": MODEL}).fetchone()
    if row is None:
        raise LookupError(job_id)
    file = Path(load(data=house.folder).job_log_folder) / str(row[0]) / job_id / "1" / "0.0.stdout"
    file.parent.mkdir(parents=True)
    file.touch()
    return file


def _rounds(followers: Followers, whose: set[int], say: Callable[[str], None], mark: str) -> list[float]:
    """Seconds until each has heard, of several rounds, from the moment before it was said."""
    heard: list[float] = []
    for number in range(ROUNDS):
        begun_s = time.perf_counter()
        # Events carry no words of ours: their kind is the mark, once a round.
        say(f"{mark}{number}")
        said_s = time.perf_counter() - begun_s
        text = mark if mark == "JobRevised" else f"{mark}{number}"
        heard += [said_s + seconds for seconds in followers.until_heard(text.encode(), whose)]
    return heard
