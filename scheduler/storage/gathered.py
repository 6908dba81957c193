"""Calls that come together are answered together: one piece of work, one round trip, one commit for many."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from scheduler.storage.engine import DatabaseAway

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")

_log = structlog.get_logger(__name__)


class Gathered(Generic[AskT, AnswerT]):
    """Works on everything that was asked while it worked on what came before, and until nothing more comes at once.

    `work` gets one question, or several that come to no more than `most` by `size` (1 each, if not said), and gives
    as many answers, in their order; an answer that is an exception is raised for that caller alone. When the work
    as a whole fails, each question is tried alone, so that one that PostgreSQL refuses harms nobody else; except
    when the database is away, which is told to all. At most `at_once` pieces of work run at a time. A caller that
    goes away changes nothing: its question is answered, the answer forgotten.
    """

    def __init__(
        self,
        work: Callable[[Sequence[AskT]], Awaitable[Sequence[AnswerT | Exception]]],
        *,
        most: int = 256,
        at_once: int = 1,
        size: Callable[[AskT], int] = lambda _: 1,
    ) -> None:
        self._work = work
        self._size = size
        self._most = most
        self._at_once = at_once
        self._waiting: deque[tuple[AskT, asyncio.Future[AnswerT]]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, ask: AskT) -> "asyncio.Future[AnswerT]":
        """The answer, to be awaited."""
        future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._running < self._at_once:
            self._running += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._tasks.discard)
        return future

    async def close(self) -> None:
        """Cancel what is under way (it may have happened or not) and all who wait. To be asked no more."""
        tasks = list(self._tasks)
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        taken: list[tuple[AskT, asyncio.Future[AnswerT]]] = []
        try:
            while self._waiting:
                await self._settled()
                taken = self._next()
                if taken:  # another piece of work may have begun on them meanwhile
                    await self._answer(taken)
        finally:
            # In the same step as the last look at what waits: nobody comes in between and finds us running.
            self._running -= 1
            for _, future in taken:
                future.cancel()  # unanswered only when we were cancelled, as the process stops

    def _next(self) -> list[tuple[AskT, asyncio.Future[AnswerT]]]:
        """What is worked on now, of what waits."""
        taken: list[tuple[AskT, asyncio.Future[AnswerT]]] = []
        room = self._most
        while self._waiting and (not taken or self._size(self._waiting[0][0]) <= room):
            taken.append(self._waiting.popleft())
            room -= self._size(taken[-1][0])
        return taken

    async def _settled(self) -> None:
        """Let the loop pass until a pass brings no more questions: what lies in sockets already comes along."""
        seen = 0
        while seen < len(self._waiting) < self._most:
            seen = len(self._waiting)
            await asyncio.sleep(0)

    async def _answer(self, taken: list[tuple[AskT, "asyncio.Future[AnswerT]"]]) -> None:
        try:
            answers = await self._work([ask for ask, _ in taken])
        except DatabaseAway as error:
            answers = [error] * len(taken)
        except Exception as error:  # noqa: BLE001 - told to the caller whose question it is, one by one
            if len(taken) > 1:
                _log.warning("gathered_work_failed", questions=len(taken), kind=type(error).__name__)
                for one in taken:
                    await self._answer([one])
                return
            answers = [error]
        for (_, future), answer in zip(taken, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
