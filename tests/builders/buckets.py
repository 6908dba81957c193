"""An S3-compatible server on loopback with one bucket: versitygw where it is installed, else moto.

Both check signatures. versitygw (`go install github.com/versity/versitygw/cmd/versitygw@latest`) takes a quarter of an
hour to build; moto is installed in seconds, into an environment of its own, because botocore wants an older
python-dateutil than the client of Kubernetes does.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.builders.running import ending, next_line

_MOTO = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
_INSTALL_S = 100.0


@dataclass(frozen=True)
class BucketServer:
    """Where it listens, and a key that may read and write."""

    address: str
    key_id: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """How a client is told."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


@contextmanager
def running_bucket_server(folder: Path, bucket: str) -> Iterator[BucketServer]:
    """The server with one bucket; its files lie in the folder. Skips the test where none can be had."""
    gateway = shutil.which("versitygw") or shutil.which("versitygw", path=str(Path.home() / "go" / "bin"))
    process, server = _moto(folder, bucket) if gateway is None else _versitygw(gateway, folder, bucket)
    with ending(process):
        try:
            yield server
        finally:
            if process.stdin is None:
                process.terminate()
            else:
                process.stdin.close()  # moto ends, and uv with it
            process.wait(20)


def _moto(folder: Path, bucket: str) -> tuple["subprocess.Popen[bytes]", BucketServer]:
    packages = [word for package in _MOTO for word in ("--with", package)]
    script = Path(__file__).with_name("moto_server.py")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uv", "run", "--no-project", "--quiet", "--python", sys.executable,
             *packages, "python", str(script), bucket],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, cwd=folder,
        )  # fmt: skip
    try:
        while line := next_line(process.stdout, _INSTALL_S):
            if line.startswith(b"{"):  # Flask greets before
                return process, BucketServer(**json.loads(line))
    except BaseException:
        process.kill()
        raise
    process.communicate(timeout=10)
    said = (folder / "output").read_text(errors="replace")[-2000:]
    assert "CI" not in os.environ, said
    pytest.skip(f"neither versitygw nor moto here: {said}")


def _versitygw(program: str, folder: Path, bucket: str) -> tuple["subprocess.Popen[bytes]", BucketServer]:
    (folder / bucket).mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = BucketServer(f"http://127.0.0.1:{port}", "tester", "tester-secret")
    process = subprocess.Popen(
        [program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(folder)],
        env={"PATH": os.defpath, "ROOT_ACCESS_KEY_ID": server.key_id, "ROOT_SECRET_ACCESS_KEY": server.secret},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end_s = time.monotonic() + 30
    while True:
        try:
            httpx.get(server.address, trust_env=False)
        except httpx.TransportError:
            assert time.monotonic() < end_s, "the server does not answer"
        else:
            return process, server
