"""Preparing a task beside the agent's loop: file systems and stores may hang, and metering must not wait."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from agents.content import Content
from agents.inputs import Inputs
from agents.refusals import SpoolFull
from agents.runtime.images import Images
from agents.runtime.prepare import Preparation, Preparer
from agents.runtime.spec import SpecError, TaskSpec
from agents.stores import Transfers
from agents.workers import Workers


async def prepare_beside(
    workers: Workers, preparer: Preparer, spec: TaskSpec, content: Content, say: Callable[[str], None]
) -> Preparation:
    """In a thread, which cannot be cancelled: wait, then let go. `say` is called from the thread.

    Raises what `Preparer.prepare` does.
    """
    stopped = threading.Event()
    loop = asyncio.get_running_loop()
    inputs = Inputs(content, loop, stopped)
    transfers = Transfers(stopped, say)

    def bring(spec: TaskSpec, folder: Path, uid: int | None) -> None:
        inputs.bring(spec, folder, uid)
        transfers.bring(spec, folder, uid)

    lay_out = partial(Images.lay_out, stopped=stopped, say=say)
    async with workers.place(spec.firm_id) as executor:
        work = loop.run_in_executor(executor, preparer.prepare, spec, bring, lay_out)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stopped.set()
            with suppress(SpecError, SpoolFull, OSError):
                (await work).release()
            raise
