"""Who calls on the fleet's port: the node named by the client certificate, if its key still stands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler.domain.errors import Forbidden, Unauthenticated
from scheduler.domain.ids import is_uuid
from scheduler.rpc.allowances import Allowances
from scheduler.rpc.statuses import Context
from scheduler.services.evidence import NodeKey, node_key
from scheduler.storage.engine import Database
from scheduler.storage.uninterrupted import whole


def certificate_name(context: Context) -> str:
    """The common name of the peer's certificate, which TLS has verified already. Raises Unauthenticated."""
    names = list(context.auth_context().get("x509_common_name", []))
    name = bytes(names[0]).decode("utf-8", "replace") if len(names) == 1 else ""
    if not is_uuid(name):
        raise Unauthenticated("the client certificate names no node")
    return name


@asynccontextmanager
async def calling(database: Database, allowances: Allowances, context: Context) -> AsyncIterator[NodeKey]:
    """The node that calls, while its call lasts: counted and paced before the database is asked, so that a stolen
    certificate takes no more than its node's part of it.

    Raises TooManyRequests, and what `caller` raises.
    """
    node_id = certificate_name(context)
    allowances.open(node_id)
    try:
        await asyncio.sleep(allowances.pace_s(node_id, 0))
        yield await caller(database, node_id)
    finally:
        allowances.close(node_id)


async def caller(database: Database, node_id: str) -> NodeKey:
    """The node that a certificate names. Raises Forbidden (key revoked), DatabaseAway."""
    key = await whole(_key(database, node_id))
    if key is None:
        raise Forbidden(f"node {node_id} has no key that stands: it was revoked, or never enrolled here")
    return key


async def _key(database: Database, node_id: str) -> NodeKey | None:
    async with database.read() as session:
        return await node_key(session, node_id)
