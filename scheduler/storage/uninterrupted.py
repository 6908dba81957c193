"""Work that is not cut in the middle when its caller is cancelled.

A cancelled query leaves its connection in doubt, and a commit whose answer nobody awaits leaves its caller in
doubt. So work on the database is finished first, and the cancellation takes effect after it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


async def whole(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` to its end even when the caller is cancelled meanwhile; the cancellation follows then."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            _log.warning("failed_while_stopping", reason=str(task.exception()))
        raise
