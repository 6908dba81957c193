"""Processes in a root of their own, as the shim starts them: by an OCI runtime. Standard library only.

The runtime is a child of the shim, and the container's first process a child of the runtime, so all of it is in the
tree that is measured and ended. What the runtime is told holds the job's environment and secrets; it is written into
memory that only the task's own view has, and that goes with it.
"""

import os
from typing import Any

from agents.runtime import private_view, task_files, volumes
from agents.runtime.task_files import ContainerLaunch, Launch, ProcessLaunch

OWN_FOLDER = "own-folder"  # where the folder that the user named is held for the runtime
ROOT = "root"  # where the image's root is held for it
# Goes to the working directory as the task's user, and becomes the command.
ENTER = 'cd -- "$0" || exit 126; exec "$@"'


def open_bundles(folder: str, launch: Launch, container: ContainerLaunch) -> None:
    """Make the place for what the runtime is told, and show it the image's root there, in which no device node
    counts: the firm's other processes find that root in /proc, where no control group keeps devices from them.

    Raises OSError.
    """
    bundles = os.path.join(folder, task_files.BUNDLE)
    os.makedirs(bundles, mode=0o700, exist_ok=True)
    root = os.open(container["config"]["root"]["path"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        private_view.cover(bundles)
        os.mkdir(_root(folder))
        private_view.show(root, _root(folder), read_only=False)
    finally:
        os.close(root)
    if container["own_folder"]:
        place = os.path.join(bundles, OWN_FOLDER)
        os.mkdir(place)
        opened = _open_as(container["own_folder"], launch["uid"])
        try:
            private_view.show(opened, place, read_only=False)
        finally:
            os.close(opened)


def _root(folder: str) -> str:
    return os.path.join(folder, task_files.BUNDLE, ROOT)


def _open_as(path: str, uid: int | None) -> int:
    """As the task's user would: whatever links it has laid, they lead only where it may go itself."""
    if uid is None:
        raise PermissionError(1, "a container's user is never the agent's own")
    groups = os.getgroups()
    os.setgroups([uid])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def in_container(folder: str, container: ContainerLaunch, process: ProcessLaunch) -> ProcessLaunch:
    """The runtime's own process, which starts that of the job. Raises OSError."""
    rank = process["local_rank"]
    bundle = os.path.join(folder, task_files.BUNDLE, str(rank))
    os.mkdir(bundle)
    config = {**container["config"], "process": _process(folder, container, process)}
    config["mounts"] = [as_on_the_host(mount) for mount in config["mounts"]]
    config["root"] = {**config["root"], "path": _root(folder)}
    config["linux"] = {**config["linux"], "cgroupsPath": f"{config['linux']['cgroupsPath']}-{rank}"}
    task_files.write_json(os.path.join(bundle, "config.json"), config)
    command = [*container["runtime"], "run", "--bundle", bundle, f"{container['id']}-{rank}"]
    return {**process, "command": command, "environment": container["environment"], "working_directory": "/"}


def as_on_the_host(mount: dict[str, Any]) -> dict[str, Any]:
    """The runtime's mount, where the source is of the host: what its own mount forbids stays forbidden."""
    if mount["type"] != "bind":
        return mount
    flags = os.statvfs(mount["source"]).f_flag
    kept = [name for flag, name in ((os.ST_RDONLY, "ro"), (os.ST_NOEXEC, "noexec")) if flags & flag]
    return {**mount, "options": list(dict.fromkeys([*mount["options"], *kept]))}


def terminal_in_container(
    folder: str, container: ContainerLaunch, process: ProcessLaunch, terminal_id: str
) -> ProcessLaunch:
    """The runtime's own process, which starts one more with a terminal beside that of the rank. Raises OSError."""
    file = os.path.join(folder, task_files.BUNDLE, f"terminal-{terminal_id}.json")
    task_files.write_json(file, {**_process(folder, container, process), "terminal": True})
    rank = process["local_rank"]
    command = [*container["runtime"], "exec", "--process", file, f"{container['id']}-{rank}"]
    return {**process, "command": command, "environment": container["environment"], "working_directory": "/"}


def _process(folder: str, container: ContainerLaunch, process: ProcessLaunch) -> dict[str, Any]:
    common, command = container["config"]["process"], process["command"]
    if not _is_roots_alone(folder, container):
        command = ["/bin/sh", "-c", ENTER, common["cwd"], *command]
        common = {**common, "cwd": "/"}
    return {
        **common,
        "args": command,
        "env": [f"{name}={value}" for name, value in process["environment"].items()],
    }


def _is_roots_alone(folder: str, container: ContainerLaunch) -> bool:
    """Whether nobody but root can change where the working directory leads to; makes it where it is not there.

    The runtime makes and enters it as the host's root, before which every /proc/PID/root is open: no link may lead
    there, now or by the time that it looks. Anywhere else the task's user goes by itself.
    """
    path = container["config"]["process"]["cwd"]
    parts = path.strip("/").split("/")
    if path == "/" or not volumes.is_plain("/" + "/".join(parts)):
        return bool(path == "/")
    mounted = {mount["destination"] for mount in container["config"]["mounts"]}
    here = os.open(_root(folder), volumes.PATH_ONLY)
    try:
        for depth, part in enumerate(parts, 1):
            found = os.fstat(here)
            if found.st_uid == container["config"]["process"]["user"]["uid"] or found.st_mode & 0o022:
                return False
            if "/" + "/".join(parts[:depth]) in mounted:
                return depth == len(parts)
            above = here
            here = _open_or_make(part, above)
            os.close(above)
    except OSError:  # a link, or no folder
        return False
    finally:
        os.close(here)
    return True


def _open_or_make(name: str, above: int) -> int:
    try:
        return os.open(name, volumes.PATH_ONLY, dir_fd=above)
    except FileNotFoundError:
        os.mkdir(name, dir_fd=above)
        os.chmod(name, 0o755, dir_fd=above)  # noqa: S103 - of the image, whatever our own umask is
        return os.open(name, volumes.PATH_ONLY, dir_fd=above)
