"""Machine code of the planner's kernels without a message that waits for it."""

import threading
import time
from pathlib import Path

import structlog

from scheduler import machine_code

_log = structlog.get_logger(__name__)


class Compiling:
    """Has it made in a thread, once."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: where it may be kept, when neither the source's folder nor the user's can be written."""
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._plans_wait = False

    @property
    def may_plan(self) -> bool:
        """False while a plan would take far longer than the one after this."""
        return not (self._plans_wait and self._thread is not None and self._thread.is_alive())

    def want(self, nodes: int, *, plans_wait: bool = False) -> None:
        """Begin, if so many nodes are worth it and nobody has. With `plans_wait` there are no plans until it is
        there, else Python plans meanwhile. Everything else goes on.
        """
        if self._thread is None and machine_code.wanted(nodes):
            self._plans_wait = plans_wait
            _log.info("compiling_kernels", nodes=nodes, plans_wait=plans_wait)  # some 20 s where none is kept
            # No executor's: the end of the process does not wait for it.
            self._thread = threading.Thread(target=self._make, name="compiling", daemon=True)
            self._thread.start()

    def _make(self) -> None:
        begun_s = time.monotonic()
        try:
            machine_code.compile_all(self._folder)
        except Exception as error:  # noqa: BLE001 - Python plans the same, more slowly
            _log.error("kernels_not_compiled", reason=str(error), kind=type(error).__name__)
        else:
            _log.info("kernels_compiled", seconds=round(time.monotonic() - begun_s, 3))
