"""Join tokens: what lets a host become a node of a pool.

The secret is shown once, to the operator who asked for it; the database keeps its SHA-256 alone, which is
enough because the secret has 256 random bits.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.domain.errors import FieldProblem, Invalid, NotFound
from scheduler.domain.ids import RANDOM_BYTES, uuid7
from scheduler.domain.time import DAY_MS, to_datetime
from scheduler.services.administration import MACHINE, note_act
from scheduler.storage.tables import JoinTokenRow, PoolRow

PREFIX = "sjt_"
SECRET_BYTES = 32
MOST_USES = 100_000
MOST_LIFETIME_MS = 366 * DAY_MS


@dataclass(frozen=True, slots=True)
class NewJoinToken:
    """A token as its maker sees it, once. `repr` leaves the secret out."""

    token_id: str
    token: str
    pool: str
    expires_at_ms: int
    uses: int

    def __repr__(self) -> str:
        return f"NewJoinToken({self.token_id}, pool={self.pool!r})"


def token_sha256(token: str) -> bytes:
    """What the database keeps of a token's text."""
    return hashlib.sha256(token.encode("utf-8", errors="surrogatepass")).digest()


async def create_join_token(
    session: AsyncSession,
    *,
    pool: str,
    uses: int,
    lifetime_ms: int,
    created_by: Principal | None,
    now_ms: int,
) -> NewJoinToken:
    """Make a token for `uses` hosts of `pool`, valid for `lifetime_ms` from now.

    Raises Invalid for a number out of range and NotFound where there is no such pool.
    """
    problems = []
    if not 1 <= uses <= MOST_USES:
        problems.append(FieldProblem("uses", str(uses), f"1 to {MOST_USES}"))
    if not 1 <= lifetime_ms <= MOST_LIFETIME_MS:
        problems.append(FieldProblem("lifetime_ms", str(lifetime_ms), f"1 to {MOST_LIFETIME_MS}"))
    if problems:
        raise Invalid(problems)
    if await session.scalar(select(PoolRow.name).where(PoolRow.name == pool)) is None:
        raise NotFound(f"there is no pool named {pool}", {"pool": pool})
    token = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii").rstrip("=")
    made = NewJoinToken(
        token_id=uuid7(now_ms, secrets.token_bytes(RANDOM_BYTES)),
        token=token,
        pool=pool,
        expires_at_ms=now_ms + lifetime_ms,
        uses=uses,
    )
    session.add(
        JoinTokenRow(
            token_id=made.token_id,
            secret_sha256=token_sha256(token),
            pool=pool,
            created_by=MACHINE if created_by is None else created_by.name,
            expires_at=to_datetime(made.expires_at_ms),
            uses_left=uses,
        )
    )
    await session.flush()
    subject = f"{made.token_id} for {uses} nodes"
    await note_act(session, created_by, "join_token_created", subject, now_ms)
    return made
