"""The ledger process: wait to lead, recover, then sequence, publish, have it witnessed, and rate.

Four loops of one leader. Sequencing and publishing are one loop; witnesses and rating have their own, so that
a slow witness or a long rating never delays an acknowledgement; the scrubber compares the whole log with its
tiles, piece by piece. When log and database disagree the ledger halts: the process stays up, leads no more,
and says so in its log and its metrics, because starting it again would not help.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger import metrics
from scheduler.ledger.halt import Halted
from scheduler.ledger.keys import read_cosigner, read_public_key
from scheduler.ledger.publisher import Publisher
from scheduler.ledger.rating import Rater, Seat
from scheduler.ledger.sequencer import Identity, Sequencer, intake_age_s
from scheduler.ledger.stamping import Stamping
from scheduler.ledger.witnessing import Witnessing, wait_either, witness_clients
from scheduler.signing_keys import read_signing_key
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.leadership import Leadership, LeadershipLost
from scheduler.storage.objects import Place
from scheduler.storage.payload_archive import PayloadArchive
from scheduler.storage.pokes import Channel, Listener, poke
from scheduler.storage.stamp_store import StampStore
from scheduler.storage.tile_store import TileStore
from scheduler.storage.uninterrupted import whole
from suanli.evidence.tiles import WIDTH

ROLE = "ledger"
RETRY_S = 0.5
STANDBY_AFTER_S = 1.0
SCRUB_PERIOD_S = 1.0
LAG_PERIOD_S = 5.0
# So few entries are rated as soon as they are published. A look costs as much whether it finds little or much: under
# load one a period is enough.
FEW_ENTRIES = 64
FINISH_S = 3.0

Announce = Callable[[dict[str, str]], None]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """What the process is started with. Times in milliseconds."""

    database_url: str
    holder: str  # name of this process among its replicas
    log_key_path: Path  # Ed25519, PEM: signs log checkpoints and the operator's facts
    controller_public_key_path: Path  # Ed25519, PEM
    log_place: Place  # the public log: checkpoint, tile/...
    payload_place: Place  # what opens its entries; not public
    origin: str  # the log's name, for ever
    # ML-DSA-44, PEM: signs log checkpoints too, for readers who fear quantum computers.
    ml_dsa_key_path: Path | None = None
    witnesses: Sequence[tuple[str, str, str]] = field(default_factory=tuple)  # (name, url, vkey)
    # Who stamps the log's time (RFC 3161), and how often.
    stamp_url: str | None = None
    stamp_period_ms: int = 7 * 86_400_000
    period_ms: int = 1_000  # facts poke; this is how long a lost poke costs
    rating_period_ms: int = 1_000
    # How long after a segment an open allocation is believed not to have ended before.
    settle_ms: int = 15_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def serve(config: LedgerConfig, stop: asyncio.Event, announce: Announce = lambda _: None) -> None:
    """Lead whenever no other ledger does, until `stop`. Announces itself once it leads or stands by.

    Raises ValueError or OSError for keys that cannot be read. Trouble with the database is waited out; where
    log and database disagree, it halts and is never announced.
    """
    ledger = _Ledger(config, announce)
    try:
        await ledger.run(stop)
    except Halted as error:
        metrics.HALTED.set(1)
        _log.critical("ledger_halted", reason=str(error))
        await ledger.leadership.release()
        await stop.wait()
    finally:
        metrics.LEADING.set(0)
        await ledger.leadership.release()
        await ledger.database.dispose()


class _Ledger:
    """The parts of one process."""

    def __init__(self, config: LedgerConfig, announce: Announce) -> None:
        self.config = config
        signer = read_signing_key(config.log_key_path)
        controller_key = read_public_key(config.controller_public_key_path)
        self.identity = Identity(config.origin, signer, controller_key)
        self.store = TileStore(config.log_place)
        self.archive = PayloadArchive(config.payload_place)
        self.database = Database(config.database_url, "ledger", pool_size=5)
        self.leadership = Leadership(self.database, ROLE, config.holder)
        self._announce: Announce | None = announce
        path = config.ml_dsa_key_path
        self.cosigners = [] if path is None else [read_cosigner(path, config.origin)]
        self.log_key = str(Publisher(self.store, self.archive, config.origin, signer).log_key)
        witness_clients(config.witnesses)  # a vkey that is none must stop the start, not the first round

    def announce(self) -> None:
        """Say once that this process is ready, with what others need to check the log."""
        if self._announce is not None:
            said = {"holder": self.config.holder, "origin": self.config.origin, "vkey": self.log_key}
            for cosigner in self.cosigners:
                said["ml_dsa_44_vkey"] = str(cosigner.key)
            self._announce(said)
            self._announce = None

    async def run(self, stop: asyncio.Event) -> None:
        """Lead, again and again, until `stop`. Raises Halted."""
        while not stop.is_set():
            term = await self._acquire(stop)
            if term == 0:
                return
            try:
                await self._lead(term, stop)
            except (LeadershipLost, DatabaseAway, DBAPIError, OSError) as error:
                # Memory may be ahead of the database or behind it: it is thrown away and loaded again.
                _log.warning("ledger_starts_again", reason=str(error), kind=type(error).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), RETRY_S)
            finally:
                metrics.LEADING.set(0)
                # From here on the next leader speaks of it: a standby must not go on with its alarms.
                metrics.INTAKE_REFUSED.set(0)
                metrics.MISSING_ROWS.clear()

    async def _acquire(self, stop: asyncio.Event) -> int:
        acquiring = asyncio.create_task(self.leadership.acquire(stop))
        done, _ = await asyncio.wait([acquiring], timeout=STANDBY_AFTER_S)
        if not done and not stop.is_set():
            self.announce()
        return await acquiring

    async def _lead(self, term: int, stop: asyncio.Event) -> None:
        publisher = Publisher(
            self.store, self.archive, self.config.origin, self.identity.signer, self.cosigners
        )

        async def guard(session: AsyncSession) -> None:
            await self.leadership.guard(session, term)

        async with self.database.transaction() as session:
            await guard(session)
        await publisher.recover(self.database, guard)
        metrics.LEADING.set(1)
        witnessing = Witnessing(self.database, self.store, witness_clients(self.config.witnesses))
        stamping = Stamping(
            self.database,
            StampStore(self.config.log_place),
            self.config.stamp_url,
            self.config.stamp_period_ms,
        )
        seat = Seat(self.database, self.leadership, term)
        logbook = _Logbook(self, publisher, seat, witnessing)
        await logbook.step()
        self.announce()
        async with Listener(self.config.database_url, [Channel.EVIDENCE], "ledger-pokes") as listener:
            ended = asyncio.Event()
            loops = (
                logbook.run(listener, ended),
                witnessing.run(ended),
                stamping.run(ended),
                logbook.rate(ended),
                logbook.scrub(ended),
                stop.wait(),
                self.leadership.lost.wait(),
            )
            await _until_one_ends(loops, ended)
        if self.leadership.lost.is_set():
            raise LeadershipLost(f"the lock of term {term} is gone")


class _Logbook:
    """One term of one leader."""

    def __init__(self, ledger: _Ledger, publisher: Publisher, seat: Seat, witnessing: Witnessing) -> None:
        self._config = ledger.config
        self._publisher = publisher
        self._seat = seat
        self._witnessing = witnessing
        self._sequencer = Sequencer(ledger.identity, publisher.tree.size)
        self._rater = Rater(seat, ledger.config.settle_ms)
        self._published_few = asyncio.Event()
        # The tiles are the publisher's: the scrubber may not read them while they are written.
        self._publishing = asyncio.Lock()

    async def run(self, listener: Listener, ended: asyncio.Event) -> None:
        """Sequence and publish when poked and on a period, until `ended`."""
        lag_at_s = 0.0
        while not ended.is_set():
            more = await self.step()
            if time.monotonic() >= lag_at_s:
                lag_at_s = time.monotonic() + LAG_PERIOD_S
                async with self._seat.database.read() as session:
                    metrics.INTAKE_LAG.set(await intake_age_s(session))
            if not more:
                await listener.wait(self._config.period_ms / 1000)

    async def step(self) -> bool:
        """One batch: sequence, commit, write tiles, sign, commit, publish, poke. Returns whether more waits.

        Once begun it is not cut short: a thread that goes on publishing behind the back of a new start would
        look like somebody else's work.
        """
        return await whole(self._step())

    async def _step(self) -> bool:
        seat, sequencer, publisher = self._seat, self._sequencer, self._publisher
        async with seat.database.transaction() as session:
            await seat.leadership.guard(session, seat.term)
            batch = await sequencer.sequence(session, _now_ms())
        # Committed: from here on the entries are in the log, whatever happens to this process.
        sequencer.size += len(batch.leaves)
        publisher.take(batch)
        metrics.INTAKE_REFUSED.set(len(sequencer.refused) + len(sequencer.refused_windows))
        for kind in batch.types:
            metrics.SEQUENCED.labels(type=kind).inc()
        if publisher.due:
            await self._publish()
            if len(batch.leaves) <= FEW_ENTRIES:
                self._published_few.set()
        return batch.full

    async def _publish(self) -> None:
        publisher, seat = self._publisher, self._seat
        async with self._publishing:
            await asyncio.to_thread(publisher.write_tiles)
            note = await asyncio.to_thread(publisher.sign)
            # Under the lock of the leader's row, so that nobody publishes who leads no more.
            async with seat.database.transaction() as session:
                await seat.leadership.guard(session, seat.term)
                await publisher.publish(session, note, _now_ms())
            await asyncio.to_thread(publisher.tidy)
        metrics.LOG_SIZE.set(publisher.tree.size)
        metrics.CHECKPOINT_TIME.set(time.time())
        async with seat.database.transaction() as session:
            await poke(session, Channel.LOGGED)
        self._witnessing.published.set()

    async def rate(self, ended: asyncio.Event) -> None:
        """Rate on a period, and as soon as few entries were published, until `ended`."""
        while not ended.is_set():
            self._published_few.clear()
            await self._rater.rate()
            await wait_either(self._published_few, ended, self._config.rating_period_ms / 1000)

    async def scrub(self, ended: asyncio.Event) -> None:
        """Compare the log in the database with the published tiles, 256 entries at a time, for ever."""
        number = 0
        while not ended.is_set():
            published = self._publisher.published
            if published is not None and published.size:
                number %= -(-published.size // WIDTH)
                async with self._publishing, self._seat.database.read() as session:
                    await self._publisher.compare(session, number, published.size)
                number += 1
            await _until(ended, SCRUB_PERIOD_S)


async def _until(ended: asyncio.Event, most_s: float) -> None:
    """Wait so long at most, and no longer than until `ended`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), most_s)


async def _until_one_ends(loops: Sequence[Coroutine[Any, Any, object]], ended: asyncio.Event) -> None:
    """Run loops together; when one ends or fails, `ended` lets the others finish what they are at.

    Raises the error of the one that failed.
    """
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended.set()
        if others:
            await asyncio.wait(others, timeout=FINISH_S)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
