"""CPU time of the processes of an installation, user and system together."""

import psutil

from benchmarks.memory import name_of


def cpu_s(pid: int) -> dict[str, float]:
    """Seconds of a process and all its living descendants, those of one name together. Raises psutil.Error."""
    root = psutil.Process(pid)
    found: dict[str, float] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            used = process.cpu_times()
            name = name_of(process)
        except psutil.NoSuchProcess:
            continue  # ended between the listing and the look
        found[name] = found.get(name, 0.0) + used.user + used.system
    return found
