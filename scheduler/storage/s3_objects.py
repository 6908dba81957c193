"""Files of the evidence log in a bucket of an S3-compatible store, by obstore.

Address, region and credentials come by the usual variables (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_ALLOW_HTTP for a store without TLS) or the machine's own role. The store must know
conditional writes (If-None-Match, If-Match); `prepare` tries them, because without them two ledgers could
publish two trees.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from scheduler.storage.objects import StoreAway

if TYPE_CHECKING:
    from obstore import GetResult, PutMode

PATIENCE = timedelta(seconds=30)
_PROBE = "conditional-writes"


class S3Objects:
    """One prefix of one bucket. Safe to call from many threads."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.where = f"s3://{bucket}/{prefix}".rstrip("/")
        with self._asking(""):
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options={
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": PATIENCE,
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                },
                retry_config={"max_retries": 3, "retry_timeout": PATIENCE},
            )

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, ValueError) as error:
            # The first line is what happened; what follows is the library's own record of the request.
            reason = str(error).strip().partition("\n")[0]
            raise StoreAway(f"{self.where}/{path}: {reason}") from error

    def prepare(self) -> None:
        """Try that the bucket is there and refuses what it must. Raises StoreAway."""
        self.write(_PROBE, b"1")
        if self.create(_PROBE, b"2") or self.swap(_PROBE, b"3", b"4") or self._put_if(_PROBE, '"0"', b"5"):
            raise StoreAway(f"{self.where} ignores the conditions of writes: it cannot keep the log")

    def _get(self, path: str) -> tuple[bytes, str | None] | None:
        with self._asking(path), suppress(FileNotFoundError):
            answer = obstore.get(self._store, path)
            return bytes(answer.bytes()), answer.meta["e_tag"]
        return None

    def read(self, path: str) -> bytes | None:
        """The bytes at a path; None where there are none."""
        found = self._get(path)
        return None if found is None else found[0]

    def pieces(self, path: str) -> Iterator[bytes] | None:
        """The same, some bytes at a time."""
        with self._asking(path), suppress(FileNotFoundError):
            return self._pieces(path, obstore.get(self._store, path))
        return None

    def _pieces(self, path: str, answer: "GetResult") -> Iterator[bytes]:
        with self._asking(path):
            for piece in answer.stream():
                yield bytes(piece)

    def exists(self, path: str) -> bool:
        """Whether there is an object at a path."""
        with self._asking(path), suppress(FileNotFoundError):
            obstore.head(self._store, path)
            return True
        return False

    def write(self, path: str, data: bytes) -> None:
        """Put bytes at a path, whatever is there."""
        with self._asking(path):
            obstore.put(self._store, path, data, use_multipart=False)

    def create(self, path: str, data: bytes) -> bool:
        """Put bytes at a path where there are none; False where there are some already."""
        return self._conditional(path, data, "create")

    def swap(self, path: str, there: bytes | None, data: bytes) -> bool:
        """Put bytes at a path where exactly `there` is (None: nothing)."""
        if there is None:
            return self.create(path, data)
        found = self._get(path)
        return found is not None and found[0] == there and self._put_if(path, found[1], data)

    def _put_if(self, path: str, etag: str | None, data: bytes) -> bool:
        return self._conditional(path, data, {"e_tag": etag})

    def _conditional(self, path: str, data: bytes, mode: "PutMode") -> bool:
        with self._asking(path), suppress(AlreadyExistsError, PreconditionError):
            obstore.put(self._store, path, data, mode=mode, use_multipart=False)
            return True
        return False

    def names(self, folder: str) -> list[str]:
        """Names of the objects directly below a folder, sorted."""
        with self._asking(folder):
            found = obstore.list_with_delimiter(self._store, folder)
        return sorted(item["path"].rpartition("/")[2] for item in found["objects"])

    def remove(self, path: str) -> None:
        """Remove an object; nothing where there is none."""
        with self._asking(path), suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def together(self) -> AbstractContextManager[None]:
        """Nothing is gained here by waiting: each file is there for good when its request is answered."""
        return nullcontext()
