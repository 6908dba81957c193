"""What each database role may do: the whole of it, table by table, against what is written here.

This is the matrix a second time, by hand: a right that somebody adds must be added twice, and on purpose.
"""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from scheduler.storage import roles
from scheduler.storage.engine import Database, conninfo
from scheduler.storage.tables import Base
from tests.builders.database import DatabaseUrls

OpenDatabase = Callable[[str], Database]

API, GATEWAY, CONTROLLER, LEDGER = roles.SERVICE_ROLES
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
ALL_TABLES = (*sorted(Base.metadata.tables), "alembic_version")

CONTENT = ("content_objects", "uploads", "results")

INSERTS = {
    API: {
        "firms",
        "projects",
        "principals",
        "api_keys",
        "idempotency_keys",
        "pools",
        "node_places",
        "queues",
        "cohorts",
        "calendar",
        "price_versions",
        "budgets",
        "program_versions",
        "jobs",
        "job_revisions",
        "join_tokens",
        "inbox",
        "evidence_intake",
        "content_objects",
        "uploads",
        "firm_keys",
        "receipts",
        "secrets",
    },
    GATEWAY: {
        "content_objects",
        "results",
        "nodes",
        "devices",
        "agent_keys",
        "gateways",
        "inbox",
        "usage_intake",
        "evidence_intake",
    },
    CONTROLLER: {
        "job_states",
        "attempts",
        "allocations",
        "allocation_devices",
        "experience",
        "node_states",
        "leaders",
        "events",
        "reports",
        "notifications",
        "evidence_intake",
    },
    LEDGER: {
        "leaders",
        "evidence_intake",
        "log_entries",
        "window_segments",
        "log_checkpoints",
        "cosignatures",
        "charges",
    },
}
UPDATES_ALL_COLUMNS = {
    API: {"idempotency_keys"},
    GATEWAY: {"gateways"},
    CONTROLLER: {
        "job_states",
        "attempts",
        "allocations",
        "allocation_devices",
        "node_states",
        "leaders",
        "reports",
        "experience",
    },
    LEDGER: {"leaders"},
}
UPDATES_SOME_COLUMNS = {
    API: {
        ("firms", "title"),
        ("principals", "disabled_at"),
        ("api_keys", "revoked_at"),
        ("pools", "backend"),
        ("pools", "patience_ms"),
        ("pools", "volumes"),
        ("pools", "object_stores"),
        *(("node_places", column) for column in ("zone", "supernode", "leaf", "position")),
        *(("budgets", column) for column in ("amount_nano_cny", "period")),
        ("queues", "pools"),
        ("queues", "nominal"),
        ("queues", "weight"),
        ("queues", "cohort"),
        ("queues", "borrowing"),
        ("queues", "lending"),
        *(("calendar", name) for name in ("from_ms", "until_ms", "node_ids", "firm_id", "queue", "why")),
        ("cohorts", "parent"),
        ("cohorts", "nominal"),
        ("cohorts", "borrowing"),
        ("cohorts", "lending"),
        ("cohorts", "weight"),
        ("content_objects", "used_ms"),
        ("content_objects", "stored"),
        ("uploads", "used_ms"),
        *(("secrets", column) for column in ("key_id", "sealed", "bytes", "updated_by", "updated_ms")),
        ("notifications", "next_ms"),
        ("notifications", "attempts"),
        ("notifications", "delivered_ms"),
        ("notifications", "problem"),
        ("firm_keys", "revoked_at"),
    },
    GATEWAY: {
        ("content_objects", "used_ms"),
        ("content_objects", "stored"),
        ("join_tokens", "uses_left"),
        ("agent_keys", "stored_seq"),
        ("agent_keys", "stored_header_sha256"),
        ("agent_keys", "stored_end_ms"),
        ("agent_keys", "revoked_at"),
    },
    CONTROLLER: set(),
    LEDGER: {
        ("agent_keys", "stored_seq"),
        ("agent_keys", "stored_header_sha256"),
        ("agent_keys", "stored_end_ms"),
    },
}
DELETES = {
    API: {
        "pools",
        "queues",
        "cohorts",
        "idempotency_keys",
        "join_tokens",
        "content_objects",
        "uploads",
        "results",
        "notifications",
        "secrets",
        "budgets",
    },
    GATEWAY: {"gateways"},
    CONTROLLER: {"inbox", "reports"},
    LEDGER: {"usage_intake", "evidence_intake"},
}
RECEIPTS = {"firm_keys", "receipts"}
NEVER_READS = {
    API: set(),
    GATEWAY: {
        "principals",
        "api_keys",
        "idempotency_keys",
        "price_versions",
        "budgets",
        "program_versions",
        "projects",
        "queues",
        "cohorts",
        "calendar",
        "experience",
        "node_places",
        "charges",
        "reports",
        "notifications",
        "window_segments",
        "cosignatures",
        *RECEIPTS,
    },
    CONTROLLER: {
        "principals",
        "api_keys",
        "idempotency_keys",
        "join_tokens",
        "agent_keys",
        "usage_intake",
        "log_entries",
        "window_segments",
        "log_checkpoints",
        "cosignatures",
        "charges",
        "secrets",
        *CONTENT,
        *RECEIPTS,
    },
    LEDGER: {
        *("api_keys", "idempotency_keys", "join_tokens", "inbox", "reports", "notifications", "secrets"),
        "experience",
        "node_places",
        "budgets",
        *CONTENT,
        "receipts",
    },
}


@pytest.fixture
def owner(database_urls: DatabaseUrls) -> Iterator[psycopg.Connection]:
    """A connection of the owner; whatever is changed is rolled back."""
    with psycopg.connect(conninfo(database_urls.owner)) as connection:
        yield connection
        connection.rollback()


def _has(connection: psycopg.Connection, role: str, table: str, privilege: str) -> bool:
    row = connection.execute(
        "SELECT has_table_privilege(%s, %s, %s)", (role, f"public.{table}", privilege)
    ).fetchone()
    assert row is not None
    return bool(row[0])


def _written(role: str, table: str) -> set[str]:
    rights = set() if table in NEVER_READS[role] else {"SELECT"}
    for privilege, matrix in (("INSERT", INSERTS), ("UPDATE", UPDATES_ALL_COLUMNS), ("DELETE", DELETES)):
        if table in matrix[role]:
            rights.add(privilege)
    return rights


@pytest.mark.parametrize("role", roles.SERVICE_ROLES)
def test_each_role_has_exactly_the_rights_written_here(owner: psycopg.Connection, role: str) -> None:
    found = {table: {p for p in PRIVILEGES if _has(owner, role, table, p)} for table in ALL_TABLES}
    assert found == {table: _written(role, table) for table in ALL_TABLES}


@pytest.mark.parametrize("role", roles.SERVICE_ROLES)
def test_each_role_updates_exactly_the_columns_written_here(owner: psycopg.Connection, role: str) -> None:
    rows = owner.execute(
        "SELECT table_name, column_name FROM information_schema.column_privileges"
        " WHERE grantee = %s AND table_schema = 'public' AND privilege_type = 'UPDATE'",
        (role,),
    ).fetchall()
    some = {(table, column) for table, column in rows if table not in UPDATES_ALL_COLUMNS[role]}
    assert some == UPDATES_SOME_COLUMNS[role]


def test_no_role_that_runs_can_change_or_delete_history(owner: psycopg.Connection) -> None:
    history = {"events", "log_entries", "window_segments", "log_checkpoints", "cosignatures", "charges"}
    assert history == roles.HISTORY
    for role in roles.SERVICE_ROLES:
        for table in history:
            for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
                assert not _has(owner, role, table, privilege), (role, table, privilege)
            changed = owner.execute(
                "SELECT has_any_column_privilege(%s, %s, 'UPDATE')", (role, f"public.{table}")
            ).fetchone()
            assert changed == (False,)


def test_only_the_controller_moves_states(owner: psycopg.Connection) -> None:
    states = ("job_states", "attempts", "allocations", "allocation_devices", "node_states")
    for role in (API, GATEWAY, LEDGER):
        assert not any(
            _has(owner, role, table, p) for table in states for p in ("INSERT", "UPDATE", "DELETE")
        )


def test_everybody_else_has_no_right_at_all(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT grantee, table_name FROM information_schema.role_table_grants WHERE table_schema = 'public'"
    ).fetchall()
    assert {grantee for grantee, _ in rows} == {roles.OWNER, *roles.SERVICE_ROLES}
    connect = owner.execute(
        "SELECT has_database_privilege('public', current_database(), 'CONNECT'),"
        " has_schema_privilege('public', 'public', 'USAGE'),"
        " has_schema_privilege('public', 'public', 'CREATE')"
    ).fetchone()
    assert connect == (False, False, False)


def test_no_role_that_runs_is_special_or_belongs_to_another(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND"
        " (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)",
        (list(roles.SERVICE_ROLES),),
    ).fetchall()
    members = owner.execute(
        "SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = ANY(%s)",
        (list(roles.SERVICE_ROLES),),
    ).fetchall()
    assert (rows, members) == ([], [])


async def test_the_refusal_is_the_databases_own(
    database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    database = open_database(database_urls.ledger)

    async def run(statement: str) -> None:
        async with database.transaction() as session:
            await session.execute(text(statement))

    for statement in (
        "DELETE FROM log_entries",
        "UPDATE charges SET billable_ms = 0",
        "TRUNCATE events",
        "DROP TABLE charges",
        "ALTER TABLE charges DISABLE TRIGGER ALL",
        "CREATE TABLE mine (n int)",
    ):
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            await run(statement)


def test_rights_given_by_hand_are_taken_back_by_the_next_migration(
    owner: psycopg.Connection, database_urls: DatabaseUrls
) -> None:
    owner.execute(f"GRANT ALL ON charges TO {API}")
    owner.execute(f"GRANT UPDATE (amount_fen_numerator) ON charges TO {LEDGER}")
    roles.apply(owner)
    assert {p for p in PRIVILEGES if _has(owner, API, "charges", p)} == {"SELECT"}
    assert owner.execute(
        "SELECT has_any_column_privilege(%s, 'charges', 'UPDATE')", (LEDGER,)
    ).fetchone() == (False,)
