"""Memory of processes as proportional set size (PSS): pages shared by n processes count 1/n in each."""

from dataclasses import dataclass
from itertools import pairwise

import psutil

from scheduler.wiring import PROCESSES

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What one process, or the several of one name, occupy."""

    name: str
    processes: int
    pss_bytes: int


def tree(pid: int) -> list[ProcessMemory]:
    """A process and all its descendants, those of one name together, largest first. Raises psutil.Error."""
    root = psutil.Process(pid)
    found: dict[str, list[int]] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            found.setdefault(name_of(process), []).append(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            # Ended between the listing and the look: it occupies nothing.
            continue
    named = [ProcessMemory(name, len(sizes), sum(sizes)) for name, sizes in found.items()]
    return sorted(named, key=lambda memory: -memory.pss_bytes)


def name_of(process: psutil.Process) -> str:
    """How we call it: `scheduler api` by its command, PostgreSQL's many as one."""
    # `scheduler up` starts copies of itself, which name themselves.
    if process.name() in PROCESSES:
        return process.name()
    # PostgreSQL writes its state over its command line; there are no words of ours in it.
    for module, verb in pairwise(process.cmdline()):
        if module in {"scheduler", "agents", "suanli.cli"}:
            return "agent" if module == "agents" else verb
    name = process.name()
    return "postgresql" if name.startswith("postgres") else name
