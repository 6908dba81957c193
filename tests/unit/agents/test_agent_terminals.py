"""Terminals as the shim opens them: the agent's descriptors are many, and their numbers are used again."""

import os
import shutil
from pathlib import Path

import pytest

from agents.runtime import task_files
from agents.runtime.shim_terminals import Terminals

USER, ANOTHER = 400_001, 400_002


@pytest.mark.skipif(os.geteuid() != 0, reason="gives terminals to users, which only root may")
@pytest.mark.parametrize(("owner", "starts"), [(USER, True), (ANOTHER, False), (0, False)])
def test_a_task_gets_no_terminal_but_one_that_was_given_to_its_user(
    tmp_path: Path, owner: int, starts: bool
) -> None:
    master, slave = os.openpty()
    os.fchown(slave, owner, -1)
    launch: task_files.Launch = {
        "allocation_id": "a", "grace_ms": 1000, "stop_signal": "SIGTERM", "account_ms": 1000,
        "uid": USER, "gid": USER, "closed_nodes": None,
        "processes": [
            {"local_rank": 0, "command": ["true"], "environment": {}, "working_directory": "/",
             "stdout": "", "stderr": ""}
        ],
    }  # fmt: skip
    request: task_files.TerminalRequest = {
        "terminal_id": "t", "local_rank": 0, "command": [shutil.which("true") or "true"], "kind": "dumb",
        "agent_pid": os.getpid(), "descriptor": slave,
    }  # fmt: skip
    terminals = Terminals(str(tmp_path), launch)
    os.mkdir(terminals.folder)
    task_files.write_json(f"{terminals.folder}/t.json", request)
    terminals.asked = True
    try:
        assert terminals.start(ending=False)
        state = terminals.states[0]
        assert bool(state["pid"]) == starts, state["error"]
        if state["pid"]:
            os.waitpid(state["pid"], 0)
    finally:
        os.close(master)
        os.close(slave)
