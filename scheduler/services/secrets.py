"""Secrets of firms: set and deleted by their people, listed without their values, opened for a task alone.

A secret belongs to a project, or to the whole firm; where both have one of a name, the project's counts. A value
leaves by one door only: to the node of a live task whose job names it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import (
    Action,
    Principal,
    authorise,
    require_firm,
    require_project_or_whole_firm,
)
from scheduler.domain.errors import FieldProblem, Invalid, LimitExceeded, NotFound, Unavailable
from scheduler.domain.ids import Ids
from scheduler.domain.job_limits import MOST_SECRET_BYTES, MOST_SECRETS
from scheduler.domain.jobs import JobSpec, Variant
from scheduler.services.administration import note_act
from scheduler.services.sealing import Sealed, SealingError, SecretKeys
from scheduler.storage.tables import PrincipalRow, ProjectRow, SecretRow

WHOLE_FIRM: Final = ""  # as a project: every project of the firm


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """A secret as people see it: everything but its value. `project` None: the whole firm's."""

    secret_id: str  # by which the evidence log names it
    name: str
    project: str | None
    bytes: int
    updated_by: str
    updated_ms: int


@dataclass(frozen=True, slots=True)
class TaskSecret:
    """A secret as a task is given it: as a variable or as a file."""

    name: str
    environment: str | None
    file: str | None
    value: bytes

    def __repr__(self) -> str:
        return f"TaskSecret({self.name})"


async def set_secret(
    session: AsyncSession,
    principal: Principal,
    keys: SecretKeys,
    *,
    name: str,
    project: str | None,
    value: bytes,
    now_ms: int,
    ids: Ids,
) -> SecretRecord:
    """Make a secret, or replace its value; an administrative act.

    Raises Forbidden, Invalid, LimitExceeded, Unavailable.
    """
    authorise(principal, Action.MANAGE_SECRETS)
    require_project_or_whole_firm(principal, project)
    firm_id = require_firm(principal)
    if not 0 < len(value) <= MOST_SECRET_BYTES:
        raise Invalid([FieldProblem("secret", f"{len(value)} bytes", f"1 to {MOST_SECRET_BYTES} bytes")])
    await _require_project(session, firm_id, project)
    row = SecretRow
    held = await session.scalar(select(func.count()).where(row.firm_id == firm_id)) or 0
    if held >= MOST_SECRETS and await _find(session, firm_id, project, name) is None:
        raise LimitExceeded(f"a firm has at most {MOST_SECRETS} secrets", {"limit": MOST_SECRETS})
    try:
        sealed = keys.seal(value, _place(firm_id, project or WHOLE_FIRM, name))
    except SealingError as error:
        raise Unavailable(f"secrets cannot be kept now: {error}") from None
    values: dict[str, Any] = {
        "key_id": sealed.key_id,
        "sealed": sealed.data,
        "bytes": len(value),
        "updated_by": principal.principal_id,
        "updated_ms": now_ms,
    }
    where = {"firm_id": firm_id, "project": project or WHOLE_FIRM, "name": name}
    statement = (
        insert(row)
        .values(**where, **values, secret_id=ids.new(now_ms))
        .on_conflict_do_update(index_elements=[row.firm_id, row.project, row.name], set_=values)
        .returning(row.secret_id)
    )
    secret_id = str(await session.scalar(statement))
    await _note(session, principal, "secret_set", secret_id, now_ms, ids)
    return SecretRecord(secret_id, name, project, len(value), principal.name, now_ms)


async def list_secrets(session: AsyncSession, principal: Principal) -> Sequence[SecretRecord]:
    """The firm's secrets by name. Raises Forbidden."""
    authorise(principal, Action.READ_SECRETS)
    row = SecretRow
    found = await session.execute(
        select(row.secret_id, row.name, row.project, row.bytes, PrincipalRow.name, row.updated_ms)
        .join(PrincipalRow, PrincipalRow.principal_id == row.updated_by)
        .where(row.firm_id == require_firm(principal))
        .order_by(row.name, row.project)
    )
    return [
        SecretRecord(secret_id, name, project or None, size, by, at_ms)
        for secret_id, name, project, size, by, at_ms in found
    ]


async def delete_secret(
    session: AsyncSession, principal: Principal, name: str, project: str | None, *, now_ms: int, ids: Ids
) -> str:
    """Forget a secret; jobs that name it are not prepared any more. An administrative act; gives the secret's id.

    Raises Forbidden, NotFound.
    """
    authorise(principal, Action.MANAGE_SECRETS)
    require_project_or_whole_firm(principal, project)
    row = SecretRow
    gone = await session.scalar(
        delete(row)
        .where(
            row.firm_id == require_firm(principal),
            row.project == (project or WHOLE_FIRM),
            row.name == name,
        )
        .returning(row.secret_id)
    )
    if gone is None:
        of = "" if project is None else f" of project {project}"
        raise NotFound(f"there is no secret {name}{of}")
    await _note(session, principal, "secret_deleted", gone, now_ms, ids)
    return str(gone)


async def _note(
    session: AsyncSession, principal: Principal, act: str, secret_id: str, now_ms: int, ids: Ids
) -> None:
    """Neither the name, which is its firm's, nor anything of the value: everybody is given the entry."""
    await note_act(session, principal, act, secret_id, now_ms, ids.new(now_ms))


async def secrets_of_task(
    session: AsyncSession, keys: SecretKeys | None, firm_id: str, spec: JobSpec
) -> tuple[TaskSecret, ...]:
    """What a task of this job is given. Raises NotFound for a secret that is gone, Unavailable without keys."""
    names = {reference.name for reference in spec.secrets}
    values = await open_secrets(session, keys, firm_id, spec.project, names)
    return tuple(TaskSecret(s.name, s.environment, s.file, values[s.name]) for s in spec.secrets)


async def image_credentials(
    session: AsyncSession, keys: SecretKeys | None, firm_id: str, spec: JobSpec, variant: Variant
) -> TaskSecret | None:
    """What opens the registry of a variant's image, for its pull alone. Raises as `secrets_of_task`."""
    name = variant.image_credentials
    if name is None:
        return None
    return TaskSecret(
        name, None, None, (await open_secrets(session, keys, firm_id, spec.project, {name}))[name]
    )


async def open_secrets(
    session: AsyncSession, keys: SecretKeys | None, firm_id: str, project: str, names: Collection[str]
) -> Mapping[str, bytes]:
    """Values by name, for a live task alone. Raises NotFound for one that is gone, Unavailable without keys."""
    if not names:
        return {}
    row = SecretRow
    found = await session.execute(
        select(row.name, row.project, row.key_id, row.sealed).where(
            row.firm_id == firm_id,
            row.project.in_([WHOLE_FIRM, project]),
            row.name.in_(names),
        )
    )
    sealed = {(name, of): Sealed(key_id, data) for name, of, key_id, data in found}
    return {name: _opened(keys, firm_id, project, name, sealed) for name in names}


def _opened(
    keys: SecretKeys | None,
    firm_id: str,
    project: str,
    name: str,
    sealed: Mapping[tuple[str, str], Sealed],
) -> bytes:
    own = next((p for p in (project, WHOLE_FIRM) if (name, p) in sealed), None)
    if own is None:
        raise NotFound(f"the secret {name} is there no more: suanli secret set {name}")
    if keys is None:
        raise Unavailable("this gateway has no secrets.keys")
    try:
        return keys.open(sealed[name, own], _place(firm_id, own, name))
    except SealingError as error:
        raise Unavailable(f"the secret {name} cannot be opened: {error}") from None


async def seal_anew(session: AsyncSession, keys: SecretKeys) -> int:
    """Seal with the current key what another one sealed; returns how many. Raises SealingError."""
    row = SecretRow
    found = await session.scalars(select(row).where(row.key_id != keys.current).with_for_update())
    done = 0
    for one in found.all():
        place = _place(one.firm_id, one.project, one.name)
        sealed = keys.seal(keys.open(Sealed(one.key_id, one.sealed), place), place)
        await session.execute(
            update(row)
            .where(row.firm_id == one.firm_id, row.project == one.project, row.name == one.name)
            .values(key_id=sealed.key_id, sealed=sealed.data)
        )
        done += 1
    return done


async def _require_project(session: AsyncSession, firm_id: str, project: str | None) -> None:
    if project is not None and await session.get(ProjectRow, (firm_id, project)) is None:
        raise Invalid([FieldProblem("project", repr(project)[:80], "a project of your firm, or none")])


async def _find(session: AsyncSession, firm_id: str, project: str | None, name: str) -> str | None:
    row = SecretRow
    return await session.scalar(
        select(row.name).where(
            row.firm_id == firm_id, row.project == (project or WHOLE_FIRM), row.name == name
        )
    )


def _place(firm_id: str, project: str, name: str) -> str:
    """What a value is bound to, so that a row that was moved does not open."""
    return f"suanli/secret/v1\n{firm_id}\n{project}\n{name}"
