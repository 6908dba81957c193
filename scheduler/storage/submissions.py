"""Jobs as they come in: many in one statement, each with its message to the controller and its stored answer."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from scheduler.storage.direct import Direct

# Keys of the API that are no longer good: beside them nothing is inserted.
_GIVEN = """
WITH refused AS (
    SELECT sha256 FROM unnest(CAST(%(keys)s AS bytea[])) AS sha256 WHERE NOT EXISTS (
        SELECT FROM api_keys k JOIN principals p USING (principal_id)
        WHERE k.secret_sha256 = sha256 AND k.revoked_at IS NULL AND p.disabled_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > %(now)s))
), given AS (
    SELECT * FROM jsonb_to_recordset(CAST(%(rows)s AS jsonb)) AS r(
        firm_id text, job_id text, project text, queue text, name text, spec jsonb, submitted_by text,
        submitted_ms bigint, idempotency_key text, request_sha256 text, answer jsonb)
    WHERE NOT EXISTS (SELECT FROM refused)
)"""
# The unique index of the idempotency keys is the lock: whoever comes second with a key waits for the first
# and then inserts nothing. Keys are inserted in one order everywhere, so that no two batches wait for each other.
_KEPT = """, kept AS (
    INSERT INTO idempotency_keys (principal_id, idempotency_key, request_sha256, status, body)
    SELECT submitted_by, idempotency_key, decode(request_sha256, 'hex'), 201, answer
    FROM given WHERE idempotency_key IS NOT NULL ORDER BY submitted_by, idempotency_key
    ON CONFLICT DO NOTHING RETURNING principal_id, idempotency_key
)"""
_MADE = """, made AS (
    INSERT INTO jobs (firm_id, job_id, project, queue, name, spec, submitted_by, submitted_ms)
    SELECT firm_id, job_id, project, queue, name, spec, submitted_by, submitted_ms FROM given"""
_IF_KEPT = """
    WHERE idempotency_key IS NULL
        OR EXISTS (SELECT 1 FROM kept WHERE principal_id = submitted_by
            AND kept.idempotency_key = given.idempotency_key)"""
_TOLD = """
    RETURNING firm_id, job_id
), told AS (
    INSERT INTO inbox (kind, body)
    SELECT 'JobSubmitted', jsonb_build_object('firm_id', firm_id, 'job_id', job_id) FROM made
)
SELECT array_agg(job_id), (SELECT array_agg(sha256) FROM refused) FROM made
"""
# A statement that could insert idempotency keys costs PostgreSQL a tenth more also where there are none.
_INSERT = _GIVEN + _MADE + _TOLD
_INSERT_ONCE = _GIVEN + _KEPT + _MADE + _IF_KEPT + _TOLD


async def insert_jobs(
    database: Direct, rows: Sequence[Mapping[str, Any]], keys: Collection[bytes], now: datetime
) -> tuple[frozenset[str], frozenset[bytes]]:
    """Insert jobs in one statement; returns the ids of those that are new. Pokes nobody: see `Poker`.

    `keys`: SHA-256 of API keys that are to be good at `now`; those that are not are returned too, and then nothing
    was inserted. A row whose (submitted_by, idempotency_key) is known, or came before in the same call, is not
    inserted. Keys of a row: the columns of `jobs`, and idempotency_key, request_sha256 (hex), answer (or None).
    """
    if not rows and not keys:
        return frozenset(), frozenset()
    statement = _INSERT_ONCE if any(row["idempotency_key"] is not None for row in rows) else _INSERT
    parameters = {
        "rows": orjson.dumps(rows).decode(),
        "keys": list(keys),
        "now": now,
    }
    ((made, refused),) = await database.fetch(statement, parameters)
    return frozenset(made or ()), frozenset(refused or ())
