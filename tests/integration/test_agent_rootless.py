"""An agent without root: one firm only, tasks as its own user, and windows that say so."""

import os
import shutil
import sys
from pathlib import Path

import pytest

import agents
from protos.suanli.fleet.v1 import control_pb2, node_pb2
from tests.builders.agent_gateway import TestGateway, task
from tests.builders.agents import SYSTEM_PYTHON, running_agent

NOBODY = 65_534


def prefix() -> list[str]:
    """A command that runs the agent as nobody; skips where no interpreter is open to that user."""
    if os.geteuid() != 0:
        return [sys.executable]
    setpriv = shutil.which("setpriv")
    same = f"python{sys.version_info.major}.{sys.version_info.minor}" == Path(SYSTEM_PYTHON).resolve().name
    if setpriv is None or not same:
        pytest.skip("needs setpriv and a system interpreter of our version")
    packages = Path(str(pytest.__file__)).parents[1]
    search = f"PYTHONPATH={packages}:{Path(agents.__file__).parents[1]}"
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [setpriv, *user, "env", search, SYSTEM_PYTHON]


async def test_a_node_without_root_serves_one_firm_only_and_says_so() -> None:
    interpreter = prefix()
    async with (
        TestGateway(window_ms=1_000).serving() as gateway,
        running_agent(gateway, start=False) as agent,
    ):
        agent.interpreter = interpreter
        agent.folder.chmod(0o777)
        await agent.start()
        await agent.connected()
        assert gateway.hellos[-1].isolation == node_pb2.ISOLATION_NONE
        first = task(["/bin/sh", "-c", "id -u; exec sleep 600"], firm_id="firm-1")
        await gateway.run_task(first)
        key = (first.allocation_id, 0, "stdout")
        await gateway.until(lambda: bytes(gateway.output.get(key, b"")).endswith(b"\n"), "output arrives")
        user = NOBODY if os.geteuid() == 0 else os.geteuid()
        assert gateway.output[key] == b"%d\n" % user
        second = task(["/bin/true"], firm_id="firm-2", device_indices=[1])
        gateway.specs[second.allocation_id] = second
        gateway.want(second.allocation_id, control_pb2.TASK_GOAL_PREPARE)
        over = await gateway.ended(second.allocation_id)
        assert over.end_reason == "prepare_failed"
        assert "one firm only" in over.detail
        gateway.want(first.allocation_id, control_pb2.TASK_GOAL_STOP)
        assert (await gateway.ended(first.allocation_id)).end_reason == "stopped"
        count = len(gateway.windows)
        await gateway.until(lambda: len(gateway.windows) > count, "a window arrives")
        assert {header.isolation for header, _ in gateway.checked()} == {"none"}
