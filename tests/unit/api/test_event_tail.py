"""The newest events in memory: the same for everybody who follows, to each his own."""

import asyncio
import gc

from scheduler.api.event_tail import MOST_KEPT, EventTail
from scheduler.api.pulse import Pulse
from scheduler.services.events import EventRecord
from scheduler.storage.direct import Direct


def an_event(seq: int, firm_id: str | None = "lanjing", job_id: str | None = "j1") -> EventRecord:
    return EventRecord(seq, 0, "JobStarted", firm_id, job_id, None, {})


def a_tail(*events: EventRecord, newest: int = 0) -> EventTail:
    tail = EventTail(Direct("postgresql://nowhere", "test"), Pulse())
    tail.newest = newest
    tail.take(events)
    return tail


def test_each_is_given_its_own_in_order() -> None:
    tail = a_tail(an_event(11), an_event(12, "beiming", "j2"), an_event(13, None, None), newest=10)

    def numbers(after: int, firm: str | None, job: str | None) -> list[int] | None:
        found = tail.since(after, (firm, job))
        return None if found is None else [event.event_seq for event in found]

    assert numbers(10, None, None) == [11, 12, 13]
    assert numbers(11, None, None) == [12, 13]
    assert numbers(10, "lanjing", None) == [11]
    assert numbers(10, None, "j2") == [12]
    assert numbers(10, "lanjing", "j2") == []
    assert numbers(99, None, None) == []


def test_what_is_older_than_memory_is_looked_for_elsewhere() -> None:
    assert EventTail(Direct("postgresql://nowhere", "test"), Pulse()).since(0, (None, None)) is None
    tail = a_tail(*(an_event(number) for number in range(1, MOST_KEPT + 101)))
    assert tail.since(99, (None, None)) is None
    assert len(tail.since(100, (None, None)) or ()) == MOST_KEPT


async def test_only_those_are_woken_whom_it_concerns() -> None:
    tail = a_tail()
    tickets = {
        whose: tail.ticket(whose)
        for whose in (
            (None, None),
            ("lanjing", None),
            ("lanjing", "j1"),
            ("lanjing", "j2"),
            ("beiming", None),
        )
    }
    tail.take([an_event(1)])
    woken = {whose for whose, ticket in tickets.items() if ticket.is_set()}
    assert woken == {(None, None), ("lanjing", None), ("lanjing", "j1")}
    assert not tail.ticket(("lanjing", "j1")).is_set()


async def test_nothing_is_kept_of_those_who_went_away() -> None:
    tail = a_tail()
    held = tail.ticket(("lanjing", None))
    for number in range(100):
        assert isinstance(tail.ticket(("lanjing", f"j{number}")), asyncio.Event)
    gc.collect()
    assert list(tail._wakes.values()) == [held]
