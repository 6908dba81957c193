"""Rating as a loop: logged segments become charges, once, as soon as the facts they stand on are logged.

The rule. A segment is rated when it and the grant of its allocation are in the published log, and either the
allocation's end is there too, or so much time has passed since the segment that the controller would have
said so by now. Where an end turns up later after all, with a time before the end of what was charged, the
difference is taken back by a charge that names the one it corrects. Charges are never changed: original and
corrections together are the rating from scratch. A segment that owes nothing gets a charge of no time, so
that "not rated yet" and "owes nothing" are different things.

The log can outlive the rows that charges refer to: after a restore, the published log names a firm or a price
that the database has not. Such segments are held, with an alarm that names the row; all others are rated, and
the held ones as soon as the row is back.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from operator import attrgetter

import structlog
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger.attribution import Attribution, count_overrun, count_use
from scheduler.ledger.charging import Charge, Place, charges_of, correction_of
from scheduler.ledger.metrics import CHARGES, MISSING_ROWS, UNPRICED_MS, UNRATED
from scheduler.storage.engine import Database
from scheduler.storage.fact_names import allocation_fact
from scheduler.storage.leadership import Leadership
from scheduler.storage.segments import opened_segments
from scheduler.storage.tables import (
    ChargeRow,
    DeviceRow,
    FirmRow,
    LogCheckpointRow,
    LogEntryRow,
    PriceVersionRow,
    WindowSegmentRow,
)
from suanli.evidence.entries import ALLOCATION_EVENT, PRICE_VERSION, parse_payload
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.records import AllocationEvent, parse_record
from suanli.evidence.windows import Segment, parse_segment
from suanli.rating.inputs import Authorisation
from suanli.rating.prices import Terms

SEGMENTS_PER_PAGE = 500
EVENTS_PER_PAGE = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """With which right the loop writes."""

    database: Database
    leadership: Leadership
    term: int


@dataclass(frozen=True, slots=True)
class _Found:
    """A logged segment that has no charge yet."""

    place: Place
    firm_id: str | None
    allocation_id: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class _Reference:
    """A row that a charge refers to."""

    table: str
    key: str


@dataclass(slots=True)
class Rater:
    """Rates what is logged. Times in milliseconds."""

    seat: Seat
    settle_ms: int
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    # Every segment below is rated, held, or one of those that wait: places are (log index, number in the window).
    _from_index: int = 0
    _waiting: set[tuple[int, int]] = field(default_factory=set)
    # Rows that the log knows and the database has not, with the log index of the first segment each holds.
    _missing: dict[_Reference, int] = field(default_factory=dict)
    # Every allocation event below has been looked at for charges beyond an end.
    _events_from: int = 0
    _attribution: Attribution = field(default_factory=Attribution)
    _models: dict[str, str] = field(default_factory=dict)

    async def rate(self) -> int:
        """Look at everything once; returns how many charges were made. Safe to run again at any time.

        Raises LeadershipLost and DatabaseAway.
        """
        async with self.seat.database.read() as session:
            size = await session.scalar(select(func.max(LogCheckpointRow.size))) or 0
            terms = await _terms(session, size)
            await self._release(session)
        made = await self._rate_segments(size, terms)
        made += await self._correct(size)
        return made

    async def _rate_segments(self, size: int, terms: "_TermsOf") -> int:
        """Those that waited, then those that are new: one that waits for long makes nobody read the rest again."""
        waiting: set[tuple[int, int]] = set()
        made = 0
        again = sorted(self._waiting)
        for first in range(0, len(again), SEGMENTS_PER_PAGE):
            places = again[first : first + SEGMENTS_PER_PAGE]
            async with self.seat.database.transaction() as session:
                made += await self._rate_page(
                    session, await _unrated_at(session, places), size, terms, waiting
                )
        position = (self._from_index, -1)
        while True:
            async with self.seat.database.transaction() as session:
                page = await _unrated(session, position, size)
                if not page:
                    break
                made += await self._rate_page(session, page, size, terms, waiting)
            position = (page[-1].place.log_index, page[-1].place.n)
        self._from_index = size
        self._waiting = waiting
        UNRATED.set(len(waiting))
        return made

    async def _rate_page(
        self,
        session: AsyncSession,
        page: Sequence[_Found],
        size: int,
        terms: "_TermsOf",
        waiting: set[tuple[int, int]],
    ) -> int:
        """Charge what can be charged of some segments; the places of the others go into `waiting`."""
        facts = await _authorisations(session, {found.allocation_id for found in page}, size)
        await self._learn_models(session, page)
        charges: list[Charge] = []
        for found in page:
            rated = self._rate(found, facts.get(found.allocation_id), terms)
            if rated is None:
                waiting.add((found.place.log_index, found.place.n))
            charges.extend(rated or [])
        chargeable = await self._chargeable(session, charges)
        await self._insert(session, chargeable, "original")
        return len(chargeable)

    def _rate(
        self, found: _Found, authorisation: Authorisation | None, terms: "_TermsOf"
    ) -> list[Charge] | None:
        """The charges of a segment; none where nobody can owe it; None while its facts are not there."""
        settled = found.segment.end_ms <= self.now_ms() - self.settle_ms
        if authorisation is None or found.firm_id is None:
            # No firm: the allocation is in nobody's books, and will not be.
            if found.firm_id is None and settled:
                count_use(found.segment, None)
                return []
            return None
        if authorisation.ended_ms is None and not settled:
            return None
        device_id = found.segment.device.device_id
        model = self._models.get(device_id, found.segment.device.model)
        charges = charges_of(found.place, found.segment, authorisation, terms.of(model), model)
        count_use(found.segment, authorisation)
        for charge in charges:
            if charge.billable_ms and charge.price_id is None:
                UNPRICED_MS.labels(model=model).inc(charge.billable_ms)
        return charges

    async def _chargeable(self, session: AsyncSession, charges: Sequence[Charge]) -> list[Charge]:
        """Charges whose rows are all there; the others wait for theirs, and the alarm says for which."""
        wanted = {reference for charge in charges for reference in _references(charge)}
        missing = wanted - await _present(session, wanted)
        if not missing:
            return list(charges)
        held = {c.place for c in charges if not missing.isdisjoint(_references(c))}
        for charge in charges:
            for reference in missing.intersection(_references(charge)):
                index = charge.place.log_index
                if reference not in self._missing:
                    _log.error("rating_held", table=reference.table, key=reference.key, log_index=index)
                self._missing[reference] = min(index, self._missing.get(reference, index))
        self._show_missing()
        return [charge for charge in charges if charge.place not in held]

    async def _release(self, session: AsyncSession) -> None:
        """Where a missing row is back, look again at what it held. Costs nothing where none is missing."""
        for reference in await _present(session, self._missing.keys()):
            self._from_index = min(self._from_index, self._missing.pop(reference))
            _log.info("rating_released", table=reference.table, key=reference.key)
        self._show_missing()

    def _show_missing(self) -> None:
        for table in ("firms", "price_versions"):
            MISSING_ROWS.labels(table=table).set(sum(r.table == table for r in self._missing))

    async def _learn_models(self, session: AsyncSession, page: Sequence[_Found]) -> None:
        """Registered models: what a node says of itself must not choose its price."""
        unknown = {f.segment.device.device_id for f in page} - self._models.keys()
        if unknown:
            found = await session.execute(
                select(DeviceRow.device_id, DeviceRow.model).where(DeviceRow.device_id.in_(unknown))
            )
            self._models.update(found.all())

    async def _insert(self, session: AsyncSession, charges: Sequence[Charge], kind: str) -> None:
        if not charges:
            return
        await self.seat.leadership.guard(session, self.seat.term)
        await session.execute(
            insert(ChargeRow).on_conflict_do_nothing(index_elements=[ChargeRow.charge_id]).inline(),
            [_row(charge) for charge in charges],
        )
        CHARGES.labels(kind=kind).inc(len(charges))

    async def _correct(self, size: int) -> int:
        """Take back what was charged beyond ends that were logged since the last look."""
        made = 0
        while True:
            async with self.seat.database.transaction() as session:
                events = await _events(session, self._events_from, size)
                if not events:
                    return made
                for _, event in events:
                    self._attribution.take(event)
                ends = {e.allocation_id: e for _, e in events if e.event == "ended"}
                corrections = await _corrections(session, ends)
                await self._insert(session, corrections, "correction")
            made += len(corrections)
            self._events_from = events[-1][0] + 1


def _references(charge: Charge) -> set[_Reference]:
    found = {_Reference("firms", charge.firm_id)}
    if charge.price_id is not None:
        found.add(_Reference("price_versions", charge.price_id))
    return found


async def _present(session: AsyncSession, wanted: Iterable[_Reference]) -> set[_Reference]:
    """Those that the database has. Cost: a look by primary key in each table that is asked for."""
    wanted = list(wanted)
    present: set[_Reference] = set()
    for table, column in (("firms", FirmRow.firm_id), ("price_versions", PriceVersionRow.price_id)):
        keys = {reference.key for reference in wanted if reference.table == table}
        if keys:
            found = await session.scalars(select(column).where(column.in_(keys)))
            present.update(_Reference(table, key) for key in found)
    return present


class _TermsOf:
    """Prices in force, by device model."""

    def __init__(self, collector: RatingCollector, size: int) -> None:
        self._prices = collector.inputs(size).prices
        self._terms: dict[str, Terms] = {}

    def of(self, model: str) -> Terms:
        """Terms of a model, without programs: those belong to statements, not to charges."""
        terms = self._terms.get(model)
        if terms is None:
            prices = [price for price in self._prices if price.device_model == model]
            terms = self._terms[model] = Terms(prices, [])
        return terms


async def _terms(session: AsyncSession, size: int) -> _TermsOf:
    found = await session.execute(
        select(LogEntryRow.log_index, LogEntryRow.payload)
        .where(LogEntryRow.type == PRICE_VERSION, LogEntryRow.log_index < size)
        .order_by(LogEntryRow.log_index)
    )
    collector = RatingCollector()
    for index, payload in found:
        collector.add_record(index, parse_record(PRICE_VERSION, parse_payload(payload).body))
    return _TermsOf(collector, size)


def _unrated_query() -> Select[WindowSegmentRow]:
    """Segments with an allocation and without a charge, in log order."""
    row = WindowSegmentRow
    rated = select(ChargeRow.charge_id).where(ChargeRow.log_index == row.log_index, ChargeRow.n == row.n)
    return select(row).where(row.allocation_id.is_not(None), ~rated.exists()).order_by(row.log_index, row.n)


async def _unrated(session: AsyncSession, after: tuple[int, int], size: int) -> list[_Found]:
    """The next of them after a place."""
    row = WindowSegmentRow
    beyond = row.log_index >= after[0], (row.log_index > after[0]) | (row.n > after[1])
    return await _found(
        session, _unrated_query().where(*beyond, row.log_index < size).limit(SEGMENTS_PER_PAGE)
    )


async def _unrated_at(session: AsyncSession, places: Sequence[tuple[int, int]]) -> list[_Found]:
    """Those of them that stand at these places."""
    row = WindowSegmentRow
    return await _found(session, _unrated_query().where(tuple_(row.log_index, row.n).in_(places)))


async def _found(session: AsyncSession, query: Select[WindowSegmentRow]) -> list[_Found]:
    rows = (await session.scalars(query)).all()
    # Each window once: thousands of the segments may be of one.
    entry, windows = LogEntryRow, {row.log_index for row in rows}
    packed = await session.execute(
        select(entry.log_index, entry.segments).where(entry.log_index.in_(windows))
    )
    opened = await opened_segments(session, {window.log_index: window.segments for window in packed})
    found: list[_Found] = []
    for index, group in groupby(rows, key=attrgetter("log_index")):
        segments = opened[index].segments
        found += [
            _Found(
                Place(index, row.n), row.firm_id, row.allocation_id or "", parse_segment(segments[row.n].body)
            )
            for row in group
        ]
    return found


async def _authorisations(
    session: AsyncSession, allocation_ids: Iterable[str], size: int
) -> dict[str, Authorisation]:
    """What the published log says of allocations: granted, and ended where it says so."""
    facts = [allocation_fact(a, event) for a in allocation_ids for event in ("granted", "ended")]
    found = await session.execute(
        select(LogEntryRow.log_index, LogEntryRow.payload)
        .where(LogEntryRow.fact.in_(facts), LogEntryRow.log_index < size)
        .order_by(LogEntryRow.log_index)
    )
    collector = RatingCollector()
    for index, payload in found:
        collector.add_record(index, parse_record(ALLOCATION_EVENT, parse_payload(payload).body))
    return dict(collector.inputs(size).authorisations)


async def _events(session: AsyncSession, first: int, size: int) -> list[tuple[int, AllocationEvent]]:
    found = await session.execute(
        select(LogEntryRow.log_index, LogEntryRow.payload)
        .where(
            LogEntryRow.type == ALLOCATION_EVENT, LogEntryRow.log_index >= first, LogEntryRow.log_index < size
        )
        .order_by(LogEntryRow.log_index)
        .limit(EVENTS_PER_PAGE)
    )
    events: list[tuple[int, AllocationEvent]] = []
    for index, payload in found:
        record = parse_record(ALLOCATION_EVENT, parse_payload(payload).body)
        if isinstance(record, AllocationEvent):
            events.append((index, record))
    return events


async def _corrections(session: AsyncSession, ends: dict[str, AllocationEvent]) -> list[Charge]:
    if not ends:
        return []
    rows = await session.scalars(
        select(ChargeRow).where(ChargeRow.allocation_id.in_(ends), ChargeRow.corrects.is_(None))
    )
    made: dict[str, tuple[Charge, Charge]] = {}
    for charge in map(_charge, rows):
        correction = correction_of(charge, ends[charge.allocation_id].at_ms)
        if correction is not None:
            made[correction.charge_id] = charge, correction
    # After a restart ends are looked at again: what was taken back then is not taken back twice.
    done = await session.scalars(select(ChargeRow.charge_id).where(ChargeRow.charge_id.in_(made)))
    for charge_id in done:
        del made[charge_id]
    for charge, _ in made.values():
        count_overrun(charge, ends[charge.allocation_id])
    if made:
        _log.info("charges_corrected", count=len(made))
    return [correction for _, correction in made.values()]


def _row(charge: Charge) -> dict[str, object]:
    return {
        "charge_id": charge.charge_id,
        "firm_id": charge.firm_id,
        "job_id": charge.job_id,
        "allocation_id": charge.allocation_id,
        "device_id": charge.device_id,
        "device_model": charge.device_model,
        "log_index": charge.place.log_index,
        "n": charge.place.n,
        "corrects": charge.corrects,
        "from_ms": charge.from_ms,
        "to_ms": charge.to_ms,
        "billable_ms": charge.billable_ms,
        "live_ms": charge.live_ms,
        "worked_ms": charge.worked_ms,
        "share_ppm": charge.share_ppm,
        "price_id": charge.price_id,
        "amount_fen_numerator": charge.amount_fen.numerator,
        "amount_fen_denominator": charge.amount_fen.denominator,
    }


def _charge(row: ChargeRow) -> Charge:
    return Charge(
        place=Place(row.log_index, row.n),
        firm_id=row.firm_id,
        job_id=row.job_id,
        allocation_id=row.allocation_id,
        device_id=row.device_id,
        device_model=row.device_model,
        from_ms=row.from_ms,
        to_ms=row.to_ms,
        billable_ms=row.billable_ms,
        live_ms=row.live_ms,
        worked_ms=row.worked_ms,
        share_ppm=row.share_ppm,
        price_id=row.price_id,
        amount_fen=Fraction(int(row.amount_fen_numerator), int(row.amount_fen_denominator)),
        corrects=row.corrects,
    )
