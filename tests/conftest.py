"""What every test may ask for. Builders of one area live in tests/builders/<area>.py."""

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from scheduler.storage.engine import Database
from tests.builders.api import InhabitedUrls, inhabit
from tests.builders.database import DatabaseServer, DatabaseUrls, quick_folder, throwaway_server

INHABITED = "suanli_inhabited"


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would whatever tests start there."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """PostgreSQL of this test process (each worker of pytest-xdist has its own)."""
    with quick_folder() as folder, throwaway_server(folder) as databases:
        yield databases


@pytest.fixture
def database_urls(database_server: DatabaseServer) -> Iterator[DatabaseUrls]:
    """A fresh, migrated, empty database; .owner .api .gateway .controller .ledger are its URLs."""
    with database_server.fresh() as urls:
        yield urls


@pytest.fixture(scope="session")
def inhabited_template(database_server: DatabaseServer) -> InhabitedUrls:
    """Firms and people are configured once a test process; databases with them are copies."""
    return asyncio.run(inhabit(database_server.create(INHABITED)))


@pytest.fixture
def inhabited_urls(
    database_server: DatabaseServer, inhabited_template: InhabitedUrls
) -> Iterator[InhabitedUrls]:
    """A fresh database with the firms and people of tests.builders.api."""
    with database_server.fresh(inhabited_template.name) as urls:
        yield InhabitedUrls(
            **dataclasses.asdict(urls), keys=inhabited_template.keys, firms=inhabited_template.firms
        )


@pytest_asyncio.fixture
async def open_database() -> AsyncIterator[Callable[[str], Database]]:
    """Open databases by URL; they are disposed of at the end of the test."""
    opened: list[Database] = []

    def open_one(url: str) -> Database:
        opened.append(Database(url, "test", pool_size=5))
        return opened[-1]

    yield open_one
    for database in opened:
        await database.dispose()
