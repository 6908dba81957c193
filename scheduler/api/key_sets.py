"""The public keys with which an issuer signs: found by its discovery document, kept, and renewed.

OpenID Connect Discovery 1.0, section 4, and RFC 7517. Keys are believed for ten minutes and then read again, so that
a key that the issuer withdrew ends; an unknown key id is looked for at once, but not more often than every ten seconds,
so that nobody can make us ask the issuer in a loop. While the issuer is away, the keys of the last hour still count.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt
import structlog

from scheduler.domain.errors import Unauthenticated, Unavailable
from scheduler.domain.issuers import Issuer, is_safe_url

FRESH_MS = 600_000
STALE_MS = 3_600_000
PAUSE_MS = 10_000
TIMEOUT_S = 5.0
MOST_BYTES = 1 << 20
DISCOVERY = "/.well-known/openid-configuration"
# Which kinds of keys (RFC 7518, 6.1) may bear which signatures.
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

Fetch = Callable[[str], Awaitable[bytes]]
_log = structlog.get_logger(__name__)


class IssuerAway(Exception):
    """The issuer did not answer, or not with what it must; the message says what."""


class KeySet:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer, fetch: Fetch, now_ms: Callable[[], int]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._now_ms = now_ms
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._read_ms: int | None = None
        self._tried_ms: int | None = None
        self._lock = asyncio.Lock()

    async def key(self, kid: object, algorithm: str) -> Any:
        """The public key for a token's header. Raises Unauthenticated, Unavailable."""
        if self._age_ms() > FRESH_MS:
            await self._renew(FRESH_MS)
        if self._age_ms() > STALE_MS:
            raise Unavailable(f"the issuer {self._issuer.url} cannot be asked for its keys now")
        found = self._find(kid, algorithm)
        if found is None:
            await self._renew(0)
            found = self._find(kid, algorithm)
        if found is None:
            raise Unauthenticated(f"the token is signed with a key that {self._issuer.url} does not publish")
        return found

    def _age_ms(self) -> int:
        return STALE_MS + 1 if self._read_ms is None else self._now_ms() - self._read_ms

    def _find(self, kid: object, algorithm: str) -> Any | None:
        fitting = [
            key
            for key in self._keys
            if key.key_type == _KINDS[algorithm[:2]]
            and key.public_key_use in (None, "sig")
            and (kid is None or key.key_id == kid)
        ]
        # A token may leave its key's id out only where there is no choice (OpenID Connect Core 1.0, 10.1).
        return fitting[0].key if len(fitting) == 1 else None

    async def _renew(self, older_than_ms: int) -> None:
        """Read the keys again, unless that was just done (or tried). Never raises: old keys may still do."""
        async with self._lock:
            now_ms = self._now_ms()
            if self._age_ms() <= older_than_ms:
                return  # another request renewed them while this one waited
            if self._tried_ms is not None and now_ms - self._tried_ms < PAUSE_MS:
                return
            self._tried_ms = now_ms
            try:
                self._keys = await self._read()
            except IssuerAway as error:
                _log.warning("issuer_away", issuer=self._issuer.url, reason=str(error))
                return
            self._read_ms = now_ms

    async def _read(self) -> tuple[jwt.PyJWK, ...]:
        document = await self.discovery()
        place = document.get("jwks_uri")
        if not isinstance(place, str) or not is_safe_url(place):
            raise IssuerAway("its discovery document names no https jwks_uri")
        keys = (await _object(self._fetch, place)).get("keys")
        if not isinstance(keys, list):
            raise IssuerAway("its key set holds no list of keys")
        public = [key for key in keys if isinstance(key, dict) and key.get("kty") in set(_KINDS.values())]
        try:
            return tuple(jwt.PyJWKSet(public).keys)
        except jwt.PyJWTError as error:
            raise IssuerAway(f"its key set holds no key that can be used: {error}") from error

    async def discovery(self) -> Mapping[str, Any]:
        """The issuer's discovery document. Raises IssuerAway."""
        document = await _object(self._fetch, self._issuer.url.rstrip("/") + DISCOVERY)
        if document.get("issuer") != self._issuer.url:
            raise IssuerAway("its discovery document is another issuer's")
        return document


async def _object(fetch: Fetch, url: str) -> Mapping[str, Any]:
    try:
        value = json.loads(await fetch(url))
    except (ValueError, RecursionError) as error:
        raise IssuerAway(f"{url} is no JSON") from error
    if not isinstance(value, dict):
        raise IssuerAway(f"{url} holds no object")
    return value


def fetcher(issuer: Issuer) -> Fetch:
    """Reads small documents of an issuer; follows nobody elsewhere. Raises IssuerAway."""
    import ssl

    import httpx

    from suanli.client.transport import is_loopback

    context = None if issuer.ca_file is None else ssl.create_default_context(cafile=issuer.ca_file)

    async def fetch(url: str) -> bytes:
        try:
            async with (
                httpx.AsyncClient(
                    timeout=TIMEOUT_S,
                    follow_redirects=False,
                    trust_env=not is_loopback(url),
                    verify=True if context is None else context,
                ) as client,
                client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
            ):
                if answer.status_code != 200:
                    raise IssuerAway(f"{url} answered with {answer.status_code}")
                data = b""
                async for part in answer.aiter_bytes():
                    data += part
                    if len(data) > MOST_BYTES:
                        raise IssuerAway(f"{url} is larger than {MOST_BYTES} bytes")
                return data
        except httpx.HTTPError as error:
            raise IssuerAway(f"{url}: {error or type(error).__name__}") from error

    return fetch
