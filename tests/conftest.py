"""What every test may ask for. Builders of one area live in tests/builders/<area>.py."""

import asyncio
import dataclasses
import faulthandler
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from scheduler.storage.engine import Database
from tests.builders.api import InhabitedUrls, inhabit
from tests.builders.database import DatabaseServer, DatabaseUrls, quick_folder, throwaway_server

INHABITED = "suanli_inhabited"


# What cleaning up after a test may take beyond the test's own limit.
_CLEANING_UP_S = 180.0
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ


_OUTPUT = pytest.StashKey[int]()
_LOST_WORKER = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    faulthandler.enable()
    config.stash[_OUTPUT] = os.dup(sys.stderr.fileno())  # before output is captured
    # Its handlers wait in C, with the interpreter's lock, for its threads before each fork, and run on in the child.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End this process where a test stands still, and say where all its threads are.

    A test's own limit is an alarm that rings once: whoever waits in the cleaning up after it waits for ever, and so
    does who waits outside Python. This clock is C's (pytest's use of it ends with the first failure).
    """
    own = item.get_closest_marker("timeout")
    limit_s = float(own.args[0] if own else item.config.getini("timeout")) + _CLEANING_UP_S
    faulthandler.dump_traceback_later(limit_s, exit=True, file=item.config.stash[_OUTPUT])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error is not None:
        node.config.stash[_LOST_WORKER] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash.get(_LOST_WORKER, False):  # not 1: it is not only tests that failed
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under CI, name a failure when it happens: a run that is cut short never comes to its summary."""
    if report.failed and os.environ.get("CI") == "true" and not _IS_WORKER:
        said = report.longreprtext.strip().splitlines()[-1:]
        sys.stderr.write(f"\n{report.when} of {report.nodeid} failed: {''.join(said)}\n")


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
