"""What a job has cost so far, and what it may cost to its end: for people, before there is a statement.

`charged` is what the ledger has rated; `held` is what the grants can cost at most up to now, which charges never
exceed and which is known at once. Everything is exact until it is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.allocations import Goal
from scheduler.domain.authorise import Principal
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.job_warnings import estimated_seconds
from scheduler.domain.jobs import Budget
from scheduler.domain.reasons import StopReason
from scheduler.domain.time import HOUR_MS
from scheduler.machine.messages import PriceFrom
from scheduler.machine.money import authorised_until
from scheduler.machine.spending import cost_of
from scheduler.services.jobs import JobRecord, read_job
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    ChargeRow,
    PriceVersionRow,
)
from suanli.rating.prices import NANO_CNY_PER_FEN


@dataclass(frozen=True, slots=True)
class JobCost:
    """Amounts in nano CNY, rounded to the nearest. None: nothing is known of it.

    `to_end_nano` is what is still to come, by `basis`: the step report, the estimate of who submitted it, or its
    time limit (then the most that it can be).
    """

    job: JobRecord
    charged_nano: int
    held_nano: int
    per_hour_nano: int | None
    to_end_nano: int | None
    basis: str | None  # progress | estimate | time_limit
    budget_nano: int | None


@dataclass(frozen=True, slots=True)
class _Grant:
    model: str
    attempt: int
    from_ms: int
    to_ms: int
    devices_ppm: int
    live: bool


async def job_cost(session: AsyncSession, principal: Principal, job_id: str, now_ms: int) -> JobCost:
    """Cost so far and to the end. Raises NotFound. Cost: O(tasks of the job) and one look at its charges."""
    job = await read_job(session, principal, job_id)
    prices = await _prices(session)
    grants = await _grants(session, job, now_ms)
    held = sum(g.devices_ppm * cost_of(prices, g.model, g.from_ms, g.to_ms) for g in grants)
    model = job.device_model or job.spec["variants"][0]["model"]
    price = next(
        (p.price_nano_cny for p in reversed(prices) if p.model == model and p.from_ms <= now_ms), None
    )
    per_hour = None if price is None else price * (_held_ppm(grants) or _asked_ppm(job)) // WHOLE_PPM
    left_ms, basis = _left(job, now_ms)
    budget = job.spec.get("budget")
    return JobCost(
        job=job,
        charged_nano=round(await _charged(session, job) * NANO_CNY_PER_FEN),
        held_nano=round(Fraction(held, HOUR_MS * WHOLE_PPM)),
        per_hour_nano=per_hour,
        to_end_nano=None if per_hour is None or left_ms is None else per_hour * left_ms // HOUR_MS,
        basis=basis if per_hour is not None else None,
        budget_nano=None if budget is None else Budget(budget["amount_cny"]).amount_nano,
    )


async def _prices(session: AsyncSession) -> list[PriceFrom]:
    row = PriceVersionRow
    found = await session.execute(
        select(row.device_model, row.effective_from_ms, row.price_nano_cny).order_by(row.effective_from_ms)
    )
    return [PriceFrom(model, from_ms, nano) for model, from_ms, nano in found]


async def _grants(session: AsyncSession, job: JobRecord, now_ms: int) -> list[_Grant]:
    task, device = AllocationRow, AllocationDeviceRow
    found = await session.execute(
        select(
            AttemptRow.device_model,
            task.attempt,
            task.granted_ms,
            task.stop_reason,
            task.ended_ms,
            AttemptRow.ended_ms,
            func.sum(device.share_ppm),
        )
        .join(device, device.allocation_id == task.allocation_id)
        .join(
            AttemptRow,
            (AttemptRow.firm_id == task.firm_id)
            & (AttemptRow.job_id == task.job_id)
            & (AttemptRow.attempt == task.attempt),
        )
        .where(task.firm_id == job.firm_id, task.job_id == job.job_id, task.goal != Goal.RESERVE.value)
        .group_by(task.allocation_id, task.firm_id, AttemptRow.device_model, AttemptRow.ended_ms)
    )
    grants = []
    for model, attempt, granted_ms, stop_reason, ended_ms, attempt_ended_ms, ppm in found:
        lost = stop_reason == StopReason.NODE_LOST
        to_ms = authorised_until(ended_ms, attempt_ended_ms, now_ms, lost=lost)
        grants.append(_Grant(model, attempt, granted_ms, to_ms, int(ppm), ended_ms is None and not lost))
    return grants


def _held_ppm(grants: Sequence[_Grant]) -> int:
    """What it runs on now; an elastic gang may have more or less than it asked for."""
    return sum(grant.devices_ppm for grant in grants if grant.live)


def _asked_ppm(job: JobRecord) -> int:
    share = job.spec.get("share")
    return int(job.spec["gang"]["devices"]) * int((share or {}).get("ppm") or WHOLE_PPM)


async def _charged(session: AsyncSession, job: JobRecord) -> Fraction:
    """Fen, exact: fractions of one denominator are added in the database."""
    row = ChargeRow
    found = await session.execute(
        select(row.amount_fen_denominator, func.sum(row.amount_fen_numerator))
        .where(row.firm_id == job.firm_id, row.job_id == job.job_id)
        .group_by(row.amount_fen_denominator)
    )
    return sum((Fraction(int(total), int(denominator)) for denominator, total in found), Fraction(0))


def _left(job: JobRecord, now_ms: int) -> tuple[int | None, str | None]:
    """How long the job still runs, and how that is known."""
    if job.final:
        return 0, None
    ran_ms = 0 if job.started_ms is None else max(now_ms - job.started_ms, 0)
    report: Mapping[str, Any] = job.step_report or {}
    step, of = report.get("step"), report.get("of")
    if isinstance(step, int) and isinstance(of, int) and 0 < step <= of and ran_ms:
        return ran_ms * (of - step) // step, "progress"
    limit_s = job.spec.get("time_limit_seconds")
    estimate_s = estimated_seconds(job.spec.get("estimate_seconds"), limit_s)
    if estimate_s is not None:
        return max(1000 * estimate_s - ran_ms, 0), "estimate"
    if limit_s is not None:
        return max(1000 * int(limit_s) - ran_ms, 0), "time_limit"
    return None, None
