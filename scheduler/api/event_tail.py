"""The newest events in memory, read once for all who follow: a thousand streams cost what one does.

Numbers have no gaps and are committed in order, so the newest ones are a stretch without holes; whoever is behind
it reads from the database. A stream is woken by what is its own: a job's by the job's events, a firm's by the firm's.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from weakref import WeakValueDictionary

import structlog

from scheduler.api.pulse import LISTEN_PERIOD_S, Pulse
from scheduler.services.events import EventRecord, events_since, newest_number
from scheduler.storage.direct import Direct
from scheduler.storage.engine import DatabaseAway

MOST_KEPT = 10_000
BATCH = 2_000
_PAUSE_S = 0.5
_IDLE_S = 60.0  # nobody has asked for so long: nothing is read for nobody

_log = structlog.get_logger(__name__)

# Whose events: (firm, job); None for all firms, for all jobs.
Whose = tuple[str | None, str | None]


class EventTail:
    """What happened last."""

    def __init__(self, direct: Direct, pulse: Pulse) -> None:
        self._direct = direct
        self._pulse = pulse
        self._events: deque[EventRecord] = deque(maxlen=MOST_KEPT)
        # Held by those who wait; who went away is forgotten.
        self._wakes: WeakValueDictionary[Whose, asyncio.Event] = WeakValueDictionary()
        self.newest: int | None = None  # None: nothing was read yet
        self._asked_s = -_IDLE_S

    async def run(self) -> None:
        """Read what is new at every beat, until the process stops."""
        try:
            while not self._pulse.closing:
                ticket = self._pulse.ticket()
                try:
                    await self._read()
                except DatabaseAway as error:
                    _log.warning("events_wait_for_database", reason=str(error))
                    await asyncio.sleep(_PAUSE_S)
                else:
                    await self._pulse.wait(ticket, LISTEN_PERIOD_S)
        finally:
            self._wake(set(self._wakes))

    async def _read(self) -> None:
        if not self._wakes and time.monotonic() - self._asked_s > _IDLE_S:
            self.newest = None  # whoever comes next begins from the database, and from the newest here
            self._events.clear()
            return
        if self.newest is None:
            self.newest = await newest_number(self._direct)
            self._wake(set(self._wakes))  # they looked before, and something may have come since
        full = True
        while full and not self._pulse.closing:
            events = await events_since(self._direct, self.newest, BATCH)
            self.take(events)
            full = len(events) == BATCH

    def take(self, events: Sequence[EventRecord]) -> None:
        """These follow the newest."""
        if events:
            self._events.extend(events)
            self.newest = events[-1].event_seq
            self._wake({whose for event in events for whose in _concerned(event)})

    def _wake(self, concerned: set[Whose]) -> None:
        for whose in concerned:
            waiting = self._wakes.pop(whose, None)
            if waiting is not None:
                waiting.set()

    def ticket(self, whose: Whose) -> asyncio.Event:
        """Is set when something of theirs has come. Take it before looking, wait after looking."""
        self._asked_s = time.monotonic()
        ticket = self._wakes.get(whose)
        if ticket is None:
            ticket = self._wakes[whose] = asyncio.Event()
        return ticket

    def since(self, after: int, whose: Whose) -> Sequence[EventRecord] | None:
        """What of theirs came after a number; None where that is not in memory."""
        if self.newest is None or after + 1 < self.newest - len(self._events) + 1:
            return None
        firm_id, job_id = whose
        new = islice(reversed(self._events), max(self.newest - after, 0))
        found = [
            event
            for event in new
            if (firm_id is None or event.firm_id == firm_id) and (job_id is None or event.job_id == job_id)
        ]
        return found[::-1]


def _concerned(event: EventRecord) -> tuple[Whose, ...]:
    firm_id, job_id = event.firm_id, event.job_id
    return (None, None), (firm_id, None), (firm_id, job_id), (None, job_id)
