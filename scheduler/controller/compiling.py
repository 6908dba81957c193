"""Machine code of the planner's kernels without a cycle that waits for it."""

import asyncio
import threading
import time
from pathlib import Path

import structlog
from sqlalchemy import text

from scheduler import machine_code
from scheduler.storage.engine import Database, DatabaseAway

_log = structlog.get_logger(__name__)


class Compiling:
    """Has it made in a thread: before a large fleet is led, and beside the work when a small one has grown."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: where it may be kept, when neither the source's folder nor the user's can be written."""
        self._folder = folder
        self._thread: threading.Thread | None = None

    def want(self, nodes: int) -> None:
        """Begin, if so many nodes are worth it and nobody has; Python plans meanwhile."""
        if self._thread is None and machine_code.wanted(nodes):
            # No executor's: the end of the process does not wait for it.
            self._thread = threading.Thread(target=self._make, name="compiling", daemon=True)
            self._thread.start()

    async def before_leading(self, database: Database, stop: asyncio.Event) -> None:
        """Make it where the fleet is worth it, however long that takes."""
        try:
            async with database.transaction() as session:
                nodes = await session.scalar(text("SELECT count(*) FROM nodes"))
        except DatabaseAway:
            return  # who leads will see
        self.want(nodes or 0)
        await self.made(stop)

    async def made(self, stop: asyncio.Event) -> None:
        """Wait for what was begun; ends early when told to stop."""
        while self._thread is not None and self._thread.is_alive() and not stop.is_set():
            await asyncio.sleep(0.05)

    def _make(self) -> None:
        begun_s = time.monotonic()
        try:
            machine_code.compile_all(self._folder)
        except Exception as error:  # noqa: BLE001 - Python plans the same, more slowly
            _log.error("kernels_not_compiled", reason=str(error), kind=type(error).__name__)
        else:
            _log.info("kernels_compiled", seconds=round(time.monotonic() - begun_s, 3))
