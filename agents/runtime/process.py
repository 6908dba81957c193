"""The agent's side of a shim: launching, finding again, asking to stop, clearing up after a lost one."""

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from agents.runtime import proc_tree, task_files
from agents.runtime.launch import Rendezvous, process_environment
from agents.runtime.prepare import Preparation
from agents.runtime.spec import TaskSpec
from agents.runtime.task_files import Launch, Secrets, ShimState

SHIM_FILE = Path(__file__).with_name("shim.py")
READY_PATIENCE_S = 60.0
CLEAR_PASS_S = 0.05
STARTING_PATIENCE_S = 5.0


class LaunchError(Exception):
    """No shim could be started; nothing of the task runs."""


def launch_file(
    preparation: Preparation,
    rendezvous: Rendezvous,
    visibility: Mapping[str, str],
    simulated: bool,
    account_ms: int,
) -> Launch:
    """What the shim is to start."""
    spec = preparation.spec
    output = preparation.folder / task_files.OUTPUT
    return {
        "allocation_id": spec.allocation_id,
        "grace_ms": spec.grace_ms,
        "stop_signal": spec.stop_signal,
        "account_ms": account_ms,
        "uid": preparation.uid,
        "gid": preparation.uid,
        "closed_nodes": None if preparation.closed_nodes is None else list(preparation.closed_nodes),
        "processes": [
            {
                "local_rank": rank,
                "command": list(spec.command),
                "environment": process_environment(
                    spec, rank, rendezvous, preparation.places, visibility, simulated
                ),
                "working_directory": preparation.working_directory,
                "stdout": str(output / f"{rank}.stdout"),
                "stderr": str(output / f"{rank}.stderr"),
            }
            for rank in range(spec.processes)
        ],
        "volumes": list(preparation.volumes),
        "secrets": bool(spec.secrets),
        "container": None,
    }


def _secrets_of(spec: TaskSpec) -> Secrets:
    def encoded(key: str) -> dict[str, str]:
        return {
            place: base64.b64encode(secret.value).decode()
            for secret in spec.secrets
            if (place := str(getattr(secret, key)))
        }

    return {"environment": encoded("environment"), "files": encoded("file")}


def _standard_input(spec: TaskSpec) -> int:
    """What the shim reads: its secrets, in memory that no name leads to; else nothing."""
    if not spec.secrets:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("secrets", os.MFD_CLOEXEC)
    data = json.dumps(_secrets_of(spec)).encode()
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def launch(preparation: Preparation, launch: Launch) -> tuple[subprocess.Popen[bytes], ShimState]:
    """Start the shim and wait until its processes run. Raises LaunchError.

    The port is let go at the last moment; the shim's lock file makes a second start impossible.
    """
    folder = preparation.folder
    reading, writing = os.pipe()
    try:
        task_files.write_json(str(folder / task_files.LAUNCH), launch)
        log = os.open(
            folder / task_files.SHIM_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        preparation.release()
        given = _standard_input(preparation.spec)
        try:
            shim = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM_FILE), str(folder), str(writing)],
                stdin=given,
                stdout=log,
                stderr=log,
                env={},
                pass_fds=(writing,),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(log)
            os.close(given)
    except OSError as error:
        os.close(reading)
        raise LaunchError(f"the node could not start the task: {error.strerror}") from None
    finally:
        os.close(writing)
    try:
        async with asyncio.timeout(READY_PATIENCE_S):
            await _readable(reading)
    except TimeoutError:
        shim.kill()
        shim.wait()
        raise LaunchError(f"the task did not start within {READY_PATIENCE_S:.0f} seconds") from None
    finally:
        os.close(reading)
    state = read_state(folder)
    if state is None or not state["shim_pid"]:
        shim.kill()  # the pipe is closed, which is not yet an end
        shim.wait()
        raise LaunchError(
            "the node's shim ended before it started the task; its words are in the task's folder"
        )
    return shim, state


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def read_state(folder: Path) -> ShimState | None:
    """state.json, None where there is none."""
    state: ShimState | None = task_files.read_json(str(folder / task_files.STATE))
    return state


def settled_state(folder: Path) -> ShimState | None:
    """state.json; where a shim holds its lock and has not written yet, wait for it a little."""
    deadline = time.monotonic() + STARTING_PATIENCE_S
    while (state := read_state(folder)) is None and time.monotonic() < deadline and _locked(folder):
        time.sleep(CLEAR_PASS_S)
    return state


def _locked(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / task_files.LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def shim_lives(state: ShimState) -> bool:
    """True where the very shim that wrote this still runs."""
    return state["boot_id"] == proc_tree.boot_id() and proc_tree.is_same_process(
        state["shim_pid"], state["shim_start_ticks"]
    )


def request_stop(folder: Path, state: ShimState, reason: str) -> None:
    """Ask the shim to end its task; the file is for a shim that is just starting."""
    with contextlib.suppress(OSError):  # full disk: the signal alone does it
        task_files.write_json(str(folder / task_files.STOP), {"reason": reason})
    if shim_lives(state):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["shim_pid"], signal.SIGTERM)


def survivors(folder: Path, state: ShimState | None) -> list[proc_tree.ProcessStat]:
    """What is left of a task whose shim is gone: its processes, their children, and whatever still carries
    the environment of this task (a daemon that left the tree when the shim died)."""
    table = proc_tree.scan()
    found: dict[int, proc_tree.ProcessStat] = {}
    if state is not None and state["boot_id"] == proc_tree.boot_id():
        for process in state["processes"]:
            stat = table.get(process["pid"])
            if stat is not None and stat.start_ticks == process["start_ticks"]:
                found[stat.pid] = stat
                found.update((s.pid, s) for s in proc_tree.descendants(table, stat.pid))
    mark = f"SUANLI_STEP_REPORT={folder / task_files.REPORT / task_files.STEP_REPORT}\0".encode()
    for stat in table.values():
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{stat.pid}/environ").read_bytes():
                found[stat.pid] = stat
    return [stat for stat in found.values() if stat.alive and stat.pid != os.getpid()]


async def clear(folder: Path, state: ShimState | None) -> None:
    """Kill what is left of a task whose shim is gone, until nothing is."""
    while left := survivors(folder, state):
        for stat in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stat.pid, signal.SIGKILL)
        await asyncio.sleep(CLEAR_PASS_S)


def read_step_report(folder: Path) -> object | None:
    """The job's step report as JSON, None where there is none that can be read.

    The folder is the job's: nothing but a plain, small file is opened, and no link is followed.
    """
    path = folder / task_files.REPORT / task_files.STEP_REPORT
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if (status.st_mode & 0o170000) != 0o100000 or status.st_size > 4096:
            return None
        try:
            value: object = json.loads(file.read(4097))
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict) and value.get("at_ms") is None:
            # A report without a time is as new as its file; else every later one would seem to be old.
            value["at_ms"] = status.st_mtime_ns // 1_000_000
        return value
