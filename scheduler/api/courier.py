"""Delivers notifications to webhooks, signed as Standard Webhooks says (Ed25519), at least once.

In the API's processes: they face strangers anyway, hold no key of the log or of the fleet, and there are
several. A notification is claimed by a lease on its row, so that each is tried by one of them at a time.
"""

import asyncio
import base64
import json
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError

from scheduler.api.outgoing import Outgoing, OutgoingError
from scheduler.services.notifications import RETRIES_S, Due, claim, settle
from scheduler.storage.engine import Database, DatabaseAway

MOST_AT_ONCE: Final = 16
MOST_OF_A_FIRM: Final = 4
PERIOD_S: Final = 1.0
GONE: Final = 410  # the receiver wants no more of it

DELIVERIES = Counter("suanli_api_webhooks_total", "Attempts to deliver notifications.", ["outcome"])
_log = structlog.get_logger(__name__)


class WebhookSigner:
    """Signs what is posted."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def read(cls, path: Path) -> "WebhookSigner":
        """From an Ed25519 key (PKCS #8 PEM). Raises OSError, ValueError."""
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 key")  # noqa: TRY004 - the file is wrong
        return cls(key)

    @property
    def public_text(self) -> str:
        """The key by which receivers check, as Standard Webhooks writes it."""
        return "whpk_" + base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def headers(self, webhook_id: str, at_s: int, body: bytes) -> dict[str, str]:
        """Id, time and signature of `id.time.body`."""
        signature = self._key.sign(f"{webhook_id}.{at_s}.".encode() + body)
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": "v1a," + base64.b64encode(signature).decode(),
        }


@dataclass(slots=True)
class Courier:
    """Delivers what is due, a bounded number at once."""

    database: Database
    outgoing: Outgoing
    signer: WebhookSigner
    now_ms: Callable[[], int]
    retries_s: Sequence[float] = RETRIES_S
    period_s: float = PERIOD_S
    _under_way: dict[asyncio.Task[None], str] = field(default_factory=dict)  # with the firm

    async def run(self) -> None:
        """Until cancelled; what is on its way then is tried again by somebody, so that it arrives twice at worst."""
        try:
            while True:
                found = 0
                try:
                    found = await self._begin()
                except (DatabaseAway, DBAPIError) as error:
                    _log.warning("cannot_look_for_notifications", reason=str(error).splitlines()[0])
                if not found:
                    await asyncio.sleep(self.period_s)
                elif len(self._under_way) >= MOST_AT_ONCE:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = list(self._under_way)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _begin(self) -> int:
        room = MOST_AT_ONCE - len(self._under_way)
        if room <= 0:
            return 1
        of_firms = Tally(self._under_way.values())
        busy = [firm for firm, count in of_firms.items() if count >= MOST_OF_A_FIRM]
        async with self.database.transaction() as session:
            found = await claim(session, self.now_ms(), room, MOST_OF_A_FIRM, busy)
        for due in found:
            task = asyncio.create_task(self._deliver(due))
            self._under_way[task] = due.firm_id
            task.add_done_callback(self._ended)
        return len(found)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)

    async def _deliver(self, due: Due) -> None:
        problem, final = await self._post(due)
        try:
            async with self.database.transaction() as session:
                retries_s = () if final else self.retries_s
                again = await settle(session, due, self.now_ms(), problem, retries_s)
        except (DatabaseAway, DBAPIError) as error:  # it is delivered once more: at least once
            _log.warning(
                "cannot_settle_notification", event_seq=due.event_seq, reason=str(error).splitlines()[0]
            )
            return
        DELIVERIES.labels("delivered" if problem is None else "failed" if again else "given_up").inc()

    async def _post(self, due: Due) -> tuple[str | None, bool]:
        """What went wrong, if anything did, and whether that is final."""
        body = json.dumps(due.body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = self.signer.headers(f"evt_{due.event_seq}", self.now_ms() // 1000, body)
        try:
            status = await self.outgoing.post(due.url, headers, body)
        except OutgoingError as error:
            return str(error), False
        if 200 <= status < 300:
            return None, False
        told = "; redirects are not followed" if 300 <= status < 400 else ""
        return f"the receiver answered {status}{told}", status == GONE
