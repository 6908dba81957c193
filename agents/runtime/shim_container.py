"""Processes in a root of their own, as the shim starts them: by an OCI runtime. Standard library only.

The runtime is a child of the shim, and the container's first process a child of the runtime, so all of it is in the
tree that is measured and ended. What the runtime is told holds the job's environment and secrets; it is written into
memory that only the task's own view has, and that goes with it.
"""

import os
from typing import Any

from agents.runtime import private_view, task_files
from agents.runtime.task_files import ContainerLaunch, Launch, ProcessLaunch

OWN_FOLDER = "own-folder"  # where the folder that the user named is held for the runtime


def open_bundles(folder: str, launch: Launch, container: ContainerLaunch) -> None:
    """Make the place for what the runtime is told. Raises OSError."""
    bundles = os.path.join(folder, task_files.BUNDLE)
    os.makedirs(bundles, mode=0o700, exist_ok=True)
    private_view.cover(bundles)
    if container["own_folder"]:
        place = os.path.join(bundles, OWN_FOLDER)
        os.mkdir(place)
        opened = _open_as(container["own_folder"], launch["uid"])
        try:
            private_view.show(opened, place, read_only=False)
        finally:
            os.close(opened)


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
    config = {**container["config"], "process": _process(container, process)}
    config["linux"] = {**config["linux"], "cgroupsPath": f"{config['linux']['cgroupsPath']}-{rank}"}
    task_files.write_json(os.path.join(bundle, "config.json"), config)
    command = [*container["runtime"], "run", "--bundle", bundle, f"{container['id']}-{rank}"]
    return {**process, "command": command, "environment": container["environment"], "working_directory": "/"}


def terminal_in_container(
    folder: str, container: ContainerLaunch, process: ProcessLaunch, terminal_id: str
) -> ProcessLaunch:
    """The runtime's own process, which starts one more with a terminal beside that of the rank. Raises OSError."""
    file = os.path.join(folder, task_files.BUNDLE, f"terminal-{terminal_id}.json")
    task_files.write_json(file, {**_process(container, process), "terminal": True})
    rank = process["local_rank"]
    command = [*container["runtime"], "exec", "--process", file, f"{container['id']}-{rank}"]
    return {**process, "command": command, "environment": container["environment"], "working_directory": "/"}


def _process(container: ContainerLaunch, process: ProcessLaunch) -> dict[str, Any]:
    return {
        **container["config"]["process"],
        "args": process["command"],
        "env": [f"{name}={value}" for name, value in process["environment"].items()],
    }
