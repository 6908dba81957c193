"""Signing in at an OpenID Connect issuer without a browser of this machine: device grant (RFC 8628), and refreshing.

The token that is sent to the API is the ID token: it names this program as its audience, and every issuer has one.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from suanli.client.errors import ClientError
from suanli.client.transport import CONNECT_TIMEOUT_S, is_loopback

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 20.0
# A token is refreshed so long before its end that a request that it opens is over by then.
EARLY_S = 60
DEFAULT_INTERVAL_S = 5.0
LONGEST_WAIT_S = 1800.0


class SignInFailed(ClientError):
    """The issuer did not let the person in, or no longer does."""


@dataclass(frozen=True)
class SignIn:
    """What is kept of a sign-in."""

    issuer: str
    client_id: str
    token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)

    @property
    def expires_s(self) -> float:
        """When the token ends, seconds since 1970: as it says itself; the API verifies it, not we."""
        try:
            part = self.token.split(".")[1]
            return float(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"])
        except (IndexError, KeyError, TypeError, ValueError):
            return 0.0


@dataclass(frozen=True)
class Invitation:
    """What the person has to do: open the address, and enter the code (or open the whole address)."""

    address: str
    code: str
    whole_address: str | None
    expires_s: float


def sign_in(
    issuer: str,
    client_id: str,
    scopes: list[str],
    tell: Callable[[Invitation], None],
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> SignIn:
    """Let a person sign in elsewhere and wait for it. Raises SignInFailed."""
    document = discovery(issuer)
    begin, token_place = document.get("device_authorization_endpoint"), document.get("token_endpoint")
    if not isinstance(begin, str):
        raise SignInFailed(
            f"{issuer} offers no device sign-in (RFC 8628): ask the operator for an API key instead"
        )
    started = post(begin, {"client_id": client_id, "scope": " ".join(scopes)})
    if "device_code" not in started:
        raise SignInFailed(f"{issuer} refused to begin: {why(started)}")
    until = clock() + min(float(started.get("expires_in", LONGEST_WAIT_S)), LONGEST_WAIT_S)
    whole = started.get("verification_uri_complete")
    tell(
        Invitation(
            str(started.get("verification_uri")),
            str(started.get("user_code")),
            None if whole is None else str(whole),
            until - clock(),
        )
    )
    interval_s = float(started.get("interval", DEFAULT_INTERVAL_S))
    asked = {"grant_type": GRANT, "device_code": str(started["device_code"]), "client_id": client_id}
    while clock() < until:
        pause(interval_s)
        answer = post(str(token_place), asked)
        error = answer.get("error")
        if error == "slow_down":
            interval_s += 5
        elif error is None:
            return made(issuer, client_id, answer, None)
        elif error != "authorization_pending":
            raise SignInFailed(f"{issuer} did not let you in: {why(answer)}")
    raise SignInFailed("nobody entered the code in time: run suanli login again")


def refreshed(signed_in: SignIn) -> SignIn:
    """A new token for an old sign-in. Raises SignInFailed where the issuer wants the person again."""
    if signed_in.refresh_token is None:
        raise SignInFailed(f"your sign-in at {signed_in.issuer} has ended: run suanli login again")
    document = discovery(signed_in.issuer)
    answer = post(
        str(document.get("token_endpoint")),
        {
            "grant_type": "refresh_token",
            "refresh_token": signed_in.refresh_token,
            "client_id": signed_in.client_id,
        },
    )
    if "error" in answer:
        raise SignInFailed(
            f"your sign-in at {signed_in.issuer} has ended ({why(answer)}): run suanli login again"
        )
    return made(signed_in.issuer, signed_in.client_id, answer, signed_in)


def made(issuer: str, client_id: str, answer: Mapping[str, Any], before: SignIn | None) -> SignIn:
    """What a token endpoint's answer is worth. Raises SignInFailed."""
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise SignInFailed(
            f"{issuer} gave no ID token: the scope openid is missing, or it is no OpenID issuer"
        )
    new = answer.get("refresh_token")
    kept = None if before is None else before.refresh_token
    return SignIn(issuer, client_id, token, new if isinstance(new, str) else kept)


def discovery(issuer: str) -> Mapping[str, Any]:
    """The issuer's own description of itself. Raises SignInFailed."""
    document = _json("GET", issuer.rstrip("/") + DISCOVERY, None)
    if document.get("issuer") != issuer:
        raise SignInFailed(f"{issuer} does not answer as the issuer that the server named")
    return document


def post(url: str, form: Mapping[str, str]) -> Mapping[str, Any]:
    """What an endpoint answers to a form, refusals included. Raises SignInFailed."""
    return _json("POST", url, form)


def must_be_https(url: str) -> None:
    """Raises SignInFailed for an address, other than of this machine, where others could read along."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise SignInFailed(f"{url} is not HTTPS: nobody signs in there")


def _json(method: str, url: str, form: Mapping[str, str] | None) -> Mapping[str, Any]:
    must_be_https(url)
    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        answer = httpx.request(
            method, url, data=form, timeout=timeout, follow_redirects=False, trust_env=not is_loopback(url)
        )
        value = answer.json()
    except httpx.HTTPError as error:
        raise SignInFailed(f"cannot reach {url}: {error or type(error).__name__}") from error
    except ValueError:
        raise SignInFailed(
            f"{url} answered with HTTP status {answer.status_code}, but not with JSON"
        ) from None
    if not isinstance(value, dict):
        raise SignInFailed(f"{url} did not answer as an OpenID Connect issuer does")
    return value


def why(answer: Mapping[str, Any]) -> str:
    """The reason that a refusal gives."""
    return str(answer.get("error_description") or answer.get("error") or "no reason given")[:300]
