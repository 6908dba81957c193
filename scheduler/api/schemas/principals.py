"""Principals and API keys over HTTP."""

from typing import Annotated, Literal

from pydantic import Field

from scheduler.api.schemas.base import In, Out, utc, utc_or_none
from scheduler.domain.issuers import Issuer
from scheduler.services.principals import ApiKeyRecord, NewApiKey, PrincipalRecord

ScopeName = Literal["read", "jobs", "administration"]
RoleName = Literal["researcher", "firm_administrator", "operator", "auditor"]


class WhoamiOut(Out):
    """Who calls."""

    name: str
    kind: str
    role: str
    firm: str | None
    firm_id: str | None = Field(description="As bundles, statements and the evidence log name the firm.")
    projects: list[str] | None = Field(description="Where they may act; null: in all of the firm's projects.")


class IssuerOut(Out):
    """Where people sign in, and what a program that does so for them says there."""

    issuer: str
    client_id: str
    scopes: list[str]


class IssuersOut(Out):
    """OpenID Connect issuers that the operator trusts; none: API keys alone open this installation."""

    issuers: list[IssuerOut]


def issuer_out(issuer: Issuer) -> IssuerOut:
    """An issuer for the wire: nothing of its rules."""
    return IssuerOut(issuer=issuer.url, client_id=issuer.client_id, scopes=list(issuer.scopes))


class PrincipalIn(In):
    """A user or a service token's principal. Researchers and firm administrators belong to a firm."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    role: RoleName
    firm: str | None = None
    kind: Literal["user", "service"] = "user"


class PrincipalOut(Out):
    """A principal."""

    name: str
    kind: str
    role: str
    firm: str | None
    created_at: str
    disabled: bool
    issuer: str | None = Field(description="Where they sign in; null: here, with API keys.")


class PrincipalsOut(Out):
    """Principals by name."""

    principals: list[PrincipalOut]


def principal_out(record: PrincipalRecord) -> PrincipalOut:
    """A principal for the wire."""
    return PrincipalOut(
        name=record.name,
        kind=record.kind,
        role=record.role,
        firm=record.firm,
        created_at=utc(record.created_ms),
        disabled=record.disabled,
        issuer=record.issuer,
    )


class ApiKeyIn(In):
    """A key for a principal; absent: for oneself."""

    principal: str | None = None
    expires_in_days: Annotated[int | None, Field(ge=1, le=3660)] = None
    scope: Annotated[
        ScopeName,
        Field(
            description="read: look at what the principal may see; jobs: also submit, change and cancel jobs; "
            "administration: everything that the principal may."
        ),
    ] = "administration"


class NewApiKeyOut(Out):
    """The key's text is shown this once."""

    api_key_id: str
    api_key: str
    principal: str
    scope: str
    expires_at: str | None


def new_api_key_out(made: NewApiKey) -> NewApiKeyOut:
    """A new key for the wire."""
    return NewApiKeyOut(
        api_key_id=made.api_key_id,
        api_key=made.secret,
        principal=made.principal,
        scope=made.scope,
        expires_at=utc_or_none(made.expires_ms),
    )


class ApiKeyOut(Out):
    """A key without its text."""

    api_key_id: str
    principal: str
    scope: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class ApiKeysOut(Out):
    """Keys that the caller may revoke."""

    api_keys: list[ApiKeyOut]


def api_key_out(record: ApiKeyRecord) -> ApiKeyOut:
    """A key for the wire."""
    return ApiKeyOut(
        api_key_id=record.api_key_id,
        principal=record.principal,
        scope=record.scope,
        created_at=utc(record.created_ms),
        expires_at=utc_or_none(record.expires_ms),
        revoked_at=utc_or_none(record.revoked_ms),
    )
