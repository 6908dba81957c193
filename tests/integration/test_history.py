"""The export of an installation's history from a real PostgreSQL, and its way back into a rehearsal."""

import json

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, BudgetPeriod
from scheduler.domain.ids import FirmId
from scheduler.services.history import history_text, installation_history
from scheduler.simulator.history import history_from_json
from scheduler.storage import roles, tables
from scheduler.storage.engine import Database
from tests.builders.cluster import a_node
from tests.builders.controller import FIRM, NOW_MS, Installation, OpenDatabase
from tests.builders.database import DatabaseUrls
from tests.builders.jobs import a_spec

HOUR_MS = 3_600_000


def attempt(
    job_id: str, number: int, *, from_ms: int | None, to_ms: int | None, model: str
) -> dict[str, object]:
    """A row as the controller stores it."""
    return {
        "firm_id": FIRM, "job_id": job_id, "attempt": number, "variant": 0, "device_model": model,
        "state": "ended", "outcome": "succeeded", "why_here": {}, "allocated_ms": NOW_MS,
        "started_ms": from_ms, "ended_ms": to_ms,
    }  # fmt: skip


async def hold(session: AsyncSession, job_id: str, number: int, *, devices: int) -> None:
    """An attempt had the first so many devices of the only node, in one task."""
    found = (await session.execute(select(tables.DeviceRow).limit(devices))).scalars().all()
    allocation = {"firm_id": FIRM, "allocation_id": f"{job_id}-{number}", "live": False}
    await session.execute(
        insert(tables.AllocationRow).values(
            **allocation, job_id=job_id, attempt=number, rank=0, node_id=found[0].node_id, goal="run",
            granted_ms=NOW_MS,
        )
    )  # fmt: skip
    rows = [{**allocation, "device_id": row.device_id, "share_ppm": 1_000_000} for row in found]
    await session.execute(insert(tables.AllocationDeviceRow), rows)


@pytest.fixture
def api_database(database_urls: DatabaseUrls, open_database: OpenDatabase) -> Database:
    """What the export reads with: the API's role."""
    assert roles.API
    return open_database(database_urls.api)


async def test_the_history_of_a_period_has_run_times_and_no_commands(
    database_urls: DatabaseUrls, open_database: OpenDatabase, api_database: Database
) -> None:
    installation = Installation(open_database(database_urls.owner))
    await installation.configure()
    await installation.enrol(a_node("n1"))
    await installation.submit("ran", a_spec("ran", devices=16, per_node=8, time_limit_s=7200))
    await installation.submit("waits", a_spec("waits"))
    await installation.submit("quick", a_spec("quick"))
    async with installation.database.transaction() as session:
        await session.execute(
            insert(tables.AttemptRow),
            [
                attempt("ran", 1, from_ms=NOW_MS, to_ms=NOW_MS + HOUR_MS, model="mlu370-x8"),
                attempt("ran", 2, from_ms=NOW_MS + HOUR_MS, to_ms=NOW_MS + 3 * HOUR_MS, model="ascend-910b3"),
                attempt("quick", 1, from_ms=NOW_MS, to_ms=NOW_MS, model="ascend-910b3"),
            ],
        )
        await session.execute(
            insert(tables.PriceVersionRow).values(
                price_id="p", device_model="ascend-910b3", price_nano_cny=5_000_000_000, effective_from_ms=0
            )
        )
        budget = {"firm_id": FIRM, "project": WHOLE_FIRM, "amount_nano_cny": 10**18, "period": "year"}
        await session.execute(insert(tables.BudgetRow).values(budget))
        await hold(session, "ran", 1, devices=2)
        await hold(session, "ran", 2, devices=8)
    async with api_database.transaction() as session:
        found = await installation_history(session, NOW_MS, NOW_MS + 1)
        empty = await installation_history(session, NOW_MS + 1, NOW_MS + 2)
    assert empty["jobs"] == []
    written = history_text(found)
    assert "/bin/true" not in written
    history = history_from_json(json.loads(written))
    quick, job = sorted(history.jobs, key=lambda job: job.run_ms)
    assert quick.run_ms == 1  # it began and ended within a millisecond, and did run
    assert (job.firm, job.devices, job.devices_per_node) == (FIRM, 16, 8)
    assert (job.run_ms, job.model, job.time_limit_ms) == (3 * HOUR_MS, "ascend-910b3", 7_200_000)
    assert job.held_device_ms == (2 + 2 * 8) * HOUR_MS
    assert quick.held_device_ms is None
    assert history.skipped == 1
    assert [(node.name, node.model, node.devices, node.pool) for node in history.nodes] == [
        ("n1", "ascend-910b3", 8, "pool-a")
    ]
    assert history.prices_nano_cny == {"ascend-910b3": 5_000_000_000}
    assert [(item.budget.key, item.budget.amount_nano, item.budget.period) for item in history.budgets] == [
        (BudgetKey(FirmId(FIRM), WHOLE_FIRM), 10**18, BudgetPeriod.YEAR)
    ]
    assert job.project == "default"
    assert [queue.key for queue in history.queues] == [(FIRM, "default")]
