"""Content of firms: objects that are asked for, kept, counted, and forgotten when nobody names them any more.

An object is removed half a day to a day after it was last asked for or named; what an upload or a result names
is named again whenever the tidying runs. Everything is within one firm: no answer depends on what another firm has.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import FieldProblem, Invalid, LimitExceeded
from scheduler.domain.time import DAY_MS
from scheduler.services.authorise import Action, Principal, authorise, require_firm
from scheduler.storage.tables import ContentObjectRow, ResultRow, UploadRow
from suanli.content.manifest import Manifest

UNNAMED_MS = DAY_MS
NOTED_MS = UNNAMED_MS // 2
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
    mine = row.firm_id == firm_id, row.sha256.in_(hashes)
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


async def kept_bytes(session: AsyncSession, firm_id: str) -> int:
    """Bytes of all objects that the firm keeps here."""
    query = select(func.coalesce(func.sum(ContentObjectRow.bytes), 0)).where(
        ContentObjectRow.firm_id == firm_id
    )
    return int(await session.scalar(query) or 0)


async def require_room(session: AsyncSession, firm_id: str, more_bytes: int, quota_bytes: int) -> None:
    """Raise LimitExceeded where the firm would keep more than its quota."""
    kept = await kept_bytes(session, firm_id)
    if kept + more_bytes > quota_bytes:
        raise LimitExceeded(
            f"the firm keeps {kept} bytes of uploads and results here, and may keep {quota_bytes}: "
            f"{more_bytes} more do not fit. What no job names for two weeks is removed by itself",
            {"kept_bytes": kept, "quota_bytes": quota_bytes, "more_bytes": more_bytes},
        )


async def note_objects(session: AsyncSession, firm_id: str, objects: Mapping[str, int], now_ms: int) -> None:
    """The firm keeps these now (hash -> bytes)."""
    if not objects:
        return
    rows = [
        {"firm_id": firm_id, "sha256": sha256, "bytes": size, "used_ms": now_ms}
        for sha256, size in sorted(objects.items())
    ]
    statement = insert(ContentObjectRow).values(rows)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[ContentObjectRow.firm_id, ContentObjectRow.sha256],
            set_={"used_ms": statement.excluded.used_ms},
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
        raise Invalid(
            [FieldProblem("digest", f"{len(missing)} objects that are not here", "objects sent before")]
        )
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
    """Objects that nobody named or asked for within a day: their rows are gone at commit, their files may go."""
    await lock_content(session, firm_id)
    return list(
        await session.scalars(
            delete(ContentObjectRow)
            .where(ContentObjectRow.firm_id == firm_id, ContentObjectRow.used_ms < now_ms - UNNAMED_MS)
            .returning(ContentObjectRow.sha256)
        )
    )
