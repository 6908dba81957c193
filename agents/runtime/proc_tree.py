"""Process trees from /proc: who descends from whom, what they used. Standard library only (the shim's too).

Times are in clock ticks of the kernel unless a name says otherwise; `(pid, start_ticks)` names a process
for as long as the host runs, a pid alone does not.
"""

import os

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


_HOST_PIDS = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h


def is_host() -> bool:
    """Whether processes have the numbers here that the host's drivers know them by: no PID namespace is between."""
    try:
        return os.readlink("/proc/self/ns/pid") == _HOST_PIDS
    except OSError:
        return False


class ProcessStat:
    """The fields of /proc/PID/stat (proc_pid_stat(5)) that trees and accounts are made of."""

    __slots__ = ("group", "parent", "pid", "resident_bytes", "session", "start_ticks", "state", "ticks")

    def __init__(
        self,
        pid: int,
        state: str,
        parent: int,
        group: int,
        session: int,
        ticks: int,
        start_ticks: int,
        resident_bytes: int,
    ) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.group = group
        self.session = session
        self.ticks = ticks  # own user and system time, and that of children it has waited for
        self.start_ticks = start_ticks
        self.resident_bytes = resident_bytes

    @property
    def alive(self) -> bool:
        """False for a zombie: it holds nothing any more."""
        return self.state not in {"Z", "X"}


def parse_stat(line: bytes) -> ProcessStat:
    """Read one /proc/PID/stat; the command name may hold blanks and brackets, so cut after the last one."""
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    return ProcessStat(
        pid=int(head.split(b" ", 1)[0]),
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        ticks=int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14]),
        start_ticks=int(fields[19]),
        resident_bytes=int(fields[21]) * PAGE_BYTES,
    )


def read_stat(pid: int) -> ProcessStat | None:
    """The process as it is, or None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def scan() -> dict[int, ProcessStat]:
    """Every process of the host by pid; one that ends meanwhile is left out."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None:
                found[stat.pid] = stat
    return found


def is_same_process(pid: int, start_ticks: int) -> bool:
    """True where that very process still lives (a zombie does not)."""
    stat = read_stat(pid)
    return stat is not None and stat.alive and stat.start_ticks == start_ticks


def descendants(table: dict[int, ProcessStat], root: int) -> list[ProcessStat]:
    """Everything below `root`, parents before children; `root` itself is not in it."""
    children: dict[int, list[ProcessStat]] = {}
    for stat in table.values():
        children.setdefault(stat.parent, []).append(stat)
    order: list[ProcessStat] = []
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            order.append(child)
            waiting.append(child.pid)
    return order


def attribute(
    tree: list[ProcessStat],
    roots: dict[int, int],
    remembered: dict[tuple[int, int], int],
) -> dict[tuple[int, int], int]:
    """Give every process of a shim's `tree` to a local rank.

    `roots` maps pid to local rank. What a rank's process started belongs to that rank; what lost its
    parent is known by its process group or session, else by what was `remembered`, else given to rank 0.
    """
    by_pid = {stat.pid: stat for stat in tree}
    ranks: dict[tuple[int, int], int] = {}
    for stat in tree:  # parents come first
        key = (stat.pid, stat.start_ticks)
        if stat.pid in roots:
            ranks[key] = roots[stat.pid]
            continue
        parent = by_pid.get(stat.parent)
        if parent is not None:
            ranks[key] = ranks[(parent.pid, parent.start_ticks)]
            continue
        known = roots.get(stat.group, roots.get(stat.session))
        ranks[key] = known if known is not None else remembered.get(key, 0)
    return ranks


def boot_id() -> str:
    """The kernel's random id of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since boot; 0 where it does not count."""
    try:
        with open("/proc/vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except FileNotFoundError:
        return 0
    return 0
