"""Database roles: what each process may do, table by table.

The matrix is the law of "one writer": the API and the gateways insert facts, the controller alone moves
states, the ledger alone writes the log and money, and nobody that runs can change or delete history.
`owner` migrates and is used by no process that serves.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import psycopg
from psycopg import sql

OWNER: Final = "suanli_owner"
API: Final = "suanli_api"
GATEWAY: Final = "suanli_gateway"
CONTROLLER: Final = "suanli_controller"
LEDGER: Final = "suanli_ledger"
SERVICE_ROLES: Final = (API, GATEWAY, CONTROLLER, LEDGER)

# For these tables no role that runs has UPDATE, DELETE or TRUNCATE, whatever is written below.
HISTORY: Final = frozenset(
    {"events", "log_entries", "window_segments", "log_checkpoints", "cosignatures", "charges"}
)

# One row a table: S select, I insert, U update, U(a,b) update of these columns, D delete, - nothing.
_COLUMNS: Final = (API, GATEWAY, CONTROLLER, LEDGER)
# How far the chain of an agent's key is stored.
_CHAIN: Final = "stored_seq,stored_header_sha256,stored_end_ms"
_MATRIX: Final = f"""
table              api                       gateway                                         controller ledger
alembic_version    S                         S                                               S          S
firms              SIU(title)                S                                               S          S
projects           SI                        -                                               S          S
principals         SIU(disabled_at)          -                                               -          S
api_keys           SIU(revoked_at)           -                                               -          -
idempotency_keys   SIUD                      -                                               -          -
pools              SIU(backend,object_stores,patience_ms,volumes)D S                                       S          S
queues SIU(pools,nominal,weight,cohort,borrowing,lending)D - S S
calendar SIU(from_ms,until_ms,node_ids,firm_id,queue,why) - S S
cohorts SIU(parent,nominal,borrowing,lending,weight)D     - S S
budgets            SIU(amount_nano_cny,period)D -                                            S          -
price_versions     SI                        -                                               S          S
program_versions   SI                        -                                               S          S
jobs               SI                        S                                               S          S
job_revisions      SI                        S                                               S          S
job_states         S                         S                                               SIU        S
attempts           S                         S                                               SIU        S
allocations        S                         S                                               SIU        S
allocation_devices S                         S                                               SIU        S
nodes              S                         SI                                              S          S
devices            S                         SI                                              S          S
node_places        SIU(zone,supernode,leaf,position) -                                       S          -
node_states        S                         S                                               SIU        S
join_tokens        SID                       SU(uses_left)                                   -          -
agent_keys S SIU({_CHAIN},revoked_at) - SU({_CHAIN})
gateways           S                         SIUD                                            S          S
secrets            SIU(key_id,sealed,bytes,updated_by,updated_ms)D S - -
content_objects    SIU(used_ms,stored)D      SIU(used_ms,stored)                                   -          -
uploads            SIU(used_ms)D             S                                               -          -
results            SD                        SI                                              -          -
inbox              SI                        SI                                              SD         -
leaders            S                         S                                               SIU        SIU
events             S                         S                                               SI         S
notifications      SU(next_ms,attempts,delivered_ms,problem)D - SI -
experience S - SIU -
reports            S                         -                                               SIUD       -
usage_intake       S                         SI                                              -          SD
firm_keys          SIU(revoked_at)           -                                               -          S
receipts           SI                        -                                               -          -
evidence_intake    SI                        SI                                              SI         SID
log_entries        S                         S                                               -          SI
window_segments    S                         -                                               -          SI
log_checkpoints    S                         S                                               -          SI
cosignatures       S                         -                                               -          SI
charges            S                         -                                               -          SI
"""
_GRANT = re.compile(r"(?P<letter>[SIUD])(?:\((?P<columns>[a-z0-9_,]+)\))?")
_VERBS: Final = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE"}

# table -> role -> verb -> columns (empty: the whole table)
Grants = dict[str, dict[str, dict[str, tuple[str, ...]]]]


class RolesMissing(Exception):
    """The roles are not there and the owner may not create them; the message holds the SQL to run."""


def grants() -> Grants:
    """Read the matrix above."""
    matrix: Grants = {}
    for line in _MATRIX.strip().splitlines()[1:]:
        table, *cells = line.split()
        matrix[table] = {}
        for role, cell in zip(_COLUMNS, cells, strict=True):
            rights = {
                _VERBS[match["letter"]]: tuple(match["columns"].split(",")) if match["columns"] else ()
                for match in _GRANT.finditer("" if cell == "-" else cell)
            }
            if table in HISTORY and rights.keys() & {"UPDATE", "DELETE"}:
                raise ValueError(f"{role} must not change the history in {table}")
            matrix[table][role] = rights
    return matrix


class RolesTaken(Exception):
    """Another installation of this server has the service roles; the message says which database."""


def create_missing(connection: psycopg.Connection, wanted: Sequence[str] = SERVICE_ROLES) -> None:
    """Create the service roles that are not there, without a login until a password is set."""
    known = {
        row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'suanli%%'")
    }
    for role in wanted:
        if role in known:
            continue
        try:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        except psycopg.errors.InsufficientPrivilege as error:
            statements = " ".join(f"CREATE ROLE {name} LOGIN;" for name in wanted if name not in known)
            raise RolesMissing(
                f"the owner may not create roles: run as an administrator: {statements}"
            ) from error


def apply(connection: psycopg.Connection) -> None:
    """Make the rights of the service roles exactly the matrix. Safe to run again."""
    roles = sql.SQL(", ").join(map(sql.Identifier, SERVICE_ROLES))
    database = sql.Identifier(connection.info.dbname)
    everybody = sql.SQL("PUBLIC, {}").format(roles)
    for statement in (
        "REVOKE ALL ON DATABASE {database} FROM {everybody}",
        "REVOKE ALL ON SCHEMA public FROM {everybody}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everybody}",
        "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {everybody}",
        "GRANT CONNECT ON DATABASE {database} TO {roles}",
        "GRANT USAGE ON SCHEMA public TO {roles}",
    ):
        connection.execute(sql.SQL(statement).format(database=database, everybody=everybody, roles=roles))
    for table, by_role in grants().items():
        for role, rights in by_role.items():
            for verb, columns in rights.items():
                connection.execute(_grant(verb, columns, table, role))


def _grant(verb: str, columns: tuple[str, ...], table: str, role: str) -> sql.Composed:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("GRANT {verb}{columns} ON {table} TO {role}").format(
        verb=sql.SQL(verb),
        columns=sql.SQL(" ({})").format(listed) if columns else sql.SQL(""),
        table=sql.Identifier("public", table),
        role=sql.Identifier(role),
    )


def require_alone(connection: psycopg.Connection) -> None:
    """Roles are the server's, not a database's: new passwords would lock another installation out.

    Raises RolesTaken where another database of this server lets our service roles in.
    """
    beside = connection.execute(
        "SELECT d.datname FROM pg_database d, aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee "
        "WHERE r.rolname = ANY(%s) AND d.datname <> current_database() ORDER BY 1 LIMIT 1",
        (list(SERVICE_ROLES),),
    ).fetchone()
    if beside is not None:
        raise RolesTaken(
            f"the database {beside[0]} of this PostgreSQL server belongs to another installation, and both would "
            f"log in as {', '.join(SERVICE_ROLES)}: give each a server of its own, or drop that database"
        )


def set_passwords(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Let roles log in with these passwords (role -> password).

    Only SCRAM verifiers are sent, so that no password can reach the server's log or its memory.
    """
    for role, password in passwords.items():
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier.decode())
            )
        )
