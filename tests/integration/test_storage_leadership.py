"""Leadership: one at a time, a new term each time, and no commit for a leader that was replaced."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text

from scheduler.storage.engine import Database
from scheduler.storage.leadership import Leadership, LeadershipLost
from tests.builders.database import DatabaseServer, DatabaseUrls

OpenDatabase = Callable[[str], Database]


async def test_the_second_waits_until_the_first_releases_and_terms_grow(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.controller)
    first, second = (Leadership(database, "controller", name) for name in ("a", "b"))
    assert await first.acquire(asyncio.Event()) == 1
    waiting = asyncio.create_task(second.acquire(asyncio.Event()))
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    await first.release()
    assert await asyncio.wait_for(waiting, 10) == 2
    await second.release()


async def test_roles_lead_independently(database_urls: DatabaseUrls, open_database: OpenDatabase) -> None:
    controller = Leadership(open_database(database_urls.controller), "controller", "a")
    ledger = Leadership(open_database(database_urls.ledger), "ledger", "a")
    terms = await asyncio.gather(controller.acquire(asyncio.Event()), ledger.acquire(asyncio.Event()))
    assert set(terms) == {1}
    await controller.release()
    await ledger.release()


async def test_guard_lets_the_leader_commit_and_stops_one_whose_term_ended(
    database_server: DatabaseServer, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.controller)
    paused, successor = (Leadership(database, "controller", name) for name in ("paused", "successor"))
    old = await paused.acquire(asyncio.Event())
    async with database.transaction() as session:
        await paused.guard(session, old)
    # The paused leader's connection dies, it does not notice, another leads.
    assert database_server.kill_connections(database_urls.name, "leadership-controller") == 1
    new = await successor.acquire(asyncio.Event())

    async def commit_late() -> None:
        async with database.transaction() as session:
            await paused.guard(session, old)
            await session.execute(
                text("INSERT INTO events VALUES (1, 0, 'JobAllocated', null, null, null, '{}')")
            )

    with pytest.raises(LeadershipLost, match=f"term {old} ended, term {new} leads"):
        await commit_late()
    assert paused.lost.is_set()
    async with database.transaction() as session:
        await successor.guard(session, new)
        assert await session.scalar(text("SELECT count(*) FROM events")) == 0
    await paused.release()
    await successor.release()


async def test_a_new_term_waits_for_the_commit_that_holds_the_old_one(
    database_server: DatabaseServer, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.controller)
    first, second = (Leadership(database, "controller", name) for name in ("a", "b"))
    term = await first.acquire(asyncio.Event())
    async with database.transaction() as session:
        await first.guard(session, term)
        database_server.kill_connections(database_urls.name, "leadership-controller")
        following = asyncio.create_task(second.acquire(asyncio.Event()))
        await asyncio.wait({following}, timeout=0.2)
        assert not following.done()
    assert await asyncio.wait_for(following, 10) == term + 1
    await first.release()
    await second.release()


async def test_losing_the_lock_is_noticed_without_a_commit(
    database_server: DatabaseServer, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    leadership = Leadership(open_database(database_urls.controller), "controller", "a")
    await leadership.acquire(asyncio.Event())
    database_server.kill_connections(database_urls.name, "leadership-controller")
    await asyncio.wait_for(leadership.lost.wait(), 10)
    assert await leadership.acquire(asyncio.Event()) == 2
    assert not leadership.lost.is_set()
    await leadership.release()


async def test_who_is_asked_to_stop_before_leading_gets_no_term(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.controller)
    first, second = (Leadership(database, "controller", name) for name in ("a", "b"))
    await first.acquire(asyncio.Event())
    stop = asyncio.Event()
    waiting = asyncio.create_task(second.acquire(stop))
    stop.set()
    assert await asyncio.wait_for(waiting, 10) == 0
    await first.release()
