"""The installation's history of a period, for a rehearsal of other policies: sizes and run times, no commands.

Names of firms, projects and queues are in it, with quotas, prices and budgets, and nothing of what the jobs computed:
no names of jobs, commands, environments, labels or users.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Subquery, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.budgets import WHOLE_FIRM
from scheduler.domain.configuration_reading import shown_quota
from scheduler.machine.spending import to_nano
from scheduler.storage.budgets import load_budgets
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    CohortRow,
    DeviceRow,
    FirmRow,
    JobRow,
    NodeRow,
    PriceVersionRow,
    ProgramVersionRow,
    QueueRow,
)

FORMAT = "suanli-history/1"


def history_text(history: Mapping[str, Any]) -> str:
    """The document in one line, keys in order."""
    document = {"format": FORMAT, **history}
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"


async def installation_history(session: AsyncSession, from_ms: int, to_ms: int) -> dict[str, Any]:
    """Everything that was submitted in [from_ms, to_ms) and ran, and the installation as it stands now.

    Cost: the jobs of the period and their attempts, in two queries.
    """
    found = await session.execute(select(FirmRow.firm_id, FirmRow.name))
    firms: Mapping[str, str] = {row.firm_id: row.name for row in found}
    jobs, never = await _jobs(session, from_ms, to_ms, firms)
    return {
        "from_ms": from_ms,
        "to_ms": to_ms,
        "nodes": await _nodes(session),
        "queues": await _queues(session, firms),
        "cohorts": await _cohorts(session),
        "prices": await _prices(session, to_ms),
        "programs": await _programs(session, to_ms),
        "budgets": await _budgets(session, from_ms),
        "jobs": jobs,
        "jobs_never_run": never,
    }


def _totals(from_ms: int, to_ms: int) -> Subquery:
    """Of each job of the period how long its attempts ran, and on how many devices; its last attempt."""
    ran_ms = AttemptRow.ended_ms - AttemptRow.started_ms
    devices = (
        select(func.count())
        .select_from(AllocationRow)
        .join(
            AllocationDeviceRow,
            (AllocationDeviceRow.firm_id == AllocationRow.firm_id)
            & (AllocationDeviceRow.allocation_id == AllocationRow.allocation_id),
        )
        .where(
            AllocationRow.firm_id == AttemptRow.firm_id,
            AllocationRow.job_id == AttemptRow.job_id,
            AllocationRow.attempt == AttemptRow.attempt,
        )
        .scalar_subquery()
    )
    last = func.max(AttemptRow.attempt)
    return (
        select(
            AttemptRow.firm_id,
            AttemptRow.job_id,
            func.sum(ran_ms).label("run_ms"),
            func.sum(ran_ms * devices).label("held_device_ms"),
            last.label("last"),
        )
        .join(JobRow, (JobRow.firm_id == AttemptRow.firm_id) & (JobRow.job_id == AttemptRow.job_id))
        .where(JobRow.submitted_ms >= from_ms, JobRow.submitted_ms < to_ms)
        .where(AttemptRow.started_ms.is_not(None), AttemptRow.ended_ms.is_not(None))
        .group_by(AttemptRow.firm_id, AttemptRow.job_id)
        .subquery()
    )


async def _jobs(
    session: AsyncSession, from_ms: int, to_ms: int, firms: Mapping[str, str]
) -> tuple[list[dict[str, Any]], int]:
    totals = _totals(from_ms, to_ms)
    rows = await session.execute(
        select(JobRow, totals.c.run_ms, totals.c.held_device_ms, AttemptRow.device_model)
        .outerjoin(totals, (totals.c.firm_id == JobRow.firm_id) & (totals.c.job_id == JobRow.job_id))
        .outerjoin(
            AttemptRow,
            (AttemptRow.firm_id == JobRow.firm_id)
            & (AttemptRow.job_id == JobRow.job_id)
            & (AttemptRow.attempt == totals.c.last),
        )
        .where(JobRow.submitted_ms >= from_ms, JobRow.submitted_ms < to_ms)
        .order_by(JobRow.submitted_ms, JobRow.job_id)
    )
    jobs: list[dict[str, Any]] = []
    never = 0
    for job, run_ms, held_device_ms, model in rows:
        if run_ms is None or model is None:
            never += 1
            continue
        spec = job.spec
        limit_s = spec.get("time_limit_seconds")
        jobs.append(
            {
                "firm": firms[job.firm_id],
                "queue": job.queue,
                "project": job.project,
                "submitted_ms": job.submitted_ms,
                "devices": spec["gang"]["devices"],
                "devices_per_node": spec["gang"]["devices_per_node"],
                "spare_nodes": spec["gang"].get("spare_nodes", 0),
                "elastic": spec["gang"].get("elastic"),  # least and most devices, or null
                "models": [variant["model"] for variant in spec["variants"]],
                "priority": spec["priority"],
                "time_limit_ms": None if limit_s is None else 1000 * limit_s,
                "resumable": spec.get("model_checkpoint") is not None,
                "kind": f"{spec['kind']}/{firms[job.firm_id]}/{job.project}",
                "model": model,
                "run_ms": max(int(run_ms), 1),
                "held_device_ms": int(held_device_ms) or None,  # parts of devices count as devices
            }
        )
    return jobs, never


async def _nodes(session: AsyncSession) -> list[dict[str, Any]]:
    """Each node once for each device model that it has."""
    rows = await session.execute(
        select(
            NodeRow.name,
            NodeRow.pool,
            DeviceRow.model,
            func.count(),
            func.count(DeviceRow.fast_link_group.distinct()),
        )
        .join(DeviceRow, DeviceRow.node_id == NodeRow.node_id)
        .group_by(NodeRow.name, NodeRow.pool, DeviceRow.model)
        .order_by(NodeRow.name, DeviceRow.model)
    )
    return [
        {
            "name": name,
            "pool": pool,
            "model": model,
            "devices": devices,
            "fast_link_group": -(-devices // groups),
        }
        for name, pool, model, devices, groups in rows
    ]


async def _queues(session: AsyncSession, firms: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = await session.scalars(select(QueueRow).order_by(QueueRow.firm_id, QueueRow.name))
    return [
        {
            "firm": firms[row.firm_id],
            "name": row.name,
            "pools": row.pools,
            "weight": row.weight,
            "cohort": row.cohort,
            **_quota(row),
        }
        for row in rows
    ]


async def _cohorts(session: AsyncSession) -> list[dict[str, Any]]:
    rows = await session.scalars(select(CohortRow).order_by(CohortRow.name))
    return [{"name": row.name, "parent": row.parent, "weight": row.weight, **_quota(row)} for row in rows]


def _quota(row: QueueRow | CohortRow) -> dict[str, dict[str, int]]:
    return {name: shown_quota(getattr(row, name)) for name in ("nominal", "borrowing", "lending")}


async def _prices(session: AsyncSession, at_ms: int) -> list[dict[str, Any]]:
    """The newest price of each model that is in force at the period's end."""
    rows = await session.execute(
        select(PriceVersionRow.device_model, PriceVersionRow.price_nano_cny)
        .where(PriceVersionRow.effective_from_ms < at_ms)
        .order_by(PriceVersionRow.device_model, PriceVersionRow.effective_from_ms)
    )
    newest = {row.device_model: row.price_nano_cny for row in rows}
    return [{"model": model, "price_nano_cny": price} for model, price in sorted(newest.items())]


async def _budgets(session: AsyncSession, from_ms: int) -> list[dict[str, Any]]:
    """As they are set now, with what was spent of each when the export begins; `project` null: the firm's with all of
    its projects.
    """
    return [
        {
            "firm": item.budget.firm,
            "project": None if item.budget.key.project == WHOLE_FIRM else item.budget.key.project,
            "amount_nano_cny": item.budget.amount_nano,
            "period": item.budget.period.value,
            "spent_nano_cny": to_nano(item.spent),
        }
        for item in await load_budgets(session, from_ms)
    ]


async def _programs(session: AsyncSession, at_ms: int) -> list[dict[str, Any]]:
    """The newest version of each program that is in force at the period's end."""
    rows = await session.scalars(
        select(ProgramVersionRow)
        .where(ProgramVersionRow.effective_from_ms < at_ms)
        .order_by(ProgramVersionRow.program_id, ProgramVersionRow.version)
    )
    newest = {row.program_id: row.rules for row in rows}
    return [
        {
            "program_id": program_id,
            "rate_ppm": rules["rate_ppm"],
            "domestic_only": rules["domestic_only"],
            "per_firm_cap_fen": rules["per_firm_cap_fen"],
        }
        for program_id, rules in sorted(newest.items())
    ]
