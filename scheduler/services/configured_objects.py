"""One firm, queue, cohort or pool by itself: read, replaced, changed, removed; beside applying a whole file.

A replacement is an application of a file with that one object, so that both leave the same rows and the same entry of
the evidence log, and refuse the same things. What others refer to is not removed: history keeps its names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.authorise import Action, Principal, authorise, may_see_firm
from scheduler.domain.configuration_reading import configuration_from_json, shown_quota
from scheduler.domain.errors import Conflict, FieldProblem, Invalid, NotFound
from scheduler.domain.firms import UidRange
from scheduler.domain.ids import Ids
from scheduler.domain.suggestions import one_of
from scheduler.services.administration import note_act
from scheduler.services.application import CREATED, Document, Judge, lock_configuration
from scheduler.services.configuration import apply_configuration, pool_document
from scheduler.storage import inbox
from scheduler.storage.tables import CohortRow, FirmRow, PoolRow, ProjectRow, QueueRow


@dataclass(frozen=True, slots=True)
class Target:
    """Which object. `firm`: of a queue."""

    kind: str  # firm | queue | cohort | pool
    name: str
    firm: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" of the firm {self.firm}" if self.firm else "")


@dataclass(frozen=True, slots=True)
class Made:
    """What is there after a change."""

    document: Document
    is_new: bool
    warnings: Sequence[FieldProblem]  # of what was written, and can hardly be meant


@dataclass(frozen=True, slots=True)
class Means:
    """What a change needs beside the session."""

    catalogue: Catalogue
    ids: Ids
    firm_uids: UidRange
    now_ms: int


async def read_object(session: AsyncSession, principal: Principal, target: Target) -> Document:
    """The object as a file for `apply` has it, without its name. Raises NotFound, Forbidden.

    A firm's people see their own firm and queues, and the pools; cohorts join firms, and are the operator's.
    """
    authorise(principal, Action.CONFIGURE if target.kind == "cohort" else Action.READ_CATALOGUE)
    document = await _document(session, target, principal)
    if document is None:
        raise NotFound(f"there is no {target}")
    return document


async def put_object(
    session: AsyncSession, principal: Principal, target: Target, value: object, judge: Judge, means: Means
) -> Made:
    """Make the object as the value says; gives what is there then.

    Raises Forbidden, Invalid (with the fields of the value), NotFound (a queue's firm), and what the judge raises.
    """
    authorise(principal, Action.CONFIGURE)
    await lock_configuration(session)
    now = await _document(session, target, None)
    judge(now)
    return await _apply(session, principal, target, value, means=means)


async def _existing(session: AsyncSession, principal: Principal, target: Target, judge: Judge) -> Document:
    """What is there now, to be changed by the principal and by nobody else until then. Raises NotFound."""
    authorise(principal, Action.CONFIGURE)
    await lock_configuration(session)
    now = await _document(session, target, None)
    if now is None:
        raise NotFound(f"there is no {target}")
    judge(now)
    return now


async def patch_object(
    session: AsyncSession, principal: Principal, target: Target, changes: object, judge: Judge, means: Means
) -> Made:
    """Change what is there by a merge patch (RFC 7396): null takes a field back to its default."""
    now = await _existing(session, principal, target, judge)
    if not isinstance(changes, Mapping):
        raise Invalid([FieldProblem("(root)", type(changes).__name__, "an object with the fields to change")])
    return await _apply(session, principal, target, merged(now, changes), means=means)


async def remove_object(
    session: AsyncSession, principal: Principal, target: Target, judge: Judge, means: Means
) -> None:
    """Remove a queue, a cohort or a pool that nothing refers to. Raises NotFound, Conflict."""
    await _existing(session, principal, target, judge)
    if target.kind == "pool":
        await _require_no_queue(session, target.name)
    try:
        async with session.begin_nested():
            await session.execute(_removal(target))
    except IntegrityError:
        raise Conflict(f"{target} is in use, or was: {_USERS[target.kind]} refer to it") from None
    new_id, subject = means.ids.new(means.now_ms), f"1 {target.kind} removed"
    await note_act(session, principal, "configuration_applied", subject, means.now_ms, new_id)
    await inbox.put(session, "ConfigurationChanged", {})


_USERS = {
    "queue": "jobs that were submitted to it (set its nominal quota to 0 to close it)",
    "cohort": "queues or other cohorts",
    "pool": "nodes or join tokens",
}


def merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> Document:
    """RFC 7396, section 2. The nesting of a document bounds that of what is followed."""
    result = dict(document)
    for key, value in changes.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


async def _apply(
    session: AsyncSession, principal: Principal, target: Target, value: object, *, means: Means
) -> Made:
    if not isinstance(value, Mapping):
        raise Invalid([FieldProblem("(root)", type(value).__name__, "an object")])
    if value.get("name", target.name) != target.name:
        raise Invalid([FieldProblem("name", repr(value["name"])[:60], f"{target.name}, as in the address")])
    file, place = await _file(session, target, {**value, "name": target.name})
    try:
        applied = await apply_configuration(
            session,
            principal,
            configuration_from_json(file),
            dry_run=False,
            catalogue=means.catalogue,
            now_ms=means.now_ms,
            ids=means.ids,
            firm_uids=means.firm_uids,
        )
    except Invalid as error:
        raise Invalid(_at(place, error.problems)) from None
    made = await _document(session, target, None)
    if made is None:
        raise NotFound(f"there is no {target}")
    is_new = any(change.kind == target.kind and change.outcome == CREATED for change in applied.changes)
    return Made(made, is_new, _at(place, applied.warnings))


def _at(place: str, problems: Sequence[FieldProblem]) -> list[FieldProblem]:
    """As in the object by itself."""
    return [replace(p, field=p.field.removeprefix(place).lstrip(".")) for p in problems]


async def _file(session: AsyncSession, target: Target, value: Document) -> tuple[Document, str]:
    """A file that holds just this object, and where in it."""
    if target.kind != "queue":
        if target.kind == "firm":  # at its address what is not said of it is as with a new one
            value = {"title": target.name, **value}
        return {f"{target.kind}s": [value]}, f"{target.kind}s[0]"
    named = target.firm or ""
    firm = await _document(session, Target("firm", named), None)
    if firm is None:
        known = list(await session.scalars(select(FirmRow.name).order_by(FirmRow.name)))
        raise NotFound(f"there is no firm {named}", wrong=FieldProblem("firm", named, one_of(named, known)))
    around = {"name": target.firm, "queues": [value]}
    return {"firms": [around]}, "firms[0].queues[0]"


async def _document(session: AsyncSession, target: Target, principal: Principal | None) -> Document | None:
    """The object's document; None where there is none, or none that the principal may know of."""
    if target.kind == "pool":
        pool = await session.get(PoolRow, target.name)
        if pool is None:
            return None
        # A firm's people see in GET /v1/pools what they may use, and nobody else's.
        of_firm = principal is not None and principal.firm_id is not None
        document = pool_document(pool)
        return {"patience_seconds": document["patience_seconds"]} if of_firm else document
    if target.kind == "cohort":
        c = CohortRow
        row = (
            await session.execute(
                select(c.parent, c.nominal, c.borrowing, c.lending, c.weight).where(c.name == target.name)
            )
        ).one_or_none()
        return None if row is None else {"parent": row.parent, **_quota(row)}
    name = target.firm if target.kind == "queue" else target.name
    firm = (
        await session.execute(select(FirmRow.firm_id, FirmRow.title).where(FirmRow.name == name))
    ).one_or_none()
    if firm is None or (principal is not None and not may_see_firm(principal, firm.firm_id)):
        return None
    if target.kind == "firm":
        projects = select(ProjectRow.name).where(ProjectRow.firm_id == firm.firm_id).order_by(ProjectRow.name)
        return {"title": firm.title, "projects": list(await session.scalars(projects))}
    q = QueueRow
    found = (
        await session.execute(
            select(q.pools, q.cohort, q.nominal, q.borrowing, q.lending, q.weight).where(
                q.firm_id == firm.firm_id, q.name == target.name
            )
        )
    ).one_or_none()
    return None if found is None else {"pools": found.pools, "cohort": found.cohort, **_quota(found)}


def _quota(row: Any) -> Document:
    quota = {name: shown_quota(getattr(row, name)) for name in ("nominal", "borrowing", "lending")}
    return {**quota, "weight": row.weight}


def _removal(target: Target) -> Any:
    if target.kind == "pool":
        return delete(PoolRow).where(PoolRow.name == target.name)
    if target.kind == "cohort":
        return delete(CohortRow).where(CohortRow.name == target.name)
    firm_id = select(FirmRow.firm_id).where(FirmRow.name == target.firm).scalar_subquery()
    return delete(QueueRow).where(QueueRow.firm_id == firm_id, QueueRow.name == target.name)


async def _require_no_queue(session: AsyncSession, pool: str) -> None:
    """Queues name their pools in a list, which no foreign key watches."""
    named = await session.scalar(
        select(QueueRow.name).where(literal(pool) == func.any(QueueRow.pools)).limit(1)
    )
    if named is not None:
        raise Conflict(f"pool {pool} is in use: queues such as {named} name it")
