"""From a store into the task's folder."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import NotFoundError, PreconditionError
from obstore.store import S3Store

from agents.transfer.telling import Problem, Progress
from agents.transfer.work import AT_ONCE, run_bounded

PART_BYTES = 16 << 20
MOST_OBJECTS = 1_000_000
SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Wanted:
    """An object, and its path below the task's folder."""

    key: str
    path: str
    size: int
    e_tag: str | None
    modified_s: float


def wanted_objects(store: S3Store, key: str, path: str) -> list[Wanted]:
    """The object of this very key, else all below it. Raises Problem, BaseError."""
    if key and not key.endswith("/"):
        with suppress(NotFoundError, FileNotFoundError):
            found = obstore.head(store, key)
            name = key.rpartition("/")[2] if path == "." else path
            return [_wanted(found, name)]
    prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
    wanted: list[Wanted] = []
    for page in obstore.list(store, prefix=prefix or None, chunk_size=1000):
        for meta in page:
            below = meta["path"][len(prefix) :]
            if not below:
                continue
            if any(part in ("", ".", "..") or "\0" in part for part in below.split("/")):
                raise Problem("refused", f"the key {meta['path']!r} cannot be the path of a file")
            wanted.append(_wanted(meta, below if path == "." else f"{path}/{below}"))
        if len(wanted) > MOST_OBJECTS:
            raise Problem("refused", f"there are more than {MOST_OBJECTS} objects")
    # Folders as consoles make them: empty objects whose keys end with a slash, which the library takes off.
    folders = {one.path.rpartition("/")[0] for one in wanted}
    wanted = [one for one in wanted if one.size or one.path not in folders]
    if not wanted:
        raise Problem("refused", f"there is no object {key or 'in the bucket'}, and none below it")
    return wanted


def _wanted(meta: Any, path: str) -> Wanted:
    return Wanted(meta["path"], path, meta["size"], meta["e_tag"], meta["last_modified"].timestamp())


def open_folder(root: int, parts: list[str]) -> int:
    """A folder below an open one, made where it is not there; no link is followed. Raises OSError."""
    folder = os.dup(root)
    for part in parts:
        try:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        folder = deeper
    return folder


def is_there(folder: int, name: str, wanted: Wanted) -> bool:
    """Whether an earlier try has fetched it: same size, same time."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == wanted.size
            and abs(found.st_mtime - wanted.modified_s) < 0.001
        )
    return False


def _partial(name: str) -> str:
    """Where a file grows that is not whole yet: short, and nobody else's."""
    return f".suanli-{hashlib.sha256(name.encode()).hexdigest()[:32]}.part"


class Fetching:
    """Fetches objects, parts of large ones side by side. Memory: AT_ONCE parts."""

    def __init__(self, store: S3Store, root: int, progress: Progress) -> None:
        self._store = store
        self._root = root
        self._progress = progress

    def all_of(self, wanted: list[Wanted]) -> None:
        """Each appears under its name when it is whole. Raises OSError with its path, BaseError."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            run_bounded(pool, (part for one in wanted for part in self._parts(one)))

    def _parts(self, one: Wanted) -> Iterator[Callable[[], None]]:
        parts = one.path.split("/")
        try:
            folder = open_folder(self._root, parts[:-1])
            name, partial = parts[-1], _partial(parts[-1])
            if is_there(folder, name, one):
                os.close(folder)
                self._progress.add(one.size)
                return
            with suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(partial, flags, 0o644, dir_fd=folder)
        except OSError as error:
            raise OSError(error.errno, error.strerror, one.path) from error
        starts = range(0, one.size, PART_BYTES) or range(1)
        left = len(starts)
        lock = threading.Lock()

        def fetch(start: int) -> None:
            nonlocal left
            end = min(start + PART_BYTES, one.size)
            if end > start:
                answer = obstore.get(
                    self._store, one.key, options={"range": (start, end), "if_match": one.e_tag}
                )
                data = memoryview(answer.bytes())
                if len(data) != end - start:
                    raise PreconditionError("shorter than it was")
                at = start
                while data:
                    written = os.pwrite(file, data, at)
                    data, at = data[written:], at + written
                self._progress.add(end - start)
            with lock:
                left -= 1
                last = left == 0
            if last:
                os.utime(file, (one.modified_s, one.modified_s))
                os.close(file)
                os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.close(folder)

        def part(start: int) -> Callable[[], None]:
            def run() -> None:
                try:
                    fetch(start)
                except OSError as error:
                    if isinstance(error, FileNotFoundError) and error.errno is None:
                        raise  # the library's: the object has gone
                    raise OSError(error.errno, error.strerror, one.path) from error

            return run

        yield from map(part, starts)


def fetch(store: S3Store, request: dict[str, Any]) -> tuple[int, int]:
    """Everything into the folder; files and bytes. Raises Problem, OSError, BaseError."""
    root = os.open(request["folder"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    wanted = wanted_objects(store, request["key"], request["path"])
    size = sum(one.size for one in wanted)
    free = os.statvfs(root)
    there = sum(one.size for one in wanted if _there_already(root, one))
    if size - there + SPARE_BYTES > free.f_bavail * free.f_frsize:
        raise Problem("local", f"the node's disk has no room for its {size} bytes")
    Fetching(store, root, Progress(size, len(wanted))).all_of(wanted)
    return len(wanted), size


def _there_already(root: int, one: Wanted) -> bool:
    parts = one.path.split("/")
    with suppress(OSError):
        folder = open_folder(root, parts[:-1])
        try:
            return is_there(folder, parts[-1], one)
        finally:
            os.close(folder)
    return False
