"""A task's own view of the host: a mount namespace in which what it was not given is out of reach.

Standard library only (the shim's too). Needs root with CAP_SYS_ADMIN, and Linux 5.8 for a /proc of its own.

- device nodes of the accelerators that the task was not given are closed: each is mounted over itself
  `nodev`, so that opening it fails with EACCES. A user namespace of the task's cannot lift that: mounts that
  come from a more privileged namespace are locked together with their flags (mount_namespaces(7)).
- /proc shows each user its own processes only: no command line or environment of another firm.
- /dev/shm and System V memory are the task's own, and gone when its last process is.

Everything else stays as the host has it, and mounts that the host makes later arrive (slave propagation).
"""

import ctypes
import os
from collections.abc import Sequence

CLONE_NEWNS = 0x0002_0000
CLONE_NEWIPC = 0x0800_0000
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x8_0000
# Refused before Linux 5.8, where the option would have changed the host's own /proc.
OWN_PROCESSES_ONLY = "hidepid=invisible"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the host's name for it, which is covered

_libc = ctypes.CDLL(None, use_errno=True)


def enter(closed_nodes: Sequence[str]) -> None:
    """Give the calling process, and all that it will start, a view in which these device nodes are closed.

    Raises OSError where the host does not allow it; the caller must not go on then.
    """
    if _libc.unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0:
        raise _error("make a namespace")
    _mount("none", "/", None, MS_REC | MS_SLAVE)
    for node in closed_nodes:
        if os.path.exists(node):
            _mount(node, node, None, MS_BIND)
            _mount("none", node, None, MS_BIND | MS_REMOUNT | MS_NODEV | MS_NOSUID | MS_NOEXEC)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, OWN_PROCESSES_ONLY)
    if os.path.isdir(SHARED_MEMORY):
        _mount("tmpfs", SHARED_MEMORY, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    if _libc.mount(names[0], names[1], names[2], ctypes.c_ulong(flags), names[3]) != 0:
        raise _error(f"mount {target}")


def _error(step: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"cannot {step}: {os.strerror(number)}")
