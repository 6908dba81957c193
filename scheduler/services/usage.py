"""Usage figures for people: per firm, job and device model from charges, and the balance of device time.

Everything comes from logged facts. Sums of charges are what the ledger has rated so far; the statement of a
bundle is computed from the windows themselves, by the same functions, and is what counts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby

from sqlalchemy import and_, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.fact_names import allocation_fact
from scheduler.storage.segments import opened_segments
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    ChargeRow,
    DeviceRow,
    LogCheckpointRow,
    LogEntryRow,
)
from suanli.evidence.entries import (
    DEVICE_EVENT,
    FIRM,
    PRICE_VERSION,
    PROGRAM_VERSION,
    USAGE_WINDOW,
    parse_payload,
)
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.records import parse_record
from suanli.rating.balance import Buckets, device_balance
from suanli.rating.charges import Line, charge
from suanli.rating.inputs import ObservedUse, Price, Program, RatingInputs
from suanli.rating.programs import Subsidy, evaluate_programs
from suanli.rating.usage import Quantities, Usage, UsageKey, collect_usage

WINDOWS_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class FirmUsage:
    """One firm's usage in a period: lines by job, device model and price, their sum, and what programs pay.

    Lines and subsidies are JSON objects as in a statement; amounts are whole fen, rounded once per line.
    """

    firm_id: str
    name: str
    lines: tuple[Mapping[str, object], ...]
    total_fen: int
    subsidies: tuple[Mapping[str, object], ...]
    net_fen: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage in [from_ms, to_ms) as far as the log of `log_size` entries tells it."""

    from_ms: int
    to_ms: int
    log_size: int
    firms: tuple[FirmUsage, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Usage of which time, and of all firms, one firm, or one job."""

    from_ms: int
    to_ms: int
    firm_id: str | None = None
    job_id: str | None = None


async def usage_report(session: AsyncSession, wanted: Wanted) -> UsageReport:
    """What was used and is owed for [from_ms, to_ms).

    Exact where the period begins and ends on the grid of windows; elsewhere a charge belongs to the period
    in which it begins.
    """
    size = await published_size(session)
    collector = RatingCollector()
    await _add_records(session, collector, size, await _allocations(session, wanted))
    inputs = collector.inputs(size)
    usage = collect_usage(inputs, wanted.from_ms, wanted.to_ms)
    await _add_charges(session, usage, inputs, wanted)
    charges = charge(usage)
    firms = [
        _firm(inputs, owner, evaluate_programs(mine, charges.programs), mine)
        for owner, lines in groupby(charges.lines, key=lambda line: line.firm_id)
        for mine in [list(lines)]
    ]
    return UsageReport(wanted.from_ms, wanted.to_ms, size, tuple(firms))


def _firm(inputs: RatingInputs, firm_id: str, subsidies: Sequence[Subsidy], lines: list[Line]) -> FirmUsage:
    total_fen = sum(line.amount_fen for line in lines)
    return FirmUsage(
        firm_id=firm_id,
        name=inputs.firm_names.get(firm_id, ""),
        lines=tuple(line.as_json() for line in lines),
        total_fen=total_fen,
        subsidies=tuple(subsidy.as_json() for subsidy in subsidies),
        net_fen=total_fen - sum(subsidy.amount_fen for subsidy in subsidies),
    )


async def simulated_uses(session: AsyncSession, report: UsageReport) -> Set[tuple[str, str]]:
    """(job, device model) of the report's lines of which the job held devices without hardware behind them.

    Cost: where the register has no such devices, one query that finds none; else the devices of these jobs.
    """
    seeming = DeviceRow.simulated.is_(True)
    if await session.scalar(select(DeviceRow.device_id).where(seeming).limit(1)) is None:
        return frozenset()
    held, owned = AllocationRow, AllocationDeviceRow
    job_ids = {str(line["job_id"]) for firm in report.firms for line in firm.lines}
    rows = await session.execute(
        select(held.job_id, DeviceRow.model)
        .join(owned, and_(owned.firm_id == held.firm_id, owned.allocation_id == held.allocation_id))
        .join(DeviceRow, DeviceRow.device_id == owned.device_id)
        .where(held.job_id.in_(job_ids), held.firm_id.in_([firm.firm_id for firm in report.firms]), seeming)
        .distinct()
    )
    return {(row.job_id, row.model) for row in rows}


async def published_size(session: AsyncSession) -> int:
    """Entries of the newest signed log checkpoint; 0 before the first."""
    return await session.scalar(select(func.max(LogCheckpointRow.size))) or 0


async def _allocations(session: AsyncSession, wanted: Wanted) -> list[str]:
    """Allocations that were held at any time of the period."""
    row = AllocationRow
    held = row.ended_ms.is_(None) | (row.ended_ms > wanted.from_ms)
    conditions = [row.granted_ms < wanted.to_ms, held]
    if wanted.firm_id is not None:
        conditions.append(row.firm_id == wanted.firm_id)
    if wanted.job_id is not None:
        conditions.append(row.job_id == wanted.job_id)
    return list(await session.scalars(select(row.allocation_id).where(*conditions)))


async def _add_records(
    session: AsyncSession, collector: RatingCollector, size: int, allocations: Iterable[str]
) -> None:
    """Feed the logged records that rating needs, in log order: terms, devices, and these allocations."""
    row = LogEntryRow
    facts = [allocation_fact(a, event) for a in allocations for event in ("granted", "ended")]
    wanted = row.type.in_([DEVICE_EVENT, PRICE_VERSION, PROGRAM_VERSION, FIRM]) | row.fact.in_(facts)
    found = await session.execute(
        select(row.log_index, row.type, row.payload)
        .where(wanted, row.log_index < size)
        .order_by(row.log_index)
    )
    for index, kind, payload in found:
        collector.add_record(index, parse_record(kind, parse_payload(payload).body))


async def _add_charges(session: AsyncSession, usage: Usage, inputs: RatingInputs, wanted: Wanted) -> None:
    """Add what was rated: sums per stretch of constant terms, as no charge crosses a line of the grid."""
    versions: list[Price | Program] = [*inputs.prices, *inputs.programs]
    edges = sorted({0, *(v.from_ms for v in versions), *(v.to_ms for v in versions if v.to_ms is not None)})
    row = ChargeRow
    epoch = func.width_bucket(row.from_ms, edges)
    statement = (
        select(
            row.firm_id,
            row.job_id,
            row.device_model,
            epoch,
            func.min(row.from_ms),
            func.sum(row.billable_ms * row.share_ppm),
            func.sum(row.live_ms * row.share_ppm),
            func.sum(row.worked_ms * row.share_ppm),
        )
        .where(row.from_ms >= wanted.from_ms, row.from_ms < wanted.to_ms)
        .group_by(row.firm_id, row.job_id, row.device_model, epoch)
    )
    if wanted.firm_id is not None:
        statement = statement.where(row.firm_id == wanted.firm_id)
    if wanted.job_id is not None:
        statement = statement.where(row.job_id == wanted.job_id)
    for firm, job, model, _, first_ms, *sums in await session.execute(statement):
        terms = usage.terms.get(model)
        if terms is None:
            continue
        billable, live, worked = (int(value) for value in sums)
        if not billable:
            continue
        key = UsageKey(firm, job, model, terms.epochs(first_ms, first_ms + 1)[0][0])
        usage.quantities.setdefault(key, Quantities()).add(Quantities(0, 0, billable, live, worked))


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """The balance of one device: what every millisecond of it was, in ppm x ms."""

    device_id: str
    buckets: Buckets


@dataclass(frozen=True, slots=True)
class Balance:
    """Device time in [from_ms, to_ms); the buckets of a device sum to its time in the register."""

    from_ms: int
    to_ms: int
    log_size: int
    devices: tuple[DeviceTime, ...]

    def total(self) -> Buckets:
        """The sum over all devices."""
        total = Buckets()
        for device in self.devices:
            total.add(device.buckets)
        return total


async def balance(session: AsyncSession, *, from_ms: int, to_ms: int) -> Balance:
    """What every millisecond of every registered device in [from_ms, to_ms) was, by the published log.

    Reads each segment of the period: linear in devices and time.
    """
    size = await published_size(session)
    collector = RatingCollector()
    await _add_records(session, collector, size, await _allocations(session, Wanted(from_ms, to_ms)))
    inputs = collector.inputs(size)
    observed = replace(inputs, usage=await _observed(session, from_ms, to_ms, size))
    buckets = device_balance(observed, from_ms, to_ms)
    devices = tuple(DeviceTime(device_id, buckets[device_id]) for device_id in sorted(buckets))
    return Balance(from_ms, to_ms, size, devices)


async def _observed(session: AsyncSession, from_ms: int, to_ms: int, size: int) -> list[ObservedUse]:
    entry = LogEntryRow
    rows = await session.stream(
        select(entry.log_index, entry.segments)
        .where(
            entry.type == USAGE_WINDOW, entry.end_ms > from_ms, entry.start_ms < to_ms, entry.log_index < size
        )
        .execution_options(yield_per=WINDOWS_PER_PAGE)
    )
    uses: list[ObservedUse] = []
    async for page in rows.partitions():
        opened = await opened_segments(session, {row.log_index: row.segments for row in page})
        uses += [_observed_use(one.body) for window in opened.values() for one in window.segments]
    return uses


def _observed_use(body: bytes) -> ObservedUse:
    """A logged segment as rating sees it; it was read strictly when it came in, so plain JSON is enough."""
    value = json.loads(body)
    return ObservedUse(
        device_id=value["device"]["device_id"],
        device_model=value["device"]["model"],
        start_ms=value["start_ms"],
        end_ms=value["end_ms"],
        state=value["observed"],
        allocation_id=value["allocation_id"],
        share_ppm=value["share_ppm"],
        live_ms=value["live_ms"],
        busy_ms=value["busy_ms"],
    )


_COVERED = text(
    """
    SELECT min(coalesce(newest.end_ms, node.metering_from_ms)), min(node.metering_from_ms)
    FROM nodes AS node
    LEFT JOIN node_states AS state ON state.node_id = node.node_id
    LEFT JOIN LATERAL (
        SELECT end_ms FROM log_entries
        WHERE node_id = node.node_id AND end_ms IS NOT NULL AND log_index < :size
        ORDER BY end_ms DESC LIMIT 1
    ) AS newest ON true
    WHERE coalesce(state.state, 'connected') <> 'lost'
      AND EXISTS (
          SELECT 1 FROM agent_keys WHERE agent_keys.node_id = node.node_id AND agent_keys.revoked_at IS NULL
      )
    """
)


@dataclass(frozen=True, slots=True)
class Covered:
    """The time of which every living node's windows are in the log: [from_ms, to_ms)."""

    from_ms: int
    to_ms: int


async def covered(session: AsyncSession, size: int) -> Covered | None:
    """How far the log of `size` entries covers every living node; None where there is no node.

    Nodes that are lost, or whose keys are revoked, hold nobody up.
    """
    row = (await session.execute(_COVERED, {"size": size})).one()
    return None if row[0] is None else Covered(row[1], row[0])
