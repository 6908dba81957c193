"""One pair of eyes for all followers of output in this process.

A thousand followers of a job cost one look at its folder, one read of each new piece and one question about its
tasks, not a thousand. Cost of a look: one scandir a followed attempt.
"""

import asyncio
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sized
from pathlib import Path
from typing import Generic, TypeVar

from scheduler.services.jobs import LogPlan
from scheduler.storage.job_logs import JobLogs, LogKey

# How often folders are looked at; more rarely where looking itself takes long.
LOOK_S = 0.025
LOOK_LOAD = 10
MOST_PIECES = 128

Found = TypeVar("Found", bound=Sized)
_Signature = frozenset[tuple[str, int]]


class SharedOutput(JobLogs):
    """Job logs whose newest reads are kept for those who ask for the same: bytes at an offset never change, nor does
    when they came."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._pieces: _Kept[bytes] = _Kept()
        self._times: _Kept[list[tuple[int, int]]] = _Kept()

    def read(self, key: LogKey, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` from `offset`; what was there at some earlier time, at the least."""
        return self._pieces.get(
            (key, offset, limit_bytes), lambda: super(SharedOutput, self).read(key, offset, limit_bytes)
        )

    def arrivals(self, key: LogKey, begin: int, end: int, most: int) -> list[tuple[int, int]]:
        """As `JobLogs.arrivals`."""
        return self._times.get(
            (key, begin, end, most), lambda: super(SharedOutput, self).arrivals(key, begin, end, most)
        )


class _Kept(Generic[Found]):
    """The newest answers by what was asked; nothing is not kept: it may be something in a moment."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, Found] = OrderedDict()
        self._keeping = threading.Lock()  # reads are asked for in threads

    def get(self, asked: object, read: Callable[[], Found]) -> Found:
        with self._keeping:
            kept = self._kept.get(asked)
        if kept is not None:
            return kept
        found = read()
        if found:
            with self._keeping:
                self._kept[asked] = found
                while len(self._kept) > MOST_PIECES:
                    self._kept.popitem(last=False)
        return found


class LogWatch:
    """Wakes followers when a folder of output has changed, and keeps what all of them ask for."""

    def __init__(self, logs: JobLogs) -> None:
        self._logs = logs
        self._followed: dict[Path, int] = {}
        self._seen: dict[Path, _Signature] = {}
        self._waiting: dict[Path, asyncio.Event] = {}
        self._plans: dict[str, tuple[float, LogPlan]] = {}
        self._asking: dict[str, asyncio.Task[LogPlan]] = {}
        self._looking: asyncio.Task[None] | None = None

    def _folder(self, plan: LogPlan) -> Path:
        return self._logs.path(LogKey(plan.firm_id, plan.job_id, 0, 0, 0, "stdout")).parent.parent

    def follow(self, plan: LogPlan) -> None:
        """Somebody follows a job; `leave` undoes it."""
        folder = self._folder(plan)
        self._followed[folder] = self._followed.get(folder, 0) + 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def leave(self, plan: LogPlan) -> None:
        """Somebody does not follow any more; the last one turns out the light."""
        folder = self._folder(plan)
        self._followed[folder] -= 1
        if not self._followed[folder]:
            for kept in (self._followed, self._seen, self._waiting):
                kept.pop(folder, None)
            self._plans.pop(plan.job_id, None)

    def ticket(self, plan: LogPlan) -> asyncio.Event:
        """Is set when the job's output changes. Take it before reading, wait after reading."""
        return self._waiting.setdefault(self._folder(plan), asyncio.Event())

    async def plan(self, job_id: str, oldest_s: float, ask: Callable[[], Awaitable[LogPlan]]) -> LogPlan:
        """The job's tasks as they were at most `oldest_s` ago; of many who ask at once, one asks the database."""
        known = self._plans.get(job_id)
        if known is not None and time.monotonic() - known[0] <= oldest_s:
            return known[1]
        task = self._asking.get(job_id)
        if task is None:
            task = asyncio.ensure_future(self._ask(job_id, ask))
            self._asking[job_id] = task
            task.add_done_callback(lambda _: self._asking.pop(job_id, None))
        return await asyncio.shield(task)

    async def _ask(self, job_id: str, ask: Callable[[], Awaitable[LogPlan]]) -> LogPlan:
        plan = await ask()
        self._plans[job_id] = (time.monotonic(), plan)
        return plan

    async def _look(self) -> None:
        while self._followed:
            begun_s = time.monotonic()
            signatures = await asyncio.to_thread(_signatures, list(self._followed))
            for folder, signature in signatures.items():
                if self._seen.get(folder) != signature and folder in self._followed:
                    self._seen[folder] = signature
                    waiting = self._waiting.pop(folder, None)
                    if waiting is not None:
                        waiting.set()
            await asyncio.sleep(max(LOOK_S, (time.monotonic() - begun_s) * LOOK_LOAD))

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)


def _signatures(folders: list[Path]) -> dict[Path, _Signature]:
    return {folder: _signature(folder) for folder in folders}


def _signature(job: Path) -> _Signature:
    """Name and size of every file of every attempt."""
    found: set[tuple[str, int]] = set()
    try:
        with os.scandir(job) as attempts:
            for attempt in attempts:
                with os.scandir(attempt.path) as files:
                    found.update((f"{attempt.name}/{file.name}", file.stat().st_size) for file in files)
    except (FileNotFoundError, NotADirectoryError):
        pass  # none is there yet, or it is being made or removed
    return frozenset(found)
