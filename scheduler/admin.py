"""What an administrator does at the machine itself, before there is an operator who could ask the API."""

import os
import time
from typing import TYPE_CHECKING

from scheduler.settings import Settings
from scheduler.storage import roles
from scheduler.wiring import role_url

if TYPE_CHECKING:
    from scheduler.services.principals import NewApiKey


class AlreadyInitialised(Exception):
    """An operator exists, who makes further principals by way of the API."""


async def create_first_operator(settings: Settings, name: str) -> "NewApiKey":
    """Create an operator and its first API key. Raises AlreadyInitialised, Conflict, DatabaseAway."""
    from scheduler.domain.ids import Ids
    from scheduler.services.principals import count_operators, create_api_key, create_principal
    from scheduler.storage.engine import Database

    database = Database(role_url(settings, roles.API), "admin", pool_size=1)
    now_ms = time.time_ns() // 1_000_000
    ids = Ids(os.urandom)
    try:
        async with database.transaction() as session:
            if await count_operators(session):
                raise AlreadyInitialised("there is an operator already; operators make further keys")
            await create_principal(
                session, None, name=name, role="operator", firm=None, kind="user", now_ms=now_ms, ids=ids
            )
            return await create_api_key(
                session, None, principal=name, expires_in_days=None, now_ms=now_ms, ids=ids
            )
    finally:
        await database.dispose()


async def create_operator_key(settings: Settings, name: str) -> "NewApiKey":
    """Another API key for an operator whose key was lost. Raises NotFound, DatabaseAway."""
    from scheduler.domain.ids import Ids
    from scheduler.services.principals import create_api_key
    from scheduler.storage.engine import Database

    database = Database(role_url(settings, roles.API), "admin", pool_size=1)
    try:
        async with database.transaction() as session:
            return await create_api_key(
                session,
                None,
                principal=name,
                expires_in_days=None,
                now_ms=time.time_ns() // 1_000_000,
                ids=Ids(os.urandom),
            )
    finally:
        await database.dispose()


async def create_join_token(settings: Settings, pool: str, uses: int, hours: int) -> str:
    """A join token for hosts of a pool. Raises NotFound, Invalid, DatabaseAway."""
    from scheduler.services.join_tokens import create_join_token as create
    from scheduler.storage.engine import Database

    database = Database(role_url(settings, roles.API), "admin", pool_size=1)
    try:
        async with database.transaction() as session:
            made = await create(
                session,
                pool=pool,
                uses=uses,
                lifetime_ms=hours * 3_600_000,
                created_by="administrator",
                now_ms=time.time_ns() // 1_000_000,
            )
            return made.token
    finally:
        await database.dispose()
