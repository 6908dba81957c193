"""What an administrator does at the machine itself, before there is an operator who could ask the API."""

import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path
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
                created_by=None,
                now_ms=time.time_ns() // 1_000_000,
            )
            return made.token
    finally:
        await database.dispose()


async def rotate_secret_keys(settings: Settings, *, forget_old: bool) -> int:
    """A new key for firms' secrets, and every secret sealed with it; returns how many were sealed anew.

    The old keys stay in the file for what is being written meanwhile, unless they are to be forgotten.
    Raises SealingError, DatabaseAway, OSError.
    """
    from scheduler.secret_files import write_secret
    from scheduler.services.sealing import SecretKeys, new_key_file, without_old_keys
    from scheduler.services.secrets import seal_anew
    from scheduler.storage.engine import Database

    path = settings.secret("secrets.keys")
    write_secret(path, new_key_file(path.read_text(encoding="utf-8")).encode())
    database = Database(role_url(settings, roles.API), "admin", pool_size=1)
    try:
        async with database.transaction() as session:
            done = await seal_anew(session, SecretKeys(path))
    finally:
        await database.dispose()
    if forget_old:
        write_secret(path, without_old_keys(path.read_text(encoding="utf-8")).encode())
    return done


def history_period(from_: str | None, to: str | None, now: datetime | None = None) -> tuple[int, int]:
    """[from, to) in milliseconds UTC; nothing given: the last whole month in Asia/Shanghai.

    Raises ValueError that names the option.
    """
    from scheduler.domain.time import from_datetime, month_begin_ms

    if (from_ is None) != (to is None):
        raise ValueError("--from and --to: give both, or neither for the last month")
    if from_ is None or to is None:
        end_ms = month_begin_ms(from_datetime(now or datetime.now(UTC)))
        return month_begin_ms(end_ms - 1), end_ms
    begin_ms, end_ms = _moment_ms("--from", from_), _moment_ms("--to", to)
    if begin_ms >= end_ms:
        raise ValueError(f"--to: got {to}, want a time after {from_}, where the period begins")
    return begin_ms, end_ms


def _moment_ms(option: str, text: str) -> int:
    from scheduler.domain.time import of_bills
    from suanli.rating.no_such_time import wanted_time

    try:
        return of_bills(text)
    except ValueError:
        want = "a date like 2026-01-31, or a time like 2026-01-31T08:00+08:00"
        raise ValueError(f"{option}: got {text!r}, want {wanted_time(text, want)}") from None


async def write_history(settings: Settings, from_ms: int, to_ms: int, path: Path) -> int:
    """Writes the history of a period; returns how many jobs are in it. Raises DatabaseAway, OSError."""
    from scheduler.services.history import history_text, installation_history
    from scheduler.storage.engine import Database

    database = Database(role_url(settings, roles.API), "admin", pool_size=1)
    try:
        async with database.transaction() as session:
            found = await installation_history(session, from_ms, to_ms)
    finally:
        await database.dispose()
    content = history_text(found).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return len(found["jobs"])
