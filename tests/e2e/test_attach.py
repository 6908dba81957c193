"""A terminal inside a job: where it runs, as whom, and how it ends."""

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from suanli.client import Refused
from suanli.client.errors import Unreachable
from suanli.client.tunnels import Session, open_socket
from tests.builders.e2e import PYTHON, Site, api_key, wait_until
from tests.builders.waiting import until

pytestmark = pytest.mark.timeout(240)

# What stays until its gate is there, and says first who it is.
STAY = """
import json, os, sys, time
print(json.dumps({"uid": os.getuid(), "folder": os.getcwd(), "devices": os.environ["SUANLI_DEVICES"],
                  "rank": os.environ["RANK"]}), flush=True)
until = time.monotonic() + 200
while not os.path.exists(sys.argv[1]) and time.monotonic() < until:
    time.sleep(0.05)
"""


@pytest.fixture
def job(site: Site, request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """A running job of yunhe with two processes, and what its rank 1 says of itself."""
    gate = site.gate(request.node.name)
    job_id = site.submit(
        "yunhe",
        name="attached",
        model="ascend-910b3",
        command=[PYTHON, "-c", STAY, str(gate)],
        gang={"devices": 2, "devices_per_node": 2, "processes_per_node": 2},
    )
    said = json.loads(site.reachable("yunhe", job_id, [0, 1])[1])
    yield job_id, said
    gate.touch()
    site.ended("yunhe", job_id)


def attach(
    site: Site,
    job_id: str,
    act: Callable[[Session, bytearray], Any],
    *,
    firm: str = "yunhe",
    rank: int = 0,
    command: tuple[str, ...] = (),
) -> tuple[dict[str, Any], bytes]:
    """Attach, act, and wait for the end: the last word, and all output."""
    output = bytearray()

    async def run() -> dict[str, Any]:
        where = (site.cluster.api, api_key(site, firm), job_id, "attach", {"rank": rank})
        async with open_socket(*where) as socket:
            session = Session(socket, output.extend)
            await session.start(80, 24, "xterm-256color", command)
            running = asyncio.create_task(session.run())
            await act(session, output)
            return dict(await asyncio.wait_for(running, 60))

    return asyncio.run(run()), bytes(output)


async def nothing(_session: Session, _output: bytearray) -> None:
    return


ABOUT = (
    "import json, os; print(json.dumps({'uid': os.getuid(), 'folder': os.getcwd(), 'size': "
    "list(os.get_terminal_size()), 'devices': os.environ['SUANLI_DEVICES'], 'rank': os.environ['RANK'], "
    "'visible': os.environ['ASCEND_RT_VISIBLE_DEVICES'], 'tty': os.isatty(0), 'parent': os.getppid()}))"
)


def test_a_terminal_is_a_process_of_the_task(site: Site, job: tuple[str, dict[str, Any]]) -> None:
    job_id, task = job
    said, output = attach(site, job_id, nothing, rank=1, command=(PYTHON, "-c", ABOUT))
    assert said["exit_code"] == 0
    about = json.loads(output)
    assert {name: about[name] for name in task} == task
    assert about["visible"] == about["devices"]
    assert about["tty"] is True
    assert about["size"] == [80, 24]
    (shim,) = {
        json.loads(path.read_text())["shim_pid"]
        for path in site.cluster.folder.glob("ascend-*/tasks/*/state.json")
        if json.loads(path.read_text())["phase"] == "running"
    }
    assert about["parent"] == shim  # and so it is counted with the task, and ends with it


def test_a_shell_obeys_what_is_typed_and_the_window_that_changes(site: Site, job: Any) -> None:
    async def act(session: Session, output: bytearray) -> None:
        async def listens_again(mark: bytes) -> None:
            """What is typed while the shell takes the terminal back may be lost."""
            await until(lambda: b"$ " in output.partition(mark)[2])

        await session.send(b"stty size\n")
        await listens_again(b"24 80")
        await session.resize(132, 50)
        await session.send(b"stty size\n")
        await listens_again(b"50 132")
        await session.send(b"echo sleep''ing; sleep 100\n")
        await until(lambda: b"sleeping" in output)
        await session.send(b"\x03")
        await listens_again(b"^C")
        await session.send(b"echo in''terrupted; exit 7\n")

    said, output = attach(site, job[0], act)
    assert said["exit_code"] == 7
    assert b"interrupted" in output


def test_whoever_leaves_takes_the_shell_along(site: Site, job: Any) -> None:
    pid = 0

    async def run() -> None:
        nonlocal pid
        output = bytearray()
        async with open_socket(site.cluster.api, api_key(site, "yunhe"), job[0], "attach", {}) as socket:
            session = Session(socket, output.extend)
            await session.start(80, 24, "vt100", [])
            running = asyncio.create_task(session.run())
            await session.send(b"echo pid=$$.\n")
            await until(lambda: b"pid=" in output.replace(b"pid=$$", b"") and b".\r\n" in output)
            pid = int(output.rpartition(b"pid=")[2].split(b".")[0])
            running.cancel()

    asyncio.run(run())
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the shell has ended", seconds=30)
    assert site.job("yunhe", job[0])["state"] == "running"


def test_a_job_that_ends_ends_its_terminals(site: Site) -> None:
    gate = site.gate("ending")
    job_id = site.submit(
        "yunhe", name="ending", model="ascend-910b3", command=[PYTHON, "-c", STAY, str(gate)]
    )
    site.reachable("yunhe", job_id)

    async def act(session: Session, output: bytearray) -> None:
        await session.send(b"echo re''ady\n")
        await until(lambda: b"ready" in output)
        gate.touch()

    said, _ = attach(site, job_id, act)
    assert said["reason"] == "exited"
    assert site.ended("yunhe", job_id)["state"] == "succeeded"


def test_the_jobs_history_says_who_attached(site: Site, job: Any) -> None:
    attach(site, job[0], nothing, command=("/bin/true",))

    def attached() -> list[str]:
        events = site.people.researchers["yunhe"].events(job_id=job[0], follow=False)
        return [event["data"]["by"] for event in events if event["kind"] == "JobAttached"]

    assert wait_until(attached, "the controller has written it down") == ["li.wei"]


def test_a_strangers_job_is_not_there(site: Site, job: Any) -> None:
    with pytest.raises(Refused) as refused:
        attach(site, job[0], nothing, firm="lantian")
    assert refused.value.status == 404


def test_what_cannot_be_attached_to_is_said(site: Site, job: Any) -> None:
    with pytest.raises(Refused) as refused:
        attach(site, job[0], nothing, rank=2)
    assert refused.value.status == 422
    assert refused.value.problem.errors[0].field == "query rank"
    over = site.submit("yunhe", name="over", model="ascend-910b3", command="exit 0")
    site.ended("yunhe", over)
    with pytest.raises(Refused) as refused:
        attach(site, over, nothing)
    assert refused.value.status == 409
    said, _ = attach(site, job[0], nothing, command=("/bin/no-such-program",))
    assert said["exit_code"] is None
    assert "no-such-program" in said["detail"]


def test_a_message_that_is_none_ends_the_session(site: Site, job: Any) -> None:
    async def run() -> None:
        async with open_socket(site.cluster.api, api_key(site, "yunhe"), job[0], "attach", {}) as socket:
            session = Session(socket, lambda _: None)
            await session.start(0, 24, "vt100", [])
            await session.run()

    with pytest.raises(Unreachable, match=r"message\.columns"):
        asyncio.run(run())


def test_nobody_is_let_in_without_a_key(site: Site, job: Any) -> None:
    async def run() -> None:
        async with open_socket(site.cluster.api, "sk_nobody", job[0], "attach", {}):
            raise AssertionError("was let in")

    with pytest.raises(Refused) as refused:
        asyncio.run(run())
    assert refused.value.status == 401


def test_the_command_line_attaches(site: Site, job: Any) -> None:
    master, slave = pty.openpty()
    environment = {
        "SUANLI_SERVER": site.cluster.api,
        "SUANLI_API_KEY": api_key(site, "yunhe"),
        "TERM": "vt100",
    }
    command = [sys.executable, "-m", "suanli.cli", "attach", job[0]]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={"PATH": os.environ["PATH"]} | environment
    )
    os.close(slave)
    seen = b""

    def sees(text: bytes) -> bool:
        nonlocal seen
        with suppress(OSError):  # the program has left its terminal
            if select.select([master], [], [], 0)[0]:
                seen += os.read(master, 65_536)
        return text in seen

    try:
        os.write(master, b"echo $TERM $((6*7))\r")
        wait_until(lambda: sees(b"vt100 42"), "the shell answers")
        os.write(master, b"\r~.")
        assert wait_until(lambda: sees(b"") and process.poll(), "the session is left") == 255
    finally:
        process.kill()
        process.wait()
        os.close(master)
