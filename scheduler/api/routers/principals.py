"""Who calls: principals and API keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from scheduler.api.auth import KeyOwner, PrincipalManager, WhoeverCalls
from scheduler.api.bodies import body_of, request_body
from scheduler.api.idempotency import IdempotencyKey, once
from scheduler.api.schemas.principals import (
    ApiKeyIn,
    ApiKeysOut,
    IssuersOut,
    NewApiKeyOut,
    PrincipalIn,
    PrincipalOut,
    PrincipalsOut,
    WhoamiOut,
    api_key_out,
    issuer_out,
    new_api_key_out,
    principal_out,
)
from scheduler.api.state import ApiState
from scheduler.domain.principals import Scope
from scheduler.services.firms import firm_name
from scheduler.services.principals import (
    create_api_key,
    create_principal,
    disable_principal,
    list_api_keys,
    list_principals,
    revoke_api_key,
)

router = APIRouter(prefix="/v1", tags=["principals"])


@router.get("/whoami")
async def whoami(api: ApiState, principal: WhoeverCalls) -> WhoamiOut:
    """Who calls: name, role, firm, and the projects where they may act."""
    async with api.database.read() as session:
        firm = await firm_name(session, principal.firm_id)
    projects = None if principal.projects is None else list(principal.projects)
    return WhoamiOut(
        name=principal.name,
        kind=principal.kind,
        role=principal.role.value,
        firm=firm,
        firm_id=principal.firm_id,
        projects=projects,
    )


@router.get("/issuers")
async def issuers(api: ApiState) -> IssuersOut:
    """Where people sign in. Open to everybody: who signs in has no key yet."""
    return IssuersOut(issuers=[issuer_out(issuer) for issuer in api.tokens.issuers])


@router.get("/principals")
async def principals(api: ApiState, principal: PrincipalManager) -> PrincipalsOut:
    """Principals that the caller manages."""
    async with api.database.read() as session:
        records = await list_principals(session, principal)
    return PrincipalsOut(principals=[principal_out(record) for record in records])


@router.post(
    "/principals", status_code=201, response_model=PrincipalOut, openapi_extra=request_body(PrincipalIn)
)
async def create(
    request: Request,
    api: ApiState,
    principal: PrincipalManager,
    body: Annotated[PrincipalIn, Depends(body_of(PrincipalIn))],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make a user or a service token's principal. A firm administrator: of the own firm."""
    async with api.database.transaction() as session:

        async def work() -> PrincipalOut:
            record = await create_principal(
                session,
                principal,
                name=body.name,
                role=body.role,
                firm=body.firm,
                kind=body.kind,
                now_ms=api.now_ms(),
                ids=api.config.ids,
            )
            return principal_out(record)

        return await once(session, principal, idempotency_key, request, work)


@router.post("/principals/{name}/disable", status_code=204)
async def disable(name: str, api: ApiState, principal: PrincipalManager) -> Response:
    """End every key of a principal at once and for good."""
    async with api.database.transaction() as session:
        await disable_principal(session, principal, name, api.now_ms())
    return Response(status_code=204)


@router.get("/api-keys")
async def keys(api: ApiState, principal: KeyOwner) -> ApiKeysOut:
    """Keys that the caller may revoke, without their texts."""
    async with api.database.read() as session:
        records = await list_api_keys(session, principal)
    return ApiKeysOut(api_keys=[api_key_out(record) for record in records])


@router.post("/api-keys", status_code=201, response_model=NewApiKeyOut, openapi_extra=request_body(ApiKeyIn))
async def create_key(
    request: Request,
    api: ApiState,
    principal: KeyOwner,
    body: Annotated[ApiKeyIn, Depends(body_of(ApiKeyIn))],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make a key for oneself, or for a principal that one manages. Its text is shown this once.

    A repetition with the same Idempotency-Key makes no second key and is a conflict that names the first.
    """
    async with api.database.transaction() as session:

        async def work() -> NewApiKeyOut:
            made = await create_api_key(
                session,
                principal,
                principal=body.principal,
                expires_in_days=body.expires_in_days,
                scope=Scope(body.scope),
                now_ms=api.now_ms(),
                ids=api.config.ids,
            )
            return new_api_key_out(made)

        return await once(session, principal, idempotency_key, request, work, shown_once="api_key")


@router.delete("/api-keys/{api_key_id}", status_code=204)
async def revoke_key(api_key_id: str, api: ApiState, principal: KeyOwner) -> Response:
    """End a key at once."""
    async with api.database.transaction() as session:
        await revoke_api_key(session, principal, api_key_id, api.now_ms())
    return Response(status_code=204)
