"""The witness's own folder: key, known logs, newest heads. Secrets 0600, folder 0700.

Files: `key` (PKCS #8 PEM), `name`, `logs` (one vkey a line), `heads.json`. Heads are replaced atomically and
flushed to the disk before anybody is told: a witness that forgets could be rolled back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from suanli.evidence.cosignature import Cosigner
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    NOTE_COSIGNATURE_ED25519,
    NOTE_COSIGNATURE_ML_DSA_44,
    NOTE_ED25519,
    SigningKey,
    VerifierKey,
    parse_verifier_key,
    verifier_key,
)
from suanli.evidence.policy import Policy, PolicyLog, PolicyWitness, format_policy
from suanli.evidence.strict_json import encode, parse_object
from suanli.evidence.witness import TreeHead

HEADS_SCHEMA = "suanli.witness_heads.v1"
_KEY, _NAME, _LOGS, _HEADS, _POLICY = "key", "name", "logs", "heads.json", "policy"
_HEADS_LIMIT_BYTES = 64 << 20
_KEY_FORMAT = "an Ed25519 or ML-DSA-44 key in PKCS #8 PEM"
ED25519, ML_DSA_44 = "ed25519", "ml-dsa-44"
ALGORITHMS = (ED25519, ML_DSA_44)

_PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey


def _verifier_key(name: str, key: _PrivateKey) -> VerifierKey:
    kind = NOTE_COSIGNATURE_ED25519 if isinstance(key, Ed25519PrivateKey) else NOTE_COSIGNATURE_ML_DSA_44
    return verifier_key(name, kind, key.public_key().public_bytes_raw())


class WitnessFolder:
    """Reads and writes one witness's folder. Raises EvidenceError for malformed files, and OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether a witness was made here."""
        return (self.path / _KEY).exists()

    def create(self, name: str, seed: bytes, algorithm: str = ED25519) -> VerifierKey:
        """Makes the folder with a key from 32 random bytes. Raises EvidenceError when a key is there.

        `algorithm` is one of ALGORITHMS.
        """
        if self.exists():
            raise EvidenceError("witness folder", str(self.path), "a folder without a key")
        if algorithm not in ALGORITHMS:
            raise EvidenceError("algorithm", algorithm, " or ".join(ALGORITHMS))
        key: _PrivateKey
        if algorithm == ED25519:
            key = Ed25519PrivateKey.from_private_bytes(seed)
        else:
            key = MLDSA44PrivateKey.from_seed_bytes(seed)
        public = _verifier_key(name, key)
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_durably(self.path / _NAME, f"{name}\n".encode())
        write_durably(self.path / _LOGS, b"")
        self.store_heads({})
        # Last, so that a folder with a key is whole.
        write_durably(self.path / _KEY, pem)
        return public

    def _key(self) -> _PrivateKey:
        try:
            key = serialization.load_pem_private_key((self.path / _KEY).read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise EvidenceError("witness key", type(error).__name__, _KEY_FORMAT) from None
        if not isinstance(key, Ed25519PrivateKey | MLDSA44PrivateKey):
            raise EvidenceError("witness key", type(key).__name__, _KEY_FORMAT)
        return key

    def key(self) -> SigningKey:
        """The Ed25519 key, for signing more than cosignatures. Raises EvidenceError for another kind."""
        key = self._key()
        if not isinstance(key, Ed25519PrivateKey):
            raise EvidenceError("witness key", type(key).__name__, "an Ed25519 key")
        return SigningKey(key.private_bytes_raw())

    def cosigner(self) -> Cosigner:
        """Name, public key and what signs. Raises EvidenceError when the key file is none."""
        key = self._key()
        return Cosigner(_verifier_key(self.name(), key), key.sign)

    def name(self) -> str:
        """Name of the witness's key in notes."""
        return (self.path / _NAME).read_text("utf-8").strip()

    def verifier_key(self) -> VerifierKey:
        """What others need to check this witness's cosignatures."""
        return self.cosigner().key

    def logs(self) -> dict[str, VerifierKey]:
        """Known logs by origin."""
        keys = [parse_verifier_key(line) for line in self._lines(_LOGS)]
        return {key.name: key for key in keys}

    def logs_changed_ns(self) -> int:
        """When the list of known logs was replaced: cheap to ask at every request."""
        return (self.path / _LOGS).stat().st_mtime_ns

    def _lines(self, name: str) -> list[str]:
        lines = (self.path / name).read_text("utf-8").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def add_log(self, vkey: str) -> VerifierKey:
        """Makes a log known, once. Raises EvidenceError when its origin is known under another key."""
        key = parse_verifier_key(vkey.strip())
        if key.kind != NOTE_ED25519:
            raise EvidenceError("log vkey", f"type {key.kind:#04x}", "type 0x01 (Ed25519)")
        known = self.logs()
        if known.get(key.name, key) != key:
            # Another key for a known origin would let a second history begin under the same name.
            raise EvidenceError("log vkey", f"another key for {key.name}", "the key known before")
        known[key.name] = key
        write_durably(self.path / _LOGS, "".join(f"{k}\n" for k in known.values()).encode())
        return key

    def heads(self) -> dict[str, TreeHead]:
        """Newest tree cosigned of each log. Raises when the file is lost: starting anew would forget."""
        fields = parse_object((self.path / _HEADS).read_bytes(), "heads", _HEADS_LIMIT_BYTES)
        fields.schema(HEADS_SCHEMA)
        heads: dict[str, TreeHead] = {}
        for item in fields.objects("heads", 1_000_000):
            origin = item.text("origin", 1024)
            heads[origin] = TreeHead(item.integer("size"), bytes.fromhex(item.hex("root", 32)))
            item.done()
        fields.done()
        return heads

    def store_heads(self, heads: Mapping[str, TreeHead]) -> None:
        """Replaces the heads; returns when they are on the disk."""
        value = {
            "schema": HEADS_SCHEMA,
            "heads": [
                {"origin": origin, "size": head.size, "root": head.root.hex()}
                for origin, head in sorted(heads.items())
            ],
        }
        write_durably(self.path / _HEADS, encode(value))

    def write_policy(self) -> Path:
        """Writes the policy of a reader who trusts the known logs and this witness; gives its path.

        Raises EvidenceError where no log is known: such a policy would verify nothing.
        """
        logs = self.logs()
        if not logs:
            raise EvidenceError("policy", "no known log", "--log VKEY, as 'suanli admin log-vkey' prints it")
        policy = Policy(
            logs=tuple(PolicyLog(key) for key in logs.values()),
            witnesses=(PolicyWitness("auditor", self.verifier_key()),),
            groups=(),
            quorum="auditor",
        )
        path = self.path / _POLICY
        write_durably(path, format_policy(policy).encode("utf-8", "surrogateescape"))
        return path


def write_durably(path: Path, data: bytes) -> None:
    """Replaces the file at `path` (0600) in one step; returns when it would survive a power cut."""
    temporary = path.with_name(path.name + ".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    if os.name == "posix":
        # The new name itself must be on the disk too; Windows has no handle on folders to flush.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
