"""The node's TLS certificate: another one in time, over the identity that the node has.

A third of its life before it ends, the agent asks the gateway over the streams' own channel, and proves the
node's window key. A host that was away until its certificate had ended enrols again with the same key; a join
token of its pool is needed for that, and may have expired.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import grpc.aio
from cryptography import x509

from agents.enrol import certificate_request, tls_key
from agents.link import NowAndThen
from agents.node_record import TLS_CERTIFICATE_FILE
from agents.refusals import AgentError, StateUnusable
from agents.state_folder import StateFolder
from suanli.evidence.keys import SigningKey

RENEWAL_LABEL = b"suanli/renew/v1\n"
LOOK_AGAIN_S = 3600.0  # sleeping longer, a host that was suspended would wake too late
RETRY_S = 30.0

_log = logging.getLogger("agents.renewal")


def seconds_left(certificate_pem: bytes, now: datetime) -> tuple[float, float]:
    """(until another one is to be asked for, until this one ends); negative in the past."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    left_s = (certificate.not_valid_after_utc - now).total_seconds()
    return left_s - whole.total_seconds() / 3, left_s


def has_ended(certificate_pem: bytes) -> bool:
    """True where the gateway will not take it any more."""
    return seconds_left(certificate_pem, datetime.now(UTC))[1] <= 0


class Renewal:
    """Keeps the certificate of one node from ending."""

    def __init__(
        self,
        state: StateFolder,
        key: SigningKey,
        node_id: str,
        *,
        ask: Callable[[bytes, bytes], Awaitable[bytes]],
        enrol_again: Callable[[], Awaitable[bytes]],
        renewed: Callable[[bytes], None],
    ) -> None:
        """`ask` takes request and proof to the gateway; `renewed` puts the new certificate to use."""
        self._state = state
        self._key = key
        self._node_id = node_id
        self._ask = ask
        self._enrol_again = enrol_again
        self._renewed = renewed
        self._saying = NowAndThen(_log)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pem = self._state.read(TLS_CERTIFICATE_FILE)
            if pem is None:
                raise StateUnusable(f"{self._state.path / TLS_CERTIFICATE_FILE} is missing")
            due_s, left_s = seconds_left(pem, datetime.now(UTC))
            if due_s > 0:
                await asyncio.sleep(min(due_s, LOOK_AGAIN_S))
                continue
            try:
                renewed = await (self._over_the_channel() if left_s > 0 else self._enrol_again())
                _log.info("the certificate was renewed")
            except (grpc.aio.AioRpcError, AgentError) as error:
                detail = error.details() if isinstance(error, grpc.aio.AioRpcError) else error
                self._saying.say(f"the certificate could not be renewed: {detail}; it ends in {left_s:.0f} s")
                pause_s = min(RETRY_S, max(left_s, 1.0) / 10 if left_s > 0 else RETRY_S)
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - jitter
            else:
                self._saying.over()
                self._state.write(TLS_CERTIFICATE_FILE, renewed)
                self._renewed(renewed)

    async def _over_the_channel(self) -> bytes:
        request = certificate_request(tls_key(self._state), self._node_id)
        return await self._ask(request, self._key.sign(RENEWAL_LABEL + request))
