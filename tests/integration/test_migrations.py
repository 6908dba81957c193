"""Migrations: from nothing to the newest, back, and equal to the tables of the program."""

import base64
import json
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from pytest_alembic import tests as ready_made
from pytest_alembic.runner import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, inspect

from scheduler.storage import migrate, roles
from scheduler.storage.engine import Database, conninfo, driver_url
from scheduler.storage.segments import pack_segments
from scheduler.storage.tables import Base
from suanli.evidence.windows import SaltedSegment, join_segments
from tests.builders.database import DatabaseServer, DatabaseUrls


@pytest.fixture
def empty(database_server: DatabaseServer) -> Iterator[DatabaseUrls]:
    """A database without any table."""
    with database_server.fresh(template="template1") as urls:
        yield urls


@pytest.fixture
def alembic_engine(empty: DatabaseUrls) -> Iterator[Engine]:
    """What pytest-alembic migrates."""
    engine = create_engine(driver_url(empty.owner), poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def alembic_config() -> Config:
    """How pytest-alembic finds our migrations."""
    return migrate.alembic_config()


def test_there_is_one_newest_migration(alembic_runner: MigrationContext) -> None:
    ready_made.test_single_head_revision(alembic_runner)
    assert alembic_runner.heads == [migrate.SCHEMA_REVISION]


def test_every_migration_runs_from_nothing(alembic_runner: MigrationContext) -> None:
    ready_made.test_upgrade(alembic_runner)
    assert alembic_runner.current == migrate.SCHEMA_REVISION


def test_every_migration_can_be_taken_back(alembic_runner: MigrationContext) -> None:
    ready_made.test_up_down_consistency(alembic_runner)
    assert alembic_runner.current in ("base", *alembic_runner.history.revisions)


def test_the_migrated_database_equals_the_tables_of_the_program(
    alembic_runner: MigrationContext, alembic_engine: Engine
) -> None:
    ready_made.test_model_definitions_match_ddl(alembic_runner)
    alembic_runner.migrate_up_to("heads")
    assert set(inspect(alembic_engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_constraints_and_indexes_equal_those_of_the_program(
    database_server: DatabaseServer, database_urls: DatabaseUrls
) -> None:
    """Autogenerate does not see check constraints and the conditions of partial indexes; PostgreSQL does."""
    with database_server.fresh(template="template1") as fresh:
        engine = create_engine(driver_url(fresh.owner), poolclass=NullPool)
        Base.metadata.create_all(engine)
        engine.dispose()
        assert _definitions(fresh.owner) == _definitions(database_urls.owner)


def _definitions(url: str) -> set[tuple[str, ...]]:
    with psycopg.connect(conninfo(url)) as connection:
        rows = connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace"
            " UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        ).fetchall()
    return {row for row in rows if row[0] != "alembic_version"}


def test_upgrading_again_changes_nothing(database_urls: DatabaseUrls) -> None:
    before = _definitions(database_urls.owner)
    migrate.upgrade(database_urls.owner)
    assert _definitions(database_urls.owner) == before


def test_a_start_with_the_newest_schema_mends_rights_and_needs_no_migration(
    database_urls: DatabaseUrls,
) -> None:
    with psycopg.connect(conninfo(database_urls.owner)) as owner:
        owner.execute("REVOKE SELECT ON jobs FROM suanli_api")
    assert migrate.already_current(conninfo(database_urls.owner))
    with psycopg.connect(conninfo(database_urls.api)) as api:
        api.execute("SELECT 1 FROM jobs LIMIT 1")


def test_a_start_with_another_schema_or_none_has_to_migrate(
    database_urls: DatabaseUrls, empty: DatabaseUrls
) -> None:
    assert not migrate.already_current(conninfo(empty.owner))
    with psycopg.connect(conninfo(database_urls.owner)) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '0001'")
    assert not migrate.already_current(conninfo(database_urls.owner))


def test_two_upgrades_at_once_wait_for_each_other(empty: DatabaseUrls) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate.upgrade(empty.owner)
        except BaseException as error:  # noqa: BLE001 - shown below, in the thread that can fail the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert _definitions(empty.owner)


def test_a_role_that_may_not_create_roles_is_told_what_an_administrator_must_run(
    database_urls: DatabaseUrls,
) -> None:
    with (
        psycopg.connect(conninfo(database_urls.api)) as powerless,
        pytest.raises(roles.RolesMissing, match="CREATE ROLE suanli_another LOGIN;"),
    ):
        roles.create_missing(powerless, ("suanli_another",))


async def test_a_process_refuses_a_database_without_its_migrations(
    empty: DatabaseUrls, database_urls: DatabaseUrls, open_database: Callable[[str], Database]
) -> None:
    await migrate.require_current(open_database(database_urls.ledger))
    with pytest.raises(migrate.SchemaTooOld, match="run 'scheduler migrate'"):
        await migrate.require_current(open_database(empty.owner))


def test_numbers_of_migrations_grow() -> None:
    """`require_current` compares them."""
    revisions = [
        script.revision for script in ScriptDirectory.from_config(migrate.alembic_config()).walk_revisions()
    ]
    assert revisions == sorted(revisions, reverse=True)
    assert all(len(revision) == 4 and revision.isdigit() for revision in revisions)


def test_windows_that_wait_are_the_same_bytes_before_and_after(
    alembic_runner: MigrationContext, empty: DatabaseUrls
) -> None:
    segments = (
        SaltedSegment(bytes(range(32)), b'{"a":1}'),
        SaltedSegment(b"\xff" * 32, bytes(range(256)) * 20),
        SaltedSegment(b"\0" * 32, b""),
    )
    told = [{"salt": s.salt.hex(), "body": base64.b64encode(s.body).decode("ascii")} for s in segments]
    alembic_runner.migrate_up_to("0012")
    with psycopg.connect(conninfo(empty.owner), autocommit=True) as connection:
        _enrol(connection)
        connection.execute(
            "INSERT INTO usage_intake (key_id, seq, node_id, header, signature, segments)"
            " VALUES ('k', 1, 'n', 'h', 's', %s)",
            [json.dumps(told)],
        )
        alembic_runner.migrate_up_to("0013")
        packed = connection.execute("SELECT segments FROM usage_intake").fetchone()
        assert packed is not None
        assert packed[0] == join_segments(segments)
        alembic_runner.migrate_down_to("0012")
        assert connection.execute("SELECT segments FROM usage_intake").fetchone() == (told,)


def test_what_windows_say_is_taken_apart_again_on_the_way_back(
    alembic_runner: MigrationContext, empty: DatabaseUrls
) -> None:
    segments = tuple(
        SaltedSegment(bytes([n]) * 32, json.dumps({"device": {"device_id": f"d{n}"}, "n": n}).encode())
        for n in range(3)
    )
    alembic_runner.migrate_up_to("0028")
    with psycopg.connect(conninfo(empty.owner), autocommit=True) as connection:
        _enrol(connection)
        connection.execute(
            "INSERT INTO usage_intake (key_id, seq, node_id, header, signature, segments, segments_bytes)"
            " VALUES ('k', 2, 'n', 'h', 's', %s, 1)",
            [pack_segments(segments)],
        )
        connection.execute(
            "INSERT INTO log_entries (log_index, type, producer_key_id, leaf, salt, payload, segments, fact)"
            " VALUES (0, 'usage_window', 'k', '', '', '', %s, 'window/k/1')",
            [pack_segments(segments)],
        )
        connection.execute(
            "INSERT INTO window_segments (log_index, n, firm_id, allocation_id, device_id)"
            " VALUES (0, 1, 'f', 'a', 'd1')"
        )
        alembic_runner.migrate_down_to("0027")
        assert connection.execute("SELECT segments FROM usage_intake").fetchone() == (
            join_segments(segments),
        )
        assert connection.execute(
            "SELECT n, firm_id, allocation_id, device_id, salt, body FROM window_segments ORDER BY n"
        ).fetchall() == [
            (n, *(("f", "a") if n == 1 else (None, None)), f"d{n}", one.salt, one.body)
            for n, one in enumerate(segments)
        ]


def _enrol(connection: psycopg.Connection) -> None:
    """Node `n` with the key `k`."""
    connection.execute("INSERT INTO pools (name) VALUES ('p')")
    connection.execute("INSERT INTO nodes (node_id, name, pool, metering_from_ms) VALUES ('n', 'n', 'p', 0)")
    connection.execute(
        "INSERT INTO agent_keys (key_id, node_id, public_key, certificate_pem) VALUES ('k', 'n', '', '')"
    )
