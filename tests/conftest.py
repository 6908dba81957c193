"""What every test may ask for. Builders of one area live in tests/builders/<area>.py."""

import asyncio
import dataclasses
import faulthandler
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from scheduler.storage.engine import Database
from tests.builders.api import InhabitedUrls, inhabit
from tests.builders.database import DatabaseServer, DatabaseUrls, throwaway_server

INHABITED = "suanli_inhabited"


# What cleaning up after a test may take beyond the test's own limit.
_CLEANING_UP_S = 300.0
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ


class Watch:
    """Ends a test process that stands still, and says where all its threads are.

    A test's own limit is an alarm that rings once: whoever waits in the cleaning up after it waits for ever.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.now("collection", 600)
        threading.Thread(target=self._look, daemon=True).start()

    def now(self, what: str, seconds: float) -> None:
        """What is being done, and how long at most."""
        self._what, self._until_s = what, time.monotonic() + seconds

    def _look(self) -> None:
        while (left_s := self._until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 10.0))
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        capture.suspend_global_capture(in_=True)
        sys.stderr.write(f"\n{self._what} stood still; its process ends here.\n")
        faulthandler.dump_traceback(sys.stderr.fileno())
        os._exit(2)


_WATCH = pytest.StashKey[Watch]()
_LOST_WORKER = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if _IS_WORKER or not config.getoption("numprocesses", None):
        config.stash[_WATCH] = Watch(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    own = item.get_closest_marker("timeout")
    limit_s = float(own.args[0] if own else item.config.getini("timeout"))
    item.config.stash[_WATCH].now(item.nodeid, limit_s + _CLEANING_UP_S)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error is not None:
        node.config.stash[_LOST_WORKER] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash.get(_LOST_WORKER, False):  # not 1: it is not only tests that failed
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    if watch := session.config.stash.get(_WATCH, None):
        watch.now("the end of the session", _CLEANING_UP_S)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under CI, name a failure when it happens: a run that is cut short never comes to its summary."""
    if report.failed and os.environ.get("CI") == "true" and not _IS_WORKER:
        said = report.longreprtext.strip().splitlines()[-1:]
        sys.stderr.write(f"\n{report.when} of {report.nodeid} failed: {''.join(said)}\n")


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """PostgreSQL of this test process (each worker of pytest-xdist has its own)."""
    with throwaway_server(tmp_path_factory.mktemp("postgresql")) as databases:
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
