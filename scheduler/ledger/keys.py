"""The keys that only a ledger is started with: the second one of the log, and the controller's public one."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from suanli.evidence.cosignature import Cosigner
from suanli.evidence.keys import NOTE_COSIGNATURE_ML_DSA_44, verifier_key


def read_cosigner(path: Path, origin: str) -> Cosigner:
    """An ML-DSA-44 key that signs the log's checkpoints beside the log's own. Raises ValueError or OSError."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, MLDSA44PrivateKey):
        raise ValueError(f"{path} holds no ML-DSA-44 key")  # noqa: TRY004 - the file is wrong
    public = key.public_key().public_bytes_raw()
    return Cosigner(verifier_key(origin, NOTE_COSIGNATURE_ML_DSA_44, public), key.sign)


def read_public_key(path: Path) -> bytes:
    """A raw Ed25519 public key from a PEM file. Raises ValueError or OSError."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} holds no Ed25519 public key")  # noqa: TRY004 - the file is wrong
    return key.public_bytes_raw()
