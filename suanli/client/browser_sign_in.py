"""Signing in with the browser of this machine: authorization code with PKCE, answered on a loopback address (RFC 8252,
RFC 7636, RFC 9207).

The browser is sent to a page of ours, which sends it on: other users of this machine may read what a browser is started
with. With the issuer's address they could sign in themselves and hand their own code to the person's command. Our page
is opened once, by one browser, which alone may bring the answer (a cookie); a second one ends it all.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from suanli.client.sign_in import SignIn, SignInFailed, discovery, made, must_be_https, post, why

LONGEST_WAIT_S = 300.0
# A browser may connect and say nothing; its thread does not wait for ever.
SILENCE_S = 10.0
PATH = "/callback"
COOKIE = "suanli-sign-in"
_PAGE = """<!doctype html><meta charset="utf-8"><title>Suanli</title>
<p>Go back to the terminal: it says how this ended.<p>请回到终端查看结果。"""


def sign_in_here(
    issuer: str,
    client_id: str,
    scopes: list[str],
    show: Callable[[str], None],
    wait_s: float = LONGEST_WAIT_S,
) -> SignIn:
    """Let a person sign in, in a browser of this machine that opens the address that `show` is given, and wait for it.

    Raises SignInFailed.
    """
    document = discovery(issuer)
    begin = document.get("authorization_endpoint")
    methods = document.get("code_challenge_methods_supported")
    if not isinstance(begin, str) or not (isinstance(methods, list) and "S256" in methods):
        raise SignInFailed(f"{issuer} offers no sign-in by browser with PKCE (RFC 7636): leave out --browser")
    must_be_https(begin)
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    digest = hashlib.sha256(verifier.encode()).digest()
    with _Callback(state) as callback:
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": callback.address,
            "scope": " ".join(scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if "offline_access" in scopes:
            asked["prompt"] = (
                "consent"  # else a provider need not give what refreshes (OpenID Connect Core, 11)
            )
        callback.leads_to = begin + ("&" if urlsplit(begin).query else "?") + urlencode(asked)
        show(callback.opening)
        answer = callback.wait(wait_s)
        _check_issuer(document, issuer, answer)
        if "code" not in answer:
            raise SignInFailed(f"{issuer} did not let you in: {why(answer)}")
        exchanged = post(
            str(document.get("token_endpoint")),
            {
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": callback.address,
                "client_id": client_id,
                "code_verifier": verifier,
            },
        )
    if "error" in exchanged:
        raise SignInFailed(f"{issuer} did not let you in: {why(exchanged)}")
    signed_in = made(issuer, client_id, exchanged, None)
    if not hmac.compare_digest(_nonce_of(signed_in.token), nonce):
        raise SignInFailed(f"{issuer} answered another sign-in than this one")
    return signed_in


def _check_issuer(document: Mapping[str, Any], issuer: str, answer: Mapping[str, str]) -> None:
    """An answer of another issuer must not be taken for this one's (RFC 9207)."""
    says = bool(document.get("authorization_response_iss_parameter_supported"))
    if answer.get("iss", None if says else issuer) != issuer:
        raise SignInFailed(f"{issuer} answered another sign-in than this one")


def _nonce_of(token: str) -> str:
    """What the token says of which sign-in it is; it came from the issuer itself, and the API verifies it."""
    try:
        part = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))).get("nonce", ""))
    except (IndexError, AttributeError, ValueError):
        return ""


class _Callback:
    """A server on a free port of 127.0.0.1 that sends one browser to `leads_to`, and takes one answer from it: the one
    that knows `state`."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._door = "/" + secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)
        self._opened = Lock()  # held from the first opening on
        self._answers: queue.Queue[dict[str, str] | None] = queue.Queue(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        here = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.address, self.opening = here + PATH, here + self._door
        self.leads_to = ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        callback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = SILENCE_S

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                given = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if parts.path == callback._door:
                    self._open()
                elif parts.path != PATH:
                    self.send_error(404)
                elif not (_same(given.get("state", ""), callback._state) and self._is_known()):
                    self.send_error(400)  # whoever that was, it is not who we sent there
                else:
                    with callback._answering(given):
                        self._say(200, _PAGE.encode())

            def _open(self) -> None:
                if callback._opened.acquire(blocking=False) or self._is_known():
                    self._say(302, b"", Location=callback.leads_to)
                else:
                    with callback._answering(None):
                        self.send_error(410)

            def _is_known(self) -> bool:
                """Is this the browser that opened our page? No other program of this machine has its cookie."""
                try:
                    kept = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
                except CookieError:
                    return False
                return kept is not None and _same(kept.value, callback._cookie)

            def _say(self, status: int, page: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Set-Cookie", f"{COOKIE}={callback._cookie}; HttpOnly; SameSite=Lax; Path=/")
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: addresses hold the code."""

        return Handler

    @contextmanager
    def _answering(self, given: dict[str, str] | None) -> Iterator[None]:
        """The answer counts once the browser was told, or could not be: this process may end with it."""
        try:
            yield
        finally:
            with suppress(queue.Full):
                self._answers.put_nowait(given)

    def __enter__(self) -> _Callback:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, wait_s: float) -> dict[str, str]:
        try:
            given = self._answers.get(timeout=wait_s)
        except queue.Empty:
            raise SignInFailed("nobody signed in in time: run suanli login again") from None
        if given is None:
            raise SignInFailed(
                "the address was opened twice, the second time not by the browser of the first: "
                "where that was not you, somebody else on this machine tried to take part; run suanli login again"
            )
        return given


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())
