"""Names and formats of the files in a task's folder, shared by shim and agent. Standard library only.

launch.json     what to start (agent -> shim); 0600, may hold what the job's environment holds
shim.lock       made once, by the one shim that may ever start this task, and locked while it lives
state.json      what the shim knows (shim -> agent), replaced as a whole
account.jsonl   cumulative use of every local rank, a line a period
stop.json       asks the shim to end the task
attach/         ID.json asks the shim for a process with a terminal; removed once it was read
image.json      the image that it runs in: digest, where its root lies, what it sets
bundle/         in memory, in the task's own view alone: what an OCI runtime is told
output/         RANK.stdout and RANK.stderr
report/         step.json, written by the job
home/ tmp/ work/ results/   the job's own; what lies in results/ is kept when the job has ended
written.json    what became of each output of an object store: empty, or what went wrong
collected       made when the results have reached the control plane
"""

import json
import os
from typing import Any, NotRequired, TypedDict

LAUNCH = "launch.json"
LOCK = "shim.lock"
STATE = "state.json"
ACCOUNT = "account.jsonl"
STOP = "stop.json"
ATTACH = "attach"
SHIM_LOG = "shim.log"
OUTPUT = "output"
REPORT = "report"
STEP_REPORT = "step.json"
RESULTS = "results"
IMAGE = "image.json"
BUNDLE = "bundle"
WRITTEN = "written.json"
COLLECTED = "collected"

USER_NAME = "suanli"  # of the user that a task runs as, whatever its number


class ProcessLaunch(TypedDict):
    """One local process to start."""

    local_rank: int
    command: list[str]
    environment: dict[str, str]
    working_directory: str
    stdout: str
    stderr: str


class VolumeLaunch(TypedDict):
    """A folder of the host to show at `mount_path`: `inner` below `root`, in which no link is followed."""

    name: str
    root: str
    inner: str
    mount_path: str
    read_only: bool


class ContainerLaunch(TypedDict):
    """How processes are started in a root of their own: by an OCI runtime (OCI runtime specification).

    `config` is its config.json but for command and environment. `own_folder` is a folder of the host that the task's
    user named, to be opened as that user and shown at the same path; empty where there is none. `read` are beginnings
    of the names that the runtime obeys, which no secret may have.
    """

    runtime: list[str]  # program and options
    environment: dict[str, str]  # of the runtime itself
    id: str  # of the container of local rank 0 without its last part, the rank
    config: dict[str, Any]
    own_folder: str
    read: list[str]


class Launch(TypedDict):
    """launch.json: a task to start; `uid` and `gid` null where processes stay the agent's own user.

    `closed_nodes` are the device nodes closed in the task's own view of the host; null: it has no such view.
    """

    allocation_id: str
    grace_ms: int
    stop_signal: str  # by which processes are asked to end
    account_ms: int
    uid: int | None
    gid: int | None
    closed_nodes: list[str] | None
    processes: list[ProcessLaunch]
    volumes: NotRequired[list[VolumeLaunch]]
    secrets: bool  # whether Secrets come on standard input
    container: NotRequired[ContainerLaunch | None]


class Secrets(TypedDict):
    """What the shim is given on standard input, and never finds on a disk. Values are base64."""

    environment: dict[str, str]
    files: dict[str, str]  # by absolute path, below private_view.SECRET_FOLDER


class ProcessState(TypedDict):
    """One local process as the shim saw it last."""

    local_rank: int
    pid: int
    start_ticks: int
    ended_ms: int | None
    exit_code: int | None


class TerminalRequest(TypedDict):
    """attach/ID.json: a process to start with the environment of a local rank in the agent's terminal.

    `descriptor` is the terminal's among the agent's; an empty `command` is a shell.
    """

    terminal_id: str
    local_rank: int
    command: list[str]
    kind: str
    agent_pid: int
    descriptor: int


class TerminalState(TypedDict):
    """A process with a terminal; `error` says why it was not started, empty where it was."""

    terminal_id: str
    local_rank: int
    pid: int
    start_ticks: int
    exit_code: int | None
    error: str


class ShimState(TypedDict):
    """state.json; `phase` is `running`, `stopping` or `ended`; a shim of before terminals has none."""

    boot_id: str
    shim_pid: int
    shim_start_ticks: int
    phase: str
    started_ms: int
    processes: list[ProcessState]
    terminals: NotRequired[list[TerminalState]]
    ended_ms: int | None
    exit_code: int | None
    end_reason: str
    detail: str


def write_json(path: str, value: Any, durable: bool = False, mode: int = 0o600) -> None:
    """Replace `path` as a whole; `durable` also survives a power cut. Raises OSError (full disk, ...)."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        data = json.dumps(value, separators=(",", ":")).encode("utf-8")
        while data:
            data = data[os.write(descriptor, data) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)


def read_json(path: str) -> Any | None:
    """The value in `path`, None where there is no such file. Raises ValueError where it is not JSON."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError:
        return None
