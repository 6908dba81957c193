"""Budgets with what was spent of each: summed by the database over the grants of its period, in whole numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, BudgetPeriod, ProjectBudget
from scheduler.domain.ids import FirmId
from scheduler.machine.messages import BudgetSpent, PriceFrom
from scheduler.machine.money import reserved_nano
from scheduler.machine.spending import cost_of, hold

_BUDGETS = text(
    "SELECT b.firm_id, b.project, b.amount_nano_cny, b.period, f.name AS firm"
    " FROM budgets b JOIN firms f ON f.firm_id = b.firm_id"
    " WHERE CAST(:firm_id AS text) IS NULL OR b.firm_id = :firm_id ORDER BY b.firm_id, b.project"
)
# What the machine's `SpendingLedger` counts, for every budget at once: nano CNY x ms x ppm of a device-hour. Each
# grant is cut where the budget's period begins and where prices change; a lost task costs until its attempt ended.
_SPENT = text(
    "WITH asked AS (SELECT * FROM unnest(CAST(:firms AS text[]), CAST(:projects AS text[]),"
    " CAST(:begins AS bigint[])) AS b(firm_id, project, begin_ms)),"
    " grants AS (SELECT b.firm_id, b.project, t.device_model, greatest(a.granted_ms, b.begin_ms) AS from_ms,"
    " least(CASE WHEN a.stop_reason = 'node_lost' THEN t.ended_ms ELSE a.ended_ms END, :now_ms) AS to_ms,"
    " sum(d.share_ppm)::numeric AS ppm"
    " FROM asked b JOIN jobs j ON j.firm_id = b.firm_id AND b.project IN (j.project, :whole_firm)"
    " JOIN allocations a ON a.firm_id = j.firm_id AND a.job_id = j.job_id"
    " JOIN attempts t ON t.firm_id = a.firm_id AND t.job_id = a.job_id AND t.attempt = a.attempt"
    " JOIN allocation_devices d ON d.firm_id = a.firm_id AND d.allocation_id = a.allocation_id"
    " WHERE a.goal <> 'reserve'"
    " AND (a.live OR a.ended_ms > b.begin_ms OR a.stop_reason = 'node_lost')"
    " GROUP BY b.firm_id, b.project, b.begin_ms, t.device_model, t.ended_ms, a.firm_id, a.allocation_id),"
    " prices AS (SELECT device_model, price_nano_cny, effective_from_ms AS from_ms, coalesce("
    "lead(effective_from_ms) OVER (PARTITION BY device_model ORDER BY effective_from_ms),"
    " 9223372036854775807) AS to_ms FROM price_versions)"
    " SELECT g.firm_id, g.project,"
    " sum(g.ppm * p.price_nano_cny * (least(g.to_ms, p.to_ms) - greatest(g.from_ms, p.from_ms))) AS spent"
    " FROM grants g JOIN prices p ON p.device_model = g.device_model"
    " AND p.from_ms < g.to_ms AND p.to_ms > g.from_ms AND g.from_ms < g.to_ms"
    " GROUP BY g.firm_id, g.project"
)


# Attempts for which money is held, with the parts per million of devices that they cost: what holds devices now,
# and what was stopped for others and waits to go on as it ran.
_HELD = (
    "SELECT j.firm_id, j.project, t.device_model, t.started_ms, t.ended_ms, sum(d.share_ppm)::bigint AS ppm,"
    " CAST(coalesce(r.spec, j.spec) ->> 'time_limit_seconds' AS bigint) * 1000 AS time_limit_ms"
    " FROM jobs j JOIN job_states s ON s.firm_id = j.firm_id AND s.job_id = j.job_id"
    " LEFT JOIN LATERAL (SELECT spec FROM job_revisions WHERE firm_id = j.firm_id AND job_id = j.job_id"
    " ORDER BY revision DESC LIMIT 1) r ON true"
    " JOIN attempts t ON t.firm_id = j.firm_id AND t.job_id = j.job_id AND t.attempt = s.attempt"
    " JOIN allocations a ON a.firm_id = t.firm_id AND a.job_id = t.job_id AND a.attempt = t.attempt"
    " JOIN allocation_devices d ON d.firm_id = a.firm_id AND d.allocation_id = a.allocation_id"
    " WHERE j.firm_id = ANY(:firms) AND a.goal <> 'reserve' AND {}"
    " GROUP BY j.firm_id, j.job_id, t.device_model, t.started_ms, t.ended_ms, r.spec"
)
_HELDS = text(
    _HELD.format("t.state <> 'ended' AND a.live AND a.stop_reason IS DISTINCT FROM 'node_lost'")
    + " UNION ALL "
    + _HELD.format("s.state = 'queued' AND s.attempt > 0 AND NOT s.held AND t.reason = 'preempted'")
)


async def load_held(
    session: AsyncSession, budgets: Sequence[ProjectBudget], prices: Sequence[PriceFrom], now_ms: int
) -> Mapping[BudgetKey, int]:
    """What running jobs, and those that were stopped for others, may still cost, nano CNY, by the budget that pays.

    Of those that were stopped, at the prices of their stop; `prices` by model and beginning. Cost: the states
    of jobs that wait, and, of firms with a budget, the live allocations and those of such jobs x price versions.
    """
    held = dict.fromkeys([budget.key for budget in budgets], 0)
    firms = sorted({key.firm_id for key in held})
    for row in await session.execute(_HELDS, {"firms": firms}) if firms else ():
        at_ms, started_ms = (now_ms, row.started_ms) if row.ended_ms is None else (row.ended_ms, None)
        price = cost_of(prices, row.device_model, at_ms, at_ms + 1)
        nano = reserved_nano(price * row.ppm, row.time_limit_ms, started_ms, at_ms)
        hold(held, FirmId(row.firm_id), row.project, nano)
    return held


async def load_budgets(
    session: AsyncSession, now_ms: int, firm_id: str | None = None
) -> tuple[BudgetSpent, ...]:
    """All budgets, or those of one firm, with what was spent of each up to now, or to a moment that has passed.

    Cost: one query where there are none; else the grants of the projects that have one, in their periods.
    """
    budgets = [budget_noun(row) for row in await session.execute(_BUDGETS, {"firm_id": firm_id})]
    return await spent_of(session, budgets, now_ms)


async def spent_of(
    session: AsyncSession, budgets: Sequence[ProjectBudget], now_ms: int
) -> tuple[BudgetSpent, ...]:
    """What was spent of budgets, as if they had been set for their whole period. Cost: as `load_budgets`."""
    if not budgets:
        return ()
    asked = {
        "firms": [budget.key.firm_id for budget in budgets],
        "projects": [budget.key.project for budget in budgets],
        "begins": [budget.period.begin_ms(now_ms) for budget in budgets],
        "whole_firm": WHOLE_FIRM,
        "now_ms": now_ms,
    }
    rows = await session.execute(_SPENT, asked)
    spent = {BudgetKey(FirmId(row.firm_id), row.project): int(row.spent) for row in rows}
    return tuple(BudgetSpent(budget, spent.get(budget.key, 0)) for budget in budgets)


def budget_noun(row: Any) -> ProjectBudget:
    """From a row of budgets."""
    key = BudgetKey(FirmId(row.firm_id), row.project)
    return ProjectBudget(key, row.amount_nano_cny, BudgetPeriod(row.period), row.firm)
