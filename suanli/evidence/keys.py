"""Ed25519 and ML-DSA-44 keys: raw bytes, identifiers, and the verifier keys (vkeys) of signed notes.

Reading and writing key files is I/O and stays at the edges; making a key needs 32 random bytes from outside.
Sources: RFC 8032; C2SP signed-note 1.0.0, section "Verifier keys" (`name+hash+base64(type || key)`).
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from suanli.evidence.errors import EvidenceError
from suanli.evidence.quick_ed25519 import find_quick
from suanli.evidence.strict_json import decode_base64, encode_base64, printable

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32
KEY_ID_BYTES = 16
KEY_ID_LABEL = b"suanli/key/v1\n"

NOTE_ED25519 = 0x01
"""Signature type of a log's own signature on its checkpoint."""
NOTE_COSIGNATURE_ED25519 = 0x04
"""Signature type of a witness's timestamped cosignature."""
NOTE_COSIGNATURE_ML_DSA_44 = 0x06
"""The same by ML-DSA-44 (FIPS 204); a log may sign its own checkpoints so too, beside Ed25519."""
NOTE_OTHER = 0xFF
"""Any further algorithm, such as SM2: the key's bytes begin with its identifier and a newline."""
COSIGNATURE_KINDS = frozenset({NOTE_COSIGNATURE_ED25519, NOTE_COSIGNATURE_ML_DSA_44, NOTE_OTHER})
ML_DSA_44_PUBLIC_KEY_BYTES = 1312


@functools.lru_cache(maxsize=65_536)
def key_id(public_key: bytes) -> str:
    """Identifier of a raw public key: 32 hex characters of SHA-256 under a label of our own."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise EvidenceError("public_key", f"{len(public_key)} bytes", "32 bytes")
    return hashlib.sha256(KEY_ID_LABEL + public_key).digest()[:KEY_ID_BYTES].hex()


class Signer(Protocol):
    """Whatever can sign for a key: a key in memory, or a device that keeps it."""

    @property
    def key_id(self) -> str:
        """Identifier of the public key."""
        ...

    @property
    def public_key(self) -> bytes:
        """Raw public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature over `message`."""
        ...


class SigningKey:
    """An Ed25519 private key in memory. `repr` shows only its identifier."""

    __slots__ = ("_key", "key_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise EvidenceError("seed", f"{len(seed)} bytes", "32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: bytes = self._key.public_key().public_bytes_raw()
        self.key_id: str = key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature over `message`."""
        return self._key.sign(message)

    def seed(self) -> bytes:
        """The secret itself, for the edge that stores it."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


_quick = find_quick()
SIGNATURES_BY = "openssl" if _quick is None else "libsodium"
"""Who is asked first whether a signature is valid; it decides how long that takes, and nothing else."""


@functools.lru_cache(maxsize=4096)
def _load(public_key: bytes) -> Ed25519PublicKey | None:
    # A thousand nodes sign a hundred thousand windows: loading the key each time would cost as much again.
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        return None


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is a valid Ed25519 signature; malformed keys and signatures are not valid."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if _quick is not None and _quick(public_key, message, signature):
        return True
    key = _load(public_key)
    if key is None:
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@functools.lru_cache(maxsize=256)
def _load_ml_dsa_44(public_key: bytes) -> MLDSA44PublicKey | None:
    try:
        return MLDSA44PublicKey.from_public_bytes(public_key)
    except (ValueError, UnsupportedAlgorithm):
        return None


def verify_ml_dsa_44(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is a valid ML-DSA-44 signature; malformed keys and signatures are not valid."""
    key = _load_ml_dsa_44(public_key)
    if key is None:
        return False
    try:
        key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class NoteAlgorithm(Protocol):
    """A further algorithm of cosignatures, given by another package (entry points `suanli.note_algorithms`)."""

    @property
    def identifier(self) -> str:
        """A name that nobody else gives to an algorithm, such as `example.com/sm2-with-sm3`."""
        ...

    def check_key(self, public_key: bytes) -> None:
        """Raises ValueError for what is no public key."""
        ...

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is valid; malformed ones are not."""
        ...


_ALGORITHMS: dict[str, NoteAlgorithm] = {}


def register_algorithm(algorithm: NoteAlgorithm) -> None:
    """Makes an algorithm known for as long as the process lives. Raises EvidenceError for a name taken twice."""
    name = algorithm.identifier
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise EvidenceError("algorithm.identifier", printable(name), "printable ASCII without blanks")
    if _ALGORITHMS.setdefault(name, algorithm) is not algorithm:
        raise EvidenceError("algorithm.identifier", name, "a name that no other algorithm has")


def other_algorithm(material: bytes) -> tuple[NoteAlgorithm, bytes]:
    """The algorithm that the bytes of a key of NOTE_OTHER name, and the key itself. Raises EvidenceError."""
    name, newline, public_key = material.partition(b"\n")
    algorithm = _ALGORITHMS.get(name.decode("ascii", "replace")) if newline else None
    if algorithm is None:
        known = ", ".join(sorted(_ALGORITHMS)) or "none is installed"
        raise EvidenceError("vkey.algorithm", printable(name[:80].decode("latin-1")), f"one of: {known}")
    return algorithm, public_key


def check_key_name(name: str, field: str) -> None:
    """Refuses key names that a note cannot carry: empty, with spaces of any kind, a plus, or no UTF-8."""
    if (
        not name
        or "+" in name
        or any(c.isspace() or ord(c) < 0x21 or 0xD800 <= ord(c) <= 0xDFFF for c in name)
    ):
        raise EvidenceError(
            field, printable(name), "a key name in UTF-8 without spaces, control characters or +"
        )


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named public key of signed notes: name and 4-byte key hash find it, `kind` says how to use it."""

    name: str
    kind: int
    public_key: bytes

    @property
    def key_hash(self) -> bytes:
        """First 4 bytes of SHA-256(name || newline || kind || key)."""
        material = self.name.encode("utf-8") + b"\n" + bytes([self.kind]) + self.public_key
        return hashlib.sha256(material).digest()[:4]

    def __str__(self) -> str:
        """The vkey text: `name+hash+base64(kind || key)`."""
        return f"{self.name}+{self.key_hash.hex()}+{encode_base64(bytes([self.kind]) + self.public_key)}"


def verifier_key(name: str, kind: int, public_key: bytes) -> VerifierKey:
    """A verifier key, checked. `kind` is one of the NOTE_ constants."""
    check_key_name(name, "vkey.name")
    if kind == NOTE_COSIGNATURE_ML_DSA_44:
        if len(public_key) != ML_DSA_44_PUBLIC_KEY_BYTES or _load_ml_dsa_44(public_key) is None:
            got = f"{len(public_key)} bytes"
            raise EvidenceError("vkey.key", got, f"an ML-DSA-44 key of {ML_DSA_44_PUBLIC_KEY_BYTES} bytes")
        return VerifierKey(name, kind, public_key)
    if kind == NOTE_OTHER:
        algorithm, key = other_algorithm(public_key)
        try:
            algorithm.check_key(key)
        except ValueError as error:
            raise EvidenceError("vkey.key", str(error), f"a key of {algorithm.identifier}") from None
        return VerifierKey(name, kind, public_key)
    if kind not in (NOTE_ED25519, NOTE_COSIGNATURE_ED25519):
        want = "0x1 (Ed25519), 0x4 (Ed25519 cosignature), 0x6 (ML-DSA-44 cosignature) or 0xff (another)"
        raise EvidenceError("vkey.kind", hex(kind), want)
    if len(public_key) != PUBLIC_KEY_BYTES or _load(public_key) is None:
        raise EvidenceError("vkey.key", public_key, "an Ed25519 public key of 32 bytes")
    return VerifierKey(name, kind, public_key)


def parse_verifier_key(text: str) -> VerifierKey:
    """The verifier key in vkey text. Raises EvidenceError, also when its hash does not match."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise EvidenceError("vkey", text, "name+hash+base64")
    name, hash_hex, material_base64 = parts
    material = decode_base64(material_base64, "vkey.key")
    if not material:
        raise EvidenceError("vkey.key", "nothing", "a type byte and a key")
    key = verifier_key(name, material[0], material[1:])
    if hash_hex != key.key_hash.hex():
        raise EvidenceError("vkey.hash", hash_hex, key.key_hash.hex())
    return key
