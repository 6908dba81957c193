"""A port of a job as a port of this machine."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from suanli.client import Refused
from suanli.client.tunnels import Forwarder
from tests.builders.e2e import PYTHON, Site, api_key, wait_until
from tests.builders.running import ending, next_line

pytestmark = pytest.mark.timeout(240)

# A real HTTP server with what a notebook needs of one: pages, large answers, uploads, and WebSockets.
SERVER = """
import base64, hashlib, http.server, os, socket, struct, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self, body):
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/echo":
            return self.echo()
        size = self.path[1:]
        hello = b"hello from rank " + os.environ["RANK"].encode()
        self.answer(b"x" * int(size) if size.isdigit() else hello)
    def do_POST(self):
        self.answer(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())
    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101); self.send_header("Upgrade", "websocket"); self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            size = head[1] & 127
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(size)))
            self.wfile.write(bytes([0x80 | head[0] & 15, size]) + data)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
PORT = 18_471


@pytest.fixture(scope="module")
def job_id(site: Site) -> Iterator[str]:
    """A job of yunhe that serves HTTP on a port that it declares."""
    job = site.submit(
        "yunhe", name="notebook", model="ascend-910b3", command=[PYTHON, "-c", SERVER, str(PORT)],
        ports=[PORT, 22, {"port": PORT + 1, "name": "nobody"}],
    )  # fmt: skip
    site.reachable("yunhe", job)
    yield job
    site.people.researchers["yunhe"].cancel(job)
    site.ended("yunhe", job)


@contextmanager
def forwarded(site: Site, job_id: str, port: int = PORT, firm: str = "yunhe") -> Iterator[str]:
    """host:port here that leads there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    forwarder = Forwarder(site.cluster.api, api_key(site, firm), job_id, port)
    try:
        run(forwarder.check())
        yield run(forwarder.listen("127.0.0.1", 0))
        run(forwarder.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def test_pages_come_through(site: Site, job_id: str) -> None:
    with forwarded(site, job_id) as here, httpx.Client(base_url=f"http://{here}", trust_env=False) as http:
        assert http.get("/").text == "hello from rank 0"
        assert len(http.get("/5000000").content) == 5_000_000
        body = bytes(range(256)) * 8_000
        assert http.post("/", content=body).text == hashlib.sha256(body).hexdigest()


def test_many_connections_at_once(site: Site, job_id: str) -> None:
    with forwarded(site, job_id) as here, ThreadPoolExecutor(40) as pool:
        got = list(
            pool.map(lambda n: httpx.get(f"http://{here}/{n * 1000}", trust_env=False, timeout=60), range(40))
        )
        assert [len(answer.content) for answer in got][1:] == [n * 1000 for n in range(1, 40)]


def test_a_websocket_goes_through(site: Site, job_id: str) -> None:
    with forwarded(site, job_id) as here, connect(f"ws://{here}/echo", proxy=None) as socket:
        for number in range(20):
            socket.send(f"message {number}")
            assert socket.recv(30) == f"message {number}"


def test_only_declared_ports_where_the_task_itself_listens(site: Site, job_id: str) -> None:
    with pytest.raises(Refused) as refused, forwarded(site, job_id, 80):
        pass
    assert refused.value.status == 422
    assert refused.value.problem.errors[0].field == "query port"
    # 22 is declared: were the host's own server there, it would still not be reached.
    for port in (PORT + 1, 22):
        with pytest.raises(Refused) as refused, forwarded(site, job_id, port):
            pass
        assert refused.value.problem.facts["reason"] == "no_listener"


def test_a_listener_of_another_job_on_the_same_host_is_not_reached(site: Site, job_id: str) -> None:
    other = site.submit("lantian", name="spy", model="mlu370-x8", command="exec sleep 100", ports=[PORT])
    wait_until(lambda: site.job("lantian", other)["state"] == "running", "the other job runs")
    with pytest.raises(Refused) as refused, forwarded(site, other, PORT, "lantian"):
        pass
    assert refused.value.problem.facts["reason"] == "no_listener"
    site.people.researchers["lantian"].cancel(other)


def test_a_strangers_job_is_not_there(site: Site, job_id: str) -> None:
    with pytest.raises(Refused) as refused, forwarded(site, job_id, PORT, "lantian"):
        pass
    assert refused.value.status == 404


def test_the_tunnel_ends_with_the_job(site: Site) -> None:
    command = [PYTHON, "-c", SERVER, "0"]
    job = site.submit("yunhe", name="short", model="ascend-910b3", command=command, ports=[PORT + 2])
    (line,) = site.lines("yunhe", job, [0])
    assert json.loads(line) > 0
    site.people.researchers["yunhe"].cancel(job)
    site.ended("yunhe", job)
    with pytest.raises(Refused) as refused, forwarded(site, job, PORT + 2):
        pass
    assert refused.value.status == 409


def test_the_command_line_forwards_until_it_is_told_to_stop(site: Site, job_id: str) -> None:
    environment = {"SUANLI_SERVER": site.cluster.api, "SUANLI_API_KEY": api_key(site, "yunhe")}
    process = subprocess.Popen(
        [sys.executable, "-m", "suanli.cli", "forward", job_id, f"0:{PORT}"],
        env={"PATH": os.environ["PATH"]} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ending(process):
        here = next_line(process.stdout).split()[0]
        assert httpx.get(here, trust_env=False, timeout=30).text == "hello from rank 0"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
