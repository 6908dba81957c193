"""What tasks leave, on its way to the control plane: read as the firm's user, cut into objects, sent if missing.

The files are the buffer: whatever was interrupted is read again, and what has arrived is not sent twice.
"""

import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from agents import outputs
from agents.content import Content, ContentRefused
from agents.live_task import Live
from agents.runtime import task_files
from agents.workers import Workers
from suanli.content.manifest import (
    MOST_BYTES,
    MOST_FILES,
    OBJECT_BYTES,
    ContentError,
    FileEntry,
    check_path,
    hash_of,
    make_manifest,
)

COLLECT_FILE = Path(__file__).parent / "runtime" / "collect.py"
BATCH = 4  # objects held in memory at once: 16 MiB
MOST_HEADER_BYTES = 64 * 1024

_log = logging.getLogger("agents.results")


class Results:
    """Results that are being collected; of each firm one task after the other, so that ended tasks leave running
    ones in peace and a large folder keeps nobody else's waiting."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._workers = Workers()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, asyncio.Lock] = {}  # by firm
        self.delivered: Callable[[str], None] = lambda _allocation_id: None

    def follows(self, allocation_id: str) -> bool:
        """True while the task's folder is still needed."""
        return allocation_id in self._following

    def collect(self, live: Live) -> None:
        """Collect what an ended task left; a task that left nothing costs a look at its output folder."""
        allocation_id = live.spec.allocation_id
        folder = live.folder / task_files.RESULTS
        done = (live.folder / task_files.COLLECTED).exists()
        with suppress(OSError):
            left = live.spec.outputs or live.unwritten or holds_anything(folder)
            done = done or not left
        if done or allocation_id in self._following or not folder.is_dir():
            return
        task = asyncio.create_task(self._run(live), name=f"results of {allocation_id}")
        self._following[allocation_id] = task
        task.add_done_callback(lambda finished: self._finished(allocation_id, finished))

    def _finished(self, allocation_id: str, task: asyncio.Task[None]) -> None:
        del self._following[allocation_id]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("results of task %s: %s", allocation_id, error, exc_info=error)
        self.delivered(allocation_id)

    async def close(self) -> None:
        """Stop; what was not sent is collected again by the agent's next life."""
        tasks = list(self._following.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, live: Live) -> None:
        allocation_id = live.spec.allocation_id
        async with self._turns.setdefault(live.spec.firm_id, asyncio.Lock()):
            problems = await self._try_stores(live)
            try:
                digest, problem = await self._collect(live, [output.path for output, _ in live.unwritten])
            except (ContentRefused, ContentError, OSError) as error:
                digest, problem = "", f"the results could not be kept: {error}"
                _log.warning("results of task %s are not kept: %s", allocation_id, error)
            problem = "; ".join(filter(None, (*problems, problem)))
            with suppress(ContentRefused):
                if digest or problem:
                    await self._content.complete(allocation_id, digest, problem)
        with suppress(OSError):
            (live.folder / task_files.COLLECTED).touch()

    async def _try_stores(self, live: Live) -> list[str]:
        """Write outputs that are still to be written; what is to be said of them."""
        said: list[str] = []
        left, stopped = [], live.begin_moving()
        for output, reason in live.unwritten:
            problem = reason
            if not reason:
                problem, remark = await outputs.write(
                    live, output, lambda _said: None, stopped, self._workers
                )
                said += [f"{output.field}: {remark}"] if remark else []
                with suppress(OSError):
                    outputs.note(live, output, problem)
            if problem:
                left.append((output, problem))
        live.unwritten = left
        return said + [f"{output.field} is not in its object store but here: {why}" for output, why in left]

    async def _collect(self, live: Live, more: Iterable[str]) -> tuple[str, str]:
        """The manifest's hash (empty: nothing is there) and what is to be said. Raises as `_run` expects."""
        places: list[tuple[str, str | None]] = [(str(live.folder / task_files.RESULTS), None)]
        for path in (*live.spec.outputs, *more):
            places.append((str(live.folder / "work"), None if path == "." else path))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(COLLECT_FILE)),
            "-" if live.uid is None else str(live.uid),
            *(json.dumps(place) for place in places),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            cwd="/",
            limit=OBJECT_BYTES,
        )
        try:
            if process.stdout is None:
                raise OSError("no pipe")
            return await self._read(live.spec.allocation_id, process.stdout)
        except asyncio.IncompleteReadError:
            raise OSError("the node could not read the results to their end") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read(self, allocation_id: str, source: asyncio.StreamReader) -> tuple[str, str]:
        files: dict[str, FileEntry] = {}
        outgoing = _Outgoing(self._content, allocation_id)
        size = unnamable = 0
        while True:
            length = int.from_bytes(await source.readexactly(4), "big")
            if length > MOST_HEADER_BYTES:
                raise OSError("the node could not read the results")
            header = json.loads(await source.readexactly(length))
            if header.get("end"):
                break
            size += header["size"]
            if len(files) >= MOST_FILES or size > MOST_BYTES:
                raise ContentRefused(f"more than {MOST_FILES} files or {MOST_BYTES} bytes")
            file = await _file(header, source, outgoing)
            try:
                check_path(file.path)
            except ContentError:
                unnamable += 1
            else:
                files[file.path] = file
        await outgoing.flush()
        # A name on a disk is any bytes: what is no text, or moves a cursor, is shown as what it is.
        skipped = [repr(path)[1:-1] for path in header["skipped"] if isinstance(path, str)]
        problem = f"left out, because they are no regular files: {', '.join(skipped)}" if skipped else ""
        if unnamable:
            problem += f"{'; ' if problem else ''}left out for their names: {unnamable}"
        if not files:
            return "", problem
        data = make_manifest(files.values()).to_bytes()
        await self._content.store(allocation_id, data)
        return hash_of(data), problem


async def _file(header: dict[str, object], source: asyncio.StreamReader, outgoing: "_Outgoing") -> FileEntry:
    size = int(str(header["size"]))
    whole = hashlib.sha256()
    objects = []
    left = size
    while left:
        data = await source.readexactly(min(left, OBJECT_BYTES))
        left -= len(data)
        await asyncio.to_thread(whole.update, data)
        objects.append(await outgoing.add(data))
    return FileEntry(
        str(header["path"]), size, header["executable"] is True, whole.hexdigest(), tuple(objects)
    )


def holds_anything(folder: Path) -> bool:
    """Whether a folder is not empty, at one cost however many millions of files lie in it. Raises OSError."""
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


class _Outgoing:
    """Objects that wait until it is known which of them are missing."""

    def __init__(self, content: Content, allocation_id: str) -> None:
        self._content = content
        self._allocation_id = allocation_id
        self._waiting: dict[str, bytes] = {}
        self._bytes = 0

    async def add(self, data: bytes) -> str:
        """Its hash."""
        sha256 = await asyncio.to_thread(hash_of, data)
        self._waiting[sha256] = data
        self._bytes += len(data)
        if self._bytes >= BATCH * OBJECT_BYTES or len(self._waiting) >= 1_000:
            await self.flush()
        return sha256

    async def flush(self) -> None:
        """Send what the control plane does not have yet."""
        if self._waiting:
            for sha256 in await self._content.find_missing(self._allocation_id, list(self._waiting)):
                await self._content.store(self._allocation_id, self._waiting[sha256])
        self._waiting.clear()
        self._bytes = 0
