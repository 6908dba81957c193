"""An S3-compatible server on loopback with one bucket: versitygw where it is installed, else moto.

Both check signatures. versitygw (`go install github.com/versity/versitygw/cmd/versitygw@latest`) takes a quarter of an
hour to build; moto is installed in seconds, into an environment of its own, because botocore wants an older
python-dateutil than the client of Kubernetes does.
"""

import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from scheduler.secret_files import prepare
from scheduler.settings import Settings
from tests.builders.running import ending, next_line

_MOTO = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
_INSTALL_S = 100.0


@dataclass(frozen=True)
class BucketServer:
    """Where it listens, and a key that may read and write; `lent`: one with a token, which moto alone gives."""

    address: str
    key_id: str
    secret: str
    lent: Sequence[str] = ()

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


def unfinished_uploads(server: BucketServer, bucket: str) -> list[str]:
    """Keys of objects of which parts lie in the bucket and no whole one (ListMultipartUploads, signed by hand)."""
    at, headers = datetime.now(UTC), "host;x-amz-content-sha256;x-amz-date"
    moment, day, host = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}", server.address.removeprefix("http://")
    unsigned = "UNSIGNED-PAYLOAD"
    asked = (
        f"GET\n/{bucket}\nuploads=\nhost:{host}\nx-amz-content-sha256:{unsigned}\nx-amz-date:{moment}\n\n"
        f"{headers}\n{unsigned}"
    )
    scope = f"{day}/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    key = f"AWS4{server.secret}".encode()
    for word in (*scope.split("/"), text):
        key = hmac.digest(key, word.encode(), "sha256")
    credential = f"Credential={server.key_id}/{scope}, SignedHeaders={headers}, Signature={key.hex()}"
    answer = httpx.get(
        f"{server.address}/{bucket}?uploads=",
        headers={
            "x-amz-date": moment, "x-amz-content-sha256": unsigned,
            "authorization": f"AWS4-HMAC-SHA256 {credential}",
        },
        trust_env=False,
    ).raise_for_status()  # fmt: skip
    return re.findall("<Key>(.*?)</Key>", answer.text)


# Carries bytes between TLS on a port of its own and a plain port of this host.
_TLS = """
import asyncio, ssl, sys
async def carry(source, target):
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    target.close()
async def serve(reader, writer):
    inner, outer = await asyncio.open_connection("127.0.0.1", int(sys.argv[3]))
    await asyncio.gather(carry(reader, outer), carry(inner, writer))
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def behind_tls(server: BucketServer, folder: Path) -> Iterator[tuple[str, Path]]:
    """The same server under https, and the authority (PEM) that its certificate is signed by."""
    settings = Settings(data=folder)
    prepare(settings, ["127.0.0.1"])
    files = [str(settings.secret(name)) for name in ("server.crt", "server.key")]
    process = subprocess.Popen(
        [sys.executable, "-c", _TLS, *files, server.address.rpartition(":")[2]],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with ending(process):
        yield f"https://127.0.0.1:{int(next_line(process.stdout))}", settings.secret("ca.crt")


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
