"""What the processes of a task have used, measured by its shim so that no agent need be there.

One JSON line a period: {"since_ms","at_ms","boot_ns","ranks":[[local_rank, live, cpu_ms, memory_bytes,
processes], ...]}. `cpu_ms` is cumulative since the task's start and never falls; `since_ms` is where the
stretch that the line vouches for begins, so a hole shows. Old lines are thinned out: cumulative figures
lose nothing by it. Standard library only.
"""

import json
import os
import time
from typing import TypedDict

from agents.runtime import proc_tree

THIN_ABOVE_BYTES = 4 * 1024 * 1024
HOLE_PERIODS = 5


class AccountLine(TypedDict):
    """One line of account.jsonl."""

    since_ms: int
    at_ms: int
    boot_ns: int
    ranks: list[tuple[int, int, int, int, int]]


class Account:
    """Cumulative use by local rank; `period_ms` between two lines."""

    def __init__(self, path: str, period_ms: int) -> None:
        self.path = path
        self.period_ms = period_ms
        self.next_s = 0.0
        self.measured_ms: int | None = None  # when last measured
        self.written_ms: int | None = None  # up to where the file vouches
        self.ranks: dict[tuple[int, int], int] = {}  # (pid, start_ticks) -> local rank
        self.reaped_ms: dict[int, int] = {}
        self.cpu_ms: dict[int, int] = {}

    def seconds_to_next(self) -> float:
        """Until the next line is due."""
        return max(0.0, self.next_s - time.monotonic())

    def due(self, tree: list[proc_tree.ProcessStat], roots: dict[int, int], live: set[int]) -> None:
        """Write a line where one is due."""
        if time.monotonic() >= self.next_s:
            self.write(roots, live, tree)

    def reaped(self, pid: int, cpu_ms: int, roots: dict[int, int]) -> None:
        """The kernel's own account of a process that ended (with that of children it waited for)."""
        known = next((rank for (known_pid, _), rank in self.ranks.items() if known_pid == pid), 0)
        rank = roots.get(pid, known)
        self.reaped_ms[rank] = self.reaped_ms.get(rank, 0) + cpu_ms
        self.ranks = {key: value for key, value in self.ranks.items() if key[0] != pid}
        if pid in roots:
            self.next_s = 0.0  # such an end is worth a line at once

    def write(self, roots: dict[int, int], live: set[int], tree: list[proc_tree.ProcessStat]) -> None:
        """Measure, and append a line; where the disk is full a later line vouches for this stretch as well."""
        self.ranks = proc_tree.attribute(tree, roots, self.ranks)
        lines = []
        for rank in sorted(set(roots.values())):
            members = [stat for stat in tree if self.ranks[(stat.pid, stat.start_ticks)] == rank]
            cpu_ms = self.reaped_ms.get(rank, 0)
            cpu_ms += sum(stat.ticks for stat in members) * 1000 // proc_tree.TICKS_PER_SECOND
            self.cpu_ms[rank] = max(cpu_ms, self.cpu_ms.get(rank, 0))
            alive = [stat for stat in members if stat.alive]
            memory_bytes = sum(stat.resident_bytes for stat in alive)
            lines.append((rank, int(rank in live), self.cpu_ms[rank], memory_bytes, len(alive)))
        at_ms = time.time_ns() // 1_000_000
        if self.measured_ms is None or not 0 <= at_ms - self.measured_ms <= HOLE_PERIODS * self.period_ms:
            self.written_ms = None  # nobody measured in between
        self.measured_ms = at_ms
        line: AccountLine = {
            "since_ms": at_ms if self.written_ms is None else self.written_ms,
            "at_ms": at_ms,
            "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "ranks": lines,
        }
        if self._append(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"):
            self.written_ms = at_ms
        self.next_s = time.monotonic() + self.period_ms / 1000

    def _append(self, data: bytes) -> bool:
        """True where the whole line is in the file; a line that fits in part is taken back."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                written = os.write(descriptor, data)
                size = os.fstat(descriptor).st_size
                if written < len(data):
                    os.ftruncate(descriptor, size - written)
                    return False
            finally:
                os.close(descriptor)
            if size > THIN_ABOVE_BYTES:
                self._thin()
        except OSError:
            return False
        return True

    def _thin(self) -> None:
        with open(self.path, "rb") as file:
            thinned = thin([json.loads(line) for line in file])
        temporary = f"{self.path}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for line in thinned:
                file.write(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
        os.replace(temporary, self.path)


def thin(lines: list[AccountLine], every: int = 4) -> list[AccountLine]:
    """Of the older three quarters keep each `every`-th line; a kept line vouches for those it stands for.

    Pure. A line before a hole is always kept, so no hole is ever covered up.
    """
    recent = len(lines) * 3 // 4
    kept: list[AccountLine] = []
    since_ms: int | None = None
    for position, line in enumerate(lines[:recent]):
        if since_ms is None:
            since_ms = line["since_ms"]
        before_hole = position + 1 < len(lines) and lines[position + 1]["since_ms"] != line["at_ms"]
        if before_hole or position % every == every - 1 or position == recent - 1:
            kept.append({**line, "since_ms": since_ms})
            since_ms = None
    return kept + lines[recent:]


def read_lines(path: str) -> list[AccountLine]:
    """Whole lines of the file; a last line that a crash cut short is left out; empty where there is none."""
    try:
        with open(path, "rb") as file:
            return [json.loads(line) for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        return []
