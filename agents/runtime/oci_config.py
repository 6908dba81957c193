"""PURE: what an OCI runtime is told of a task's containers (OCI runtime specification 1.0, config.json).

A container here is a root of its own and little else, so that a task in an image behaves like one without: it has
the host's network, the task's own view of /proc, /dev/shm and System V memory, and signals reach its processes as
they reach any. Its user is the firm's, never root; it has no capability and can gain none. Its folders lie at the
paths that they have on the host, so that every variable of the launch environment means the same inside.
"""

import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OCI_VERSION = "1.0.2"
CGROUP = "/suanli"
OOM_SCORE = 500  # as spawn gives plain processes
MASKED = ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug")
READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
OF_IMAGE = ("PATH", "LANG", "USER", "LOGNAME")  # variables of which the image knows better than we
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - where programs in images expect room


@dataclass(frozen=True)
class Node:
    """A device node as the host has it."""

    path: str
    kind: str  # c or b
    major: int
    minor: int


@dataclass(frozen=True)
class Given:
    """What of the host's devices a task's containers are given."""

    nodes: tuple[Node, ...] = ()
    folders: tuple[str, ...] = ()  # of the vendor's libraries and tools; read only
    environment: Mapping[str, str] = field(default_factory=dict)
    read: tuple[str, ...] = ()  # beginnings of names that a vendor's runtime obeys


@dataclass(frozen=True)
class Shown:
    """A folder or file of the task's view of the host, at a path of the container."""

    source: str
    at: str
    read_only: bool = False


def oci_config(
    root: str, user: int, working_directory: str, shown: Sequence[Shown], given: Given, cgroup: str
) -> dict[str, Any]:
    """Everything but what differs between the processes of the task: command and environment."""
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": user, "gid": user, "umask": 0o022},
            "cwd": working_directory,
            "noNewPrivileges": True,
            "capabilities": {},
            "oomScoreAdj": OOM_SCORE,
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        },
        "root": {"path": root},
        "mounts": [*_system_mounts(), *(_bind(item) for item in shown)],
        "linux": {
            "cgroupsPath": f"{CGROUP}/{cgroup}",
            # No namespace of processes: the first of them would not be ended by signals that it does not handle.
            "namespaces": [{"type": "mount"}],
            "devices": [_device(node, user) for node in given.nodes],
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}, *(_rule(node) for node in given.nodes)]
            },
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


def _system_mounts() -> list[dict[str, Any]]:
    def mount(at: str, kind: str, source: str, *options: str) -> dict[str, Any]:
        return {"destination": at, "type": kind, "source": source, "options": ["nosuid", *options]}

    return [
        mount("/proc", "bind", "/proc", "rbind", "nodev", "noexec"),
        mount("/dev", "tmpfs", "tmpfs", "noexec", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        mount("/dev/shm", "bind", "/dev/shm", "rbind", "nodev"),  # noqa: S108 - the task's own
        mount("/dev/mqueue", "mqueue", "mqueue", "nodev", "noexec"),
        mount("/sys", "sysfs", "sysfs", "nodev", "noexec", "ro"),
    ]


def _bind(item: Shown) -> dict[str, Any]:
    options = ["rbind", "nosuid", "nodev", *(["ro"] if item.read_only else [])]
    return {"destination": item.at, "type": "bind", "source": item.source, "options": options}


def _device(node: Node, user: int) -> dict[str, Any]:
    """For the task's user, whatever group the host keeps its devices in: no other node is in the container."""
    return {
        "path": node.path,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": 0o660 | stat.S_IFCHR if node.kind == "c" else 0o660 | stat.S_IFBLK,
        "uid": user,
        "gid": user,
    }


def _rule(node: Node) -> dict[str, Any]:
    return {"allow": True, "type": node.kind, "major": node.major, "minor": node.minor, "access": "rw"}


def inside(visibility: Mapping[str, str]) -> dict[str, str]:
    """The variables of a vendor's runtime for processes that see no other devices than their own.

    Names of devices stay as they are; where they are numbers, the runtime counts from 0 what is there.
    """
    counted = {}
    for name, value in visibility.items():
        parts = value.split(",")
        numbers = bool(value) and all(part.isascii() and part.isdigit() for part in parts)
        counted[name] = ",".join(str(place) for place in range(len(parts))) if numbers else value
    return counted


def container_environment(
    image: Mapping[str, str],
    launch: Mapping[str, str],
    asked: Mapping[str, str],
    secrets: Collection[str] = (),
) -> dict[str, str]:
    """The launch environment over the image's own; of some the image knows better, unless the job says otherwise.

    `secrets` are the names that the shim gives values: the image has no say in them, nor in our own names.
    """
    image = {n: value for n, value in image.items() if n not in secrets and not n.startswith("SUANLI_")}
    kept = {name: value for name, value in launch.items() if name not in OF_IMAGE or name in asked}
    defaults = {name: value for name, value in launch.items() if name in OF_IMAGE}
    return {**defaults, **image, **kept}
