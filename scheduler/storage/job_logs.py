"""Output of jobs in files: `<firm_id>/<job_id>/<attempt>/<rank>.<local_rank>.<stream>`, never in PostgreSQL.

Bytes lie at their own offset, so writing the same chunk twice, or from two gateways, changes nothing.
Appending does not wait for the disk: output is no evidence, and the agent keeps its own copy until it is told
how much is stored. A stream that is whole has a file of the same name with `.complete` behind it;
`.times` tells when it grew.
"""

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scheduler.storage.log_times import arrivals, note_growth, offset_since

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
COMPLETE = ".complete"
DEFAULT_LIMIT_BYTES = 1 << 30
DEFAULT_ATTEMPT_LIMIT_BYTES = 8 << 30
MOST_LOCAL_RANK = 4095
# Another gateway may append to the same attempt: its bytes are counted when the folder is looked at again.
COUNT_AGAIN_S = 30.0
MOST_COUNTED = 4096

_PART = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
# How far back the beginning of a line is looked for.
MOST_LINE_BYTES = 1 << 16
_FILE = re.compile(r"(?P<rank>\d+)\.(?P<local_rank>\d+)\.(?P<stream>stdout|stderr)")


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class LogKey:
    """One output stream of one local process of one task."""

    firm_id: str
    job_id: str
    attempt: int
    rank: int
    local_rank: int
    stream: Stream


class JobLogs:
    """The folder of all output. Beyond `limit_bytes` of a stream, and `attempt_limit_bytes` of all streams of
    an attempt, further output is dropped: one runaway job, or one hostile node, must not fill the disk of
    everybody. Safe to call from several threads.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        attempt_limit_bytes: int = DEFAULT_ATTEMPT_LIMIT_BYTES,
        now_ms: Callable[[], int] = _wall_clock_ms,
    ) -> None:
        self._now_ms = now_ms
        self._folder = folder
        self.limit_bytes = limit_bytes
        self.attempt_limit_bytes = attempt_limit_bytes
        self._counting = threading.Lock()
        self._counts: OrderedDict[Path, tuple[float, int]] = OrderedDict()

    def path(self, key: LogKey) -> Path:
        """Where a stream lies. Raises ValueError for a key that could lead out of the folder."""
        for part in (key.firm_id, key.job_id):
            if not _PART.fullmatch(part):
                raise ValueError(f"{part!r} is no id")
        if min(key.attempt, key.rank, key.local_rank) < 0 or key.stream not in STREAMS:
            raise ValueError(f"no such stream: {key}")
        name = f"{key.rank}.{key.local_rank}.{key.stream}"
        return self._folder.joinpath(key.firm_id, key.job_id, str(key.attempt), name)

    def stored(self, key: LogKey) -> int:
        """Bytes that are there from 0 without a gap."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, key: LogKey, offset: int, data: bytes) -> int:
        """Put `data` at `offset` and return how many bytes count as stored from 0 without a gap.

        A chunk beyond a gap is not written: the answer tells the agent where to go on. What lies beyond the
        limit is dropped and yet counts as stored, else the agent would send it for ever.
        """
        path = self.path(key)
        length = self.stored(key)
        end = offset + len(data)
        if offset > length:
            full = length >= self.limit_bytes or self._room(path.parent) <= 0
            return end if full else length
        if end <= length:
            return length
        wanted = min(end, self.limit_bytes) - length
        kept = data[: length - offset + self._take(path.parent, wanted)]
        if offset + len(kept) <= length:
            return end
        file = self._open(path)
        try:
            note_growth(path, length, self._now_ms())
            written = 0
            while written < len(kept):
                written += os.pwrite(file, kept[written:], offset + written)
        finally:
            os.close(file)
        return end

    def _room(self, attempt: Path, taken: int = 0) -> int:
        """How many more bytes the attempt may store; `taken` of them count as stored from now on."""
        now_s = time.monotonic()
        with self._counting:
            counted_s, count = self._counts.pop(attempt, (float("-inf"), 0))
            if now_s - counted_s > COUNT_AGAIN_S:
                counted_s, count = now_s, _bytes_below(attempt)
            room = self.attempt_limit_bytes - count
            self._counts[attempt] = (counted_s, count + max(0, min(taken, room)))
            if len(self._counts) > MOST_COUNTED:
                self._counts.popitem(last=False)
        return room

    def _take(self, attempt: Path, wanted: int) -> int:
        return max(0, min(wanted, self._room(attempt, wanted)))

    @staticmethod
    def _open(path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(path, flags, 0o600)

    def complete(self, key: LogKey) -> None:
        """Note that nothing will follow in this stream; an empty stream gets an empty file."""
        path = self.path(key)
        for wanted in (path, path.with_name(path.name + COMPLETE)):
            os.close(self._open(wanted))

    def is_complete(self, key: LogKey) -> bool:
        """Whether nothing will follow in this stream."""
        path = self.path(key)
        return path.with_name(path.name + COMPLETE).exists()

    def is_cut(self, key: LogKey) -> bool:
        """Whether the stream or its attempt reached the limit, so that output beyond it was dropped."""
        full = self.stored(key) >= self.limit_bytes
        return full or _bytes_below(self.path(key).parent) >= self.attempt_limit_bytes

    def read(self, key: LogKey, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` from `offset`; empty where nothing is there (yet)."""
        try:
            file = os.open(self.path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(file, limit_bytes, offset)
        finally:
            os.close(file)

    def since(self, key: LogKey, at_ms: int) -> int:
        """Where the line begins with which the output of `at_ms` and later begins; 0 where no times were noted."""
        begin = offset_since(self.path(key), self.stored(key), at_ms)
        first = max(0, begin - MOST_LINE_BYTES)
        before = self.read(key, first, begin - first)
        line = before.rfind(b"\n") + 1
        return first + line if line or not first else begin

    def arrivals(self, key: LogKey, begin: int, end: int, most: int) -> list[tuple[int, int]]:
        """The bytes from `begin` to `end` by when they came: (where a piece ends, milliseconds of UTC; 0: unknown)."""
        return arrivals(self.path(key), begin, end, most)

    def streams(self, firm_id: str, job_id: str, attempt: int) -> list[LogKey]:
        """The streams of an attempt that are there, by rank, local rank and name."""
        folder = self.path(LogKey(firm_id, job_id, attempt, 0, 0, "stdout")).parent
        return sorted(self._list(folder, firm_id, job_id, attempt))

    @staticmethod
    def _list(folder: Path, firm_id: str, job_id: str, attempt: int) -> Iterator[LogKey]:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                match = _FILE.fullmatch(entry.name)
                if match is not None:
                    stream: Stream = "stdout" if match["stream"] == "stdout" else "stderr"
                    yield LogKey(
                        firm_id, job_id, attempt, int(match["rank"]), int(match["local_rank"]), stream
                    )


def _bytes_below(folder: Path) -> int:
    """Bytes of all streams of an attempt."""
    try:
        with os.scandir(folder) as entries:
            return sum(
                entry.stat(follow_symlinks=False).st_size for entry in entries if _FILE.fullmatch(entry.name)
            )
    except FileNotFoundError:
        return 0
