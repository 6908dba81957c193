"""Waiting for a condition in asynchronous tests."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LOOK_S = 0.005


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 60) -> None:
    """Look until it is so; the limit bounds a failure alone, also of a look that hangs."""

    async def holds() -> bool:
        found = condition()
        return await found if inspect.isawaitable(found) else found

    try:
        async with asyncio.timeout(timeout_s):
            while not await holds():
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"the condition did not come within {timeout_s} s") from None
