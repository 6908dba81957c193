"""Closing a period: everything below a log size belongs to it, everything after is a correction.

One statement for each firm that used something becomes an entry of the log; bundles of the period show just that
statement from then on, over the entries below its log size. A period is closed once. Cost: reads the log once.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Conflict, FieldProblem, Invalid, Unavailable
from scheduler.domain.time import to_rfc3339
from scheduler.services.administration import note_act
from scheduler.services.bundles import ENTRIES_PER_PAGE, collect_page
from scheduler.services.usage import covered, published_size
from scheduler.storage.fact_names import fact_of
from scheduler.storage.tables import EvidenceIntakeRow, LogEntryRow
from suanli.evidence.bundle import AUDITOR
from suanli.evidence.entries import STATEMENT, parse_payload
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.records import PERIOD_CLOSED, encode_record, parse_record
from suanli.evidence.statement_entry import Statement
from suanli.evidence.steps.closing import firm_digest
from suanli.rating.balance import collect_balance
from suanli.rating.held import HeldTime, state_held
from suanli.rating.inputs import RatingInputs
from suanli.rating.statements import state_usage
from suanli.rating.usage import collect_usage

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('suanli close period'))")


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """What a period came to, firm by firm."""

    from_ms: int
    to_ms: int
    log_size: int
    statements: tuple[Statement, ...]


async def close_period(
    session: AsyncSession, actor: Principal | None, from_ms: int, to_ms: int, now_ms: int
) -> ClosedPeriod:
    """Close [from_ms, to_ms) at the published log; the same again answers what was closed.

    Who closed it is an entry beside the statements. `actor` None is the administrator at the machine itself.

    Raises Unavailable while windows of the period are on their way, Conflict for one that overlaps a closed
    period, Invalid for a period that is none or in which nobody used anything.
    """
    if to_ms <= from_ms:
        begins = f"a time after {to_rfc3339(from_ms)}, where the period begins"
        raise Invalid([FieldProblem("to", to_rfc3339(to_ms), begins)])
    await session.execute(_LOCK)
    standing = await _closed(session)
    same = tuple(s for s in standing if (s.from_ms, s.to_ms) == (from_ms, to_ms))
    if same:
        return ClosedPeriod(from_ms, to_ms, same[0].log_size, same)
    for other in standing:
        if other.from_ms < to_ms and from_ms < other.to_ms:
            raise Conflict(
                f"the period from {to_rfc3339(other.from_ms)} to {to_rfc3339(other.to_ms)} is closed,"
                " and this one overlaps it",
                {"from_ms": other.from_ms, "to_ms": other.to_ms},
            )
    size = await published_size(session)
    known = await covered(session, size)
    if known is None:
        raise Unavailable("no node is enrolled: there is no time to account for")
    if known.to_ms < to_ms:
        raise Unavailable(
            f"usage windows of every living node are logged up to {to_rfc3339(known.to_ms)},"
            f" and the period ends at {to_rfc3339(to_ms)}: ask again later"
        )
    statements = await _statements(session, from_ms, to_ms, size, now_ms)
    if not statements:
        raise Invalid(
            [
                FieldProblem(
                    "from",
                    f"{to_rfc3339(from_ms)} to {to_rfc3339(to_ms)}",
                    "a period in which some firm used something",
                )
            ]
        )
    rows = [
        {
            "type": STATEMENT,
            "firm_id": s.firm_id,
            "body": encode_record(s),
            "fact": fact_of(s),
        }
        for s in statements
    ]
    await session.execute(insert(EvidenceIntakeRow).inline(), rows)
    subject = f"{from_ms}/{to_ms}"
    await note_act(session, actor, PERIOD_CLOSED, subject, now_ms)
    return ClosedPeriod(from_ms, to_ms, size, tuple(statements))


async def _closed(session: AsyncSession) -> list[Statement]:
    """Statements of all closed periods, those that still wait for their place in the log among them."""
    waiting = await session.scalars(select(EvidenceIntakeRow.body).where(EvidenceIntakeRow.type == STATEMENT))
    logged = await session.scalars(
        select(LogEntryRow.payload).where(LogEntryRow.type == STATEMENT).order_by(LogEntryRow.log_index)
    )
    bodies = [*(parse_payload(payload).body for payload in logged), *waiting]
    found = [parse_record(STATEMENT, body) for body in bodies]
    return [record for record in found if isinstance(record, Statement)]


async def _statements(
    session: AsyncSession, from_ms: int, to_ms: int, size: int, now_ms: int
) -> list[Statement]:
    collector = RatingCollector()
    for first in range(0, size, ENTRIES_PER_PAGE):
        await collect_page(session, first, min(first + ENTRIES_PER_PAGE, size), AUDITOR, collector)
    value, held = await asyncio.to_thread(_state, collector.inputs(size), from_ms, to_ms)
    firms = cast("list[dict[str, Any]]", value["firms"])
    return [
        Statement(
            firm["firm_id"],
            from_ms,
            to_ms,
            size,
            firm_digest(value, firm["firm_id"]),
            firm["total_fen"],
            firm["net_fen"],
            now_ms,
            held.get(firm["firm_id"], ()),
        )
        for firm in firms
    ]


def _state(
    inputs: RatingInputs, from_ms: int, to_ms: int
) -> tuple[dict[str, object], dict[str, tuple[HeldTime, ...]]]:
    """The statement of all firms, and the time that each of them held."""
    usage, balance = collect_usage(inputs, from_ms, to_ms), collect_balance(inputs, from_ms, to_ms)
    return state_usage(usage, balance, inputs, (from_ms, to_ms)), state_held(usage, balance)
