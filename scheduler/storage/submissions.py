"""Jobs as they come in: many in one statement, each with its message to the controller and its stored answer."""

from collections.abc import Sequence
from typing import Any

import orjson

from scheduler.storage.direct import Direct
from scheduler.storage.pokes import Channel

# The unique index of the idempotency keys is the lock: whoever comes second with a key waits for the first
# and then inserts nothing. Keys are inserted in one order everywhere, so that no two batches wait for each other.
_INSERT = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset(CAST(%(rows)s AS jsonb)) AS r(
        firm_id text, job_id text, project text, queue text, name text, spec jsonb, submitted_by text,
        submitted_ms bigint, idempotency_key text, request_sha256 text, answer jsonb)
), kept AS (
    INSERT INTO idempotency_keys (principal_id, idempotency_key, request_sha256, status, body)
    SELECT submitted_by, idempotency_key, decode(request_sha256, 'hex'), 201, answer
    FROM given WHERE idempotency_key IS NOT NULL ORDER BY submitted_by, idempotency_key
    ON CONFLICT DO NOTHING RETURNING principal_id, idempotency_key
), made AS (
    INSERT INTO jobs (firm_id, job_id, project, queue, name, spec, submitted_by, submitted_ms)
    SELECT firm_id, job_id, project, queue, name, spec, submitted_by, submitted_ms FROM given
    WHERE idempotency_key IS NULL
        OR EXISTS (SELECT 1 FROM kept WHERE principal_id = submitted_by
            AND kept.idempotency_key = given.idempotency_key)
    RETURNING firm_id, job_id
), told AS (
    INSERT INTO inbox (kind, body)
    SELECT 'JobSubmitted', jsonb_build_object('firm_id', firm_id, 'job_id', job_id) FROM made
)
SELECT array_agg(job_id), pg_notify(%(channel)s, '') FROM made
"""


async def insert_jobs(database: Direct, rows: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Insert jobs in one statement and poke the controller; returns the ids of those that are new.

    A row whose (submitted_by, idempotency_key) is known, or came before in the same call, is not inserted.
    Keys of a row: the columns of `jobs`, and idempotency_key, request_sha256 (hex), answer (or None).
    """
    parameters = {"rows": orjson.dumps(rows).decode(), "channel": Channel.INBOX.value}
    ((made, _),) = await database.fetch(_INSERT, parameters)
    return frozenset(made or ())
