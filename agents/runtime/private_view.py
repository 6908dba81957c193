"""A task's own view of the host: a mount namespace in which what it was not given is out of reach.

Standard library only (the shim's too). Needs root with CAP_SYS_ADMIN, and Linux 5.8 for a /proc of its own.

- device nodes of the accelerators that the task was not given are closed: each is mounted over itself
  `nodev`, so that opening it fails with EACCES. A user namespace of the task's cannot lift that: mounts that
  come from a more privileged namespace are locked together with their flags (mount_namespaces(7)).
- /proc shows each user its own processes only: no command line or environment of another firm.
- volumes lie below /volumes, /mnt and /data, where the job asked for them.
- /run/secrets holds the files of the task's own secrets, in memory.
- /dev/shm and System V memory are the task's own, and gone when its last process is.
- the task's user has a name: programs ask for it, and fail where the host's list of accounts does not know it.

Everything else stays as the host has it, and mounts that the host makes later arrive (slave propagation).
"""

import ctypes
import errno
import os
import stat
from collections.abc import Mapping, Sequence

CLONE_NEWNS = 0x0002_0000
CLONE_NEWIPC = 0x0800_0000
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x8_0000
# Refused before Linux 5.8, where the option would have changed the host's own /proc.
OWN_PROCESSES_ONLY = "hidepid=invisible"
SECRET_FOLDER = "/run/secrets"  # noqa: S105 - where files of secrets lie, in a view
MOST_MIRRORED = 1_000  # each entry is a mount
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


def make_place(folder: str) -> None:
    """Let there be this folder in the view, without a trace on the host.

    What is not there is made in a tmpfs over the nearest folder that is, in which all that lay there still
    lies. Raises OSError, also where a link leads elsewhere, or the nearest folder is the root.
    """
    if os.path.realpath(folder) != folder:
        raise OSError(errno.ELOOP, f"{folder} leads elsewhere on this node")
    nearest = folder
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    if not os.path.isdir(nearest):
        raise OSError(errno.ENOTDIR, f"{nearest} is no folder on this node")
    if nearest == "/":
        raise OSError(errno.ENOENT, f"there is no folder {'/'.join(folder.split('/')[:2])} on this node")
    _refuse_moving(os.path.dirname(folder) if nearest == folder else nearest)
    if nearest != folder:
        _mirror(nearest)
        os.makedirs(folder, mode=0o755)


def _refuse_moving(folder: str) -> None:
    """Only what root alone can change stays between a look at a path and a mount by it. Raises OSError."""
    while folder != "/":
        found = os.lstat(folder)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022 or not found.st_mode & 0o001:
            raise OSError(errno.EPERM, f"{folder} on this node is not root's alone, or is closed to tasks")
        folder = os.path.dirname(folder)


def _mirror(folder: str) -> None:
    """A tmpfs over a folder, in which each of its entries is mounted where it was."""
    under = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = os.listdir(under)
        if len(names) > MOST_MIRRORED:
            raise OSError(errno.E2BIG, f"{folder} holds more than {MOST_MIRRORED} entries on this node")
        _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={os.fstat(under).st_mode & 0o755:o}")
        for name in names:
            here = f"{folder}/{name}"
            kind = os.stat(name, dir_fd=under, follow_symlinks=False).st_mode
            if stat.S_ISLNK(kind):
                os.symlink(os.readlink(name, dir_fd=under), here)
                continue
            if stat.S_ISDIR(kind):
                os.mkdir(here)
            else:
                os.close(os.open(here, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            _mount(f"/proc/self/fd/{under}/{name}", here, None, MS_BIND | MS_REC)
    finally:
        os.close(under)


def show(folder: int, place: str, *, read_only: bool) -> None:
    """Bind the folder of a descriptor to a folder of the view, without what else is mounted in it.

    No device node and no set-user-id program in it counts. Raises OSError.
    """
    _mount(f"/proc/self/fd/{folder}", place, None, MS_BIND)
    # What the host's own mount forbids stays forbidden: statvfs's flags are mount's.
    kept = os.fstatvfs(folder).f_flag & (MS_RDONLY | MS_NOEXEC) | (MS_RDONLY if read_only else 0)
    _mount("none", place, None, MS_BIND | MS_REMOUNT | MS_NODEV | MS_NOSUID | kept)


def cover(folder: str) -> None:
    """Lay empty memory over a folder of the view, which root alone can enter. Raises OSError."""
    _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")


def name_user(name: str, uid: int, gid: int, home: str) -> None:
    """Put the user first in the view's lists of accounts and groups, in the format of passwd(5). Raises OSError."""
    if ":" in home or "\n" in home:  # a job may say where its home is, and no field holds either
        home = "/"
    lines = {"/etc/passwd": f"{name}:x:{uid}:{gid}::{home}:/bin/sh", "/etc/group": f"{name}:x:{gid}:"}
    for path, line in lines.items():
        if not os.path.exists(path):
            continue  # a host that knows no accounts by files
        with open(path, "rb") as file:
            known = file.read()
        # Of a file in memory that no folder names any more, the mount is what is left.
        own = os.path.join(SHARED_MEMORY, os.path.basename(path))
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as copy:
            copy.write(f"{line}\n".encode() + known)
        _mount(own, path, None, MS_BIND)
        os.unlink(own)


def place_secrets(files: Mapping[str, bytes], owner: int | None) -> None:
    """Files that only this view has, in memory that goes with it; its user alone can read them.

    Raises OSError, ValueError for a path that is not below SECRET_FOLDER.
    """
    if not files:
        return
    make_place(SECRET_FOLDER)
    _mount("tmpfs", SECRET_FOLDER, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755")
    for path, value in files.items():
        if os.path.commonpath([os.path.normpath(path), SECRET_FOLDER]) != SECRET_FOLDER:
            raise ValueError(f"{path} is not below {SECRET_FOLDER}")
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            if owner is not None:
                os.fchown(descriptor, owner, owner)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    if _libc.mount(names[0], names[1], names[2], ctypes.c_ulong(flags), names[3]) != 0:
        raise _error(f"mount {target}")


def _error(step: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"cannot {step}: {os.strerror(number)}")
