"""Principals and their API keys. A key's secret is shown once; only its SHA-256 is kept."""

import base64
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.errors import Conflict, FieldProblem, Forbidden, Invalid, NotFound, Unauthenticated
from scheduler.domain.ids import Ids
from scheduler.domain.principals import FIRM_ROLES, PRINCIPAL_NAME, PRINCIPAL_NAME_WANTED, Role, Scope
from scheduler.domain.time import DAY_MS, from_datetime, to_datetime
from scheduler.services.administration import note_act
from scheduler.storage.direct import Direct
from scheduler.storage.gathered import Gathered
from scheduler.storage.tables import ApiKeyRow, FirmRow, PrincipalRow

KEY_PREFIX = "sk_"
KEY_RANDOM_BYTES = 32
_KEY = re.compile(r"sk_[A-Za-z0-9_-]{43}")
MOST_KEY_DAYS = 3660
MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class PrincipalRecord:
    """A principal as shown to those who manage principals."""

    principal_id: str
    name: str
    kind: str
    role: str
    firm: str | None
    created_ms: int
    disabled: bool
    issuer: str | None = None  # where they sign in; None: with API keys


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key at the only moment when its secret is known."""

    api_key_id: str
    principal: str
    secret: str
    scope: str
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A key without its secret."""

    api_key_id: str
    principal: str
    scope: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None


def digest(secret: str) -> bytes:
    """What is kept of a key. The secret has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def new_secret(ids: Ids) -> str:
    """`sk_` and 43 characters of base64url (32 random bytes)."""
    return KEY_PREFIX + base64.urlsafe_b64encode(ids.random_bytes(KEY_RANDOM_BYTES)).rstrip(b"=").decode()


_OF_KEYS = """
    SELECT k.secret_sha256, k.expires_at, k.scope, p.principal_id, p.name, p.kind, p.role, p.firm_id
    FROM api_keys k JOIN principals p USING (principal_id)
    WHERE k.secret_sha256 = ANY(%(digests)s) AND k.revoked_at IS NULL AND p.disabled_at IS NULL
"""


class Keyring:
    """Whose API keys are, asked of the database by one query for all that come together, and remembered.

    What is remembered opens nothing: it serves a statement that asks by itself whether the key is still good, as a
    question of its own is half of a submission's round trips. Of a principal and a key nothing but that ever changes.
    """

    def __init__(self, database: Direct, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms
        self._asked: Gathered[str, Principal] = Gathered(self._ask)
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()

    async def __call__(self, secret: str) -> Principal:
        """The principal of a key that is good now. Raises Unauthenticated."""
        return await self._asked(secret)

    async def close(self) -> None:
        """End what is under way."""
        await self._asked.close()

    def remembered(self, sha256: bytes) -> Principal | None:
        """Whose key this digest is, if it was good when it was last asked for."""
        return self._remembered.get(sha256)

    async def _ask(self, secrets: Sequence[str]) -> list[Principal | Exception]:
        """The index compares digests of secrets, which nobody can steer: its timing tells nothing."""
        digests = {secret: digest(secret) for secret in secrets if _KEY.fullmatch(secret)}
        found: dict[bytes, Principal] = {}
        if digests:
            now = to_datetime(self._now_ms())
            rows = await self._database.fetch(_OF_KEYS, {"digests": list(digests.values())})
            for sha256, expires_at, scope, principal_id, name, kind, role, firm_id in rows:
                if expires_at is None or expires_at > now:
                    found[sha256] = Principal(principal_id, name, kind, Role(role), firm_id, Scope(scope))
        for sha256 in digests.values():
            self._remembered.pop(sha256, None)
        self._remembered.update(found)
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return [found.get(digests.get(secret, b"")) or unknown_key() for secret in secrets]


def unknown_key() -> Unauthenticated:
    """The refusal, which says nothing about which part was wrong."""
    return Unauthenticated("this API key is unknown, revoked or expired")


async def create_principal(
    session: AsyncSession,
    actor: Principal | None,
    *,
    name: str,
    role: str,
    firm: str | None,
    kind: str,
    now_ms: int,
    ids: Ids,
) -> PrincipalRecord:
    """Create a user or a service token's principal.

    `actor` None is the administrator at the machine itself (bootstrap). A firm administrator creates
    researchers and administrators of the own firm only. Raises Invalid, Forbidden, Conflict.
    """
    wanted = _checked_role(name, role, firm)
    firm_id = await _firm_id(session, firm) if firm is not None else None
    if actor is not None:
        authorise(actor, Action.MANAGE_PRINCIPALS)
        if actor.firm_id is not None and firm_id != actor.firm_id:
            raise Forbidden("a firm administrator creates principals of the own firm only")
    existing = await session.scalar(select(PrincipalRow.principal_id).where(PrincipalRow.name == name))
    if existing is not None:
        raise Conflict(f"there already is a principal named {name}", {"name": name})
    principal_id = ids.new(now_ms)
    await session.execute(
        insert(PrincipalRow).values(
            principal_id=principal_id, name=name, kind=kind, role=wanted.value, firm_id=firm_id
        )
    )
    await note_act(session, actor, "principal_created", f"{wanted.value} {principal_id}", now_ms)
    return PrincipalRecord(principal_id, name, kind, wanted.value, firm, now_ms, False)


def _checked_role(name: str, role: str, firm: str | None) -> Role:
    problems = []
    if re.fullmatch(PRINCIPAL_NAME, name) is None:
        problems.append(FieldProblem("name", repr(name)[:80], PRINCIPAL_NAME_WANTED))
    if role not in list(Role):
        problems.append(FieldProblem("role", repr(role)[:80], "one of " + ", ".join(Role)))
    elif (role in FIRM_ROLES) != (firm is not None):
        want = "the name of a firm" if role in FIRM_ROLES else f"nothing: {role}s belong to no firm"
        problems.append(FieldProblem("firm", repr(firm) if firm is not None else "nothing", want))
    if problems:
        raise Invalid(problems)
    return Role(role)


async def _firm_id(session: AsyncSession, name: str) -> str:
    firm_id = await session.scalar(select(FirmRow.firm_id).where(FirmRow.name == name))
    if firm_id is None:
        names = (await session.scalars(select(FirmRow.name).order_by(FirmRow.name).limit(20))).all()
        raise Invalid(
            [FieldProblem("firm", repr(name), "one of " + (", ".join(names) or "(no firm exists yet)"))]
        )
    return firm_id


async def list_principals(session: AsyncSession, actor: Principal) -> Sequence[PrincipalRecord]:
    """All principals for operators, the own firm's for firm administrators."""
    authorise(actor, Action.MANAGE_PRINCIPALS)
    query = (
        select(PrincipalRow, FirmRow.name)
        .outerjoin(FirmRow, FirmRow.firm_id == PrincipalRow.firm_id)
        .order_by(PrincipalRow.name)
    )
    if actor.firm_id is not None:
        query = query.where(PrincipalRow.firm_id == actor.firm_id)
    return [
        PrincipalRecord(
            row.principal_id,
            row.name,
            row.kind,
            row.role,
            firm,
            from_datetime(row.created_at),
            row.disabled_at is not None,
            row.issuer,
        )
        for row, firm in await session.execute(query)
    ]


async def disable_principal(session: AsyncSession, actor: Principal, name: str, now_ms: int) -> None:
    """End every key of a principal at once and for good."""
    authorise(actor, Action.MANAGE_PRINCIPALS)
    target = await _find(session, actor, name)
    if target.principal_id == actor.principal_id:
        raise Conflict("nobody can disable themselves: the installation might lose its last operator")
    disabled = await session.scalar(
        update(PrincipalRow)
        .where(PrincipalRow.principal_id == target.principal_id, PrincipalRow.disabled_at.is_(None))
        .values(disabled_at=to_datetime(now_ms))
        .returning(PrincipalRow.principal_id)
    )
    if disabled is not None:
        await note_act(session, actor, "principal_disabled", disabled, now_ms)


async def create_api_key(
    session: AsyncSession,
    actor: Principal | None,
    *,
    principal: str | None,
    expires_in_days: int | None,
    now_ms: int,
    ids: Ids,
    scope: Scope = Scope.ADMINISTRATION,
) -> NewApiKey:
    """Make a key for a principal (None: for oneself). Raises Forbidden, NotFound, Invalid."""
    if expires_in_days is not None and not 1 <= expires_in_days <= MOST_KEY_DAYS:
        raise Invalid(
            [
                FieldProblem(
                    "expires_in_days", str(expires_in_days), f"a whole number from 1 to {MOST_KEY_DAYS}"
                )
            ]
        )
    if actor is not None:
        authorise(actor, Action.MANAGE_OWN_KEYS)
        principal = principal or actor.name
        if principal != actor.name:
            authorise(actor, Action.MANAGE_PRINCIPALS)
    elif principal is None:
        raise Invalid([FieldProblem("principal", "nothing", "the name of a principal")])
    target = await _find(session, actor, principal)
    if target.disabled_at is not None:
        raise Conflict(f"{principal} is disabled")
    if target.issuer is not None:
        # A key would outlive the sign-in, and know nothing of the rule's projects and scope.
        raise Conflict(
            f"{principal} signs in at {target.issuer}, which alone vouches for them: no keys are made here. "
            "For a program, make a principal of its own (suanli users create NAME --service)"
        )
    secret = new_secret(ids)
    api_key_id = ids.new(now_ms)
    expires_ms = None if expires_in_days is None else now_ms + expires_in_days * DAY_MS
    await session.execute(
        insert(ApiKeyRow).values(
            api_key_id=api_key_id,
            principal_id=target.principal_id,
            secret_sha256=digest(secret),
            scope=scope.value,
            expires_at=None if expires_ms is None else to_datetime(expires_ms),
        )
    )
    subject = f"{api_key_id} of {target.principal_id}"
    await note_act(session, actor, "api_key_created", subject, now_ms)
    return NewApiKey(api_key_id, target.name, secret, scope.value, expires_ms)


async def _find(session: AsyncSession, actor: Principal | None, name: str) -> PrincipalRow:
    row = await session.scalar(select(PrincipalRow).where(PrincipalRow.name == name))
    visible = actor is None or actor.firm_id is None or (row is not None and row.firm_id == actor.firm_id)
    if row is None or not visible:
        raise NotFound(f"there is no principal named {name}")
    return row


async def list_api_keys(session: AsyncSession, actor: Principal) -> Sequence[ApiKeyRecord]:
    """The keys that the actor may revoke: own ones, and those of the principals that the actor manages."""
    authorise(actor, Action.MANAGE_OWN_KEYS)
    query = (
        select(ApiKeyRow, PrincipalRow.name)
        .join(PrincipalRow, PrincipalRow.principal_id == ApiKeyRow.principal_id)
        .order_by(PrincipalRow.name, ApiKeyRow.created_at, ApiKeyRow.api_key_id)
    )
    if actor.role is Role.FIRM_ADMINISTRATOR:
        query = query.where(PrincipalRow.firm_id == actor.firm_id)
    elif actor.role is not Role.OPERATOR:
        query = query.where(PrincipalRow.principal_id == actor.principal_id)
    return [
        ApiKeyRecord(
            key.api_key_id,
            name,
            key.scope,
            from_datetime(key.created_at),
            None if key.expires_at is None else from_datetime(key.expires_at),
            None if key.revoked_at is None else from_datetime(key.revoked_at),
        )
        for key, name in await session.execute(query)
    ]


async def revoke_api_key(session: AsyncSession, actor: Principal, api_key_id: str, now_ms: int) -> None:
    """End a key. Twice has one effect. Raises NotFound for keys that the actor does not manage."""
    authorise(actor, Action.MANAGE_OWN_KEYS)
    owner = (
        await session.execute(
            select(PrincipalRow.principal_id, PrincipalRow.firm_id)
            .join(ApiKeyRow, ApiKeyRow.principal_id == PrincipalRow.principal_id)
            .where(ApiKeyRow.api_key_id == api_key_id)
        )
    ).one_or_none()
    managed = owner is not None and (
        owner.principal_id == actor.principal_id
        or actor.role is Role.OPERATOR
        or (actor.role is Role.FIRM_ADMINISTRATOR and owner.firm_id == actor.firm_id)
    )
    if not managed:
        raise NotFound(f"there is no API key {api_key_id}")
    revoked = await session.scalar(
        update(ApiKeyRow)
        .where(ApiKeyRow.api_key_id == api_key_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=to_datetime(now_ms))
        .returning(ApiKeyRow.api_key_id)
    )
    if revoked is not None:
        await note_act(session, actor, "api_key_revoked", revoked, now_ms)


async def count_operators(session: AsyncSession) -> int:
    """How many operators exist: none right after the installation."""
    return (
        await session.scalar(
            select(func.count()).where(
                PrincipalRow.role == Role.OPERATOR.value, PrincipalRow.disabled_at.is_(None)
            )
        )
    ) or 0
