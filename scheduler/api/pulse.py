"""One ear for all streams: the database pokes this process once, and every open stream wakes."""

import asyncio

from scheduler.storage.pokes import Channel, Listener

LISTEN_PERIOD_S = 5.0


class Pulse:
    """Wakes streams when events were committed, and when the process stops."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self.closing = False

    def ticket(self) -> asyncio.Event:
        """Is set at the next beat. Take it before looking, wait after looking: no beat is missed."""
        return self._next

    def beat(self) -> None:
        """Wake everybody who holds a ticket."""
        beaten, self._next = self._next, asyncio.Event()
        beaten.set()

    def close(self) -> None:
        """The process stops: streams end, so that it can."""
        self.closing = True
        self.beat()

    async def listen(self, database_url: str) -> None:
        """Beat whenever PostgreSQL says that events were committed; returns once closed."""
        async with Listener(database_url, [Channel.EVENTS], "suanli-api-events") as listener:
            while not self.closing:
                if await listener.wait(LISTEN_PERIOD_S):
                    self.beat()

    @staticmethod
    async def wait(ticket: asyncio.Event, timeout_s: float) -> bool:
        """Whether the beat came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await ticket.wait()
        except TimeoutError:
            return False
        return True
