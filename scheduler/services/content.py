"""Content of firms: objects that are asked for, kept, counted, and forgotten when nobody names them any more.

An object is removed half a day to a day after it was last asked for or named; what an upload or a result names
is named again whenever the tidying runs. Everything is within one firm: no answer depends on what another firm has.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise, require_firm
from scheduler.domain.errors import FieldProblem, Invalid, LimitExceeded
from scheduler.domain.time import DAY_MS, HOUR_MS
from scheduler.storage.tables import ContentObjectRow, ResultRow, UploadRow
from suanli.content.manifest import Manifest
from suanli.content.sizes import told_size

UNNAMED_MS = DAY_MS
NOTED_MS = UNNAMED_MS // 2
UNFINISHED_MS = HOUR_MS
UPLOAD_UNUSED_MS = 14 * DAY_MS
DIGEST_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """A folder that was sent. Times in ms UTC."""

    digest: str
    bytes: int
    files: int
    created_ms: int
    used_ms: int


async def missing_objects(
    session: AsyncSession, firm_id: str, wanted: Collection[str], now_ms: int
) -> list[str]:
    """Which of these hashes the firm does not keep here; those that it keeps stay for half a day at least.

    A use is noted once in half a day: noting it each time would write every row anew every hour.
    """
    if not wanted:
        return []
    row, hashes = ContentObjectRow, sorted(wanted)
    mine = row.firm_id == firm_id, row.sha256.in_(hashes), row.stored
    await session.execute(
        update(row)
        .where(*mine, row.used_ms < now_ms - NOTED_MS)
        .values(used_ms=now_ms)
        .execution_options(synchronize_session=False)
    )
    there = set(await session.scalars(select(row.sha256).where(*mine)))
    return [sha256 for sha256 in wanted if sha256 not in there]


async def lock_content(session: AsyncSession, firm_id: str) -> None:
    """Who counts, names or removes objects of a firm does so one at a time, until the transaction ends."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('content ' || :firm, 0))"), {"firm": firm_id}
    )


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a firm may keep here: bytes, and objects, each of which is a file and a row."""

    bytes: int
    objects: int


USUAL_QUOTA = Quota(bytes=100 << 30, objects=1_000_000)


async def kept(session: AsyncSession, firm_id: str) -> Quota:
    """Bytes and number of all objects that the firm keeps here or is about to. Cost: O(objects of the firm)."""
    row = ContentObjectRow
    query = select(func.coalesce(func.sum(row.bytes), 0), func.count()).where(row.firm_id == firm_id)
    size, number = (await session.execute(query)).one()
    return Quota(int(size), number)


async def reserve_objects(
    session: AsyncSession, firm_id: str, objects: Mapping[str, int], quota: Quota, now_ms: int
) -> None:
    """Count objects (hash -> bytes) that are about to be stored. Raises LimitExceeded where they do not fit.

    Under the firm's lock until the transaction ends, so that no two uploads fit into the same room. What is
    never stored is counted for an hour (`forget_unnamed`).
    """
    await lock_content(session, firm_id)
    row = ContentObjectRow
    known = set(
        await session.scalars(
            select(row.sha256).where(row.firm_id == firm_id, row.sha256.in_(sorted(objects)))
        )
    )
    more = {sha256: size for sha256, size in objects.items() if sha256 not in known}
    if more:
        _require_room(await kept(session, firm_id), more, quota)
    await _write(session, firm_id, objects, now_ms, stored=False)


def _require_room(there: Quota, more: Mapping[str, int], quota: Quota) -> None:
    more_bytes = sum(more.values())
    facts = {
        "kept_bytes": there.bytes, "quota_bytes": quota.bytes, "more_bytes": more_bytes,
        "kept_objects": there.objects, "quota_objects": quota.objects, "more_objects": len(more),
    }  # fmt: skip
    unused = "What no job names for two weeks is removed by itself"
    if there.bytes + more_bytes > quota.bytes:
        raise LimitExceeded(
            f"the firm keeps {told_size(there.bytes)} of uploads and results here, and may keep "
            f"{told_size(quota.bytes)}: {told_size(more_bytes)} more do not fit. {unused}",
            facts,
        )
    if there.objects + len(more) > quota.objects:
        raise LimitExceeded(
            f"the firm keeps {there.objects} objects of uploads and results here, and may keep {quota.objects}: "
            f"{len(more)} more do not fit; pack many small files into one. {unused}",
            facts,
        )


async def note_stored(session: AsyncSession, firm_id: str, objects: Mapping[str, int], now_ms: int) -> None:
    """The firm keeps these now (hash -> bytes): their files are durable."""
    await _write(session, firm_id, objects, now_ms, stored=True)


async def _write(
    session: AsyncSession, firm_id: str, objects: Mapping[str, int], now_ms: int, *, stored: bool
) -> None:
    if not objects:
        return
    rows = [
        {"firm_id": firm_id, "sha256": sha256, "bytes": size, "used_ms": now_ms, "stored": stored}
        for sha256, size in sorted(objects.items())
    ]
    statement = insert(ContentObjectRow).values(rows)
    now_stored = or_(ContentObjectRow.stored, statement.excluded.stored)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[ContentObjectRow.firm_id, ContentObjectRow.sha256],
            set_={"used_ms": statement.excluded.used_ms, "stored": now_stored},
        )
    )


async def register_upload(
    session: AsyncSession, principal: Principal, digest: str, manifest: Manifest, now_ms: int
) -> UploadRecord:
    """Make a folder of objects that are all there. Raises Forbidden, Invalid (which are missing).

    Under the firm's lock, so that none of them is removed between the look and the name.
    """
    authorise(principal, Action.UPLOAD)
    firm_id = require_firm(principal)
    await lock_content(session, firm_id)
    missing = await missing_objects(session, firm_id, [digest, *manifest.objects()], now_ms)
    if missing:
        raise Invalid([FieldProblem("digest", f"{len(missing)} objects not here", "objects sent before")])
    values = {"bytes": manifest.size, "files": len(manifest.files), "used_ms": now_ms}
    statement = insert(UploadRow).values(
        firm_id=firm_id, digest=digest, created_by=principal.principal_id, created_ms=now_ms, **values
    )
    row = (
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=[UploadRow.firm_id, UploadRow.digest], set_={"used_ms": now_ms}
            ).returning(UploadRow.created_ms)
        )
    ).one()
    return UploadRecord(DIGEST_PREFIX + digest, manifest.size, len(manifest.files), row.created_ms, now_ms)


async def list_uploads(session: AsyncSession, principal: Principal, limit: int) -> Sequence[UploadRecord]:
    """The firm's uploads, last used first."""
    authorise(principal, Action.UPLOAD)
    rows = await session.scalars(
        select(UploadRow)
        .where(UploadRow.firm_id == require_firm(principal))
        .order_by(UploadRow.used_ms.desc(), UploadRow.digest)
        .limit(limit)
    )
    return [UploadRecord(DIGEST_PREFIX + r.digest, r.bytes, r.files, r.created_ms, r.used_ms) for r in rows]


async def use_uploads(
    session: AsyncSession, firm_id: str, digests: Sequence[str | None], now_ms: int
) -> None:
    """A job names these (`sha256:...`, by their place in its inputs). Raises Invalid for one that is not there."""
    wanted = {d.removeprefix(DIGEST_PREFIX) for d in digests if d is not None}
    if not wanted:
        return
    there = set(
        await session.scalars(
            update(UploadRow)
            .where(UploadRow.firm_id == firm_id, UploadRow.digest.in_(sorted(wanted)))
            .values(used_ms=func.greatest(UploadRow.used_ms, now_ms))
            .returning(UploadRow.digest)
        )
    )
    problems = [
        FieldProblem(
            f"inputs[{n}].digest", d, "an upload of your firm: suanli submit --upload FOLDER sends it"
        )
        for n, d in enumerate(digests)
        if d is not None and d.removeprefix(DIGEST_PREFIX) not in there
    ]
    if problems:
        raise Invalid(problems)


@dataclass(frozen=True, slots=True)
class Named:
    """Manifests that a firm's uploads and results name."""

    firm_id: str
    digests: frozenset[str]


_LIVE_INPUTS = text(
    "SELECT DISTINCT j.firm_id, input ->> 'digest' AS digest FROM jobs j "
    "JOIN job_states s ON s.firm_id = j.firm_id AND s.job_id = j.job_id "
    "CROSS JOIN LATERAL jsonb_array_elements(coalesce(j.spec -> 'inputs', '[]'::jsonb)) AS input "
    "WHERE s.state NOT IN ('succeeded', 'failed', 'cancelled') AND input ->> 'digest' IS NOT NULL"
)


async def forget_unused(session: AsyncSession, now_ms: int) -> list[Named]:
    """Forget uploads that nothing has used for long and results past their time; what is named is returned."""
    live = {
        (row.firm_id, str(row.digest).removeprefix(DIGEST_PREFIX))
        for row in await session.execute(_LIVE_INPUTS)
    }
    old = await session.execute(
        select(UploadRow.firm_id, UploadRow.digest).where(UploadRow.used_ms < now_ms - UPLOAD_UNUSED_MS)
    )
    for firm_id, digest in old:
        if (firm_id, digest) not in live:
            await session.execute(
                delete(UploadRow).where(UploadRow.firm_id == firm_id, UploadRow.digest == digest)
            )
    await session.execute(delete(ResultRow).where(ResultRow.keep_until_ms < now_ms))
    named: dict[str, set[str]] = {
        firm_id: set() for firm_id in await session.scalars(select(ContentObjectRow.firm_id).distinct())
    }
    for firm_id, digest in await session.execute(select(UploadRow.firm_id, UploadRow.digest)):
        named.setdefault(firm_id, set()).add(digest)
    results = select(ResultRow.firm_id, ResultRow.digest).where(ResultRow.digest.is_not(None))
    for firm_id, manifest in await session.execute(results):
        named.setdefault(firm_id, set()).add(str(manifest))
    return [Named(firm_id, frozenset(digests)) for firm_id, digests in sorted(named.items())]


async def forget_unnamed(session: AsyncSession, firm_id: str, now_ms: int) -> list[str]:
    """Objects that nobody named or asked for within a day, or did not finish within an hour: their rows go.

    Their files may go too, by `still_unknown`.
    """
    await lock_content(session, firm_id)
    row = ContentObjectRow
    unfinished = and_(~row.stored, row.used_ms < now_ms - UNFINISHED_MS)
    return list(
        await session.scalars(
            delete(row)
            .where(row.firm_id == firm_id, or_(row.used_ms < now_ms - UNNAMED_MS, unfinished))
            .returning(row.sha256)
        )
    )


async def still_unknown(session: AsyncSession, firm_id: str, forgotten: Sequence[str]) -> list[str]:
    """Which of the forgotten objects nobody is storing again. Nobody begins to until the transaction ends."""
    await lock_content(session, firm_id)
    row = ContentObjectRow
    again = set(
        await session.scalars(select(row.sha256).where(row.firm_id == firm_id, row.sha256.in_(forgotten)))
    )
    return [sha256 for sha256 in forgotten if sha256 not in again]
