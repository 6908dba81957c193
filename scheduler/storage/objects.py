"""Where files of the evidence log lie: a folder, or a bucket of an S3-compatible store.

The seam that the published log and the payload archive stand on. Paths are relative, with slashes. A file
appears whole or not at all; after a method that writes has returned, the bytes survive a power cut.
"""

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

S3_SCHEME = "s3://"

Place = Path | str
"""A folder, or `s3://bucket/prefix`."""


class StoreAway(OSError):
    """The store cannot be reached or refuses; nothing is known of what was being written."""


class Objects(Protocol):
    """One store. Every method raises StoreAway, or OSError for a folder."""

    @property
    def where(self) -> str:
        """For messages: where this is."""
        ...

    def prepare(self) -> None:
        """Make the place where it is not there yet."""
        ...

    def read(self, path: str) -> bytes | None:
        """The bytes at a path; None where there are none."""
        ...

    def pieces(self, path: str) -> Iterator[bytes] | None:
        """The same, some bytes at a time: for what may be larger than memory."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Put bytes at a path, whatever is there."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Put bytes at a path where there are none; False where there are some already."""
        ...

    def swap(self, path: str, there: bytes | None, data: bytes) -> bool:
        """Put bytes at a path where exactly `there` is (None: nothing); False where it is something else.

        One step for all writers of the store, on whatever machine they run.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; empty where there is none."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; nothing where there is none."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """A block in which this thread writes several files: they survive a power cut only when it has ended,
        and what is removed inside goes after that."""
        ...


@functools.lru_cache(maxsize=16)
def open_objects(place: Place) -> Objects:
    """The store at a place. Raises ValueError for an address that is none.

    Kept, because making a client of a bucket costs more than a request.
    """
    if isinstance(place, Path) or not place.startswith(S3_SCHEME):
        from scheduler.storage.local_objects import LocalObjects

        return LocalObjects(Path(place))
    from scheduler.storage.s3_objects import S3Objects

    bucket, _, prefix = place.removeprefix(S3_SCHEME).partition("/")
    if not bucket:
        raise ValueError(f"{place} names no bucket: s3://bucket/prefix")
    return S3Objects(bucket, prefix.strip("/"))
