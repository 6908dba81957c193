"""A receiver of webhooks: an HTTPS server in a process of its own, under an authority of its own."""

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.builders.running import ending, next_line

# Answers each request with the next of its statuses (the last one for ever), and writes down what it was sent.
SERVER = """
import http.server, json, ssl, sys, time
folder, statuses = sys.argv[1], json.loads(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(f"{folder}/requests.jsonl", "a") as file:
            file.write(json.dumps({"path": self.path, "headers": dict(self.headers), "body": body.decode()}) + "\\n")
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status == 0:
            time.sleep(600)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", "https://127.0.0.1:1/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Receiver:
    """The running server."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where it listens, with a path and a query."""
        return f"https://127.0.0.1:{self.port}/hook?token=t"

    @property
    def authority(self) -> Path:
        """The certificate that its own is signed by."""
        return self.folder / "server.crt"

    def requests(self) -> list[dict[str, Any]]:
        """What it was sent so far; headers by lower-case name."""
        path = self.folder / "requests.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [{**one, "headers": {k.lower(): v for k, v in one["headers"].items()}} for one in found]


@contextmanager
def running_receiver(folder: Path, statuses: Sequence[int] = (200,)) -> Iterator[Receiver]:
    """A receiver that answers with these statuses; 0: it never answers."""
    folder.mkdir(parents=True, exist_ok=True)
    _make_certificate(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), json.dumps(list(statuses))],
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    with ending(process):
        yield Receiver(folder, int(next_line(process.stdout)))


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
