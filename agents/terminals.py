"""A terminal in a task: the pty is ours, its process is the shim's child like every other of the task.

So it runs as the firm's user, in the task's folder, with the task's environment and devices; it is counted
with the task, and it ends with the task.
"""

import asyncio
import errno
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from agents.live_task import Live
from agents.runtime import process, task_files
from agents.runtime.task_files import TerminalState

START_PATIENCE_S = 6.0
LOOK_S = 0.02
LAST_WORD_PATIENCE_S = 3.0
READ_BYTES = 65_536


class NoTerminal(Exception):
    """The terminal could not be started; the sentence is for the researcher."""


@dataclass(frozen=True)
class TerminalOrder:
    """What to start."""

    terminal_id: str
    local_rank: int
    command: Sequence[str]
    kind: str
    columns: int
    rows: int


class Terminal:
    """The master's side of a terminal whose process runs."""

    def __init__(self, live: Live, order: TerminalOrder, master: int) -> None:
        self._live = live
        self._order = order
        self._master = master
        os.set_blocking(master, False)

    async def read(self) -> bytes:
        """Output; empty once the process has ended and all its output is read."""
        while True:
            try:
                return os.read(self._master, READ_BYTES)
            except BlockingIOError:
                await self._ready(writing=False)
            except OSError as error:
                if error.errno == errno.EIO:  # how Linux says that the other side is closed
                    return b""
                raise

    async def write(self, data: bytes) -> None:
        """Input. Raises OSError."""
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await self._ready(writing=True)

    async def finish(self) -> None:
        """A terminal knows no end of input but its own control character."""
        await self.write(b"\x04")

    def resize(self, columns: int, rows: int) -> None:
        """The terminal's process gets SIGWINCH."""
        set_size(self._master, columns, rows)

    async def exit_code(self) -> int | None:
        """Exit code of the process; None where it does not end soon."""
        for _ in range(round(LAST_WORD_PATIENCE_S / LOOK_S)):
            state = find_state(self._live, self._order.terminal_id)
            if state is not None and state["exit_code"] is not None:
                return state["exit_code"]
            await asyncio.sleep(LOOK_S)
        return None

    def close(self) -> None:
        """Hang up: the kernel sends SIGHUP to what runs in the terminal."""
        if self._master >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._master)
            loop.remove_writer(self._master)
            os.close(self._master)
            self._master = -1

    async def _ready(self, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        (loop.add_writer if writing else loop.add_reader)(self._master, ready.set)
        try:
            await ready.wait()
        finally:
            if self._master >= 0:  # once closed, its number may be another's
                (loop.remove_writer if writing else loop.remove_reader)(self._master)


async def start_terminal(live: Live, order: TerminalOrder) -> Terminal:
    """Start a process of the task in a new terminal. Raises NoTerminal, OSError."""
    if live.state is None or not process.shim_lives(live.state):
        raise NoTerminal("the task does not run")
    if not 0 <= order.local_rank < live.spec.processes:
        raise NoTerminal(f"the task has no process {order.local_rank}")
    master, slave = os.openpty()
    try:
        set_size(master, order.columns, order.rows)
        if live.uid is not None:
            os.fchown(slave, live.uid, -1)
        folder = live.folder / task_files.ATTACH
        folder.mkdir(mode=0o700, exist_ok=True)
        request: task_files.TerminalRequest = {
            "terminal_id": order.terminal_id,
            "local_rank": order.local_rank,
            "command": list(order.command),
            "kind": order.kind,
            "agent_pid": os.getpid(),
            "descriptor": slave,
        }
        task_files.write_json(str(folder / f"{order.terminal_id}.json"), request)
        os.kill(live.state["shim_pid"], signal.SIGHUP)
        await _started(live, order.terminal_id)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return Terminal(live, order, master)


async def _started(live: Live, terminal_id: str) -> None:
    for _ in range(round(START_PATIENCE_S / LOOK_S)):
        state = find_state(live, terminal_id)
        if state is not None:
            if state["error"]:
                raise NoTerminal(state["error"])
            return
        await asyncio.sleep(LOOK_S)
    with suppress(FileNotFoundError):
        (live.folder / task_files.ATTACH / f"{terminal_id}.json").unlink()
    raise NoTerminal(
        "the task's shim did not start it; a task that an older agent started knows no terminals"
    )


def find_state(live: Live, terminal_id: str) -> TerminalState | None:
    """What the shim says of a terminal."""
    state = process.read_state(live.folder)
    terminals = state.get("terminals", []) if state is not None else []
    return next((t for t in terminals if t["terminal_id"] == terminal_id), None)


def set_size(descriptor: int, columns: int, rows: int) -> None:
    """TIOCSWINSZ of ioctl_tty(2)."""
    size = struct.pack("HHHH", min(rows, 65_535), min(columns, 65_535), 0, 0)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)
