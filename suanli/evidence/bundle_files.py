"""The files of a bundle as the verifier reads them: by name, as streams, so that memory stays flat.

Where they lie (a ZIP file, a folder, memory) is somebody else's business: `bundle_io` for disks.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol

from suanli.evidence.bundle import LINE_LIMIT_BYTES
from suanli.evidence.entries import ENTRY_LIMIT_BYTES
from suanli.evidence.errors import EvidenceError
from suanli.evidence.merkle import HASH_BYTES
from suanli.evidence.tiles import WIDTH, TileReader, entries_path, parse_entry_bundle


class BundleFiles(Protocol):
    """Named files. Reading raises EvidenceError where bytes are not what was announced."""

    def sizes(self) -> Mapping[str, int]:
        """Sizes in bytes by path."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The file as a stream of bytes. Raises KeyError where there is none."""
        ...


class MemoryFiles:
    """Files in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._sizes = {path: len(data) for path, data in files.items()}

    def sizes(self) -> Mapping[str, int]:
        """Sizes in bytes by path."""
        return self._sizes

    def open(self, path: str) -> BinaryIO:
        """The file as a stream of bytes. Raises KeyError where there is none."""
        return io.BytesIO(self._files[path])


def read_file(files: BundleFiles, path: str, limit_bytes: int) -> bytes:
    """A whole file of at most `limit_bytes`. Raises KeyError, and EvidenceError for a larger one."""
    size = files.sizes()[path]
    if size > limit_bytes:
        raise EvidenceError(path, f"{size} bytes", f"at most {limit_bytes} bytes")
    with files.open(path) as stream:
        return stream.read()


def read_lines(files: BundleFiles, path: str) -> Iterator[bytes]:
    """Lines without their newlines; a longer one than a format allows comes in pieces, which no parser takes."""
    with files.open(path) as stream:
        while line := stream.readline(LINE_LIMIT_BYTES + 1):
            yield line.removesuffix(b"\n")


def read_entry_bundle(files: BundleFiles, number: int, width: int) -> list[bytes]:
    """The entries of one bundle of the log. Raises KeyError and EvidenceError."""
    path = entries_path(number, width)
    return parse_entry_bundle(read_file(files, path, width * (2 + ENTRY_LIMIT_BYTES)), width, path)


def tile_reader(files: BundleFiles, size: int) -> TileReader:
    """Hashes of complete subtrees of a log of `size` entries, from its tiles."""
    return TileReader(size, lambda path: read_file(files, path, WIDTH * HASH_BYTES))
