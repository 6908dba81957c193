"""Processes of the embedded PostgreSQL: whose they are, and that they end with us."""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path


def die_with_parent(parent: int, number: int) -> Callable[[], None]:
    """For `preexec_fn`: Linux sends the child this signal when its parent is gone, even by kill -9."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_pdeathsig = 1

    def ask() -> None:
        libc.prctl(pr_set_pdeathsig, number)
        if os.getppid() != parent:  # died between fork and here
            os._exit(1)

    return ask


def first_number(path: Path) -> int | None:
    """The number in a file's first line; None without the file, 0 where no number stands there."""
    try:
        first = path.read_text().split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() else 0


def works_in(pid: int, folder: Path) -> bool:
    """Whether the process lives and has the folder as its working directory, as a postmaster has."""
    if pid <= 0:
        return False
    if not sys.platform.startswith("linux"):
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False
