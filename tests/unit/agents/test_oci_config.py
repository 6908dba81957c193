"""What containers are given: a user without rights, their own folders, and their own devices."""

import os
import stat
from pathlib import Path

import pytest

from agents.devices.containers import given_to_containers, known_vendors, nodes_at
from agents.devices.driver import Device, Driver
from agents.devices.enrolled import EnrolledDevices
from agents.runtime import private_view
from agents.runtime.isolation import in_child
from agents.runtime.oci_config import Given, Node, Shown, container_environment, inside, oci_config
from agents.runtime.shim_container import as_on_the_host
from scheduler.catalogue import load_catalogue
from suanli.evidence.identities import DeviceIdentity


def config(*nodes: Node) -> dict[str, object]:
    """Of a task with one folder that it may only read."""
    return oci_config(
        "/root-of-image", 20_001, "/work", [Shown("/a", "/b", read_only=True)], Given(nodes), "task-1"
    )


def test_a_container_is_its_firms_user_and_can_become_nobody_else() -> None:
    process = config()["process"]
    assert isinstance(process, dict)
    assert process["user"] == {"uid": 20_001, "gid": 20_001, "umask": 0o022}
    assert process["noNewPrivileges"] is True
    assert process["capabilities"] == {}


def test_only_the_given_nodes_are_there_and_only_they_can_be_opened() -> None:
    linux = config(Node("/dev/davinci3", "c", 236, 3))["linux"]
    assert isinstance(linux, dict)
    assert linux["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 236, "minor": 3, "access": "rw"},
    ]
    assert [(d["path"], d["uid"], stat.S_IMODE(d["fileMode"])) for d in linux["devices"]] == [
        ("/dev/davinci3", 20_001, 0o660)
    ]
    assert linux["namespaces"] == [{"type": "mount"}]


def test_a_folder_to_be_read_is_shown_so() -> None:
    mounts = config()["mounts"]
    assert isinstance(mounts, list)
    assert mounts[-1] == {
        "destination": "/b",
        "type": "bind",
        "source": "/a",
        "options": ["rbind", "nosuid", "nodev", "ro"],
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_what_the_hosts_own_mount_forbids_stays_forbidden(tmp_path: Path) -> None:
    shown = {"destination": "/b", "type": "bind", "source": str(tmp_path), "options": ["rbind", "nodev"]}

    def options() -> str:
        private_view.enter(())
        private_view.cover(str(tmp_path))  # noexec
        return " ".join(as_on_the_host(shown)["options"])

    assert in_child(options) == "rbind nodev noexec"


def test_devices_are_counted_from_zero_inside_and_names_stay() -> None:
    outside = {"ASCEND_RT_VISIBLE_DEVICES": "4,6", "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b", "EMPTY": ""}
    assert inside(outside) == {**outside, "ASCEND_RT_VISIBLE_DEVICES": "0,1"}


def test_the_image_says_where_programs_are_unless_the_job_does() -> None:
    launch = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": "/task/home", "RANK": "0"}
    image = {"PATH": "/opt/conda/bin", "HOME": "/root", "RANK": "9", "CUDA_VERSION": "12"}
    said = container_environment(image, launch, {})
    assert said["PATH"] == "/opt/conda/bin"
    assert (said["HOME"], said["RANK"], said["CUDA_VERSION"], said["LANG"]) == (
        "/task/home",
        "0",
        "12",
        "C.UTF-8",
    )
    assert container_environment(image, launch, {"PATH": "x"})["PATH"] == "/usr/bin"


def test_the_image_sets_neither_secrets_nor_names_of_ours() -> None:
    image = {"TOKEN": "mine", "SUANLI_SIMULATED": "1", "KEPT": "yes"}
    said = container_environment(image, {}, {}, ["TOKEN"])
    assert {"TOKEN", "SUANLI_SIMULATED"} & set(said) == set()
    assert said["KEPT"] == "yes"


def test_every_vendor_of_the_catalogue_says_how_its_containers_see_devices() -> None:
    known = known_vendors()
    vendors = {model.vendor.key: model.vendor for model in load_catalogue().models.values()}
    assert set(known) == {"any", *vendors}
    for name, facts in known.items():
        assert "variable" not in facts or facts["variable"] == vendors[name].container_visibility


class TwoDevices(Driver):
    """Two devices of NVIDIA with a node each."""

    name = "nvidia"
    simulated = False

    def __init__(self, folder: Path) -> None:
        self.nodes = [str(folder / f"nvidia{index}") for index in range(2)]
        for minor, node in enumerate(self.nodes):
            os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 3 + 2 * minor))

    def inventory(self) -> list[Device]:
        return [Device(i, "nvidia", "nvidia-h20-96gb", None, f"GPU-{i}", None, None, 1, 0) for i in range(2)]

    def device_nodes(self, device: int) -> list[str]:
        return [self.nodes[device]]


@pytest.mark.skipif(os.geteuid() != 0, reason="making device nodes needs root")
def test_a_task_is_given_the_nodes_and_the_name_of_its_own_devices(tmp_path: Path) -> None:
    driver = TwoDevices(tmp_path)
    enrolled = [
        DeviceIdentity(f"d{i}", "nvidia", "nvidia-h20-96gb", i, None, f"GPU-{i}", None, "nvidia", None, False)
        for i in range(2)
    ]
    given = given_to_containers(EnrolledDevices(driver, enrolled), [1])
    assert [node for node in given.nodes if node.path.startswith(str(tmp_path))] == [
        Node(driver.nodes[1], "c", 1, 5)
    ]
    assert given.environment["NVIDIA_VISIBLE_DEVICES"] == "GPU-1"
    for name in ("ASCEND_RUNTIME_MOUNTS", "NVIDIA_REQUIRE_CUDA", "NVIDIA_DRIVER_CAPABILITIES"):
        assert name.startswith(given.read)
    assert not "ASCEND_RT_VISIBLE_DEVICES".startswith(given.read)
    (tmp_path / "plain").touch()
    assert nodes_at([str(tmp_path / "plain"), "/nowhere"]) == []
