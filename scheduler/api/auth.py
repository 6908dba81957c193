"""Who calls. Closed by default: a path is open only when it is named here."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from scheduler.api.headers import header
from scheduler.api.hot import CHECK_KEYS_THEMSELVES
from scheduler.api.problems import database_away, from_error
from scheduler.api.state import Api
from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.errors import DomainError, Forbidden, TooManyRequests, Unauthenticated
from scheduler.services.principals import digest
from scheduler.storage.engine import DatabaseAway

# The evidence log is public by its nature; the others say nothing about anybody.
OPEN_PATHS = re.compile(r"/(healthz|readyz|version|v1/issuers|log/.*)")
_BEARER = re.compile(r"Bearer +(\S+) *", re.IGNORECASE)


class Authentication:
    """Gives every request outside the open paths its principal, or answers 401."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self._app = app
        self._api = api
        self._open_prefixes = tuple(path.rstrip("/") + "/" for path, _ in api.config.mounts)

    def _is_open(self, path: str) -> bool:
        if OPEN_PATHS.fullmatch(path):
            return True
        return any(path == prefix[:-1] or path.startswith(prefix) for prefix in self._open_prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket") or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        request_id = state.get("request_id")
        try:
            secret = bearer(header(scope, b"authorization"))
            unchecked, principal = self._remembered(scope, secret)
            if principal is None:
                principal = await self.principal(secret)
            state["principal"] = principal
            try:
                state["allowance"] = self._api.rate_limits.take(principal.principal_id)
            except TooManyRequests:
                if unchecked is not None:
                    await self.principal(secret)  # whose key is dead shall not come back for that
                raise
        except DomainError as error:
            await answer(from_error(error, request_id), scope, receive, send)
            return
        except DatabaseAway:
            await answer(database_away(request_id), scope, receive, send)
            return
        state["session_check"] = SessionCheck(self, secret, unchecked)
        await self._app(scope, receive, send)

    async def principal(self, secret: str) -> Principal:
        """The principal of a key or of an issuer's token, now: a revoked key opens nothing from the next request on."""
        if "." in secret and self._api.tokens.issuers:  # no key of ours holds one
            return await self._api.tokens.principal(secret)
        return await self._api.keyring(secret)

    def _remembered(self, scope: Scope, secret: str) -> tuple[bytes | None, Principal | None]:
        """The digest of a key and whose it was, for a route that asks by itself whether it is still good."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) not in CHECK_KEYS_THEMSELVES:
            return None, None
        sha256 = digest(secret)
        principal = self._api.keyring.remembered(sha256)
        return (None, None) if principal is None else (sha256, principal)


async def answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response, also as the answer to the handshake of a WebSocket."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


@dataclass(frozen=True, slots=True)
class SessionCheck:
    """Lets a stream that stays open for hours notice that its key was revoked.

    `unchecked`: the digest of a key by which the principal is remembered and about which nobody asked yet.
    """

    _authentication: Authentication
    _secret: str
    unchecked: bytes | None = None

    async def confirm(self) -> None:
        """Ask, where nobody did. Raises Unauthenticated."""
        if self.unchecked is not None:
            await self._authentication.principal(self._secret)

    async def still_valid(self) -> bool:
        """Whether the key that opened the request is still good."""
        try:
            await self._authentication.principal(self._secret)
        except (Unauthenticated, Forbidden):
            return False
        return True

    def __repr__(self) -> str:
        return "SessionCheck()"


def bearer(value: str | None) -> str:
    """The API key, or the issuer's token, of a request's Authorization. Raises Unauthenticated: what is missing."""
    if value is None:
        raise Unauthenticated("no API key was sent: send the header Authorization: Bearer sk_...")
    match = _BEARER.fullmatch(value)
    if match is None:
        raise Unauthenticated("the header Authorization is not of the form: Bearer sk_...")
    return match[1]


@dataclass(frozen=True, slots=True)
class Allow:
    """A route's dependency: the principal, when the role may do this."""

    action: Action

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Raises Forbidden."""  # a coroutine: FastAPI would send a plain function to a thread
        principal: Principal = connection.state.principal
        authorise(principal, self.action)
        return principal


WhoeverCalls = Annotated[Principal, Depends(Allow(Action.WHO_AM_I))]
JobSubmitter = Annotated[Principal, Depends(Allow(Action.SUBMIT_JOB))]
JobReader = Annotated[Principal, Depends(Allow(Action.READ_JOBS))]
JobLogReader = Annotated[Principal, Depends(Allow(Action.READ_JOB_LOGS))]
JobCanceller = Annotated[Principal, Depends(Allow(Action.CANCEL_JOB))]
Uploader = Annotated[Principal, Depends(Allow(Action.UPLOAD))]
PortForwarder = Annotated[Principal, Depends(Allow(Action.FORWARD_PORT))]
Attacher = Annotated[Principal, Depends(Allow(Action.ATTACH))]
ResultReader = Annotated[Principal, Depends(Allow(Action.READ_RESULTS))]
NotificationReader = Annotated[Principal, Depends(Allow(Action.READ_NOTIFICATIONS))]
SecretReader = Annotated[Principal, Depends(Allow(Action.READ_SECRETS))]
SecretManager = Annotated[Principal, Depends(Allow(Action.MANAGE_SECRETS))]
JobChanger = Annotated[Principal, Depends(Allow(Action.CHANGE_JOB))]
EventReader = Annotated[Principal, Depends(Allow(Action.READ_EVENTS))]
NodeReader = Annotated[Principal, Depends(Allow(Action.READ_NODES))]
NodeCordoner = Annotated[Principal, Depends(Allow(Action.CORDON_NODE))]
CatalogueReader = Annotated[Principal, Depends(Allow(Action.READ_CATALOGUE))]
UsageReader = Annotated[Principal, Depends(Allow(Action.READ_USAGE))]
BalanceReader = Annotated[Principal, Depends(Allow(Action.READ_BALANCE))]
BundleReader = Annotated[Principal, Depends(Allow(Action.DOWNLOAD_BUNDLE))]
ProofReader = Annotated[Principal, Depends(Allow(Action.REQUEST_PROOFS))]
PeriodCloser = Annotated[Principal, Depends(Allow(Action.CLOSE_PERIOD))]
SampleReader = Annotated[Principal, Depends(Allow(Action.REQUEST_SAMPLES))]
Configurer = Annotated[Principal, Depends(Allow(Action.CONFIGURE))]
BudgetSetter = Annotated[Principal, Depends(Allow(Action.SET_BUDGET))]
FirmBudgetSetter = Annotated[Principal, Depends(Allow(Action.SET_FIRM_BUDGET))]
JoinTokenMaker = Annotated[Principal, Depends(Allow(Action.CREATE_JOIN_TOKEN))]
PrincipalManager = Annotated[Principal, Depends(Allow(Action.MANAGE_PRINCIPALS))]
KeyOwner = Annotated[Principal, Depends(Allow(Action.MANAGE_OWN_KEYS))]
FirmKeyManager = Annotated[Principal, Depends(Allow(Action.MANAGE_FIRM_KEYS))]
ReceiptSigner = Annotated[Principal, Depends(Allow(Action.SIGN_RECEIPT))]
ReceiptReader = Annotated[Principal, Depends(Allow(Action.READ_RECEIPTS))]
MetricsReader = Annotated[Principal, Depends(Allow(Action.READ_METRICS))]
