"""Nodes, pools, join tokens."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from scheduler.api.auth import CatalogueReader, JoinTokenMaker, NodeCordoner, NodeReader
from scheduler.api.bodies import body_of, request_body
from scheduler.api.idempotency import IdempotencyKey, once
from scheduler.api.schemas.nodes import (
    CordonIn,
    CordonOut,
    JoinTokenIn,
    JoinTokenOut,
    NodesOut,
    PoolsOut,
    join_token_out,
    nodes_out,
    pool_out,
)
from scheduler.api.state import ApiState
from scheduler.services.join_tokens import create_join_token
from scheduler.services.nodes import cordon_node, list_nodes, list_pools

router = APIRouter(prefix="/v1", tags=["nodes"])


@router.get("/nodes")
async def nodes(api: ApiState, principal: NodeReader) -> NodesOut:
    """Operators and auditors: all nodes. A firm's people: those that run their tasks, and what is free."""
    async with api.database.read() as session:
        return nodes_out(await list_nodes(session, principal))


@router.post("/nodes/{node}/cordon", status_code=202, openapi_extra=request_body(CordonIn))
async def cordon(
    node: str,
    api: ApiState,
    principal: NodeCordoner,
    body: Annotated[CordonIn, Depends(body_of(CordonIn))],
) -> CordonOut:
    """Place no new tasks on a node (its id or name), or do so again."""
    async with api.database.transaction() as session:
        node_id = await cordon_node(
            session, principal, node, cordoned=body.cordoned, now_ms=api.now_ms(), ids=api.config.ids
        )
    return CordonOut(node_id=node_id, cordoned=body.cordoned)


@router.get("/pools")
async def pools(api: ApiState, principal: CatalogueReader) -> PoolsOut:
    """Pools with their nodes and devices."""
    async with api.database.read() as session:
        found = await list_pools(session, principal)
    return PoolsOut(pools=[pool_out(pool, of_operators=principal.firm_id is None) for pool in found])


@router.post(
    "/join-tokens", status_code=201, response_model=JoinTokenOut, openapi_extra=request_body(JoinTokenIn)
)
async def join_token(
    request: Request,
    api: ApiState,
    principal: JoinTokenMaker,
    body: Annotated[JoinTokenIn, Depends(body_of(JoinTokenIn))],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make a token with which hosts become nodes of a pool. Its text is shown this once."""
    async with api.database.transaction() as session:

        async def work() -> JoinTokenOut:
            made = await create_join_token(
                session,
                pool=body.pool,
                uses=body.uses,
                lifetime_ms=body.lifetime_seconds * 1000,
                created_by=principal,
                now_ms=api.now_ms(),
            )
            return join_token_out(made)

        return await once(session, principal, idempotency_key, request, work, shown_once="token")
