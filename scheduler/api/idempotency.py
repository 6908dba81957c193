"""Idempotency-Key: a request that is repeated is answered as the first time, and done once.

The lock, the work and the stored answer are of one transaction: two at once wait for each other, and a crash
leaves either all or nothing.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Conflict, FieldProblem, IdempotencyConflict, Invalid
from scheduler.domain.time import DAY_MS, to_datetime
from scheduler.services.submission import KEY_USED
from scheduler.storage.tables import IdempotencyRow

# Clients repeat within minutes; a job system that was stopped for a long weekend may come back later.
KEPT_MS = 7 * DAY_MS
REPLAYED_HEADER = "Idempotent-Replayed"
ModelT = TypeVar("ModelT", bound=BaseModel)
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
    request: Request,
    work: Callable[[], Awaitable[ModelT]],
    *,
    shown_once: str | None = None,
) -> JSONResponse:
    """The answer (201) of `work`, or what it was when the same key came before.

    `shown_once` is the field with a secret: it is not kept, so a repetition is a Conflict that says so.
    Raises Invalid for a wrong key, IdempotencyConflict when it came before with another request.
    """
    check_key(key)
    if key is None:
        return JSONResponse((await work()).model_dump(), 201)
    digest = await request_sha256(request)
    row = IdempotencyRow
    values = {"principal_id": principal.principal_id, "idempotency_key": key}
    # The unique index is the lock: whoever comes second waits here until the first has committed.
    claimed = await session.scalar(
        upsert(row)
        .values(**values, request_sha256=digest, status=201, body={})
        .on_conflict_do_nothing()
        .returning(row.idempotency_key)
    )
    if claimed is None:
        stored = await session.get_one(row, (principal.principal_id, key))
        if stored.request_sha256 != digest:
            raise IdempotencyConflict(KEY_USED)
        if shown_once is not None:
            raise Conflict(
                f"this was done before, and {shown_once} was shown then, once; revoke it and ask again "
                "with another Idempotency-Key",
                {name: value for name, value in stored.body.items() if name.endswith("_id")},
            )
        return JSONResponse(stored.body, 201, {REPLAYED_HEADER: "true"})
    answer = (await work()).model_dump()
    kept = {name: value for name, value in answer.items() if name != shown_once}
    await session.execute(update(row).filter_by(**values).values(body=kept))
    return JSONResponse(answer, 201)
