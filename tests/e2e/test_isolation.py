"""What a task can reach of the host that it runs on: its own folder, and nothing of anybody else's."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agents.runtime.isolation import why_no_private_view
from tests.builders.e2e import PYTHON, Site

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as their firms' own users"),
]

# Keeps a secret in its own folder, as jobs do, and stays until the gate is there.
VICTIM = """
import json, os, sys, time
path = os.path.join(os.environ["HOME"], "secret")
with open(path, "w") as file:
    file.write("the firm's own")
os.chmod(path, 0o644)
shared = f"/dev/shm/victim-{os.getpid()}"
with open(os.open(shared, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
    file.write("the firm's own")
about = {"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "secret": path, "shared": shared,
         "pid": os.getpid()}
print(json.dumps(about), flush=True)
until = time.monotonic() + 200
while not os.path.exists(sys.argv[1]) and time.monotonic() < until:
    time.sleep(0.02)
"""

# Tries everything that it was told of, and says what became of each try.
INTRUDER = """
import json, os, signal, socket, sys
def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
tries = {
    "list": os.listdir,
    "read": lambda path: open(path, "rb").read(1),
    "write": lambda path: open(path, "ab").close(),
    "connect": connect,
    "signal": lambda pid: os.kill(int(pid), 0),
}
done = {}
for verb, target in json.loads(sys.argv[1]):
    try:
        tries[verb](target)
        done[verb + " " + target] = "succeeded"
    except OSError as error:
        done[verb + " " + target] = type(error).__name__
print(json.dumps({"uid": os.getuid(), "pid": os.getpid(), "done": done}), flush=True)
"""


def start_victim(site: Site) -> tuple[str, dict[str, Any]]:
    """A task of lantian that goes on, and what it says of itself."""
    command = [PYTHON, "-c", VICTIM, str(site.gate("victim"))]
    job_id = site.submit("lantian", name="victim", model="mlu370-x8", command=command)
    (line,) = site.lines("lantian", job_id, [0])
    about: dict[str, Any] = json.loads(line)
    assert Path(about["secret"]).read_text() == "the firm's own"
    return job_id, about


def intrude(site: Site, tries: list[tuple[str, str]]) -> dict[str, Any]:
    """What a task of yunhe on the same node says of its tries."""
    command = [PYTHON, "-c", INTRUDER, json.dumps(tries)]
    job_id = site.submit("yunhe", name="intruder", model="mlu370-x8", command=command)
    job = site.ended("yunhe", job_id)
    assert job["state"] == "succeeded", (job, site.output("yunhe", job_id))
    assert site.nodes_of("yunhe", job_id, 1) == ["mixed-01"]
    said: dict[str, Any] = json.loads(site.output("yunhe", job_id)[0])
    return said


def test_a_task_reaches_neither_agent_nor_control_plane_nor_the_other_firm(site: Site) -> None:
    job_id, victim = start_victim(site)
    agent = site.cluster.folder / "mixed-01"
    control = site.cluster.control
    (task_folder,) = [path for path in (agent / "tasks").iterdir() if str(path) in victim["secret"]]
    (database,) = [p for p in (control / "pg").rglob(".s.PGSQL.*") if stat.S_ISSOCK(p.stat().st_mode)]
    secrets = [path for path in (control / "secrets").iterdir() if path.is_file()]
    files = [
        *(agent / "window.key", agent / "tls.key", agent / "spool.db", site.cluster.folder / "operator.key"),
        *(Path(victim["secret"]), task_folder / "launch.json"),
        *task_folder.glob("output/*"),
        *secrets,
    ]
    assert all(path.exists() for path in files)  # else a refusal would prove nothing
    folders = [agent, agent / "tasks", control, control / "secrets", control / "pg", control / "logs"]
    tries = [
        *[("read", str(path)) for path in files],
        *[("write", str(path)) for path in files],
        *[("list", str(path)) for path in [*folders, task_folder, Path(victim["secret"]).parent]],
        ("connect", str(database)),
        ("read", f"/proc/{victim['pid']}/environ"),
        ("read", f"/proc/{victim['pid']}/cmdline"),
        ("read", victim["shared"]),
        ("signal", str(victim["pid"])),
        ("signal", str(site.cluster.processes.running["mixed-01"].pid)),
        ("signal", str(site.cluster.announcement("controller")["pid"])),
    ]
    intruder = intrude(site, tries)
    # Where tasks have a view of their own, others' processes and shared memory are not even there.
    unseen = ("read /proc/", "read /dev/shm/")
    refused = {
        what: "FileNotFoundError"
        if what.startswith(unseen) and not why_no_private_view(())
        else "PermissionError"
        for what in intruder["done"]
    }
    assert intruder["done"] == refused
    assert len(intruder["done"]) == len(tries)
    assert 0 not in {intruder["uid"], victim["uid"]}
    assert intruder["uid"] != victim["uid"]
    assert victim["gid"] == victim["uid"]
    assert 0 not in victim["groups"]
    site.gate("victim").touch()
    assert site.ended("lantian", job_id)["state"] == "succeeded"


def test_what_the_intruder_tries_would_be_noticed(site: Site) -> None:
    """The same tries on what is open to everybody succeed."""
    said = intrude(site, [("read", "/etc/passwd"), ("list", "/"), ("write", "/dev/null")])
    assert set(said["done"].values()) == {"succeeded"}


def test_windows_say_that_firms_were_kept_apart(site: Site) -> None:
    said = intrude(site, [])
    assert said["uid"] != 0
    verified = site.verified()
    possible = "uid" if why_no_private_view(()) else "namespace"
    assert {window["isolation"] for window in verified.windows} == {possible}
