"""Child processes of the demo: started with their output in files, always stopped, in order."""

import ctypes
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 20.0


class ProcessEndedError(Exception):
    """A process ended that should have gone on; the message holds the end of its output."""


@dataclass
class Processes:
    """The processes in the order of their start; `stop` ends them in the opposite order."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> int:
        """Start `command` with its output in `<folder>/<name>.out`; returns the pid.

        Each gets a session of its own, so that Ctrl-C reaches only the demo, which then stops them in order.
        """
        output = (self.folder / f"{name}.out").open("ab")
        with output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call into libc, no locks
            )
        self.running[name] = process
        return process.pid

    def check(self) -> None:
        """Raise ProcessEndedError if one of them has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise ProcessEndedError(
                    f"{name} ended with status {process.returncode}. Its last words:\n{self.last_words(name)}"
                )

    def last_words(self, name: str, lines: int = 12) -> str:
        """The end of a process's output."""
        path = self.folder / f"{name}.out"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def kill(self, name: str) -> None:
        """Kill one and forget it, so that it may be started again. Raises KeyError for a name never started."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> list[str]:
        """Ask each to end, the newest first, and kill what does not; returns the names of those killed."""
        killed = []
        # One after the other: an agent ends its tasks in a moment while the gateway is there to be told.
        for name, process in reversed(self.running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                killed.append(name)
                process.kill()
                process.wait()
        self.running.clear()
        return killed


def _end_with_parent() -> None:
    """Let the kernel send SIGTERM when the demo is gone, however it went."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
