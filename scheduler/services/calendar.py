"""The calendar: maintenance windows and advance reservations, applied from a file, listed, cut short."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.configuration_reading import CalendarEntry
from scheduler.domain.errors import NotFound
from scheduler.domain.ids import Ids
from scheduler.domain.suggestions import one_of
from scheduler.domain.time import to_rfc3339
from scheduler.services.administration import note_act
from scheduler.services.application import Application
from scheduler.storage import inbox
from scheduler.storage.fact_names import calendar_fact
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import (
    CalendarRow,
    DeviceRow,
    EvidenceIntakeRow,
    FirmRow,
    NodeRow,
    PoolRow,
    QueueRow,
)
from suanli.evidence.calendar import CALENDAR, MAINTENANCE, RESERVED, DeviceCalendar, PlannedStretch
from suanli.evidence.records import encode_record, entry_type


@dataclass(frozen=True, slots=True)
class CalendarRecord:
    """A stretch of time in which nodes are not for everybody. `firm` None: maintenance."""

    name: str
    firm: str | None
    queue: str | None
    nodes: tuple[str, ...]
    from_ms: int
    until_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class _Queue:
    firm_id: str
    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    nodes: Mapping[str, NodeRow]  # by name
    pools: Sequence[str]
    queues: Mapping[tuple[str, str], "_Queue"]  # (firm, queue)
    rows: Mapping[str, CalendarRow]


async def apply_calendar(run: Application, entries: Sequence[CalendarEntry]) -> None:
    """Writes the entries of the file. What has begun keeps its beginning; what is over cannot be written."""
    if not entries:
        return
    known = await _known(run.session)
    touched: set[str] = set()
    taken = {
        name: (row.from_ms, row.until_ms, set(row.node_ids), row.firm_id) for name, row in known.rows.items()
    }
    for entry in entries:
        row = known.rows.get(entry.name)
        whose = _whose(run, entry, known)
        node_ids = _node_ids(run, entry, known)
        _check_times(run, entry, row)
        now: dict[str, Any] = {
            "from_ms": entry.from_ms,
            "until_ms": entry.until_ms,
            "node_ids": sorted(node_ids),
            "firm_id": whose,
            "queue": entry.queue,
            "why": entry.why,
        }
        taken[entry.name] = (entry.from_ms, entry.until_ms, node_ids, whose)
        _refuse_clash(run, entry, taken)
        if run.problems:
            continue
        was = None if row is None else {name: getattr(row, name) for name in now}
        if run.note("calendar", entry.name, was, now):
            statement = upsert(CalendarRow).values(name=entry.name, **now)
            await run.session.execute(
                statement.on_conflict_do_update(index_elements=[CalendarRow.name], set_=now)
            )
            touched |= node_ids | set(() if row is None else row.node_ids)
    await _log_calendars(run.session, touched, run.now_ms, run.ids)


async def _known(session: AsyncSession) -> _Known:
    queues = await session.execute(
        select(FirmRow.name, QueueRow.name, QueueRow.firm_id, QueueRow.pools).join(
            QueueRow, QueueRow.firm_id == FirmRow.firm_id
        )
    )
    return _Known(
        {row.name: row for row in await session.scalars(select(NodeRow))},
        sorted(await session.scalars(select(PoolRow.name))),
        {(firm, queue): _Queue(firm_id, tuple(pools)) for firm, queue, firm_id, pools in queues},
        {row.name: row for row in await session.scalars(select(CalendarRow))},
    )


def _whose(run: Application, entry: CalendarEntry, known: _Known) -> str | None:
    if entry.firm is None or entry.queue is None:
        return None
    queue = known.queues.get((entry.firm, entry.queue))
    if queue is None:
        firms = sorted({firm for firm, _ in known.queues})
        if entry.firm not in firms:
            run.refuse(f"{entry.where}.firm", entry.firm, one_of(entry.firm, firms))
        else:
            queues = sorted(name for firm, name in known.queues if firm == entry.firm)
            run.refuse(f"{entry.where}.queue", entry.queue, one_of(entry.queue, queues))
        return None
    _refuse_out_of_reach(run, entry, queue, known)
    return queue.firm_id


def _refuse_out_of_reach(run: Application, entry: CalendarEntry, queue: _Queue, known: _Known) -> None:
    """What a queue may not use nobody could use while it is reserved for it."""
    want = f"in a pool of queue {entry.queue}: {', '.join(queue.pools)}"
    if entry.pool in known.pools and entry.pool not in queue.pools:
        run.refuse(f"{entry.where}.pool", entry.pool, want)
    for number, name in enumerate(entry.nodes):
        if name in known.nodes and known.nodes[name].pool not in queue.pools:
            run.refuse(f"{entry.where}.nodes[{number}]", name, want)


def _node_ids(run: Application, entry: CalendarEntry, known: _Known) -> set[str]:
    if entry.pool is not None:
        if entry.pool not in known.pools:
            run.refuse(f"{entry.where}.pool", entry.pool, one_of(entry.pool, known.pools))
        return {row.node_id for row in known.nodes.values() if row.pool == entry.pool}
    found = set()
    for number, name in enumerate(entry.nodes):
        if name in known.nodes:
            found.add(known.nodes[name].node_id)
        else:
            run.refuse(f"{entry.where}.nodes[{number}]", name, one_of(name, sorted(known.nodes)))
    return found


def _check_times(run: Application, entry: CalendarEntry, row: CalendarRow | None) -> None:
    """A file that is applied again later says the same of what has begun: that is no mistake."""
    if row is not None and (row.from_ms, row.until_ms) == (entry.from_ms, entry.until_ms):
        return
    now = to_rfc3339(run.now_ms)
    if entry.until_ms <= run.now_ms:
        run.refuse(f"{entry.where}.until", to_rfc3339(entry.until_ms), f"a time after now ({now})")
    elif entry.from_ms < run.now_ms and (row is None or row.from_ms != entry.from_ms):
        began = row is not None and row.from_ms <= run.now_ms
        want = f"{to_rfc3339(row.from_ms)}: it has begun" if row and began else f"a time from now on ({now})"
        run.refuse(f"{entry.where}.from", to_rfc3339(entry.from_ms), want)


def _refuse_clash(
    run: Application, entry: CalendarEntry, taken: Mapping[str, tuple[int, int, set[str], str | None]]
) -> None:
    """Two reservations of one node at one time cannot both hold."""
    from_ms, until_ms, node_ids, whose = taken[entry.name]
    for name, (other_from, other_until, other_nodes, others) in taken.items():
        if name == entry.name or whose is None or others is None:
            continue  # maintenance goes before reservations
        if node_ids & other_nodes and from_ms < other_until and other_from < until_ms:
            want = f"nodes or times that {name} has not reserved"
            run.refuse(f"{entry.where}.nodes", ", ".join(entry.nodes) or entry.pool or "", want)


async def list_calendar(session: AsyncSession, principal: Principal, now_ms: int) -> Sequence[CalendarRecord]:
    """What is open or to come, by its beginning. A firm's people see maintenance and their own reservations."""
    authorise(principal, Action.READ_CATALOGUE)
    firms = {row.firm_id: row.name for row in await session.execute(select(FirmRow.firm_id, FirmRow.name))}
    names = {row.node_id: row.name for row in await session.execute(select(NodeRow.node_id, NodeRow.name))}
    rows = await session.scalars(
        select(CalendarRow)
        .where(CalendarRow.until_ms > now_ms, CalendarRow.until_ms > CalendarRow.from_ms)
        .order_by(CalendarRow.from_ms, CalendarRow.name)
    )
    return [
        CalendarRecord(
            row.name,
            None if row.firm_id is None else firms[row.firm_id],
            row.queue,
            tuple(sorted(names.get(node_id, node_id) for node_id in row.node_ids)),
            row.from_ms,
            row.until_ms,
            row.why,
        )
        for row in rows
        if principal.firm_id is None or row.firm_id in {None, principal.firm_id}
    ]


async def cut_short(session: AsyncSession, principal: Principal, name: str, now_ms: int, ids: Ids) -> None:
    """Ends an entry now; one that has not begun never will. Raises NotFound."""
    authorise(principal, Action.CONFIGURE)
    row = await session.get(CalendarRow, name)
    if row is None or row.until_ms <= max(now_ms, row.from_ms):
        raise NotFound(f"the calendar has no entry {name} that is open or to come")
    until_ms = max(now_ms, row.from_ms)
    await session.execute(update(CalendarRow).where(CalendarRow.name == name).values(until_ms=until_ms))
    await _log_calendars(session, set(row.node_ids), now_ms, ids)
    subject = f"calendar {name}"[:128]
    await note_act(session, principal, "configuration_applied", subject, now_ms, ids.new(now_ms))
    await inbox.put(session, "ConfigurationChanged", {})


async def _log_calendars(session: AsyncSession, node_ids: set[str], now_ms: int, ids: Ids) -> None:
    """Leave for the log all that is planned for these nodes from now on: one fact a node, whoever it is for."""
    if not node_ids:
        return
    devices: dict[str, list[str]] = {}
    places = select(DeviceRow.node_id, DeviceRow.device_id).where(DeviceRow.node_id.in_(node_ids))
    for node_id, device_id in await session.execute(places.order_by(DeviceRow.node_id, DeviceRow.index)):
        devices.setdefault(node_id, []).append(device_id)
    planned: dict[str, list[PlannedStretch]] = {}
    row = CalendarRow
    rows = select(row.node_ids, row.firm_id, row.from_ms, row.until_ms).where(
        row.until_ms > now_ms, row.until_ms > row.from_ms
    )
    for nodes, firm_id, from_ms, until_ms in await session.execute(rows.order_by(row.from_ms, row.name)):
        stretch = PlannedStretch(MAINTENANCE if firm_id is None else RESERVED, from_ms, until_ms)
        for node_id in node_ids.intersection(nodes):
            planned.setdefault(node_id, []).append(stretch)
    facts = []
    for node_id, device_ids in devices.items():
        stretches = tuple(planned.get(node_id, ()))
        record = DeviceCalendar(CALENDAR, node_id, tuple(device_ids), stretches, now_ms)
        fact = calendar_fact(node_id, ids.new(now_ms))
        facts.append(
            {"type": entry_type(record), "firm_id": None, "body": encode_record(record), "fact": fact}
        )
    if facts:
        await session.execute(insert(EvidenceIntakeRow).inline(), facts)
        await poke(session, Channel.EVIDENCE)
