"""The published log as files in C2SP tlog-tiles layout: `checkpoint`, `tile/...`, served as they lie.

A file appears whole or not at all: written beside its place, flushed, renamed, and the folder flushed. Tiles
never change once they are there. The checkpoint is written last and never goes back to a smaller tree.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.merkle import HASH_BYTES
from suanli.evidence.signed_note import parse_note
from suanli.evidence.tiles import WIDTH, encode_entry_bundle, entries_path, parse_entry_bundle, tile_path

CHECKPOINT = "checkpoint"
_LOCK = ".lock"
_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9])(?P<index>(/x[0-9]{3})*/[0-9]{3})(\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class TileMissing(Exception):
    """A tile that the published log needs is not there: part of the folder was lost."""


class TileStore:
    """One folder with one log. Readers need no lock; writers take the folder's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make the folder where it is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def checkpoint(self) -> bytes | None:
        """The published log checkpoint as it lies there; None before the first."""
        return self._read(CHECKPOINT)

    def file(self, path: str) -> bytes | None:
        """A file by its public path (`checkpoint`, `tile/...`); None where there is none or may be none."""
        if path != CHECKPOINT and not _PATH.fullmatch(path):
            return None
        return self._read(path)

    def _read(self, path: str) -> bytes | None:
        try:
            return (self.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def hash_tile(self, level: int, index: int, width: int = WIDTH) -> bytes:
        """Bytes of a hash tile of this width, if need be the beginning of a wider one.

        Raises TileMissing.
        """
        exact = self._read(tile_path(level, index, width))
        if exact is not None and len(exact) == width * HASH_BYTES:
            return exact
        for wider in self._wider(width):
            data = self._read(tile_path(level, index, wider))
            if data is not None and len(data) == wider * HASH_BYTES:
                return data[: width * HASH_BYTES]
        raise TileMissing(tile_path(level, index, width))

    def entries(self, index: int, width: int = WIDTH) -> list[bytes]:
        """The first `width` entries of a bundle, if need be out of a wider one. Raises TileMissing."""
        for wider in (width, *self._wider(width)):
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

    @staticmethod
    def _wider(width: int) -> Iterator[int]:
        # The full tile first: partial ones go away when it is there.
        if width < WIDTH:
            yield WIDTH
            yield from range(width + 1, WIDTH)

    def put(self, path: str, data: bytes) -> None:
        """Write a tile durably. One that is there with the same bytes is left alone.

        Raises FileExistsError where other bytes are there: a tile is never rewritten.
        """
        there = self._read(path)
        if there == data:
            return
        if there is not None:
            raise FileExistsError(f"{path} is published with other bytes")
        self._write(path, data)

    def _write(self, path: str, data: bytes) -> None:
        target = self.folder / path
        new_folder = not target.parent.is_dir()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(target)
        self._sync_folders(target.parent, up=new_folder)

    def _sync_folders(self, folder: Path, *, up: bool) -> None:
        """Flush the names: of the file in its folder, and with `up` of new folders in theirs."""
        while True:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if not up or folder == self.folder or self.folder not in folder.parents:
                return
            folder = folder.parent

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes of this machine from publishing at the same time."""
        self.create()
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def publish(self, note: bytes) -> bool:
        """Make `note` the published log checkpoint unless a larger tree is published already.

        Returns whether it is published now. Cosignatures may be added to the published size.
        """
        size = _size(note)
        with self.lock():
            there = self.checkpoint()
            if there is not None and _size(there) > size:
                return False
            if there != note:
                self._write(CHECKPOINT, note)
        return True

    def drop_partial(self, path: str) -> None:
        """Remove the partial tiles of a tile that is there in full (`path` is the full tile's)."""
        folder = self.folder / (path + ".p")
        if not (self.folder / path).exists():
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            for entry in list(os.scandir(folder)):
                Path(entry.path).unlink()
            folder.rmdir()


def _size(note: bytes) -> int:
    return parse_log_checkpoint(parse_note(note).text).size
