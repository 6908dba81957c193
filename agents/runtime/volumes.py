"""Volumes: folders of the host that a task sees in its own view, where the agent's operator has opened them.

Standard library only (the shim's too). A volume's path comes over the wire and is not trusted: it must lie at
or below a folder that the agent was told to open (`--volume-root`), and below that no link is followed, so that
nobody who may write there can lead to elsewhere. Mount points lie below MOUNT_FOLDERS alone, and never at, above
or below a folder that the agent or its Python needs.
"""

import errno
import os
import stat
from collections.abc import Iterable, Sequence

from agents.runtime import private_view
from agents.runtime.task_files import VolumeLaunch

MOUNT_FOLDERS = ("/volumes", "/mnt", "/data")
PATH_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_plain(path: str) -> bool:
    """An absolute path without empty parts, `.` and `..`."""
    return path.startswith("/") and all(part not in ("", ".", "..") for part in path[1:].split("/"))


def touches(path: str, other: str) -> bool:
    """Whether one of the two is the other, or lies in it."""
    return f"{path}/".startswith(f"{other.rstrip('/')}/") or f"{other}/".startswith(f"{path.rstrip('/')}/")


def root_of(path: str, roots: Iterable[str]) -> str | None:
    """The open folder at or below which a plain path lies."""
    return next((root for root in roots if f"{path}/".startswith(f"{root}/")), None)


def open_inner(root: str, inner: str) -> int:
    """A descriptor (O_PATH) of the folder `inner` below `root`. Links lead on in `root` itself alone.

    Raises OSError: ELOOP or ENOTDIR for a link, ENOENT where there is no such folder.
    """
    here = os.open(os.path.realpath(root), PATH_ONLY)
    for part in inner.split("/") if inner else ():
        above = here
        try:
            here = os.open(part, PATH_ONLY, dir_fd=above)
        finally:
            os.close(above)
    return here


def make_own(root: str, inner: str, name: str, uid: int) -> None:
    """Let a firm have its own folder `name` in a volume. Raises OSError, EPERM where it is somebody else's."""
    volume = open_inner(root, inner)
    try:
        if os.stat(volume).st_mode & 0o022 or os.stat(volume).st_uid != os.geteuid():
            raise OSError(errno.EPERM, "others than the agent may make folders in it")
        try:
            os.mkdir(name, 0o700, dir_fd=volume)
        except FileExistsError:
            pass
        else:
            os.chown(name, uid, uid, dir_fd=volume, follow_symlinks=False)
        found = os.stat(name, dir_fd=volume, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise OSError(errno.EPERM, "it belongs to another user")
    finally:
        os.close(volume)


def place(volumes: Sequence[VolumeLaunch]) -> None:
    """Show the volumes in the view that the caller has entered. Raises OSError that names the volume."""
    opened = []
    for volume in volumes:
        try:
            # Before any mount point is made, which may lie over it.
            opened.append(open_inner(volume["root"], volume["inner"]))
            private_view.make_place(volume["mount_path"])
        except OSError as error:
            raise _named(volume, error) from None
    for volume, folder in zip(volumes, opened, strict=True):
        try:
            private_view.show(folder, volume["mount_path"], read_only=volume["read_only"])
        except OSError as error:
            raise _named(volume, error) from None
        os.close(folder)


def _named(volume: VolumeLaunch, error: OSError) -> OSError:
    return OSError(error.errno, f"the volume {volume['name']} at {volume['mount_path']}: {error.strerror}")
