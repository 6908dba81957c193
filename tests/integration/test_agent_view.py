"""What a task sees of its host: real shims, real device nodes, and what a task tries against them."""

import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.runtime import process, task_files
from agents.runtime.isolation import Isolation, UidRange, why_no_private_view
from agents.runtime.launch import Rendezvous
from agents.runtime.prepare import Preparer
from agents.runtime.spec import TaskSecret
from agents.spool import Spool
from tests.builders.agents import reachable_folder, spec

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a view of the host's devices needs root"),
    pytest.mark.skipif(
        os.geteuid() == 0 and bool(why_no_private_view(())), reason="this host gives no mount namespaces"
    ),
]
NULL_DEVICE = os.makedev(1, 3)

LOOK = """
import ctypes, json, os, subprocess, sys
def opened(path):
    try:
        os.close(os.open(path, os.O_RDWR))
        return "opened"
    except OSError as error:
        return type(error).__name__
def lift(path):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10020000) != 0:  # a user namespace and a mount namespace in it
        return "no namespace"
    libc.umount2(path.encode(), 2)
    libc.mount(b"none", path.encode(), None, ctypes.c_ulong(0x1020), None)  # without nodev
    return opened(path)
with open("/dev/shm/mine", "w") as file:
    file.write("own")
users = {os.stat("/proc/" + name).st_uid for name in os.listdir("/proc") if name.isdigit()}
said = {path: opened(path) for path in sys.argv[1:]}
said["users"] = sorted(users)
said["own user"] = os.getuid()
said["shared memory"] = os.listdir("/dev/shm")
said["descriptors"] = sorted(int(name) for name in os.listdir("/proc/self/fd"))
said["lifted"] = lift(sys.argv[2])
print(json.dumps(said))
"""


class Host:
    """A preparer on a host with two devices, each of which has a node."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [str(folder / f"accel{index}") for index in range(2)]
        for node in self.nodes:
            os.mknod(node, 0o666 | stat.S_IFCHR, NULL_DEVICE)
            os.chmod(node, 0o666)  # noqa: S103 - as vendors make them
        (folder / "tasks").mkdir(mode=0o711)
        isolation = Isolation(
            Spool(folder / "spool.db"),
            UidRange(400_000, 499_999),
            accept_none=False,
            root=True,
            private_view=True,
            nodes_known=True,
        )
        self.preparer = Preparer(
            folder / "tasks", folder / "checkpoints", 2, "127.0.0.1", isolation, self.closed_nodes
        )

    def closed_nodes(self, given: Sequence[int]) -> Sequence[str]:
        """Those of the devices not given."""
        return [node for index, node in enumerate(self.nodes) if index not in given]

    async def run(
        self, devices: tuple[int, ...], *command: str, secrets: tuple[TaskSecret, ...] = ()
    ) -> tuple[Path, int | None]:
        """A task to its end: its folder and exit code."""
        wanted = spec(devices=devices, command=command, processes=1, rank=0, gang_size=1, secrets=secrets)
        preparation = self.preparer.prepare(wanted)
        file = process.launch_file(preparation, Rendezvous("127.0.0.1", 1), {}, False, 1_000)
        shim, _ = await process.launch(preparation, file)
        shim.wait(60)
        state = process.read_state(preparation.folder)
        assert state is not None
        assert state["phase"] == "ended"
        return preparation.folder, state["exit_code"]


@pytest.fixture
def host() -> Iterator[Host]:
    with reachable_folder() as folder:
        yield Host(folder)


async def look(host: Host) -> dict[str, Any]:
    """What a task on the first device sees."""
    folder, code = await host.run((0,), "/usr/bin/python3", "-c", LOOK, *host.nodes)
    errors = (folder / task_files.OUTPUT / "0.stderr").read_text()
    assert code == 0, errors
    said: dict[str, Any] = json.loads((folder / task_files.OUTPUT / "0.stdout").read_text())
    return said


async def test_a_task_opens_its_own_device_and_no_other_whatever_it_tries(host: Host) -> None:
    said = await look(host)
    assert said[host.nodes[0]] == "opened"
    assert said[host.nodes[1]] == "PermissionError"
    assert said["lifted"] in {"PermissionError", "no namespace"}
    for node in host.nodes:  # on the host nothing has changed
        os.close(os.open(node, os.O_RDWR))


async def test_a_task_sees_no_process_and_no_shared_memory_of_others(host: Host) -> None:
    mine = Path("/dev/shm/of-the-host")  # noqa: S108
    mine.touch()
    try:
        said = await look(host)
    finally:
        mine.unlink()
    assert said["users"] == [said["own user"]]
    assert said["own user"] != 0
    assert said["shared memory"] == ["mine"]
    assert not Path("/dev/shm/mine").exists()  # noqa: S108


async def test_a_task_has_a_name_that_every_program_finds(host: Host) -> None:
    before, umask = Path("/etc/passwd").read_bytes(), os.umask(0o077)  # as deploy/systemd gives agents
    code = """if True:
        import getpass, grp, json, os, pwd, subprocess
        me = pwd.getpwuid(os.getuid())
        print(json.dumps([
            getpass.getuser(), me.pw_name, me.pw_dir == os.environ["HOME"], me.pw_gid == os.getgid(),
            grp.getgrgid(os.getgid()).gr_name, subprocess.check_output("whoami", text=True).strip(),
            pwd.getpwnam("root").pw_uid, os.listdir("/dev/shm"), os.access("/etc/passwd", os.W_OK),
        ]))
    """
    try:
        folder, exit_code = await host.run((0,), "/usr/bin/python3", "-c", code)
    finally:
        os.umask(umask)
    output = folder / task_files.OUTPUT
    assert exit_code == 0, (output / "0.stderr").read_text()
    said = json.loads((output / "0.stdout").read_text())
    assert said == ["suanli", "suanli", True, True, "suanli", "suanli", 0, [], False]
    assert Path("/etc/passwd").read_bytes() == before


async def test_a_task_reads_a_secret_in_a_folder_whatever_the_umask_of_its_agent(host: Host) -> None:
    secret = TaskSecret(name="token", environment="", file="/run/secrets/team/token", value=b"sesame")
    umask = os.umask(0o077)
    try:
        folder, exit_code = await host.run((0,), "/bin/cat", secret.file, secrets=(secret,))
    finally:
        os.umask(umask)
    assert exit_code == 0, (folder / task_files.OUTPUT / "0.stderr").read_text()
    assert (folder / task_files.OUTPUT / "0.stdout").read_text() == "sesame"


async def test_a_task_inherits_no_descriptor_but_its_own_output(host: Host) -> None:
    said = await look(host)
    assert said["descriptors"] == [0, 1, 2, 3]  # the last is that of the folder being listed


async def test_a_task_that_cannot_be_kept_apart_does_not_run(host: Host) -> None:
    """The host could do it when the agent asked, and cannot now."""
    wanted = spec(devices=(0,), command=("/bin/echo", "ran"), processes=1, rank=0, gang_size=1)
    preparation = host.preparer.prepare(wanted)
    file = process.launch_file(preparation, Rendezvous("127.0.0.1", 1), {}, False, 1_000)
    file["closed_nodes"] = ["/proc/self/ns/mnt"]  # the kernel refuses to mount a namespace within itself
    shim, _ = await process.launch(preparation, file)
    shim.wait(60)
    state = process.read_state(preparation.folder)
    assert state is not None
    assert (state["phase"], state["exit_code"]) == ("ended", 126)
    assert "cannot be kept apart from others" in state["detail"]
    assert (preparation.folder / task_files.OUTPUT / "0.stdout").exists() is False
