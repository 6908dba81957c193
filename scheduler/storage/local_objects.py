"""Files of the evidence log in a folder: written beside their place, flushed, renamed, and the folder flushed."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_LOCK = ".lock"
_PIECE_BYTES = 1 << 20


@dataclass(slots=True)
class _Waiting:
    """What a block of `together` has still to do: folders to flush (and whether those above are new), removals."""

    folders: dict[Path, bool] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


class LocalObjects:
    """One folder. Readers need no lock; who compares and writes takes the folder's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._together = threading.local()

    @property
    def where(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def prepare(self) -> None:
        """Make the folder where it is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self, path: str) -> bytes | None:
        """The bytes at a path; None where there are none."""
        try:
            return (self.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def pieces(self, path: str) -> Iterator[bytes] | None:
        """The same, some bytes at a time."""
        try:
            file = (self.folder / path).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return _pieces(file)

    def exists(self, path: str) -> bool:
        """Whether there is a file at a path."""
        return (self.folder / path).is_file()

    def write(self, path: str, data: bytes) -> None:
        """Put bytes at a path, whatever is there."""
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
        waiting: _Waiting | None = getattr(self._together, "waiting", None)
        if waiting is None:
            self._sync_folders(target.parent, up=new_folder)
        else:
            waiting.folders[target.parent] = waiting.folders.get(target.parent, False) or new_folder

    @contextmanager
    def together(self) -> Iterator[None]:
        """Flush each folder once, at the end, for all files that this thread writes inside the block.

        Files that are removed inside go after that, so that nothing goes before what takes its place is there.
        """
        self._together.waiting = waiting = _Waiting()
        try:
            yield
            for folder, up in waiting.folders.items():
                self._sync_folders(folder, up=up)
        finally:
            self._together.waiting = None
        for path in waiting.removed:
            self.remove(path)

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

    def create(self, path: str, data: bytes) -> bool:
        """Put bytes at a path where there are none; False where there are some already."""
        return self.swap(path, None, data)

    def swap(self, path: str, there: bytes | None, data: bytes) -> bool:
        """Put bytes at a path where exactly `there` is (None: nothing)."""
        with self._lock():
            if self.read(path) != there:
                return False
            self.write(path, data)
        return True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes of this machine from comparing and writing at the same time."""
        self.prepare()
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted."""
        try:
            with os.scandir(self.folder / folder) as entries:
                return sorted(e.name for e in entries if e.is_file() and not e.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, path: str) -> None:
        """Remove a file, and its folder where that was the last in it."""
        waiting: _Waiting | None = getattr(self._together, "waiting", None)
        if waiting is not None:
            waiting.removed.append(path)
            return
        target = self.folder / path
        with suppress(FileNotFoundError, NotADirectoryError):
            target.unlink()
        if target.parent != self.folder:
            with suppress(OSError):
                target.parent.rmdir()
