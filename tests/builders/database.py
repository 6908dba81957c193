"""Real PostgreSQL for tests: one server a test process, one fresh database a test."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from scheduler.storage import migrate, roles
from scheduler.storage.embedded import ALL_ROLES, SUPERUSER, EmbeddedPostgres

TEMPLATE = "suanli_template"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own there
_PREFIX = "suanli-tests-"
_ROOM_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One database as each role sees it."""

    name: str
    owner: str
    api: str
    gateway: str
    controller: str
    ledger: str

    def by_role(self) -> dict[str, str]:
        """Role's name -> URL, for tests that go through them all."""
        return {
            roles.OWNER: self.owner,
            roles.API: self.api,
            roles.GATEWAY: self.gateway,
            roles.CONTROLLER: self.controller,
            roles.LEDGER: self.ledger,
        }


class DatabaseServer:
    """A server without durability that hands out databases copied from a migrated template."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._administrator = psycopg.connect(server.url(SUPERUSER, "postgres"), autocommit=True)
        self._made = 0
        self.create(TEMPLATE, "template1")
        migrate.upgrade(server.url(roles.OWNER, TEMPLATE))

    def create(self, name: str, template: str = TEMPLATE) -> DatabaseUrls:
        """Make a database; with the default template it is migrated and empty."""
        self._administrator.execute(
            # Copying files (8 ms) beats writing them through the log (80 ms).
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(roles.OWNER)
            )
        )
        if template != "template1":  # rights on the database itself are not copied
            self._administrator.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
            )
            self._administrator.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                    sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, roles.SERVICE_ROLES))
                )
            )
        urls = [self.server.url(role, name) for role in (roles.OWNER, *roles.SERVICE_ROLES)]
        return DatabaseUrls(name, *urls)

    @contextmanager
    def fresh(self, template: str = TEMPLATE) -> Iterator[DatabaseUrls]:
        """A database for one test; whoever is still connected at the end is thrown out."""
        self._made += 1
        name = f"test_{self._made}"
        yield self.create(name, template)
        self.kill_connections(name)
        self._administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def kill_connections(self, database: str, application_name: str = "%") -> int:
        """Cut connections from the server's side, as a failover does, and wait until they are; return how many."""
        theirs = "FROM pg_stat_activity WHERE datname = %s AND application_name LIKE %s"
        whose = (database, application_name)
        cut = self._administrator.execute("SELECT pid, pg_terminate_backend(pid) " + theirs, whose).fetchall()
        # PostgreSQL's own waiting, here and in DROP ... WITH (FORCE), looks every 100 ms; we look every millisecond.
        until_s = time.monotonic() + 10
        pids = [pid for pid, _ in cut]
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY(%s)"
        while not self._administrator.execute(gone, (pids,)).fetchall()[0][0] and time.monotonic() < until_s:
            time.sleep(0.001)
        return len(cut)

    def close(self) -> None:
        """Leave the server."""
        self._administrator.close()


def throwaway_passwords() -> dict[str, str]:
    """A new password for each role."""
    return {role: secrets.token_urlsafe(18) for role in ALL_ROLES}


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is room: a database is a thousand files, which a disk takes seven times the work
    to copy. What a test process left that was killed goes first.
    """
    place = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES else None
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as folder:
        Path(folder).chmod(0o711)  # PostgreSQL is not root
        yield Path(folder)


@contextmanager
def throwaway_server(folder: Path) -> Iterator[DatabaseServer]:
    """A server that lives as long as the block."""
    with EmbeddedPostgres(folder / "pg", throwaway_passwords(), durable=False) as server:
        databases = DatabaseServer(server)
        try:
            yield databases
        finally:
            databases.close()


def as_superuser(databases: DatabaseServer, name: str) -> str:
    """URL of a database for the administrator, for looking behind the roles."""
    url = make_url(databases.server.url(SUPERUSER, name))
    return url.render_as_string(hide_password=False)
