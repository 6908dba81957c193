"""Applying a configuration file: declarative, idempotent, and honest about what it changed.

What the file does not name is left alone. What was logged is never changed: a price or a program changes by
a new version with a later beginning, and the refusal says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.budgets import cny
from scheduler.domain.configuration_reading import (
    Configuration,
    FirmEntry,
    PoolEntry,
    PriceEntry,
    ProgramEntry,
    QueueEntry,
    UserEntry,
)
from scheduler.domain.errors import Invalid
from scheduler.domain.firms import UidRange
from scheduler.domain.ids import Ids
from scheduler.domain.object_stores import ObjectStore
from scheduler.domain.pools import PoolVolume
from scheduler.domain.suggestions import one_of
from scheduler.domain.time import to_datetime, to_rfc3339
from scheduler.services.administration import note_act
from scheduler.services.application import UNCHANGED, Application, Applied, lock_configuration
from scheduler.services.budgets import apply_budgets
from scheduler.services.calendar import apply_calendar
from scheduler.services.node_places import write_places
from scheduler.services.quotas import apply_cohorts, check_quotas, cohort_is_there, note_quota, quota_columns
from scheduler.storage import inbox
from scheduler.storage.fact_names import fact_of, retitled_fact
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import (
    FirmRow,
    PoolRow,
    PriceVersionRow,
    PrincipalRow,
    ProgramVersionRow,
    ProjectRow,
    QueueRow,
)
from suanli.evidence.records import ROUNDING, Firm, PriceVersion, ProgramVersion

ANY_UID = UidRange()


async def apply_configuration(
    session: AsyncSession,
    principal: Principal,
    wanted: Configuration,
    *,
    dry_run: bool,
    catalogue: Catalogue,
    now_ms: int,
    ids: Ids,
    firm_uids: UidRange = ANY_UID,
) -> Applied:
    """Make the installation as the file says. With `dry_run` the same is done and then rolled back.

    A new firm is given a user id of `firm_uids` for its tasks.

    Raises Forbidden, and Invalid with every object that cannot become what the file says.
    """
    authorise(principal, Action.CONFIGURE)
    await lock_configuration(session)
    run = Application(session, catalogue, now_ms, ids, firm_uids)
    await _apply_pools(run, wanted.pools)
    await apply_cohorts(run, wanted.cohorts)
    for name, was, now in await write_places(run.session, wanted.nodes):
        run.note("node", name, was, now)
    await _apply_firms(run, wanted.firms)
    await _check_volumes(run, wanted.pools)
    await check_quotas(run)
    await apply_calendar(run, wanted.calendar)
    await _apply_prices(run, wanted.prices)
    await apply_budgets(run, wanted.budgets)
    await _apply_programs(run, wanted.programs)
    await _apply_users(run, wanted.users)
    if run.problems:
        raise Invalid(run.problems)
    changed = sum(change.outcome != UNCHANGED for change in run.changes)
    if changed:
        subject = f"{changed} objects of {len(run.changes)}"
        await note_act(session, principal, "configuration_applied", subject, now_ms, ids.new(now_ms))
        await inbox.put(session, "ConfigurationChanged", {})
        await poke(session, Channel.EVIDENCE)
    if dry_run:
        await session.rollback()
    return Applied(run.changes, run.warnings)


async def _apply_pools(run: Application, pools: Iterable[PoolEntry]) -> None:
    known = {row.name: row for row in await run.session.scalars(select(PoolRow))}
    for pool in pools:
        row = known.get(pool.name)
        was = None if row is None else pool_document(row)
        lists: dict[str, Sequence[PoolVolume | ObjectStore] | None] = {
            "volumes": pool.volumes,
            "object_stores": pool.object_stores,
        }
        given = {
            key: (was or {}).get(key, [])
            if items is None
            else [item.to_json() for item in sorted(items, key=lambda item: item.name)]
            for key, items in lists.items()
        }
        if run.note("pool", pool.name, was, {"patience_seconds": pool.patience_ms // 1000, **given}):
            values = {"patience_ms": pool.patience_ms, **given}
            statement = upsert(PoolRow).values(name=pool.name, backend="agents", **values)
            await run.session.execute(
                statement.on_conflict_do_update(index_elements=[PoolRow.name], set_=values)
            )


def pool_document(row: PoolRow) -> dict[str, Any]:
    """A pool as the file has it, without its name."""
    return {
        "patience_seconds": row.patience_ms // 1000,
        "volumes": row.volumes,
        "object_stores": row.object_stores,
    }


async def _check_volumes(run: Application, pools: Sequence[PoolEntry]) -> None:
    """The firms that may use a volume are there, or come with the same file."""
    firms = sorted(await run.session.scalars(select(FirmRow.name)))
    for number, pool in enumerate(pools):
        for position, volume in enumerate(pool.volumes or ()):
            for firm in volume.firms:
                if firm not in firms:
                    where = f"pools[{number}].volumes[{position}].firms"
                    run.refuse(where, firm, one_of(firm, firms))


async def _apply_firms(run: Application, firms: Sequence[FirmEntry]) -> None:
    pools = sorted(await run.session.scalars(select(PoolRow.name)))
    known = {row.name: row for row in await run.session.scalars(select(FirmRow))}
    for number, firm in enumerate(firms):
        row = known.get(firm.name)
        firm_id = run.ids.new(run.now_ms) if row is None else row.firm_id
        was = None if row is None else {"title": row.title}
        entry = firm.as_new() if row is None else firm
        title = entry.title if row is None or entry.title is not None else row.title
        uid = await _free_uid(run, f"firms[{number}]") if row is None else row.uid
        if uid is None:
            continue
        if run.note("firm", firm.name, was, {"title": title}):
            await _write_firm(run, replace(entry, title=title), firm_id, uid, exists=row is not None)
        await _apply_projects(run, entry, firm_id)
        for position, queue in enumerate(entry.queues or ()):
            await _apply_queue(run, firm, firm_id, queue, pools, f"firms[{number}].queues[{position}]")


async def _free_uid(run: Application, where: str) -> int | None:
    """A user id for a new firm; None, and a refusal, where every one is given."""
    uid = run.firm_uids.free(set(await run.session.scalars(select(FirmRow.uid))))
    if uid is None:
        given = f"{run.firm_uids.first}-{run.firm_uids.last}"
        run.refuse(where, "no user id left", f"a wider range: all of SUANLI_FIRM_UIDS {given} are given")
    return uid


async def _write_firm(run: Application, firm: FirmEntry, firm_id: str, uid: int, *, exists: bool) -> None:
    record = Firm(firm_id, firm.title or firm.name, run.now_ms)
    if exists:
        await run.session.execute(update(FirmRow).where(FirmRow.firm_id == firm_id).values(title=firm.title))
    else:
        values = {"firm_id": firm_id, "name": firm.name, "title": firm.title, "uid": uid}
        await run.session.execute(insert(FirmRow).values(**values))
    # The name under which the firm is billed is its title; the newest entry counts.
    await run.log(record, retitled_fact(record) if exists else fact_of(record), firm_id)


async def _apply_projects(run: Application, firm: FirmEntry, firm_id: str) -> None:
    known = set(await run.session.scalars(select(ProjectRow.name).where(ProjectRow.firm_id == firm_id)))
    for project in firm.projects or ():
        if run.note("project", f"{firm.name}/{project}", {} if project in known else None, {}):
            await run.session.execute(insert(ProjectRow).values(firm_id=firm_id, name=project))


async def _apply_queue(
    run: Application, firm: FirmEntry, firm_id: str, queue: QueueEntry, pools: Sequence[str], where: str
) -> None:
    for position, pool in enumerate(queue.pools or ()):
        if pool not in pools:
            run.refuse(f"{where}.pools[{position}]", pool, one_of(pool, pools))
    run.quotas_at[f"queue {firm.name}/{queue.name}"] = where
    now: dict[str, Any] = {
        "pools": list(pools if queue.pools is None else queue.pools),
        **quota_columns(queue.quota),
        "weight": queue.weight,
        "cohort": queue.cohort,
    }
    if not await cohort_is_there(run, queue.cohort, f"{where}.cohort"):
        return
    row = await run.session.get(QueueRow, (firm_id, queue.name))
    was = None if row is None else {name: getattr(row, name) for name in now}
    if note_quota(run, "queue", f"{firm.name}/{queue.name}", was, now):
        statement = upsert(QueueRow).values(firm_id=firm_id, name=queue.name, **now)
        await run.session.execute(
            statement.on_conflict_do_update(index_elements=[QueueRow.firm_id, QueueRow.name], set_=now)
        )


def _may_begin(run: Application, where: str, what: str, from_ms: int, *, first: bool) -> None:
    """A later version must not change what was in force: rated usage stays rated as it was."""
    if not first and from_ms < run.now_ms:
        run.refuse(
            f"{where}.effective_from",
            to_rfc3339(from_ms),
            f"a time from now on ({to_rfc3339(run.now_ms)}): the {what} in force does not change",
        )


async def _apply_prices(run: Application, prices: Iterable[PriceEntry]) -> None:
    rows = list(await run.session.scalars(select(PriceVersionRow)))
    known = {(row.device_model, row.effective_from_ms): row for row in rows}
    models = {row.device_model for row in rows}
    for number, price in enumerate(prices):
        where = f"prices[{number}]"
        name = price_id(price.model, price.effective_from_ms)
        row = known.get((price.model, price.effective_from_ms))
        if row is None:
            if run.catalogue.get(price.model) is None:
                all_models = sorted(run.catalogue.models)
                want = one_of(price.model, all_models, "a device model of the catalogue")
                run.refuse(f"{where}.model", price.model, want)
                continue
            _may_begin(run, where, "price", price.effective_from_ms, first=price.model not in models)
            run.note("price", name, None, {})
            await _write_price(run, name, price)
        elif row.price_nano_cny == price.price_nano_cny:
            run.note("price", name, {}, {})
        else:
            run.refuse(
                f"{where}.price_cny_per_device_hour",
                cny(price.price_nano_cny),
                f"{cny(row.price_nano_cny)}, as published; a price changes by a new version with a later "
                "effective_from",
            )


def price_id(model: str, from_ms: int) -> str:
    """`ascend-910b3@2026-01-01T00:00Z`: at most 64 characters, readable on a bill."""
    return f"{model}@{to_datetime(from_ms).strftime('%Y-%m-%dT%H:%MZ')}"


async def _write_price(run: Application, name: str, price: PriceEntry) -> None:
    await run.session.execute(
        insert(PriceVersionRow).values(
            price_id=name,
            device_model=price.model,
            price_nano_cny=price.price_nano_cny,
            effective_from_ms=price.effective_from_ms,
        )
    )
    record = PriceVersion(
        price_id=name,
        device_model=price.model,
        unit="device_hour",
        price_nano_cny=price.price_nano_cny,
        rounding=ROUNDING,
        effective_from_ms=price.effective_from_ms,
        effective_to_ms=None,
    )
    await run.log(record, fact_of(record))


async def _apply_programs(run: Application, programs: Iterable[ProgramEntry]) -> None:
    rows = list(await run.session.scalars(select(ProgramVersionRow)))
    known = {(row.program_id, row.version): row for row in rows}
    newest: dict[str, int] = {}
    for row in rows:
        newest[row.program_id] = max(newest.get(row.program_id, 0), row.version)
    for number, program in enumerate(programs):
        where = f"programs[{number}]"
        record = _program_record(run, program)
        name = f"{program.program_id}/{program.version}"
        found = known.get((program.program_id, program.version))
        if found is not None:
            _compare_program(run, where, program, record, found)
            continue
        highest = newest.get(program.program_id, 0)
        if program.version < highest:
            run.refuse(f"{where}.version", program.version, f"more than {highest}, the newest version")
        _may_begin(run, where, "program", program.effective_from_ms, first=highest == 0)
        run.note("program", name, None, {})
        await run.session.execute(
            insert(ProgramVersionRow).values(
                program_id=program.program_id,
                version=program.version,
                rules=_rules(record),
                effective_from_ms=program.effective_from_ms,
            )
        )
        await run.log(record, fact_of(record))


def _program_record(run: Application, program: ProgramEntry) -> ProgramVersion:
    models = program.domestic_models
    if models is None:
        models = tuple(sorted(key for key, model in run.catalogue.models.items() if model.domestic))
    return ProgramVersion(
        program_id=program.program_id,
        version=program.version,
        title=program.title,
        legal_reference=program.legal_reference,
        rate_ppm=program.rate_ppm,
        rate_meaning=program.rate_meaning,
        usage_measure=program.usage_measure,
        domestic_only=program.domestic_only,
        domestic_models=models,
        per_firm_cap_fen=program.per_firm_cap_fen,
        effective_from_ms=program.effective_from_ms,
        effective_to_ms=None,
    )


def _rules(record: ProgramVersion) -> dict[str, Any]:
    rules = {name: getattr(record, name) for name in ProgramVersion.__slots__}
    rules["domestic_models"] = list(record.domestic_models)
    return rules


def _compare_program(
    run: Application, where: str, program: ProgramEntry, record: ProgramVersion, found: ProgramVersionRow
) -> None:
    rules = _rules(record)
    if program.domestic_models is None:
        # A newer catalogue may know more models; the version keeps the list with which it was published.
        rules.pop("domestic_models")
    different = [name for name in rules if found.rules.get(name) != rules[name]]
    for name in different:
        run.refuse(
            f"{where}.{name}",
            rules[name],
            f"{found.rules.get(name)}, as published; a program changes by a new version",
        )
    if not different:
        run.note("program", f"{program.program_id}/{program.version}", {}, {})


async def _apply_users(run: Application, users: Iterable[UserEntry]) -> None:
    firms = {row.name: row.firm_id for row in await run.session.scalars(select(FirmRow))}
    names = {firm_id: name for name, firm_id in firms.items()}
    known = {row.name: row for row in await run.session.scalars(select(PrincipalRow))}
    for number, user in enumerate(users):
        where = f"users[{number}]"
        if user.firm is not None and user.firm not in firms:
            run.refuse(f"{where}.firm", user.firm, one_of(user.firm, sorted(firms)))
            continue
        row = known.get(user.name)
        if row is None:
            run.note("user", user.name, None, {})
            await run.session.execute(
                insert(PrincipalRow).values(
                    principal_id=run.ids.new(run.now_ms),
                    name=user.name,
                    kind=user.kind,
                    role=user.role.value,
                    firm_id=None if user.firm is None else firms[user.firm],
                )
            )
            continue
        was = (row.role, None if row.firm_id is None else names[row.firm_id], row.kind)
        now = (user.role.value, user.firm, user.kind)
        for name, before, after in zip(("role", "firm", "kind"), was, now, strict=True):
            if before != after:
                want = f"{before}: who somebody is never changes; make another user"
                run.refuse(f"{where}.{name}", after, want)
        if was == now:
            run.note("user", user.name, {}, {})
