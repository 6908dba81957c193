"""Ctrl-C and SIGTERM for `up`: they interrupt waiting and starting, never the clean-up."""

import os
import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Any, Final, Self

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody asked us to stop. Raised in the main thread once, wherever it is."""


class Signals:
    """While active, the first stopping signal raises StopRequested; a child's end wakes `sleep`."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._asked = False
        self._wakes, self._waits = socket.socketpair()

    def __enter__(self) -> Self:
        self._wakes.setblocking(False)
        self._waits.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in _STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                self._before[number] = signal.signal(number, self._stop)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._ignore)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._wakes.close()
        self._waits.close()

    def sleep(self, seconds: float) -> None:
        """Wait for a child's end, at most `seconds`. Raises StopRequested."""
        if select.select([self._waits], [], [], max(seconds, 0))[0]:
            self._drain()

    def _drain(self) -> None:
        try:
            while self._waits.recv(4096):
                pass
        except BlockingIOError:
            return

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            return
        self._asked = True
        raise StopRequested

    def _ignore(self, _number: int, _frame: FrameType | None) -> None:
        """SIGCHLD needs a handler, or the wake-up would not be written."""


def kill_group(process_id: int, number: signal.Signals) -> None:
    """Signal a child that leads its own session, with everything it started."""
    try:
        os.killpg(process_id, number)
    except ProcessLookupError:
        return
