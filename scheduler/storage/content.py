"""Objects of firms in files: `<firm_id>/<first two of the hash>/<sha256>`, never in PostgreSQL.

An object is named by its hash, so writing it twice changes nothing, and each firm has objects of its own:
whether another firm has the same bytes is neither seen nor used. This is the seam for object stores: four
methods on (firm, hash).
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from suanli.content.manifest import OBJECT_BYTES, hash_of

_FIRM = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
_HEX = re.compile(r"[0-9a-f]{64}")


class ContentStore:
    """The folder of all objects."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, firm_id: str, sha256: str) -> Path:
        """Where an object lies. Raises ValueError for names that could lead out of the folder."""
        if not _FIRM.fullmatch(firm_id) or not _HEX.fullmatch(sha256):
            raise ValueError("no name of an object")
        return self._folder / firm_id / sha256[:2] / sha256

    def put(self, firm_id: str, data: bytes) -> str:
        """Keep an object; durable when this returns. Raises OSError (full disk, ...), ValueError (too long)."""
        if not 0 < len(data) <= OBJECT_BYTES:
            raise ValueError(f"an object of {len(data)} bytes; 1 to {OBJECT_BYTES} are allowed")
        sha256 = hash_of(data)
        path = self.path(firm_id, sha256)
        if path.exists():
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{sha256}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return sha256

    def get(self, firm_id: str, sha256: str) -> bytes | None:
        """An object's bytes, checked against its name; None where it is not there or is damaged."""
        try:
            data = self.path(firm_id, sha256).read_bytes()
        except FileNotFoundError:
            return None
        return data if hash_of(data) == sha256 else None

    def delete(self, firm_id: str, sha256: str) -> None:
        """Forget an object; one that is not there is forgotten already."""
        self.path(firm_id, sha256).unlink(missing_ok=True)
