"""What of the host's devices a container is given: by vendor, from `containers.json`.

`variable` is read by the vendor's own OCI runtime, where the operator has chosen it (`--container-runtime`), and
names the devices by `names`; `read` are beginnings of the names that this runtime, which is root, obeys: no job and no
image sets them; `nodes` are shared by all devices of the vendor, `folders` are its libraries and tools.
Both are given where they are there, so that containers run without the vendor's runtime as well. The nodes of the
devices themselves come from the driver. Source: the vendors' own manuals on containers, as in the catalogue.
"""

import glob
import json
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agents.devices.enrolled import EnrolledDevices
from agents.runtime.oci_config import Given, Node

CONTAINERS_FILE = Path(__file__).with_name("containers.json")
NO_DEVICE = "void"  # how vendors' runtimes are told to give none


def known_vendors() -> dict[str, Any]:
    """The data file by vendor; `any` goes for all."""
    vendors: dict[str, Any] = json.loads(CONTAINERS_FILE.read_text(encoding="utf-8"))
    return vendors


def given_to_containers(driver: EnrolledDevices, devices: Sequence[int]) -> Given:
    """What containers with these devices (indices of enrolment) are given. A simulated device has no nodes."""
    known = known_vendors()
    found = [device for index in devices if (device := driver.device_now(index)) is not None]
    vendors = sorted({device.vendor for device in found})
    facts = [known["any"], *(known.get(vendor, {}) for vendor in vendors)]
    # Of all vendors: which one's runtime this host has is not known here.
    read = tuple(dict.fromkeys(start for fact in known.values() for start in fact.get("read", ())))
    if driver.simulated:
        return Given(read=read)
    environment: dict[str, str] = {}
    for fact, vendor in zip(facts[1:], vendors, strict=True):
        environment |= fact.get("environment", {})
        if "variable" in fact:
            names = [getattr(device, fact["names"]) for device in found if device.vendor == vendor]
            known_names = [str(name) for name in names if name is not None]
            environment[fact["variable"]] = ",".join(known_names) or NO_DEVICE
    shared = [
        path for fact in facts for pattern in fact.get("nodes", ()) for path in sorted(glob.glob(pattern))
    ]
    own = [node for index in devices for node in driver.device_nodes(index)]
    folders = [path for fact in facts for path in fact.get("folders", ()) if os.path.exists(path)]
    return Given(tuple(nodes_at([*own, *shared])), tuple(folders), environment, read)


def nodes_at(paths: Iterable[str]) -> list[Node]:
    """The device nodes at these paths; what is none, or is not there, is left out."""
    nodes = []
    for path in dict.fromkeys(paths):
        try:
            found = os.stat(path)
        except OSError:
            continue
        kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
        kind = kinds.get(stat.S_IFMT(found.st_mode))
        if kind is not None:
            nodes.append(Node(path, kind, os.major(found.st_rdev), os.minor(found.st_rdev)))
    return nodes
