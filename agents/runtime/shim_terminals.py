"""Processes with a terminal, as the shim starts them for the agent. Standard library only.

The agent makes the terminal, writes attach/ID.json and sends SIGHUP. The process is a child of the shim like
all of the task, so whatever runs in a terminal is counted with the task and ends with it.
"""

import contextlib
import os

from agents.runtime import proc_tree, shim_container, spawn, task_files
from agents.runtime.task_files import Launch, ProcessLaunch, TerminalRequest, TerminalState

KEPT = 100  # ended terminals that are still shown
SHELLS = ("/bin/bash", "/bin/sh")


class Terminals:
    """The terminals of one task."""

    def __init__(self, folder: str, launch: Launch) -> None:
        self.task_folder = folder
        self.folder = os.path.join(folder, task_files.ATTACH)
        self.launch = launch
        self.container = launch.get("container")
        self.states: list[TerminalState] = []
        self.asked = False

    def ranks(self) -> dict[int, int]:
        """Pid -> local rank of those that run."""
        return {t["pid"]: t["local_rank"] for t in self.states if t["pid"] and t["exit_code"] is None}

    def start(self, ending: bool) -> bool:
        """Start what was asked for; True where there was something. A task that is being ended starts nothing."""
        if not self.asked:
            return False
        self.asked = False
        found = False
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.folder)):
                if name.endswith(".json"):
                    path = os.path.join(self.folder, name)
                    request: TerminalRequest | None = task_files.read_json(path)
                    os.unlink(path)
                    if request is not None:
                        found = True
                        self.states.append(self._start(request, ending))
        running = [t for t in self.states if t["exit_code"] is None and not t["error"]]
        self.states = [*[t for t in self.states if t not in running][-KEPT:], *running]
        return found

    def _start(self, request: TerminalRequest, ending: bool) -> TerminalState:
        state: TerminalState = {
            "terminal_id": request["terminal_id"],
            "local_rank": request["local_rank"],
            "pid": 0,
            "start_ticks": 0,
            "exit_code": None,
            "error": "the task is being ended" if ending else "",
        }
        if ending:
            return state
        try:
            # Through /proc, because it leads to the very terminal, whatever is mounted here on /dev.
            terminal = os.open(
                f"/proc/{request['agent_pid']}/fd/{request['descriptor']}",
                os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC,
            )
            try:
                self._require_own(terminal)
                process = self._process(request)
                if self.container is None:
                    uid, gid = self.launch["uid"], self.launch["gid"]
                else:
                    uid = gid = None
                    process = shim_container.terminal_in_container(
                        self.task_folder, self.container, process, request["terminal_id"]
                    )
                pid = spawn.spawn_in_terminal(process, terminal, uid, gid)
            finally:
                os.close(terminal)
        except spawn.SpawnError as error:
            state["error"] = str(error)
        except OSError as error:
            state["error"] = f"the node cannot open a terminal: {error.strerror}"
        else:
            stat = proc_tree.read_stat(pid)
            state["pid"] = pid
            state["start_ticks"] = stat.start_ticks if stat else 0
        return state

    def _require_own(self, terminal: int) -> None:
        """Raise SpawnError unless the terminal was given to our user: where the agent gave this one up meanwhile,
        its number may be that of another firm's."""
        uid = self.launch["uid"]
        if not os.isatty(terminal) or (uid is not None and os.fstat(terminal).st_uid != uid):
            raise spawn.SpawnError(spawn.NOT_EXECUTABLE, "the terminal was closed before it was started")

    def _process(self, request: TerminalRequest) -> ProcessLaunch:
        own = next(p for p in self.launch["processes"] if p["local_rank"] == request["local_rank"])
        shell = next((path for path in SHELLS if os.path.exists(path)), SHELLS[-1])
        command = request["command"] or [shell]
        if self.container is not None:
            shell = SHELLS[-1]  # which shells an image has is known inside alone
            command = request["command"] or [
                shell,
                "-c",
                f"[ -x {SHELLS[0]} ] && exec {SHELLS[0]}; exec {shell}",
            ]
        return {
            **own,
            "command": command,
            "environment": {"SHELL": shell, **own["environment"], "TERM": request["kind"]},
        }

    def reaped(self, pid: int, exit_code: int) -> bool:
        """True where the process was one of ours."""
        for state in self.states:
            if state["pid"] == pid and state["exit_code"] is None:
                state["exit_code"] = exit_code
                return True
        return False
