"""A time-stamping authority: `openssl ts` with a root of its own, and an HTTP server before it."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import rfc3161_client as tsp

from tests.builders.running import serving

_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[stamps]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = tsa_settings
[tsa_settings]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Authority:
    """Its folder. `root` is what a reader trusts."""

    folder: Path

    @property
    def root(self) -> bytes:
        """The root's certificate, PEM."""
        return (self.folder / "root.pem").read_bytes()

    def answer(self, request: bytes) -> bytes:
        """What it answers to a request of RFC 3161; both DER."""
        query, reply = self.folder / "query.tsq", self.folder / "reply.tsr"
        query.write_bytes(request)
        _openssl(
            self.folder, "ts", "-reply", "-config", "config", "-section", "tsa_settings", "-queryfile", query.name,
            "-out", reply.name,
        )  # fmt: skip
        return reply.read_bytes()

    def stamp(self, data: bytes) -> bytes:
        """A stamp over data, made now."""
        request = tsp.TimestampRequestBuilder(data=data, hash_algorithm=tsp.HashAlgorithm.SHA256).build()
        return self.answer(request.as_bytes())


def make_authority(folder: Path, name: str = "stamps.example") -> Authority:
    """An authority with fresh keys in a folder that is made."""
    folder.mkdir(parents=True)
    (folder / "serial").write_text("01\n")
    (folder / "config").write_text(_CONFIG.format(folder=folder, name=name))
    new = ("-config", "config", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(folder, "req", "-x509", *new, "-extensions", "root", "-keyout", "root.key", "-out", "root.pem")
    _openssl(folder, "req", *new, "-subj", f"/CN={name} signer", "-keyout", "tsa.key", "-out", "tsa.csr")
    _openssl(
        folder, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
        "-extfile", "config", "-extensions", "stamps", "-out", "tsa.pem",
    )  # fmt: skip
    return Authority(folder)


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class _Server(ThreadingHTTPServer):
    authority: Authority
    broken: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """RFC 3161, section 3.4."""
        request = self.rfile.read(int(self.headers["content-length"]))
        broken = self.server.broken.is_set()
        body = b"out of order" if broken else self.server.authority.answer(request)
        self.send_response(500 if broken else 200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def running_authority(authority: Authority) -> Iterator[tuple[str, threading.Event]]:
    """Its address, and what makes it fail while it is set."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.authority, server.broken = authority, threading.Event()
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}/", server.broken
