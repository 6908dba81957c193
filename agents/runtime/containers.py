"""The agent's side of containers: which OCI runtime the host has, what a shim tells it, and clearing up after it."""

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.runtime import task_files
from agents.runtime.images import COMMAND_PATIENCE_S, Images, engine_environment
from agents.runtime.oci_config import TEMPORARY, Given, Shown, container_environment, inside, oci_config
from agents.runtime.prepare import Preparation
from agents.runtime.private_view import SECRET_FOLDER
from agents.runtime.shim_container import OWN_FOLDER
from agents.runtime.task_files import ContainerLaunch, Launch, ProcessLaunch

RUNTIMES = ("runc", "crun")
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")  # the network is the host's, and so are its names

_log = logging.getLogger("agents.containers")


@dataclass(frozen=True)
class Runtime:
    """The host's OCI runtime: program and options, and the folder of what it remembers."""

    program: str
    options: tuple[str, ...]
    folder: Path
    version: str = ""

    @property
    def command(self) -> list[str]:
        """Everything before the verb."""
        return [self.program, *self.options, "--root", str(self.folder)]

    def end(self, launch: Launch | None) -> None:
        """Kill what is left of a task's containers and make the runtime forget them. Blocks for a moment."""
        container = launch.get("container") if launch is not None else None
        if launch is None or container is None:
            return
        for process in launch["processes"]:
            name = f"{container['id']}-{process['local_rank']}"
            if (self.folder / name).exists():
                done = subprocess.run(
                    [*self.command, "delete", "--force", name],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=COMMAND_PATIENCE_S,
                    env=engine_environment(),
                )
                if done.returncode != 0:
                    _log.warning("%s delete %s: %s", self.program, name, done.stderr.strip()[-1000:])


@dataclass(frozen=True)
class Containers:
    """What a node runs containers with."""

    images: Images
    runtime: Runtime

    def __str__(self) -> str:
        return f"podman {self.images.version}, {self.runtime.version}"


def read_launch(folder: Path) -> Launch | None:
    """What the shim of the folder was told, None where it never was."""
    launch: Launch | None = task_files.read_json(str(folder / task_files.LAUNCH))
    return launch


def find_runtime(wished: str, folder: Path) -> Runtime | str:
    """The host's OCI runtime, or why there is none. `wished`: program and options; empty: the first of RUNTIMES."""
    words = wished.split()
    candidates = [words[0]] if words else list(RUNTIMES)
    path = next((found for name in candidates if (found := shutil.which(name))), None)
    if path is None:
        return f"there is no program {' or '.join(candidates)}"
    done = subprocess.run(
        [path, "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_PATIENCE_S,
        env=engine_environment(),
    )
    first = done.stdout.splitlines()[0] if done.stdout else ""
    if done.returncode != 0 or not first:
        return f"{path} says no version: {done.stderr.strip()[-200:]}"
    version = first.split()[-1] if "version" in first else first
    try:
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
            if each.lstat().st_uid != os.geteuid() or each.lstat().st_mode & 0o077:
                return f"{each} is open to others than the agent"
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror}"
    return Runtime(path, tuple(words[1:]), folder, f"{os.path.basename(path)} {version}")


def in_image(
    launch: Launch, preparation: Preparation, runtime: Runtime, given: Given, visibility: Mapping[str, str]
) -> Launch:
    """The launch of a task that runs in an image, from that of a plain one."""
    spec, image = preparation.spec, preparation.image
    if image is None or preparation.uid is None:
        raise RuntimeError(f"allocation {spec.allocation_id} has no image, or no user of its own")
    counted = inside(visibility)
    secrets = [secret.environment for secret in spec.secrets if secret.environment]

    def changed(process: ProcessLaunch) -> ProcessLaunch:
        jobs = _unread(process["environment"], given)
        own = {**jobs, **counted, **given.environment}
        environment = container_environment(_unread(image.environment, given), own, spec.environment, secrets)
        return {**process, "environment": environment}

    config = oci_config(
        image.path,
        preparation.uid,
        preparation.working_directory,
        _shown(preparation, given),
        given,
        spec.allocation_id,
    )
    container: ContainerLaunch = {
        "runtime": runtime.command,
        "environment": engine_environment(),
        "id": spec.allocation_id,
        "config": config,
        "own_folder": _own_folder(preparation),
        "read": list(given.read),
    }
    return {**launch, "processes": [changed(p) for p in launch["processes"]], "container": container}


def _unread(variables: Mapping[str, str], given: Given) -> dict[str, str]:
    """Without what a vendor's runtime would take for its own."""
    return {name: value for name, value in variables.items() if not name.startswith(given.read)}


def _own_folder(preparation: Preparation) -> str:
    """The folder for model checkpoints, where the job named it: a path of the firm's own on the host."""
    return preparation.spec.model_checkpoint_directory if preparation.spec.model_checkpoint else ""


def _shown(preparation: Preparation, given: Given) -> list[Shown]:
    spec, folder, places = preparation.spec, preparation.folder, preparation.places
    own = [folder / name for name in (task_files.REPORT, task_files.RESULTS, "home", "tmp", "work")]
    # First what others may lie below.
    shown = [Shown(places.temporary, at) for at in TEMPORARY]
    shown += [Shown(str(path), str(path)) for path in own]
    shown += [Shown(os.path.realpath(path), path, True) for path in NETWORK_FILES if os.path.exists(path)]
    shown += [Shown(path, path, True) for path in given.folders]
    if _own_folder(preparation):
        shown.append(Shown(str(folder / task_files.BUNDLE / OWN_FOLDER), _own_folder(preparation)))
    elif places.model_checkpoints is not None:
        shown.append(Shown(places.model_checkpoints, places.model_checkpoints))
    shown += [Shown(v["mount_path"], v["mount_path"], v["read_only"]) for v in preparation.volumes]
    if any(secret.file for secret in spec.secrets):
        shown.append(Shown(SECRET_FOLDER, SECRET_FOLDER, True))
    return shown
