"""The keys by which controller and ledger sign for the operator."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from suanli.evidence.keys import SigningKey


def read_signing_key(path: Path) -> SigningKey:
    """The Ed25519 key in a PEM file (PKCS #8, not encrypted). Raises OSError, and ValueError for any other key."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key")  # noqa: TRY004 - the file is wrong, not the argument
    return SigningKey(key.private_bytes_raw())
