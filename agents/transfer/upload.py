"""From the task's folder into a store."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from agents.runtime.collect import Collector, inner
from agents.transfer.asking import told_of
from agents.transfer.telling import Problem, Progress, say
from agents.transfer.work import AT_ONCE, settled

PART_BYTES = 16 << 20
BLOCK_BYTES = 4 << 20
MOST_PARTS = 9_000  # stores take 10,000


def blocks_of(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    """A file by and by, with how much of it has been read."""
    while data := file.read(BLOCK_BYTES):
        progress.add(len(data))
        yield data


class Uploading(Collector):
    """Walks what a task left, as `collect` does, and sends each file where `collect` would print it.

    Several at a time, of large ones several parts. Memory: about AT_ONCE * AT_ONCE parts at most.
    """

    def __init__(self, store: S3Store, request: dict[str, Any], pool: ThreadPoolExecutor) -> None:
        super().__init__(sys.stdout.buffer)
        key = request["key"]
        self._store = store
        self._request = request
        self._pool = pool
        self._prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        self._base = "" if request["path"] == "." else request["path"]
        self._waiting: set[Future[None]] = set()
        self.progress = Progress(0, 0)

    def file(self, descriptor: int, path: str) -> None:
        """One open file, which is closed when it has been sent."""
        self._waiting.add(self._pool.submit(self._send, descriptor, path))
        if len(self._waiting) >= 2 * AT_ONCE:
            self._waiting = settled(self._waiting)

    def finish(self) -> None:
        """Wait for all. Raises Problem."""
        while self._waiting:
            self._waiting = settled(self._waiting)

    def _send(self, descriptor: int, path: str) -> None:
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            below = path[len(self._base) :].lstrip("/") or path.rpartition("/")[2]
            part_bytes = max(PART_BYTES, -(-size // MOST_PARTS))
            self.progress.files += 1
            self.progress.all_bytes += size
            blocks = blocks_of(file, self.progress)
            try:
                obstore.put(
                    self._store,
                    f"{self._prefix}{below}",
                    b"".join(blocks) if size <= part_bytes else blocks,
                    use_multipart=size > part_bytes,
                    chunk_size=part_bytes,
                    max_concurrency=AT_ONCE,
                )
            except (BaseError, OSError) as error:
                # An OSError would be taken for a file that cannot be read, which is left out.
                told = told_of(error, self._request)
                raise Problem(told.kind, f"{path}: {told}") from None


def upload(store: S3Store, request: dict[str, Any]) -> tuple[int, int]:
    """What is at the path, below the key; files and bytes. Raises Problem."""
    try:
        root = os.open(request["folder"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise Problem("local", f"the task's folder cannot be opened: {error.strerror}") from None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        uploading = Uploading(store, request, pool)
        try:
            if request["path"] == ".":
                uploading.all_of(root, "", 0)
            else:
                inner(uploading, root, request["path"])
            uploading.finish()
        except Problem:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if uploading.skipped:
        say({"skipped": ", ".join(repr(path)[1:-1] for path in uploading.skipped)})
    return uploading.progress.files, uploading.progress.all_bytes
