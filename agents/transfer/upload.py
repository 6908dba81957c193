"""From the task's folder into a store."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from agents.runtime.collect import Collector, divided, inner
from agents.transfer.asking import told_of
from agents.transfer.telling import Problem, Progress, say
from agents.transfer.work import AT_ONCE, settled

PART_BYTES = 16 << 20
BLOCK_BYTES = 4 << 20
MOST_PARTS = 9_000  # stores take 10,000
MOST_BYTES = 5 << 40  # of one object, as stores take them


def blocks_of(file: BinaryIO, size: int, progress: Progress, stopping: threading.Event) -> Iterator[bytes]:
    """So many bytes of a file by and by, also of one that still grows, with how much of it has been read.

    Raises Problem when the upload is to stop: then the library takes back the parts that are there.
    """
    while size and (data := file.read(min(BLOCK_BYTES, size))):
        size -= len(data)
        progress.add(len(data))
        if stopping.is_set():
            raise Problem("local", "stopped before it was there")
        yield data


class Uploading(Collector):
    """Walks what a task left, as `collect` does, and sends each file where `collect` would print it.

    Several at a time, of large ones several parts, of those whose parts are large one after the other. Memory: about
    AT_ONCE * AT_ONCE parts of PART_BYTES, and two of MOST_BYTES / MOST_PARTS.
    """

    def __init__(
        self, store: S3Store, request: dict[str, Any], pool: ThreadPoolExecutor, stopping: threading.Event
    ) -> None:
        super().__init__(sys.stdout.buffer)
        key = request["key"]
        self._store = store
        self._request = request
        self._pool = pool
        self._stopping = stopping
        self._prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        self._base = "" if request["path"] == "." else divided(request["path"])[0]
        self._waiting: set[Future[None]] = set()
        self._one_of_large_parts = threading.Lock()
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
            if size > MOST_BYTES:
                sentence = f"{path}: {size} bytes, and a store takes {MOST_BYTES} at most"
                raise Problem("refused", sentence)
            part_bytes = max(PART_BYTES, -(-size // MOST_PARTS))
            large = part_bytes > PART_BYTES
            self.progress.files += 1
            self.progress.all_bytes += size
            blocks = blocks_of(file, size, self.progress, self._stopping)
            try:
                with self._one_of_large_parts if large else nullcontext():
                    obstore.put(
                        self._store,
                        f"{self._prefix}{below}",
                        b"".join(blocks) if size <= part_bytes else blocks,
                        use_multipart=size > part_bytes,
                        chunk_size=part_bytes,
                        max_concurrency=1 if large else AT_ONCE,
                    )
            except (BaseError, OSError) as error:
                # An OSError would be taken for a file that cannot be read, which is left out.
                told = told_of(error, self._request)
                raise Problem(told.kind, f"{path}: {told}") from None


def upload(store: S3Store, request: dict[str, Any], stopping: threading.Event) -> tuple[int, int]:
    """What is at the path, below the key; files and bytes. Raises Problem, also when it is to stop.

    Nothing that is not whole stays in the bucket then: neither an object nor parts of one.
    """
    try:
        root = os.open(request["folder"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise Problem("local", f"the task's folder cannot be opened: {error.strerror}") from None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        uploading = Uploading(store, request, pool, stopping)
        try:
            if request["path"] == ".":
                uploading.all_of(root, "", 0)
            else:
                inner(uploading, root, request["path"])
            uploading.finish()
        except Problem:
            stopping.set()  # what else is on its way is waited for, so that it takes its parts back
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if uploading.skipped:
        say({"skipped": ", ".join(repr(path)[1:-1] for path in uploading.skipped)})
    return uploading.progress.files, uploading.progress.all_bytes
