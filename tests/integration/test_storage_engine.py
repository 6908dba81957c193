"""Transactions: committed on exit, rolled back on error, and a sentence when PostgreSQL is away."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from scheduler.storage.engine import Database, DatabaseAway, conninfo, driver_url
from scheduler.storage.tables import FirmRow
from tests.builders.database import DatabaseServer, DatabaseUrls

OpenDatabase = Callable[[str], Database]


async def _firms(database: Database) -> int:
    async with database.read() as session:
        return int((await session.execute(text("SELECT count(*) FROM firms"))).scalar_one())


async def test_work_is_committed_when_the_block_ends(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)
    async with database.transaction() as session:
        session.add(FirmRow(firm_id="f", name="f", title="F", uid=400_000))
    assert await _firms(database) == 1


async def test_work_is_rolled_back_when_the_block_fails(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)

    async def work() -> None:
        async with database.transaction() as session:
            session.add(FirmRow(firm_id="f", name="f", title="F", uid=400_000))
            await session.flush()
            raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        await work()
    assert await _firms(database) == 0


async def test_a_reading_session_cannot_write(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)

    async def write() -> None:
        async with database.read() as session:
            await session.execute(
                text("INSERT INTO firms (firm_id, name, title, uid) VALUES ('f', 'f', 'F', 400002)")
            )

    with pytest.raises(DBAPIError, match="read-only transaction"):
        await write()
    async with database.transaction() as session:
        session.add(FirmRow(firm_id="g", name="g", title="G", uid=400_001))
    assert await _firms(database) == 1
    async with database.snapshot() as session:
        assert await session.scalar(text("SHOW transaction_read_only")) == "on"


async def test_a_snapshot_sees_one_moment_and_plain_reading_the_newest(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)
    count = text("SELECT count(*) FROM firms")
    async with database.snapshot() as fixed, database.read() as newest:
        assert (await fixed.scalar(count), await newest.scalar(count)) == (0, 0)
        async with database.transaction() as writing:
            writing.add(FirmRow(firm_id="f", name="f", title="F", uid=400_000))
        assert (await fixed.scalar(count), await newest.scalar(count)) == (0, 1)
    assert await _firms(database) == 1


async def test_a_broken_rule_of_the_schema_passes_unchanged(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)

    async def twice() -> None:
        async with database.transaction() as session:
            session.add_all([FirmRow(firm_id=n, name="same", title="F", uid=ord(n)) for n in "ab"])

    with pytest.raises(IntegrityError):
        await twice()


async def test_connections_cut_between_requests_cost_no_request_an_error(
    database_server: DatabaseServer, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)
    assert await _firms(database) == 0
    assert database_server.kill_connections(database_urls.name) >= 1
    assert await _firms(database) == 0


async def test_a_connection_cut_inside_a_transaction_is_the_database_being_away(
    database_server: DatabaseServer, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.api)

    async def interrupted() -> None:
        async with database.transaction() as session:
            session.add(FirmRow(firm_id="f", name="f", title="F", uid=400_000))
            await session.flush()
            database_server.kill_connections(database_urls.name)

    with pytest.raises(DatabaseAway, match="does not answer"):
        await interrupted()
    assert await _firms(database) == 0


async def test_a_server_that_is_not_there_is_away_and_no_password_is_told(
    open_database: OpenDatabase,
) -> None:
    database = open_database("postgresql://suanli_api:hunter2@/suanli?host=/nonexistent")
    with pytest.raises(DatabaseAway) as caught:
        await _firms(database)
    assert "hunter2" not in str(caught.value)


async def test_sessions_speak_utc_and_say_who_they_are(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    async with open_database(database_urls.ledger).read() as session:
        zone = await session.scalar(text("SHOW timezone"))
        name = await session.scalar(text("SHOW application_name"))
    assert (zone, name) == ("UTC", "test")


def test_plain_and_short_urls_name_our_driver_and_others_are_refused() -> None:
    assert driver_url("postgres://h/d").drivername == "postgresql+psycopg"
    assert conninfo("postgresql+psycopg://u:p@h/d") == "postgresql://u:p@h/d"
    with pytest.raises(ValueError, match="must begin with postgresql://"):
        driver_url("mysql://h/d")
