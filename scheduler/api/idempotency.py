"""Idempotency-Key: a request that is repeated is answered as the first time, and done once.

The lock, the work and the stored answer are of one transaction: two at once wait for each other, and a crash
leaves either all or nothing.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Header, Request
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import FieldProblem, IdempotencyConflict, Invalid
from scheduler.domain.time import DAY_MS, to_datetime
from scheduler.services.authorise import Principal
from scheduler.storage.tables import IdempotencyRow

# Clients repeat within minutes; a job system that was stopped for a long weekend may come back later.
KEPT_MS = 7 * DAY_MS
REPLAYED_HEADER = "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 visible ASCII characters: new for each request, the same when it is repeated.",
    ),
]


async def request_sha256(request: Request) -> bytes:
    """What makes a repetition the same request: method, path and body."""
    head = f"{request.method} {request.url.path}\n".encode()
    return hashlib.sha256(head + await request.body()).digest()


def check_key(key: str | None) -> None:
    """Raise Invalid for a key that no client should send."""
    if key is not None and _KEY.fullmatch(key) is None:
        want = "1 to 255 visible ASCII characters"
        raise Invalid([FieldProblem("header Idempotency-Key", f"{len(key)} characters", want)])


async def forget_old(session: AsyncSession, now_ms: int) -> None:
    """Delete answers that nobody will ask for again."""
    await session.execute(
        delete(IdempotencyRow).where(IdempotencyRow.created_at < to_datetime(now_ms - KEPT_MS))
    )


async def once(
    session: AsyncSession,
    principal: Principal,
    key: str | None,
    digest: bytes,
    status: int,
    work: Callable[[], Awaitable[Mapping[str, Any]]],
) -> tuple[Mapping[str, Any], bool]:
    """The answer of `work`, or the stored one of the same key. Second: whether it was stored.

    Raises IdempotencyConflict when the key came before with another request.
    """
    if key is None:
        return await work(), False
    await session.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"{principal.principal_id} {key}", 0)))
    )
    stored = await session.get(IdempotencyRow, (principal.principal_id, key))
    if stored is not None:
        if stored.request_sha256 != digest:
            raise IdempotencyConflict(
                "this Idempotency-Key came before with another request; a new request needs a new key"
            )
        return stored.body, True
    body = await work()
    await session.execute(
        insert(IdempotencyRow).values(
            principal_id=principal.principal_id,
            idempotency_key=key,
            request_sha256=digest,
            status=status,
            body=dict(body),
        )
    )
    return body, False
