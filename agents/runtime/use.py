"""What running tasks have used: the agent's own look at /proc, and the shim's account for what has ended."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from agents.core.readings import RankUse, TaskUse
from agents.runtime import proc_tree, task_files
from agents.runtime.account import AccountLine, read_lines
from agents.runtime.task_files import ShimState

TAIL_BYTES = 8192


class UseReader:
    """Reads one task's use. CPU time never falls from one reading to the next."""

    def __init__(self, folder: Path, state: ShimState) -> None:
        self._folder = folder
        self.state = state
        self._remembered: dict[tuple[int, int], int] = {}
        self._cpu_ms: dict[int, int] = {}

    @staticmethod
    def read_all(readers: "Mapping[str, UseReader]") -> dict[str, TaskUse]:
        """All tasks with one look at /proc."""
        table = proc_tree.scan() if any(r.state["phase"] != "ended" for r in readers.values()) else {}
        return {allocation_id: reader.read(table) for allocation_id, reader in readers.items()}

    def read(self, table: dict[int, proc_tree.ProcessStat]) -> TaskUse:
        """The task in one table of the host's processes."""
        # What runs in a terminal is the task's too.
        terminals = [t for t in self.state.get("terminals", []) if t["exit_code"] is None]
        roots = {t["pid"]: t["local_rank"] for t in terminals if t["pid"]}
        roots |= {p["pid"]: p["local_rank"] for p in self.state["processes"]}
        tree = proc_tree.descendants(table, self.state["shim_pid"]) if self.state["phase"] != "ended" else []
        self._remembered = proc_tree.attribute(tree, roots, self._remembered)
        told = {rank: cpu_ms for rank, _, cpu_ms, _, _ in self._last_line_ranks()}
        ranks = {}
        for process in self.state["processes"]:
            rank = process["local_rank"]
            members = [s for s in tree if self._remembered[(s.pid, s.start_ticks)] == rank]
            alive = [s for s in members if s.alive]
            cpu_ms = sum(s.ticks for s in members) * 1000 // proc_tree.TICKS_PER_SECOND
            # What the shim has reaped is in its account only; what has run since its last line only here.
            self._cpu_ms[rank] = max(cpu_ms, told.get(rank, 0), self._cpu_ms.get(rank, 0))
            root = next((s for s in alive if s.pid == process["pid"]), None)
            ranks[rank] = RankUse(
                live=root is not None and process["ended_ms"] is None,
                cpu_ms=self._cpu_ms[rank],
                memory_bytes=sum(s.resident_bytes for s in alive),
                processes=len(alive),
                ended_ms=process["ended_ms"],
                pids=frozenset(s.pid for s in alive),
            )
        return TaskUse(self.state["started_ms"], ranks)

    def _last_line_ranks(self) -> list[tuple[int, int, int, int, int]]:
        line = last_line(self._folder / task_files.ACCOUNT)
        return line["ranks"] if line is not None else []

    def account(self) -> list[AccountLine]:
        """Everything that the shim has written down."""
        return read_lines(str(self._folder / task_files.ACCOUNT))

    def use_at(self, line: AccountLine) -> TaskUse:
        """The task as one line of the account has it."""
        ends = {p["local_rank"]: p["ended_ms"] for p in self.state["processes"]}
        ranks = {
            rank: RankUse(bool(live), cpu_ms, memory_bytes, processes, None if live else ends.get(rank))
            for rank, live, cpu_ms, memory_bytes, processes in line["ranks"]
        }
        return TaskUse(self.state["started_ms"], ranks)


def last_line(path: Path) -> AccountLine | None:
    """The last whole line of an account, None where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    whole = lines[:-1] if size <= TAIL_BYTES else lines[1:-1]
    if not whole:
        return None
    line: AccountLine = json.loads(whole[-1])
    return line
