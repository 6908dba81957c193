"""An agent as a real process, and messages for its machine."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from agents.core.messages import (
    Ended,
    Launched,
    Message,
    Prepared,
)
from agents.core.meter import ClosedWindow
from agents.core.tasks import EndReason
from agents.runtime.spec import TaskSpec
from tests.builders.agent_gateway import JOIN_TOKEN, TestGateway

SYSTEM_PYTHON = "/usr/bin/python3"


# --- agent as a process -----------------------------------------------------------------------------------


@dataclass
class AgentProcess:
    """An agent on a state folder of its own."""

    folder: Path
    gateway: TestGateway
    options: list[str]
    process: asyncio.subprocess.Process | None = None
    interpreter: list[str] = field(default_factory=lambda: [sys.executable])

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    def arguments(self) -> list[str]:
        """Its command line."""
        return [
            *(*self.interpreter, "-m", "agents", "run", "--state", str(self.state)),
            *("--gateway", f"localhost:{self.gateway.fleet_port}"),
            *("--enrolment", f"localhost:{self.gateway.enrolment_port}"),
            *("--ca", str(self.folder / "ca.pem"), "--join-token-file", str(self.folder / "token")),
            *("--node-name", "node-a", "--driver", "simulated", "--simulate", "ascend-910b3:4"),
            *("--sample-ms", "100", *self.options),
        ]

    async def start(self) -> None:
        """Start it."""
        with (self.folder / "agent.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.arguments(), stderr=log, stdout=asyncio.subprocess.DEVNULL
            )

    async def signal(self, number: int) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def connected(self) -> None:
        """Wait for one more hello, and the state that follows."""
        count = len(self.gateway.hellos)
        await self.gateway.until(lambda: len(self.gateway.hellos) > count, "the agent connects")

    def log(self) -> str:
        """What it said."""
        return (self.folder / "agent.log").read_text()

    def shims(self) -> list[int]:
        """Shims of this agent's tasks that still run."""
        mark = str(self.state / "tasks").encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if any(w.endswith(b"shim.py") for w in words) and any(w.startswith(mark) for w in words):
                    found.append(int(entry.name))
        return found

    def clear(self) -> None:
        """End whatever the test left running: shims end their tasks first."""
        deadline = time.monotonic() + 10
        while (left := self.shims()) and time.monotonic() < deadline:
            for pid in left:
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary folder that other users may cross (pytest's own may not)."""
    folder = Path(tempfile.mkdtemp(prefix="suanli-agent-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def running_agent(
    gateway: TestGateway, *options: str, token: str = JOIN_TOKEN, start: bool = True
) -> AsyncIterator[AgentProcess]:
    """An agent that is connected (unless `start` is False); ended with its tasks at the end."""
    with reachable_folder() as folder:
        (folder / "ca.pem").write_bytes(gateway.authority.pem)
        (folder / "token").write_text(token + "\n")
        agent = AgentProcess(folder, gateway, list(options))
        try:
            if start:
                await agent.start()
                await agent.connected()
            yield agent
        except BaseException:
            if (folder / "agent.log").exists():
                print(agent.log())
            raise
        finally:
            if agent.process is not None and agent.process.returncode is None:
                await agent.signal(signal.SIGKILL)
            agent.clear()


# --- the pure machine in a world of its own -----------------------------------------------------------------


def spec(**changes: Any) -> TaskSpec:
    """What to run, as the agent keeps it."""
    values: dict[str, Any] = {
        "allocation_id": "0190a1b2-0000-7000-8000-000000000001",
        "firm_id": "0190a1b2-0000-7000-8000-00000000f001",
        "firm_uid": 400_001,
        "job_id": "0190a1b2-0000-7000-8000-00000000b001",
        "job_name": "train",
        "attempt": 2,
        "rank": 1,
        "gang_size": 2,
        "processes": 4,
        "devices": (0, 1, 2, 3),
        "device_model": "ascend-910b3",
        "command": ("python3", "train.py"),
        "environment": {},
        "working_directory": "",
        "grace_ms": 10_000,
        "model_checkpoint": False,
        "model_checkpoint_directory": "",
    }
    return TaskSpec(**{**values, **changes})


def prepared(allocation_id: str, *devices: int) -> Prepared:
    """A task is ready."""
    return Prepared(allocation_id, devices or (0,), 29_500)


def launched(allocation_id: str) -> Launched:
    """A task runs."""
    return Launched(allocation_id, 1_000, (4_242,))


def ended(allocation_id: str, code: int = 0) -> Message:
    """A task ended of itself."""
    return Ended(allocation_id, 2_000, code, EndReason.EXITED, "")


def check_tiling(windows: list[ClosedWindow], start_ms: int) -> None:
    """Windows follow each other, and in each every device's tallies cover it."""
    at_ms, at_ns = start_ms, 0
    for window in windows:
        assert window.start_ms == at_ms
        assert window.boot_start_ns == at_ns
        assert window.end_ms > window.start_ms
        assert window.boot_end_ns >= window.boot_start_ns
        for tallies in window.tallies.values():
            edges = [(t.start_ms, t.end_ms) for t in tallies]
            assert edges[0][0] == window.start_ms
            assert edges[-1][1] == window.end_ms
            assert all(left[1] == right[0] for left, right in pairwise(edges))
            for tally in tallies:
                assert 0 <= tally.busy_ms <= tally.live_ms <= tally.end_ms - tally.start_ms
                if tally.observed == "unknown":
                    assert tally.live_ms == 0
        at_ms, at_ns = window.end_ms, window.boot_end_ns
