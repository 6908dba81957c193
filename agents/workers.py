"""Threads for what may take hours: pulls of images, what else a task is prepared with, and what it leaves for stores.

They are not the loop's own, which answer within moments, and no firm's are all of them.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager

THREADS = 64
OF_ONE_FIRM = 8


class Workers:
    """A bounded pool of threads. What finds no place waits for one, first come, first served."""

    def __init__(self, threads: int = THREADS, of_one_firm: int = OF_ONE_FIRM) -> None:
        self._executor = ThreadPoolExecutor(threads, "work")
        self._places = asyncio.Semaphore(threads)
        self._firms: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(of_one_firm))

    @asynccontextmanager
    async def place(self, firm_id: str) -> AsyncIterator[Executor]:
        """Where one piece of the firm's work can run at once; waiting for it can be cancelled."""
        async with self._firms[firm_id], self._places:
            yield self._executor
