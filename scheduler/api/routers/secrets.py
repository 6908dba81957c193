"""Secrets by reference: set, listed without values, deleted."""

import base64
import binascii
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Query, Response

from scheduler.api.auth import SecretManager, SecretReader
from scheduler.api.bodies import body_of, request_body
from scheduler.api.schemas.secrets import SecretIn, SecretOut, SecretsOut, secret_out
from scheduler.api.state import ApiState
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.job_limits import NAME_PATTERN
from scheduler.services.secrets import delete_secret, list_secrets, set_secret

router = APIRouter(prefix="/v1", tags=["secrets"])

_log = structlog.get_logger(__name__)
_EXACT = f"^{NAME_PATTERN}$"
Name = Annotated[str, Path(pattern=_EXACT)]
Project = Annotated[str | None, Query(pattern=_EXACT, description="Absent: the whole firm's.")]


@router.get("/secrets")
async def secrets(api: ApiState, principal: SecretReader) -> SecretsOut:
    """The firm's secrets, without their values."""
    async with api.database.read() as session:
        found = await list_secrets(session, principal)
    return SecretsOut(secrets=[secret_out(one) for one in found])


@router.put("/secrets/{name}", openapi_extra=request_body(SecretIn))
async def put(
    name: Name,
    api: ApiState,
    principal: SecretManager,
    body: Annotated[SecretIn, Depends(body_of(SecretIn))],
    project: Project = None,
) -> SecretOut:
    """Make a secret or replace its value. It is kept encrypted and never shown again."""
    value = _value(body)
    async with api.database.transaction() as session:
        record = await set_secret(
            session,
            principal,
            api.secret_keys,
            name=name,
            project=project,
            value=value,
            now_ms=api.now_ms(),
            ids=api.config.ids,
        )
    _log.info("secret_set", secret_id=record.secret_id, name=name, project=project, by=principal.name)
    return secret_out(record)


@router.delete("/secrets/{name}", status_code=204)
async def remove(name: Name, api: ApiState, principal: SecretManager, project: Project = None) -> Response:
    """Forget a secret. Tasks that run keep what they were given; jobs that name it are not prepared any more."""
    async with api.database.transaction() as session:
        secret_id = await delete_secret(
            session, principal, name, project, now_ms=api.now_ms(), ids=api.config.ids
        )
    _log.info("secret_deleted", secret_id=secret_id, name=name, project=project, by=principal.name)
    return Response(status_code=204)


def _value(body: SecretIn) -> bytes:
    text = body.secret.get_secret_value()
    if body.encoding == "text":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Invalid([FieldProblem("secret", "text that is no base64", "base64 (RFC 4648)")]) from None
