"""The calendar: maintenance windows and advance reservations, applied from a file, listed, cut short."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.calendar import Known, MayReserve, Planned, planned_by
from scheduler.domain.configuration_reading import CalendarEntry
from scheduler.domain.errors import NotFound
from scheduler.domain.ids import FirmId, Ids, NodeId
from scheduler.domain.queues import QueueKey
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


async def apply_calendar(run: Application, entries: Sequence[CalendarEntry]) -> None:
    """Writes the entries of the file. What has begun keeps its beginning; what is over cannot be written."""
    if not entries:
        return
    rows = {row.name: row for row in await run.session.scalars(select(CalendarRow))}
    planned = {name: _planned(row) for name, row in rows.items()}
    known = await _known(run.session, planned)
    touched: set[str] = set()
    for entry in entries:
        row = rows.get(entry.name)
        wanted = planned[entry.name] = planned_by(entry, known, run.now_ms, run.refuse)
        if run.problems:
            continue
        now: dict[str, Any] = {
            "from_ms": entry.from_ms,
            "until_ms": entry.until_ms,
            "node_ids": sorted(wanted.nodes),
            "firm_id": None if wanted.queue is None else wanted.queue.firm_id,
            "queue": entry.queue,
            "why": entry.why,
        }
        was = None if row is None else {name: getattr(row, name) for name in now}
        shown = None if was is None else _as_in_file(was, known)
        if run.note("calendar", entry.name, shown, _as_in_file(now, known)):
            statement = upsert(CalendarRow).values(name=entry.name, **now)
            await run.session.execute(
                statement.on_conflict_do_update(index_elements=[CalendarRow.name], set_=now)
            )
            touched |= wanted.nodes | set(() if row is None else row.node_ids)
    await _log_calendars(run.session, touched, run.now_ms, run.ids)


def _planned(row: CalendarRow) -> Planned:
    queue = None if row.firm_id is None or row.queue is None else QueueKey(FirmId(row.firm_id), row.queue)
    return Planned(row.from_ms, row.until_ms, frozenset(map(NodeId, row.node_ids)), queue)


def _as_in_file(columns: Mapping[str, Any], known: Known) -> dict[str, Any]:
    firms = {queue.firm_id: firm for (firm, _), queue in known.queues.items()}
    nodes = {node_id: name for name, (node_id, _) in known.nodes.items()}
    return {
        "from": to_rfc3339(columns["from_ms"]),
        "until": to_rfc3339(columns["until_ms"]),
        "nodes": sorted(nodes.get(node_id, node_id) for node_id in columns["node_ids"]),
        "firm": firms.get(columns["firm_id"]),
        "queue": columns["queue"],
        "why": columns["why"],
    }


async def _known(session: AsyncSession, planned: Mapping[str, Planned]) -> Known:
    queues = await session.execute(
        select(FirmRow.name, QueueRow.name, QueueRow.firm_id, QueueRow.pools).join(
            QueueRow, QueueRow.firm_id == FirmRow.firm_id
        )
    )
    nodes = await session.execute(select(NodeRow.name, NodeRow.node_id, NodeRow.pool))
    return Known(
        {name: (NodeId(node_id), pool) for name, node_id, pool in nodes},
        sorted(await session.scalars(select(PoolRow.name))),
        {(firm, queue): MayReserve(FirmId(firm_id), tuple(pools)) for firm, queue, firm_id, pools in queues},
        planned,
    )


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
