"""Bringing a database to the schema of this program, and refusing to serve on an older one."""

import importlib.util
from typing import TYPE_CHECKING, Final

import psycopg

from scheduler.storage import roles

# SQLAlchemy and Alembic are loaded late: `up` looks at the schema and needs neither.
if TYPE_CHECKING:
    from alembic.config import Config

    from scheduler.storage.engine import Database

# The revision that this program needs at least; equals the newest of `migrations/` (a test holds it). Numbers
# grow, and a newer schema still serves an older program: migrations expand before they contract.
SCHEMA_REVISION: Final = "0029"
LOCK_TIMEOUT_MS: Final = 5_000
# Two `migrate` at once wait for each other here ("suan", "migr").
MIGRATION_LOCK: Final = (0x7375616E, 0x6D696772)


class SchemaTooOld(Exception):
    """The database was not migrated for this program."""


def alembic_config(url: str | None = None) -> "Config":
    """Alembic's configuration without a file, so that it works from an installed wheel too."""
    from alembic.config import Config

    package = importlib.util.find_spec("migrations")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the package 'migrations' is not installed beside 'scheduler'")
    config = Config()
    config.set_main_option("script_location", next(iter(package.submodule_search_locations)))
    if url is not None:
        config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate as the owner and make the rights of the service roles match `roles`.

    Safe to run again and by several at once. Raises RolesMissing; psycopg.errors.LockNotAvailable when a
    running transaction holds a table for longer than the lock timeout (run again).
    """
    from alembic import command
    from sqlalchemy import NullPool, create_engine, text

    from scheduler.storage.engine import conninfo, driver_url

    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        space, key = MIGRATION_LOCK
        connection.execute(text("SELECT pg_advisory_lock(:space, :key)"), {"space": space, "key": key})
        connection.commit()
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        with psycopg.connect(conninfo(url)) as owner:  # under the same lock: rights are rows of the catalogue
            _match_rights(owner)
    engine.dispose()


def already_current(url: str) -> bool:
    """Whether the database has this program's schema; then the rights of the service roles are made to match, too.

    A start that finds nothing to migrate does without Alembic, which takes long to load. `url` is the owner's, as
    libpq reads it. Raises RolesMissing.
    """
    with psycopg.connect(url) as owner:
        owner.execute("SELECT pg_advisory_xact_lock(%s, %s)", MIGRATION_LOCK)
        if owner.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,):
            return False
        if owner.execute("SELECT version_num FROM alembic_version").fetchall() != [(SCHEMA_REVISION,)]:
            return False
        _match_rights(owner)
    return True


def _match_rights(owner: psycopg.Connection) -> None:
    owner.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
    roles.create_missing(owner)
    roles.apply(owner)


async def require_current(database: "Database") -> None:
    """Raise SchemaTooOld where the database lacks a migration that this program needs."""
    from sqlalchemy import text

    async with database.read() as session:
        there = await session.scalar(text("SELECT to_regclass('public.alembic_version') IS NOT NULL"))
        query = text("SELECT max(version_num) FROM alembic_version")
        found = await session.scalar(query) if there else None
    if found is None or found < SCHEMA_REVISION:
        raise SchemaTooOld(
            f"the database is at revision {found or 'none'} and this program needs {SCHEMA_REVISION}: "
            "run 'scheduler migrate'"
        )
