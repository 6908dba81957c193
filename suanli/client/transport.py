"""HTTP underneath the client: one place that sends, retries what may be retried, and reads refusals."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from suanli.client.errors import Refused, Unreachable, refused

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
# Between the server's signs of life on a stream there are at most 15 s.
STREAM_READ_TIMEOUT_S = 60.0
RETRIES = 3
RETRY_PAUSE_S = 0.3
_MOST_PROBLEM_BYTES = 1 << 20
_BUSY = frozenset({502, 503, 504})
_RATE_LIMITED = 429
_MOST_RETRY_AFTER_S = 30.0


def is_loopback(server: str) -> bool:
    """Whether the server is this machine: then no proxy is asked, and plain HTTP is no risk."""
    host = urlsplit(server).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Bearer(httpx.Auth):
    """Puts the key on each request: that of a sign-in changes while a program runs."""

    def __init__(self, bearer: Callable[[], str]) -> None:
        self._bearer = bearer

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx asks."""
        secret = self._bearer()
        if secret:  # who asks where to sign in has none yet
            request.headers["Authorization"] = f"Bearer {secret}"
        yield request


class Transport:
    """One server; one key, or whatever gives the one of now."""

    def __init__(
        self,
        server: str,
        bearer: str | Callable[[], str],
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        language: str = "en",
    ) -> None:
        self.server = server.rstrip("/")
        self._pause = pause
        self._http = httpx.Client(
            base_url=self.server,
            headers={"User-Agent": "suanli", "Accept-Language": language},
            auth=_Bearer((lambda: bearer) if isinstance(bearer, str) else bearer),
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            trust_env=not is_loopback(server),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """The JSON answer (None for 204). `repeatable`: may be sent again when nobody answered; GET always.

        Raises Refused (and its kinds) and Unreachable.
        """
        may_repeat = method == "GET" if repeatable is None else repeatable
        sent = dict(headers or {})
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
        if content is not None:
            sent["Content-Type"] = content_type
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES
            try:
                answer = self._http.request(
                    method, path, params=_without_none(query), content=content, headers=sent
                )
            except httpx.TransportError as error:
                if last or not may_repeat:
                    raise self._unreachable(error) from error
            else:
                # A request above the rate limit was not looked at: it may be sent again, whatever it is.
                limited = answer.status_code == _RATE_LIMITED
                if last or not (limited or (may_repeat and answer.status_code in _BUSY)):
                    return self._read(answer)
                if limited:
                    self._pause(_retry_after_s(answer))
                    continue
            self._pause(RETRY_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _read(self, answer: httpx.Response) -> Any:
        request_id = answer.headers.get("x-request-id")
        try:
            value = answer.json() if answer.content else None
        except ValueError:
            value = None
            if answer.is_success:
                message = f"{self.server} answered, but not as a Suanli API does; is the address right?"
                raise Unreachable(message) from None
        if answer.is_success:
            return value
        if answer.is_redirect or (not isinstance(value, dict) and request_id is None):
            raise Unreachable(
                f"{self.server} answered with HTTP status {answer.status_code}, but not as a Suanli API "
                "does; is the address right?"
            )
        raise refused(answer.status_code, value, request_id)

    @contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
        read_timeout_s: float = STREAM_READ_TIMEOUT_S, method: str = "GET", body: Any = None,
    ) -> Iterator[httpx.Response]:  # fmt: skip
        """An answer that is read piece by piece. Raises Refused, Unreachable (also in the middle)."""
        timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
        try:
            with self._http.stream(
                method,
                path,
                params=_without_none(query),
                headers=dict(headers or {}),
                timeout=timeout,
                json=body,
            ) as answer:
                if not answer.is_success:
                    read = answer.read()[:_MOST_PROBLEM_BYTES]
                    self._read(httpx.Response(answer.status_code, headers=answer.headers, content=read))
                yield answer
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        if isinstance(error, httpx.ConnectTimeout):
            why = f"it did not answer within {CONNECT_TIMEOUT_S:g} s"
        elif isinstance(error, httpx.ReadTimeout):
            why = "it took the request and did not answer in time"
        elif isinstance(error, httpx.ConnectError):
            why = str(error) or "no connection"
        else:
            why = str(error) or type(error).__name__
        advice = "Is it running there, and is the address right (suanli profile)?"
        return Unreachable(f"cannot reach {self.server}: {why}. {advice}")


def _retry_after_s(answer: httpx.Response) -> float:
    """How long the server asks to wait, within reason."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), _MOST_RETRY_AFTER_S) if text.isdecimal() else 1.0


def _without_none(query: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if query is None else {key: value for key, value in query.items() if value is not None}


def is_temporary(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    return isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status in _BUSY)


def path_segment(text: str) -> str:
    """One segment of a path, whatever was typed."""
    # "." and ".." stay as they are in quoting and would climb.
    return quote(text, safe="") if text.strip(".") else "-"
