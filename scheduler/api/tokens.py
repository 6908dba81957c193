"""Bearer tokens of OpenID Connect issuers: ID tokens, and access tokens that are JWTs (RFC 9068).

Nothing of a token is believed before its signature: its `iss` only chooses among the issuers that the operator
named, its `alg` only among the signatures that the operator allows for that issuer.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

from scheduler.api.key_sets import Fetch, KeySet, fetcher
from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Unauthenticated
from scheduler.domain.issuers import Identity, Issuer, identity_of
from scheduler.services.identities import Identities
from scheduler.storage.gathered import Gathered

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,2000}\.[A-Za-z0-9_-]{1,30000}\.[A-Za-z0-9_-]{1,4000}")
# How long a verified token is known by its digest: a key that the issuer withdraws ends its tokens within this time.
KNOWN_MS = 300_000
MOST_KNOWN = 10_000
LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
_JWT = jwt.PyJWT({"verify_exp": False, "verify_nbf": False, "verify_iat": False})  # by our own clock, below


class Tokens:
    """Verifies tokens and knows the principals behind them."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        identities: Identities,
        now_ms: Callable[[], int],
        fetch_for: Callable[[Issuer], Fetch] = fetcher,
    ) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._keys = {issuer.url: KeySet(issuer, fetch_for(issuer), now_ms) for issuer in issuers}
        self._now_ms = now_ms
        self._known: OrderedDict[bytes, tuple[Identity, int]] = OrderedDict()

        async def principals(asked: Sequence[Identity]) -> Sequence[Principal | Exception]:
            return await identities.principals(asked, now_ms())

        self._principals = Gathered(principals)

    @property
    def issuers(self) -> Sequence[Issuer]:
        """The issuers in the operator's order."""
        return list(self._issuers.values())

    async def principal(self, token: str) -> Principal:
        """Whom a token speaks for, now: whoever was disabled here is let in no more.

        Raises Unauthenticated, Forbidden (nobody said who that is here), Unavailable (the issuer's keys).
        """
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None or known[1] <= self._now_ms():
            known = await self._verified(token)
            self._known[digest] = known
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return await self._principals(known[0])

    async def _verified(self, token: str) -> tuple[Identity, int]:
        """The identity, and until when (ms UTC) that is known without looking again."""
        if TOKEN.fullmatch(token) is None:
            raise Unauthenticated("the token is neither an API key nor a JWT of three parts")
        try:
            header = jwt.get_unverified_header(token)
            claimed = _JWT.decode(token, options={"verify_signature": False})
            issuer = self._issuers.get(str(claimed.get("iss")))
            if issuer is None:
                raise Unauthenticated("the token is of an issuer that this installation does not trust")
            algorithm = header.get("alg")
            if algorithm not in issuer.algorithms:
                want = ", ".join(issuer.algorithms)
                raise Unauthenticated(f"the token is signed in a way that is not allowed here ({want})")
            if str(header.get("typ", "JWT")).lower() not in _TYPES:
                raise Unauthenticated("the token is neither an ID token nor an access token")
            key = await self._keys[issuer.url].key(header.get("kid"), algorithm)
            claims = _JWT.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=issuer.audiences,
                issuer=issuer.url,
                options={
                    "require": ["exp", "iat", "iss", "aud", "sub"],
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.PyJWTError, RecursionError) as error:
            raise Unauthenticated(
                f"the token is not good: {str(error)[:200] or type(error).__name__}"
            ) from error
        until_ms = _require_now(claims, self._now_ms(), issuer.leeway_ms)
        if not 1 <= len(claims["sub"]) <= LONGEST_SUBJECT or not claims["sub"].isprintable():
            raise Unauthenticated(f"the token's subject is not 1 to {LONGEST_SUBJECT} printable characters")
        return identity_of(issuer, claims), min(until_ms, self._now_ms() + KNOWN_MS)


def _require_now(claims: Mapping[str, Any], now_ms: int, leeway_ms: int) -> int:
    """Until when (ms UTC) the token is good. Raises Unauthenticated for one that is too old or too young."""
    expires_ms = _moment_ms(claims, "exp") + leeway_ms
    if expires_ms <= now_ms:
        raise Unauthenticated("the token has expired: sign in again (suanli login)")
    for name in ("nbf", "iat"):
        if name in claims and _moment_ms(claims, name) - leeway_ms > now_ms:
            raise Unauthenticated(f"the token is not good yet ({name}): are the clocks right?")
    return expires_ms


def _moment_ms(claims: Mapping[str, Any], name: str) -> int:
    value = claims[name]
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    if not good:
        raise Unauthenticated(f"the token's {name} is no moment in seconds")
    return int(value * 1000)
