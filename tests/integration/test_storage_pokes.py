"""Pokes: heard at commit, gathered, and found again after a failover."""

import asyncio
import time
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from scheduler.storage.direct import Direct
from scheduler.storage.engine import Database
from scheduler.storage.pokes import Channel, Listener, Poker, poke
from tests.builders.database import DatabaseServer, DatabaseUrls

OpenDatabase = Callable[[str], Database]


async def test_a_poke_arrives_with_its_payload(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    async with Listener(database_urls.gateway, [Channel.DESIRED, Channel.LOGGED]) as listener:
        async with open_database(database_urls.controller).transaction() as session:
            await poke(session, Channel.DESIRED, "node-1")
        assert await listener.wait(5) == {(Channel.DESIRED, "node-1")}


async def test_pokes_that_wait_come_together_and_equal_ones_once(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.controller)
    async with Listener(database_urls.gateway, [Channel.DESIRED]) as listener:
        for node in ("a", "b", "a"):
            async with database.transaction() as session:
                await poke(session, Channel.DESIRED, node)
        heard: set[tuple[Channel, str]] = set()
        while len(heard) < 2:
            heard |= await listener.wait(5)
    assert heard == {(Channel.DESIRED, "a"), (Channel.DESIRED, "b")}


async def test_a_rollback_pokes_nobody(database_urls: DatabaseUrls, open_database: OpenDatabase) -> None:
    database = open_database(database_urls.api)

    async def fail() -> None:
        async with database.transaction() as session:
            await poke(session, Channel.INBOX)
            raise ValueError

    async with Listener(database_urls.controller, [Channel.INBOX]) as listener:
        with pytest.raises(ValueError):
            await fail()
        assert await listener.wait(0.05) == set()


async def test_waiting_ends_at_its_timeout(database_urls: DatabaseUrls) -> None:
    async with Listener(database_urls.controller, [Channel.INBOX]) as listener:
        began_s = time.monotonic()
        assert await listener.wait(0.1) == set()
    assert 0.05 <= time.monotonic() - began_s < 2


async def test_after_a_cut_connection_every_channel_counts_as_poked_and_pokes_arrive_again(
    database_server: DatabaseServer, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    channels = [Channel.INBOX, Channel.EVENTS]
    async with Listener(database_urls.controller, channels, "listener-under-test") as listener:
        assert database_server.kill_connections(database_urls.name, "listener-under-test") == 1
        assert await listener.wait(10) == {(Channel.INBOX, ""), (Channel.EVENTS, "")}
        async with open_database(database_urls.api).transaction() as session:
            await poke(session, Channel.INBOX)
        assert await listener.wait(5) == {(Channel.INBOX, "")}


async def test_a_server_that_is_not_there_is_waited_out_without_an_error() -> None:
    url = "postgresql://suanli_api:x@/suanli?host=/nonexistent"
    async with Listener(url, [Channel.INBOX]) as listener:
        began_s = time.monotonic()
        assert await listener.wait(0.3) == set()
    assert time.monotonic() - began_s < 2


async def test_a_wait_that_was_cancelled_loses_no_poke(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    async with Listener(database_urls.controller, [Channel.INBOX]) as listener:
        for _ in range(3):
            waiting = asyncio.create_task(listener.wait(30))
            await asyncio.wait({waiting}, timeout=0.02)
            waiting.cancel()
            await asyncio.wait({waiting})
        async with open_database(database_urls.api).transaction() as session:
            await poke(session, Channel.INBOX)
        assert await listener.wait(5) == {(Channel.INBOX, "")}


async def test_a_poke_beside_transactions_is_heard_and_so_is_one_that_was_asked_for_while_it_rested(
    database_urls: DatabaseUrls,
) -> None:
    direct = Direct(database_urls.api, "test-poker")
    poker = Poker(direct, Channel.INBOX)
    async with Listener(database_urls.controller, [Channel.INBOX]) as listener:
        for _ in range(3):
            poker.poke()
            assert await listener.wait(5) == {(Channel.INBOX, "")}
    await poker.close()
    await direct.close()


async def test_a_poke_that_finds_no_database_is_told_in_the_log_and_to_nobody_else() -> None:
    direct = Direct("postgresql://suanli_api:x@/suanli?host=/nonexistent", "test-poker")
    poker = Poker(direct, Channel.INBOX)
    with capture_logs() as logs:
        poker.poke()
        async with asyncio.timeout(10):
            while not logs:
                await asyncio.sleep(0.005)
    assert [line["event"] for line in logs] == ["cannot_poke"]
    await poker.close()
