"""How an agent starts, and with which sentence and exit code it refuses to."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest

from protos.suanli.fleet.v1 import control_pb2
from tests.builders.agent_gateway import TestGateway, task
from tests.builders.agents import AgentProcess, running_agent
from tests.builders.waiting import until


async def exit_of(agent: AgentProcess) -> int:
    """Wait for the agent to end of itself."""
    await agent.start()
    assert agent.process is not None
    async with asyncio.timeout(20):
        return await agent.process.wait()


async def test_an_unknown_join_token_is_refused_with_a_sentence() -> None:
    async with (
        TestGateway().serving() as gateway,
        running_agent(gateway, token="sjt_wrong", start=False) as agent,
    ):
        assert await exit_of(agent) == 3
        said = agent.log().splitlines()[-1]
        assert said.endswith("refused to enrol this host: the join token is not known")
        assert "sjt_wrong" not in agent.log()


async def test_an_expired_join_token_is_refused_with_a_sentence() -> None:
    gateway = TestGateway(refuse_enrolment=grpc.StatusCode.PERMISSION_DENIED)
    async with gateway.serving(), running_agent(gateway, start=False) as agent:
        assert await exit_of(agent) == 3
        assert "the join token has expired" in agent.log()


async def test_an_unreachable_gateway_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    gateway = TestGateway()
    async with gateway.serving():
        reachable, gateway.enrolment_port = gateway.enrolment_port, port
        async with running_agent(gateway, start=False) as agent:
            await agent.start()
            async with asyncio.timeout(20):
                while "cannot be reached to enrol" not in agent.log():
                    await asyncio.sleep(0.05)
            assert agent.process is not None
            assert agent.process.returncode is None
            assert await agent.signal(15) == 0
            gateway.enrolment_port = reachable
            await agent.start()
            await agent.connected()


async def test_one_agent_only_works_on_a_state_folder() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        second = AgentProcess(agent.folder, gateway, [])
        assert await exit_of(second) == 4
        assert "another agent runs on the state folder" in agent.log()


async def test_a_taken_metrics_address_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with (
            TestGateway().serving() as gateway,
            running_agent(gateway, "--metrics", address, start=False) as agent,
        ):
            assert await exit_of(agent) == 5
            assert f"metrics cannot be served on {address}" in agent.log()


async def test_metrics_open_to_a_network_are_refused_without_a_token() -> None:
    async with (
        TestGateway().serving() as gateway,
        running_agent(gateway, "--metrics", "0.0.0.0:0", start=False) as agent,
    ):
        assert await exit_of(agent) == 2
        assert "--metrics-token-file is needed" in agent.log()


async def test_metrics_are_for_those_who_bear_the_token() -> None:
    token = "a-token-of-prometheus"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    def get(path: str, **headers: str) -> int:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://{address}{path}", headers=headers)
            ) as page:
                return int(page.status)
        except urllib.error.HTTPError as error:
            return error.code

    async with TestGateway().serving() as gateway, running_agent(gateway, start=False) as agent:
        (agent.folder / "metrics-token").write_text(token + "\n")
        agent.options += ["--metrics", address, "--metrics-token-file", str(agent.folder / "metrics-token")]
        await agent.start()
        await agent.connected()
        asked = {
            "bearer": await asyncio.to_thread(get, "/metrics", Authorization=f"Bearer {token}"),
            "nothing": await asyncio.to_thread(get, "/metrics"),
            "another": await asyncio.to_thread(get, "/metrics", Authorization="Bearer a-token-of-mine"),
            "basic": await asyncio.to_thread(get, "/metrics", Authorization=f"Basic {token}"),
            "health": await asyncio.to_thread(get, "/healthz"),
        }
        assert asked == {"bearer": 200, "nothing": 401, "another": 401, "basic": 401, "health": 200}


async def test_metrics_and_health_are_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with TestGateway().serving() as gateway, running_agent(gateway, "--metrics", address):

        def get(path: str) -> str:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text

        assert await asyncio.to_thread(get, "/healthz") == "ok\n"
        page = await asyncio.to_thread(get, "/metrics")
        assert "suanli_agent_connected 1" in page
        assert 'suanli_agent_device_healthy{device="3"} 1' in page


async def test_secrets_are_for_the_agent_alone_and_never_on_a_command_line() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        for name in ("window.key", "tls.key", "tls.crt", "node.json", "spool.db"):
            assert stat.S_IMODE((agent.state / name).stat().st_mode) == 0o600, name
        assert agent.process is not None
        words = Path(f"/proc/{agent.process.pid}/cmdline").read_bytes()
        assert b"sjt_" not in words
        assert "sjt_" not in agent.log()
        assert (agent.state / "window.key").read_bytes().hex() not in agent.log()


async def test_an_idle_agent_is_small() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        await gateway.until(lambda: len(gateway.windows) >= 1, "it has worked a little")
        assert agent.process is not None
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        resident_kib = int(status.split("VmRSS:")[1].split()[0])
        assert resident_kib < 64 * 1024


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run"], 2, "--state is missing"),
        (
            ["run", "--state", "x", "--gateway", "nowhere", "--ca", "y", "--enrolment", "a:1"],
            2,
            "--gateway wants HOST:PORT",
        ),
        (["devices", "--simulate", "no-such-model:4"], 7, "no simulated device model"),
        (["devices", "--simulate", "ascend-910b3"], 7, "wants MODEL:COUNT"),
        (["devices", "--driver", "simulated"], 7, "wants --simulate"),
    ],
)
def test_wrong_settings_are_one_sentence(arguments: list[str], code: int, sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agents", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_agent_loads_nothing_of_the_control_plane() -> None:
    code = (
        "import sys, agents.app, agents.start\n"
        "heavy = {'scheduler', 'fastapi', 'sqlalchemy', 'kubernetes', 'pydantic', 'httpx', 'yaml', 'typer'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_thread_that_hangs_does_not_keep_the_agent_from_ending() -> None:
    code = (
        "import asyncio, threading\n"
        "from agents import app\n"
        "app.END_PATIENCE_S = 0.1\n"
        "async def work():\n"
        "    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)\n"
        "asyncio.run(app.with_an_end(work()))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_room_again() -> None:
    async with (
        TestGateway(window_ms=1_000).serving() as gateway,
        running_agent(gateway, start=False) as agent,
    ):
        agent.state.mkdir()
        mounted = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(agent.state)]
        if subprocess.run(mounted, capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine does not let us mount")
        try:
            await agent.start()
            await agent.connected()
            gateway.acknowledge = False
            work = task(["/bin/sleep", "600"])
            await gateway.run_task(work)
            ballast = agent.state / "ballast"
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            await until(lambda: "metering goes on in memory" in agent.log())
            last = max(gateway.windows, default=0)
            ballast.unlink()
            await gateway.until(lambda: max(gateway.windows, default=0) >= last + 3, "windows arrive again")
            assert gateway.in_phase(work.allocation_id, control_pb2.TASK_PHASE_RUNNING)
            assert await agent.signal(signal.SIGTERM) == 0
            observed = {s.observed for s in gateway.segments() if s.end_ms - s.start_ms > 300}
            assert observed == {"free", "in_use"}
            agent.clear()
        finally:
            subprocess.run(["umount", "-l", str(agent.state)], check=True)
