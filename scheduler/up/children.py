"""Child processes of `up`: started, watched, started again, stopped in order."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, Final

from scheduler.process import STOP_TIMEOUT_S, announcement_path
from scheduler.storage.embedded_process import die_with_parent
from scheduler.up.forking import Copy, Gate, Program, fork
from scheduler.up.signals import Signals, kill_group

READY_TIMEOUT_S: Final = 60.0
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
# Who lived this long starts afresh with the shortest pause.
HEALTHY_S: Final = 60.0
OUTPUT_MAX_BYTES: Final = 16 << 20


def python_command(*arguments: str) -> list[str]:
    """This program in another process, by the same Python.

    `-m` would put the working folder before the standard library, and a stray `json.py` there in our way;
    so it does only where it did for us.
    """
    trusted = sys.path[0] in ("", os.getcwd())
    return [sys.executable, *([] if trusted else ["-P"]), "-m", "scheduler", *arguments]


def keep_small(path: Path) -> None:
    """Move a long output aside; whoever writes it appends, and goes on in the emptied file."""
    try:
        if path.stat().st_size > OUTPUT_MAX_BYTES:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
    except FileNotFoundError:
        return


class ChildFailed(Exception):
    """A process of the control plane did not start; the message is a sentence."""


@dataclass
class Child:
    """One process of the control plane."""

    name: str
    environment: dict[str, str]
    run_folder: Path
    output: Path | None  # None: it writes where we do
    process: subprocess.Popen[bytes] | Copy | None = None
    started_s: float = 0.0
    pause_s: float = BACKOFF_FIRST_S
    again_s: float | None = None
    addresses: dict[str, Any] = field(default_factory=dict)
    command: str | None = None  # of this program; None: as it is named
    sockets: tuple[int, ...] = ()  # descriptors that it inherits
    room: str | None = None  # the module that a copy loads before the gate
    first: bool = False  # through the gate

    def start(self, copy: Program | None = None, gate: Gate | None = None) -> None:
        """Start the program, or a copy of us that runs it once the gate is open. Its secrets go by environment:
        command lines can be read by all.
        """
        announcement_path(self.run_folder, self.name).unlink(missing_ok=True)
        output = None if self.output is None else os.open(self.output, _APPEND, 0o600)
        command = self.command or self.name
        with_us = die_with_parent(os.getpid(), SIGTERM)

        def before() -> None:
            with_us()
            if gate is not None:
                gate.arrive(self.room, first=self.first)

        try:
            if copy is not None:
                self.process = fork(copy, [command], self.environment, output, self.sockets, before)
            else:
                self.process = subprocess.Popen(
                    python_command(command),
                    pass_fds=self.sockets,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self.environment,
                    start_new_session=True,  # Ctrl-C is for us; we stop them in order
                    preexec_fn=with_us,  # noqa: PLW1509 - one thread here
                )
        finally:
            if output is not None:
                os.close(output)
        self.started_s = time.monotonic()
        self.again_s = None

    def ended(self) -> int | None:
        """Exit status of a process that was started and is gone."""
        return None if self.process is None else self.process.poll()

    def announcement(self) -> dict[str, Any] | None:
        """What the running process announced. Raises ChildFailed when it says that it failed or is gone."""
        said = _read(announcement_path(self.run_folder, self.name))
        if said is not None and self.process is not None and said.get("pid") == self.process.pid:
            if "error" in said:
                raise ChildFailed(f"{self.name} did not start: {said['error']}")
            return said
        status = self.ended()
        if status is not None:
            raise ChildFailed(f"{self.name} did not start: it ended with status {status}{self._where()}")
        return None

    def stop(self) -> bool:
        """End the process; returns whether it went by itself."""
        process, self.process = self.process, None
        if process is None:
            return True
        if process.poll() is None:
            process.send_signal(SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S + 2)
        except subprocess.TimeoutExpired:
            kill_group(process.pid, SIGKILL)
            process.wait()
            return False
        return True

    def _where(self) -> str:
        return "" if self.output is None else f", see {self.output}"


_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


class Children:
    """All of them, in the order of their start."""

    def __init__(self, children: list[Child], signals: Signals, say: Callable[[str], None]) -> None:
        self._children = children
        self._signals = signals
        self._say = say

    def start(self, copy: Program | None = None, gate: Gate | None = None) -> None:
        """Start all, who is first before the others, with `copy` as copies of us that run it once the gate is open."""
        for child in sorted(self._children, key=lambda child: not child.first):
            child.start(copy, gate)

    def ready(
        self, timeout_s: float = READY_TIMEOUT_S, *, first: bool = False
    ) -> Mapping[str, dict[str, Any]]:
        """Wait until each serves, or the `first` alone; returns name -> announcement. Raises ChildFailed."""
        deadline_s = time.monotonic() + timeout_s
        waiting = [child for child in self._children if child.first or not first]
        while waiting:
            for child in tuple(waiting):
                said = child.announcement()
                if said is not None:
                    child.addresses = said
                    waiting.remove(child)
            if waiting:
                if time.monotonic() > deadline_s:
                    names = ", ".join(child.name for child in waiting)
                    raise ChildFailed(f"not ready after {timeout_s:.0f} s: {names}")
                self._signals.sleep(0.02)
        return {child.name: child.addresses for child in self._children}

    def watch(self) -> float:
        """Look once after each child; returns the seconds until the next thing to do."""
        now_s = time.monotonic()
        soonest_s = 5.0
        for child in self._children:
            status = child.ended()
            if status is not None and child.again_s is None:
                if now_s - child.started_s > HEALTHY_S:
                    child.pause_s = BACKOFF_FIRST_S
                self._say(
                    f"{child.name} ended with status {status}; starting it again in {child.pause_s:g} s"
                )
                child.again_s = now_s + child.pause_s
                child.pause_s = min(child.pause_s * 2, BACKOFF_MAX_S)
            if child.again_s is not None and child.again_s <= now_s:
                self._start_again(child)
            if child.again_s is not None:
                soonest_s = min(soonest_s, max(child.again_s - now_s, 0))
            if child.output is not None:
                keep_small(child.output)
        return soonest_s

    def _start_again(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:  # no memory, no room for its output: later, perhaps
            child.again_s = time.monotonic() + child.pause_s
            self._say(f"{child.name} cannot be started: {error.strerror}; next try in {child.pause_s:g} s")
            child.pause_s = min(child.pause_s * 2, BACKOFF_MAX_S)
        else:
            self._say(f"{child.name} was started again (pid {child.process.pid if child.process else '-'})")

    def stop(self) -> None:
        """End all, the last started first."""
        for child in reversed(self._children):
            if not child.stop():
                self._say(f"{child.name} did not stop in {STOP_TIMEOUT_S:.0f} s and was killed")
