"""What an ended task leaves for object stores: written before its end is told where it has ended well, so that a job
that comes after finds it; else beside its results, so that its devices are free at once. What no store has taken is
kept with the results.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agents.core.messages import Ended
from agents.core.tasks import EndReason
from agents.live_task import FetchRefused, Live
from agents.runtime import task_files
from agents.runtime.spec import StoreFolder, TaskSpec
from agents.stores import Say, StoreProblem, Transfers
from agents.workers import Workers

# After these the job goes on elsewhere, and its outputs are not there yet.
_GOES_ON = frozenset({"preempted", "requeued", "node_lost"})
# How long the gateway is asked for the keys; a bad end is not kept from the rest of the gang for them.
KEYS_WITHIN_S = 600
KEYS_AT_ONCE_S = 20
_CUT_OFF = "the node's agent was started anew meanwhile"


def ended_well(ended: Ended) -> bool:
    """Whether the task did what it was to do."""
    return ended.end_reason is EndReason.EXITED and not ended.exit_code


def due(live: Live, ended: Ended) -> tuple[StoreFolder, ...]:
    """Outputs that are to be written after such an end, and of which nothing is known yet."""
    stop = task_files.read_json(str(live.folder / task_files.STOP)) or {}
    well = ended_well(ended)
    if not well and (ended.end_reason is EndReason.LOST or stop.get("reason") in _GOES_ON):
        return ()
    settled = _settled(live)
    return tuple(
        output
        for output in live.spec.store_outputs
        if output.field not in settled and (well or not output.after_success_only)
    )


def take_up(live: Live, ended: Ended) -> None:
    """After a restart: what is due has lost its keys and is kept with the results."""
    live.unwritten = [(replace(output, keys=None), _CUT_OFF) for output in due(live, ended)]
    live.unwritten += [
        (output, problem)
        for output in live.spec.store_outputs
        if (problem := _settled(live).get(output.field, ""))
    ]


async def settle(
    live: Live, ended: Ended, fetch: Callable[[str], Awaitable[TaskSpec]], say: Say, workers: Workers
) -> Ended:
    """Write what is due, or give it with its keys to the results. The end as it is to be told."""
    waiting = due(live, ended)
    if not waiting:
        return ended
    stopped = live.begin_moving()  # once for all of it: a stop is sent once
    try:
        async with asyncio.timeout(KEYS_WITHIN_S if ended_well(ended) else KEYS_AT_ONCE_S):
            known = {output.field: output for output in (await fetch(ended.allocation_id)).store_outputs}
    except (FetchRefused, TimeoutError) as error:
        known, refusal = {}, str(error) or "the gateway does not give the keys to the store"
    remarks = []
    for output in waiting:
        if output.field not in known:
            live.unwritten.append((output, refusal))
        elif ended_well(ended):
            problem, remark = await write(live, known[output.field], say, stopped, workers)
            note(live, output, problem)
            if problem:
                live.unwritten.append((output, problem))
            elif remark:
                remarks.append(f"{output.field}: {remark}")
        else:
            live.unwritten.append((known[output.field], ""))
    problems = [f"{output.field}: {problem}" for output, problem in live.unwritten if problem]
    if problems and ended_well(ended):
        detail = "; ".join([*problems, "what no store has taken is kept with the results (suanli fetch)"])
        return replace(ended, end_reason=EndReason.OUTPUT_FAILED, detail=detail)
    return replace(ended, detail="; ".join(filter(None, (ended.detail, *remarks))))


async def write(
    live: Live, output: StoreFolder, say: Say, stopped: threading.Event, workers: Workers
) -> tuple[str, str]:
    """Write one: why that did not go, empty where it did; and what is to be said where it did."""
    transfers = Transfers(stopped, say)
    async with workers.place(live.spec.firm_id) as executor:
        folder = live.folder / "work"
        work = asyncio.get_running_loop().run_in_executor(executor, transfers.write, output, folder, live.uid)
        try:
            return "", await asyncio.shield(work)
        except StoreProblem as error:
            return str(error), ""
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([work])
            raise


def note(live: Live, output: StoreFolder, problem: str) -> None:
    """Remember over a restart what became of an output. Raises OSError."""
    task_files.write_json(str(live.folder / task_files.WRITTEN), {**_settled(live), output.field: problem})


def _settled(live: Live) -> dict[str, str]:
    return task_files.read_json(str(live.folder / task_files.WRITTEN)) or {}
