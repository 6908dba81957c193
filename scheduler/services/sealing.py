"""Encryption at rest of what firms entrust to us: AES-256-GCM under keys in a file of the control plane.

The file is JSON: {"current": ID, "keys": {ID: base64 of 32 bytes}}. A new current key is put beside the old
ones, which open what was sealed before until it has been sealed anew.
"""

import base64
import binascii
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
Entropy = Callable[[int], bytes]


class SealingError(Exception):
    """What is sealed cannot be opened, or nothing can be sealed; the sentence names the file or the key."""


def new_key_file(kept: str | None = None, entropy: Entropy = os.urandom) -> str:
    """The content of a key file with a new current key, beside the keys of `kept`. Raises SealingError."""
    keys = {} if kept is None else _parse(kept, "the key file")[1]
    key_id = f"k{entropy(8).hex()}"
    keys[key_id] = entropy(KEY_BYTES)
    encoded = {name: base64.b64encode(key).decode() for name, key in keys.items()}
    return json.dumps({"current": key_id, "keys": encoded}, indent=1) + "\n"


def without_old_keys(content: str) -> str:
    """The key file with its current key alone. Raises SealingError."""
    current, keys = _parse(content, "the key file")
    return (
        json.dumps(
            {"current": current, "keys": {current: base64.b64encode(keys[current]).decode()}}, indent=1
        )
        + "\n"
    )


def _parse(content: str, where: str) -> tuple[str, dict[str, bytes]]:
    try:
        value = json.loads(content)
        keys = {str(name): base64.b64decode(key, validate=True) for name, key in value["keys"].items()}
        current = str(value["current"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        keys, current = {}, ""
    if current not in keys or any(len(key) != KEY_BYTES for key in keys.values()):
        raise SealingError(f"{where} holds no keys that can be read: bring it back from a backup")
    return current, keys


@dataclass(frozen=True, slots=True)
class Sealed:
    """Bytes that only the holder of the key can read: the nonce, then the ciphertext with its tag."""

    key_id: str
    data: bytes


@dataclass(slots=True)
class SecretKeys:
    """The key file, read anew when it has changed."""

    path: Path
    entropy: Entropy = os.urandom
    _seen: tuple[int, int] | None = None
    _current: str = ""
    _keys: dict[str, bytes] = field(default_factory=dict, repr=False)

    def seal(self, value: bytes, place: str) -> Sealed:
        """Encrypt a value for a place (whose name it is bound to). Raises SealingError."""
        self._read()
        nonce = self.entropy(NONCE_BYTES)
        data = AESGCM(self._keys[self._current]).encrypt(nonce, value, place.encode())
        return Sealed(self._current, nonce + data)

    def open(self, sealed: Sealed, place: str) -> bytes:
        """The value. Raises SealingError where the key is gone, or the bytes or their place are other ones."""
        self._read()
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise SealingError(f"{self.path} does not hold the key {sealed.key_id}")
        try:
            return AESGCM(key).decrypt(sealed.data[:NONCE_BYTES], sealed.data[NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise SealingError(f"what was sealed with the key {sealed.key_id} has been changed") from None

    @property
    def current(self) -> str:
        """Id of the key that seals. Raises SealingError."""
        self._read()
        return self._current

    def _read(self) -> None:
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_ino)
            if seen != self._seen:
                self._current, self._keys = _parse(self.path.read_text(encoding="utf-8"), str(self.path))
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SealingError(f"{self.path} cannot be read: {reason}") from None
