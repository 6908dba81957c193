"""Witnesses: others sign that they saw our tree grow, by C2SP tlog-witness `add-checkpoint`.

They never hold the sequencer up. In each round the witnesses that have not cosigned the newest tree are asked
at once; one that fails is left alone for a while, doubling. Cosignatures are checked before they are kept.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger.metrics import COSIGN_FAILURES, COSIGN_LAG
from scheduler.services.evidence import newest_checkpoint, with_cosignatures
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.tables import CosignatureRow
from scheduler.storage.tile_store import TileMissing, TileStore
from suanli.evidence.cosignature import cosignature_time_s
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import VerifierKey, parse_verifier_key
from suanli.evidence.log_checkpoint import parse_size
from suanli.evidence.merkle import consistency_proof
from suanli.evidence.signed_note import NoteSignature, parse_note, parse_signature_line, with_signatures
from suanli.evidence.tiles import TileReader
from suanli.evidence.witness import encode_request

TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 10.0  # a witness that comes back must not keep an auditor waiting
MOST_ANSWER_BYTES = 64 * 1024
# A witness that lost count twice in one round is asked again later.
TRIES_PER_ROUND = 3

_log = structlog.get_logger(__name__)


class WitnessFailed(Exception):
    """A witness did not answer, or not with a cosignature of its key."""


@dataclass(eq=False, slots=True)
class WitnessClient:
    """One witness: where it is, which key it signs with, and how far it got."""

    name: str
    url: str
    key: VerifierKey
    cosigned_size: int = 0
    backoff_s: float = BACKOFF_FIRST_S
    not_before_s: float = 0.0

    def failed(self, now_s: float) -> None:
        """Leave it alone for a while."""
        self.not_before_s = now_s + self.backoff_s
        self.backoff_s = min(self.backoff_s * 2, BACKOFF_MOST_S)
        COSIGN_FAILURES.labels(witness=self.name).inc()

    def succeeded(self, size: int) -> None:
        """It has cosigned the tree of `size` entries."""
        self.cosigned_size = size
        self.backoff_s = BACKOFF_FIRST_S
        self.not_before_s = 0.0


def witness_clients(witnesses: Sequence[tuple[str, str, str]]) -> list[WitnessClient]:
    """Clients from (name, url, vkey). Raises EvidenceError for a vkey that is none."""
    return [WitnessClient(name, url.rstrip("/"), parse_verifier_key(vkey)) for name, url, vkey in witnesses]


@dataclass(slots=True)
class Witnessing:
    """Asks witnesses to cosign what is published, and publishes what they answer."""

    database: Database
    store: TileStore
    clients: list[WitnessClient]
    published: asyncio.Event = field(default_factory=asyncio.Event)
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    async def load(self) -> None:
        """Remember how far each witness got before."""
        async with self.database.read() as session:
            found = await session.execute(
                select(CosignatureRow.witness, func.max(CosignatureRow.size)).group_by(CosignatureRow.witness)
            )
        sizes = dict(found.all())
        for client in self.clients:
            client.cosigned_size = sizes.get(client.name, 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Rounds until `stop`: when something was published, and while a witness is behind."""
        if not self.clients:
            await stop.wait()
            return
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            await self._until_loaded(stop)
            while not stop.is_set():
                self.published.clear()
                wait_s = 1.0
                try:
                    wait_s = await self.round(http)
                except DatabaseAway as error:
                    _log.warning("witnessing_waits", reason=str(error))
                await wait_either(self.published, stop, wait_s)

    async def _until_loaded(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.load()
            except DatabaseAway as error:
                _log.warning("witnessing_waits", reason=str(error))
                await wait_either(stop, stop, 1.0)
            else:
                return

    async def round(self, http: httpx.AsyncClient) -> float:
        """Ask whoever is behind; returns after how many seconds to look again. Raises DatabaseAway."""
        async with self.database.read() as session:
            newest = await newest_checkpoint(session)
        if newest is None:
            return BACKOFF_MOST_S
        size, note = newest
        now_s = time.monotonic()
        behind = [client for client in self.clients if client.cosigned_size < size]
        asked = [client for client in behind if client.not_before_s <= now_s]
        answers = await asyncio.gather(*(self._ask(http, client, size, note) for client in asked))
        lines = [line for line in answers if line is not None]
        if lines:
            await self._publish(size, note)
        for client in self.clients:
            COSIGN_LAG.labels(witness=client.name).set(size - client.cosigned_size)
        waiting = [client.not_before_s for client in behind if client.cosigned_size < size]
        return max(min(waiting) - time.monotonic(), 0.05) if waiting else BACKOFF_MOST_S

    async def _ask(
        self, http: httpx.AsyncClient, client: WitnessClient, size: int, note: bytes
    ) -> NoteSignature | None:
        try:
            line = await self.cosign(http, client, size, note)
        except (WitnessFailed, TileMissing, EvidenceError, httpx.HTTPError) as error:
            _log.warning("witness_failed", witness=client.name, reason=f"{type(error).__name__}: {error}")
            client.failed(time.monotonic())
            return None
        async with self.database.transaction() as session:
            await _keep(session, client.name, size, line, self.now_ms())
        client.succeeded(size)
        return line

    async def cosign(
        self, http: httpx.AsyncClient, client: WitnessClient, size: int, note: bytes
    ) -> NoteSignature:
        """One witness's checked cosignature line of the tree of `size` entries. Raises WitnessFailed."""
        old_size = client.cosigned_size
        for _ in range(TRIES_PER_ROUND):
            proof = consistency_proof(old_size, size, TileReader(size, self.store.tile))
            body = encode_request(old_size, proof, note)
            answer = await http.post(f"{client.url}/add-checkpoint", content=body)
            if answer.status_code == 200:
                return _checked_line(answer.content, client.key, note)
            if answer.status_code != 409:
                raise WitnessFailed(f"status {answer.status_code}: {answer.text[:200].strip()}")
            remembered = parse_size(answer.text.strip(), "witness size")
            if remembered > size:
                raise WitnessFailed(f"it has cosigned {remembered} entries and we have signed {size}")
            if remembered == old_size:
                raise WitnessFailed(f"it remembers another tree of {remembered} entries than ours")
            old_size = remembered
        raise WitnessFailed("it does not settle on the tree that it remembers")

    async def _publish(self, size: int, note: bytes) -> None:
        """The checkpoint file with every cosignature of this size, unless it has grown since."""
        async with self.database.read() as session:
            lines = await session.scalars(
                select(CosignatureRow.line)
                .where(CosignatureRow.size == size)
                .order_by(CosignatureRow.witness)
            )
            cosigned = with_cosignatures(note, list(lines))
        await asyncio.to_thread(self.store.publish, cosigned)


def _checked_line(body: bytes, key: VerifierKey, note: bytes) -> NoteSignature:
    """The line of `key` in a witness's answer, if it verifies. Lines of other keys are ignored."""
    if len(body) > MOST_ANSWER_BYTES:
        raise WitnessFailed(f"an answer of {len(body)} bytes")
    signed = parse_note(note)
    for text in body.decode("utf-8", "replace").splitlines():
        line = parse_signature_line(text)
        if line.name == key.name and line.key_hash == key.key_hash:
            cosignature_time_s(with_signatures(signed, [line]), key)
            return line
    raise WitnessFailed(f"no cosignature of {key.name} in its answer")


async def _keep(session: AsyncSession, witness: str, size: int, line: NoteSignature, now_ms: int) -> None:
    await session.execute(
        insert(CosignatureRow)
        .values(size=size, witness=witness, line=line.line().encode("utf-8"), at_ms=now_ms)
        .on_conflict_do_nothing(index_elements=[CosignatureRow.size, CosignatureRow.witness])
    )


async def wait_either(one: asyncio.Event, other: asyncio.Event, timeout_s: float) -> None:
    """Until one of the two is set or the time is over."""
    waiting = [asyncio.create_task(one.wait()), asyncio.create_task(other.wait())]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
