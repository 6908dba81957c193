"""The tidying of content: once an hour on one API process, harmless on several."""

import asyncio

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.services.content import Named, forget_unnamed, forget_unused, missing_objects, still_unknown
from scheduler.storage.content import ContentStore
from scheduler.storage.engine import Database
from suanli.content.manifest import ContentError, parse_manifest

_BATCH = 1_000

_log = structlog.get_logger(__name__)


async def tidy_content(database: Database, store: ContentStore, now_ms: int) -> int:
    """Forget what nobody uses; returns how many objects went. Raises DatabaseAway, OSError."""
    async with database.transaction() as session:
        named = await forget_unused(session, now_ms)
    gone = 0
    for firm in named:
        async with database.transaction() as session:
            whole = await _name_again(session, store, firm, now_ms)
            # Where a manifest cannot be read nobody knows what it names: nothing of the firm is removed.
            unnamed = await forget_unnamed(session, firm.firm_id, now_ms) if whole else []
        # Rows first: a row without a file is a promise broken. Files a batch at a time under the firm's lock, so
        # that none is removed that somebody has begun to send again.
        for begin in range(0, len(unnamed), _BATCH):
            async with database.transaction() as session:
                for sha256 in await still_unknown(session, firm.firm_id, unnamed[begin : begin + _BATCH]):
                    await asyncio.to_thread(store.delete, firm.firm_id, sha256)
        gone += len(unnamed)
    if gone:
        _log.info("content_forgotten", objects=gone)
    return gone


async def _name_again(session: AsyncSession, store: ContentStore, firm: Named, now_ms: int) -> bool:
    for digest in firm.digests:
        data = await asyncio.to_thread(store.get, firm.firm_id, digest)
        try:
            objects = [] if data is None else [digest, *parse_manifest(data).objects()]
        except ContentError:
            objects = []
        if not objects:
            _log.error("manifest_unreadable", firm_id=firm.firm_id, digest=digest)
            return False
        for begin in range(0, len(objects), _BATCH):
            await missing_objects(session, firm.firm_id, objects[begin : begin + _BATCH], now_ms)
    return True
