"""The controller's inbox: facts go in by several roles and come out once."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text

from scheduler.storage import inbox
from scheduler.storage.engine import Database
from scheduler.storage.pokes import Channel, Listener
from tests.builders.database import DatabaseUrls

OpenDatabase = Callable[[str], Database]


async def test_facts_come_out_in_the_order_they_were_put_and_only_once(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    api, controller = open_database(database_urls.api), open_database(database_urls.controller)
    for number in range(5):
        async with api.transaction() as session:
            await inbox.put(session, "JobSubmitted", {"firm_id": "f", "job_id": str(number)})
    async with controller.transaction() as session:
        first = await inbox.take(session, limit=3)
    async with controller.transaction() as session:
        second = await inbox.take(session, limit=10)
    assert [message.body["job_id"] for message in first + second] == ["0", "1", "2", "3", "4"]
    assert {message.kind for message in first} == {"JobSubmitted"}


async def test_a_fact_whose_transaction_fails_is_taken_again(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    controller, gateway = open_database(database_urls.controller), open_database(database_urls.gateway)
    async with gateway.transaction() as session:
        await inbox.put(session, "NodeEnrolled", {"node_id": "n"})

    async def apply_and_fail() -> None:
        async with controller.transaction() as session:
            assert len(await inbox.take(session, limit=10)) == 1
            raise RuntimeError("the plan was illegal")

    with pytest.raises(RuntimeError, match="the plan was illegal"):
        await apply_and_fail()
    async with controller.transaction() as session:
        again = await inbox.take(session, limit=10)
    assert [message.body for message in again] == [{"node_id": "n"}]


async def test_a_late_commit_of_an_earlier_serial_is_not_skipped(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    api, controller = open_database(database_urls.api), open_database(database_urls.controller)
    async with api.transaction() as late:
        await inbox.put(late, "CancelRequested", {"job_id": "late"})
        async with api.transaction() as session:
            await inbox.put(session, "CancelRequested", {"job_id": "early"})
        async with controller.transaction() as session:
            first = await inbox.take(session, limit=10)
    async with controller.transaction() as session:
        second = await inbox.take(session, limit=10)
    assert [message.body["job_id"] for message in first] == ["early"]
    assert [message.body["job_id"] for message in second] == ["late"]


async def test_put_pokes_the_controller_at_commit_and_not_before(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    api = open_database(database_urls.api)
    async with Listener(database_urls.controller, [Channel.INBOX]) as listener:
        async with api.transaction() as session:
            await inbox.put(session, "ConfigurationChanged", {})
            assert await listener.wait(timeout_s=0.05) == set()
        assert await listener.wait(timeout_s=5) == {(Channel.INBOX, "")}


async def test_two_takers_never_get_the_same_fact(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    controller = open_database(database_urls.controller)
    async with open_database(database_urls.api).transaction() as session:
        for number in range(20):
            await inbox.put(session, "JobSubmitted", {"job_id": number})

    async def take() -> list[int]:
        async with controller.transaction() as session:
            return [message.body["job_id"] for message in await inbox.take(session, limit=20)]

    taken = await asyncio.gather(*(take() for _ in range(4)))
    assert sorted(number for batch in taken for number in batch) == list(range(20))
    async with controller.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM inbox")) == 0
