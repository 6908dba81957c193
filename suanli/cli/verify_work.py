"""Shares the verifier's work among processes, and shows how far it is. Works on Windows: processes are spawned."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from suanli.evidence.steps.case import PartJob
from suanli.evidence.steps.windows import PartResult, check_part
from suanli.sentences.words import said

ENTRIES_PER_PROCESS = 20_000
"""Below this, starting a process costs more than it saves."""
_LOOK_S = 0.2
_WHAT = {"manifest": "Hashing files", "tree": "Rebuilding the tree", "records": "Reading records"}

_done: Synchronized[int] | None = None


def _begin(done: Synchronized[int]) -> None:
    global _done  # noqa: PLW0603 - one counter per worker process, given to it when it starts
    _done = done


def _add(done: Synchronized[int], count: int) -> None:
    with done.get_lock():
        done.value += count


def _tick(count: int) -> None:
    if _done is not None:
        _add(_done, count)


def _work(job: PartJob) -> PartResult:
    return check_part(job, _tick)


def processes_for(entries_bytes: int, asked: int | None) -> int:
    """How many processes to use: as asked, else one per processor that has enough to do."""
    if asked is not None:
        return asked
    return max(1, min(os.cpu_count() or 1, entries_bytes // (ENTRIES_PER_PROCESS * 200)))


class Shown:
    """What runs now, on a terminal; silent where nobody looks."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows that `done` of `total` of `what` is done."""
        if self._bars is None:
            return
        if what != self._what or self._task is None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._what, self._task = what, self._bars.add_task(said(_WHAT.get(what, what)), total=total)
        self._bars.update(self._task, completed=done, total=total)

    def run(self, jobs: Sequence[PartJob]) -> Iterable[PartResult]:
        """Runs the first part here, and each of the others in a process of its own."""
        size = sum(job.known.head.size for job in jobs)
        if len(jobs) > 1:
            return self._run_apart(jobs, size)
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self("Checking windows", done, size)

        return [check_part(jobs[0], tick)]

    def _run_apart(self, jobs: Sequence[PartJob], size: int) -> Iterator[PartResult]:
        context = multiprocessing.get_context("spawn")
        done: Synchronized[int] = context.Value("q", 0)

        def tick(count: int) -> None:
            _add(done, count)
            self("Checking windows", done.value, size)

        with ProcessPoolExecutor(len(jobs) - 1, context, _begin, (done,)) as pool:
            waiting = {pool.submit(_work, job) for job in jobs[1:]}
            yield check_part(jobs[0], tick)
            while waiting:
                ready, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
                self("Checking windows", done.value, size)
                for future in ready:
                    yield future.result()


@contextmanager
def shown(console: Console) -> Iterator[Shown]:
    """Progress on `console` while the block runs; nothing where it is no terminal."""
    if not console.is_terminal:
        yield Shown(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        yield Shown(bars)
