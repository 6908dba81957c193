"""Principals of whom an OpenID Connect issuer vouches for: found, or made at their first sign-in."""

import hashlib
import re
from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Forbidden, Unauthenticated
from scheduler.domain.ids import Ids
from scheduler.domain.issuers import Identity
from scheduler.domain.principals import PRINCIPAL_NAME
from scheduler.services.administration import note_act
from scheduler.storage.direct import Direct
from scheduler.storage.engine import Database
from scheduler.storage.tables import FirmRow, PrincipalRow

USER = "user"
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._@-]+")
_OF_IDENTITIES = """
    SELECT p.issuer, p.subject, p.role, f.name, p.principal_id, p.name, p.kind, p.firm_id, p.disabled_at
    FROM principals p LEFT JOIN firms f USING (firm_id)
    WHERE (p.issuer, p.subject) IN (SELECT * FROM unnest(%(issuers)s::text[], %(subjects)s::text[]))
"""


class Identities:
    """Finds the principals of identities; several at once in one query."""

    def __init__(self, database: Database, direct: Direct, ids: Ids) -> None:
        self._database = database
        self._direct = direct
        self._ids = ids

    async def principals(self, asked: Sequence[Identity], now_ms: int) -> list[Principal | Exception]:
        """The principal of each identity, made where there is none yet.

        Unauthenticated for one that was disabled here, Forbidden for one whose firm does not exist.
        """
        found = await self._known(asked)
        answers: list[Principal | Exception] = []
        for identity in asked:
            if identity.key not in found:
                try:
                    await self._make(identity, now_ms)
                except Forbidden as error:
                    answers.append(error)
                    continue
                found |= await self._known([identity])
            answers.append(
                found.get(identity.key) or Unauthenticated("this principal was just changed: again")
            )
        return [
            answer if isinstance(answer, Exception) else _as_the_rule_says(answer, identity)
            for answer, identity in zip(answers, asked, strict=True)
        ]

    async def _known(
        self, asked: Sequence[Identity]
    ) -> dict[tuple[str, str, str, str | None], Principal | Exception]:
        rows = await self._direct.fetch(
            _OF_IDENTITIES,
            {"issuers": [one.issuer for one in asked], "subjects": [one.subject for one in asked]},
        )
        found: dict[tuple[str, str, str, str | None], Principal | Exception] = {}
        by_key = {one.key: one for one in asked}
        for issuer, subject, role, firm, principal_id, name, kind, firm_id, disabled_at in rows:
            identity = by_key.get((issuer, subject, role, firm))
            if identity is None:
                continue
            found[identity.key] = (
                Principal(principal_id, name, kind, identity.role, firm_id)
                if disabled_at is None
                else Unauthenticated(f"{name} is disabled here")
            )
        return found

    async def _make(self, identity: Identity, now_ms: int) -> None:
        """Make the principal; harmless where another process does so at the same moment. Raises Forbidden."""
        try:
            async with self._database.transaction() as session:
                firm_id = await _firm_id(session, identity)
                principal = Principal(
                    self._ids.new(now_ms),
                    await _free_name(session, identity),
                    USER,
                    identity.role,
                    firm_id,
                )
                await session.execute(
                    insert(PrincipalRow).values(
                        principal_id=principal.principal_id,
                        name=principal.name,
                        kind=principal.kind,
                        role=principal.role.value,
                        firm_id=firm_id,
                        issuer=identity.issuer,
                        subject=identity.subject,
                    )
                )
                # Nobody of this installation did it: the principal came by itself, let in by a rule.
                subject = f"{principal.role.value} {principal.principal_id}"
                await note_act(session, principal, "principal_created", subject, now_ms)
        except IntegrityError:
            return


def _as_the_rule_says(principal: Principal, identity: Identity) -> Principal:
    return Principal(
        principal.principal_id,
        principal.name,
        principal.kind,
        principal.role,
        principal.firm_id,
        identity.scope,
        identity.projects,
    )


async def _firm_id(session: AsyncSession, identity: Identity) -> str | None:
    if identity.firm is None:
        return None
    firm_id = await session.scalar(select(FirmRow.firm_id).where(FirmRow.name == identity.firm))
    if firm_id is None:
        raise Forbidden(
            f"a rule of this installation says that you belong to the firm {identity.firm}, which does not exist: "
            "tell the operator",
            {"firm": identity.firm},
        )
    return firm_id


async def _free_name(session: AsyncSession, identity: Identity) -> str:
    """The name that the issuer gives, made one of ours; with a part of its own where somebody has that name.

    A name alone opens nothing: whoever has the name of a principal that was made here is somebody else.
    """
    plain = _NOT_IN_A_NAME.sub("-", identity.name.lower()).strip("._@-")[:80].strip("._@-")
    mark = hashlib.sha256("\0".join(part or "" for part in identity.key).encode()).hexdigest()[:10]
    if re.fullmatch(PRINCIPAL_NAME, plain) is None:
        return f"user-{mark}"
    taken = await session.scalar(select(PrincipalRow.principal_id).where(PrincipalRow.name == plain))
    return plain if taken is None else f"{plain}-{mark}"
