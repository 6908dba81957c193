"""Time stamps: once a week an authority (RFC 3161) signs that the newest log checkpoint was there.

Off unless an authority is named. A stamp lies beside the tiles, `timestamps/SIZE.tsr` with the checkpoint it is
over. An authority that fails is asked again later and holds nobody up: the age of the stamp is a metric.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import rfc3161_client as tsp
import structlog

from scheduler.ledger.metrics import STAMP_FAILURES, STAMP_TIME
from scheduler.services.evidence import newest_checkpoint
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.stamp_store import StampStore
from suanli.evidence.stamps import STAMP_LIMIT_BYTES

TIMEOUT_S = 20.0
LOOK_S = 60.0
BACKOFF_MOST_S = 3600.0

_log = structlog.get_logger(__name__)


class StampRefusedError(Exception):
    """The authority did not answer, or not with a stamp over what it was sent."""


@dataclass(slots=True)
class Stamping:
    """Asks the authority at `url` whenever the newest stamp is `period_ms` old. Needs to be the one leader."""

    database: Database
    store: StampStore
    url: str | None
    period_ms: int
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; never raises for what an authority or a store does."""
        if self.url is None:
            await stop.wait()
            return
        backoff_s = 1.0
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as http:
            while not stop.is_set():
                wait_s = LOOK_S
                try:
                    if not await self.round(http, self.url):
                        wait_s = 1.0  # nothing is published yet
                    backoff_s = 1.0
                except DatabaseAway as error:
                    _log.warning("stamping_waits", reason=str(error))
                except (StampRefusedError, httpx.HTTPError, OSError) as error:
                    STAMP_FAILURES.inc()
                    _log.warning("stamp_failed", reason=f"{type(error).__name__}: {error}", again_s=backoff_s)
                    wait_s, backoff_s = backoff_s, min(backoff_s * 2, BACKOFF_MOST_S)
                try:
                    await asyncio.wait_for(stop.wait(), min(wait_s, self.period_ms / 1000))
                except TimeoutError:
                    continue

    async def round(self, http: httpx.AsyncClient, url: str) -> bool:
        """Have the newest log checkpoint stamped if it is time; False before the first checkpoint."""
        newest = await asyncio.to_thread(self.store.newest)
        if newest is not None:
            at_ms = _stamped_ms(newest.answer)
            STAMP_TIME.set(at_ms / 1000)
            if self.now_ms() < at_ms + self.period_ms:
                return True
        async with self.database.read() as session:
            found = await newest_checkpoint(session)
        if found is None:
            return False
        size, note = found
        if newest is not None and newest.size >= size:
            return True  # the log has not grown
        answer = await _ask(http, url, note)
        await asyncio.to_thread(self.store.put, size, note, answer)
        STAMP_TIME.set(_stamped_ms(answer) / 1000)
        _log.info("log_stamped", size=size)
        return True


def _stamped_ms(answer: bytes) -> int:
    try:
        return round(tsp.decode_timestamp_response(answer).tst_info.gen_time.timestamp() * 1000)
    except ValueError as error:
        raise StampRefusedError(f"a stored stamp cannot be read: {error}") from error


async def _ask(http: httpx.AsyncClient, url: str, note: bytes) -> bytes:
    """The authority's answer over the exact bytes of a note. Raises StampRefusedError, httpx.HTTPError."""
    request = tsp.TimestampRequestBuilder(data=note, hash_algorithm=tsp.HashAlgorithm.SHA256).build()
    headers = {"Content-Type": "application/timestamp-query"}
    reply = await http.post(url, content=request.as_bytes(), headers=headers)
    if reply.status_code != 200 or len(reply.content) > STAMP_LIMIT_BYTES:
        raise StampRefusedError(f"status {reply.status_code}, {len(reply.content)} bytes")
    try:
        response = tsp.decode_timestamp_response(reply.content)
        if tsp.PKIStatus(response.status) != tsp.PKIStatus.GRANTED:
            raise StampRefusedError(f"status {response.status}: {response.status_string}")
        told = response.tst_info
    except ValueError as error:
        raise StampRefusedError(f"no answer of RFC 3161: {error}") from error
    if told.message_imprint.message != request.message_imprint.message or told.nonce != request.nonce:
        raise StampRefusedError("a stamp over something else than it was sent")
    return reply.content
