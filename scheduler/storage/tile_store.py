"""The published log as files in C2SP tlog-tiles layout: `checkpoint`, `tile/...`, served as they lie.

Tiles never change once they are there. The checkpoint is written last and never goes back to a smaller tree.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress

from scheduler.storage.objects import Place, open_objects
from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.merkle import HASH_BYTES
from suanli.evidence.signed_note import parse_note
from suanli.evidence.tiles import WIDTH, encode_entry_bundle, entries_path, parse_entry_bundle, tile_path

CHECKPOINT = "checkpoint"
_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9])(?P<index>(/x[0-9]{3})*/[0-9]{3})(\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class TileMissing(Exception):
    """A tile that the published log needs is not there: part of the store was lost."""


class TileStore:
    """One place with one log. Every method raises OSError where the place cannot be read or written."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._objects = open_objects(place)

    @property
    def where(self) -> str:
        """For messages: where the log lies."""
        return self._objects.where

    def create(self) -> None:
        """Make the place where it is not there yet."""
        self._objects.prepare()

    def together(self) -> AbstractContextManager[None]:
        """A block in which this thread writes tiles that need to be durable only when it has ended."""
        return self._objects.together()

    def checkpoint(self) -> bytes | None:
        """The published log checkpoint as it lies there; None before the first."""
        return self._read(CHECKPOINT)

    def file(self, path: str) -> bytes | None:
        """A file by its public path (`checkpoint`, `tile/...`); None where there is none or may be none."""
        if path != CHECKPOINT and not _PATH.fullmatch(path):
            return None
        return self._read(path)

    def _read(self, path: str) -> bytes | None:
        return self._objects.read(path)

    def hash_tile(self, level: int, index: int, width: int = WIDTH) -> bytes:
        """Bytes of a hash tile of this width, if need be the beginning of a wider one.

        Raises TileMissing.
        """
        for wider in self._widths(tile_path(level, index), width):
            data = self._read(tile_path(level, index, wider))
            if data is not None and len(data) == wider * HASH_BYTES:
                return data[: width * HASH_BYTES]
        raise TileMissing(tile_path(level, index, width))

    def entries(self, index: int, width: int = WIDTH) -> list[bytes]:
        """The first `width` entries of a bundle, if need be out of a wider one. Raises TileMissing."""
        for wider in self._widths(entries_path(index), width):
            data = self._read(entries_path(index, wider))
            if data is None:
                continue
            with suppress(EvidenceError):
                return parse_entry_bundle(data, wider)[:width]
        raise TileMissing(entries_path(index, width))

    def tile(self, path: str) -> bytes:
        """Bytes of a tile or entry bundle by its path, if need be the beginning of a wider one.

        Raises TileMissing.
        """
        match = _PATH.fullmatch(path)
        if match is None:
            raise TileMissing(path)
        index = int(match["index"].replace("/x", "").replace("/", ""))
        width = int(match["width"] or WIDTH)
        if match["level"] == "entries":
            return encode_entry_bundle(self.entries(index, width))
        return self.hash_tile(int(match["level"]), index, width)

    def _widths(self, path: str, width: int) -> Iterator[int]:
        """Widths in which the first `width` of a tile may be found (`path` is the full tile's)."""
        yield width
        if width < WIDTH:
            yield WIDTH  # partial ones go away when it is there
            widths = [int(name) for name in self._objects.names(f"{path}.p") if name.isdigit()]
            yield from sorted(wider for wider in widths if width < wider < WIDTH)

    def put(self, path: str, data: bytes) -> None:
        """Write a tile durably. One that is there with the same bytes is left alone.

        Raises FileExistsError where other bytes are there: a tile is never rewritten.
        """
        if self._objects.create(path, data):
            return
        if self._read(path) != data:
            raise FileExistsError(f"{path} is published with other bytes")

    def publish(self, note: bytes) -> bool:
        """Make `note` the published log checkpoint unless a larger tree is published already.

        Returns whether it is published now. Cosignatures may be added to the published size.
        """
        size = _size(note)
        while True:
            there = self.checkpoint()
            if there == note:
                return True
            if there is not None and _size(there) > size:
                return False
            if self._objects.swap(CHECKPOINT, there, note):
                return True

    def drop_partial(self, path: str) -> None:
        """Remove the partial tiles of a tile that is there in full (`path` is the full tile's)."""
        if not self._objects.exists(path):
            return
        for name in self._objects.names(f"{path}.p"):
            self._objects.remove(f"{path}.p/{name}")


def _size(note: bytes) -> int:
    return parse_log_checkpoint(parse_note(note).text).size
