"""Lists and loads that grow for years: what PostgreSQL reads for them must follow the answer, not the tables."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import load_catalogue
from scheduler.domain.authorise import Principal
from scheduler.domain.principals import Role
from scheduler.services.job_pages import JobAnswers, JobFilter, JobOrder
from scheduler.services.notifications import claim
from scheduler.services.waiting import list_waiting
from scheduler.storage.cluster import load_state
from scheduler.storage.direct import Direct
from tests.builders.database import DatabaseUrls
from tests.builders.ledger import FIRM, POOL, World, make_keys

JOBS = 20_000
WAITING = 40
DAY_MS = 86_400_000
NOW_MS = 1_900_000_000_000
SPEC = {
    "project": "research", "queue": "main", "name": "j", "kind": "pretrain", "priority": "normal",
    "variants": [{"model": "ascend-910b3", "command": ["true"], "environment": {}}],
    "gang": {"devices": 1, "devices_per_node": 1, "processes_per_node": 1},
}  # fmt: skip
FILL = (
    "INSERT INTO nodes (node_id, name, pool, metering_from_ms) VALUES ('n', 'n', :pool, 0)",
    "INSERT INTO devices (device_id, node_id, index, vendor, model, driver, simulated, memory_bytes,"
    " fast_link_group, claims) VALUES ('d', 'n', 0, 'ascend', 'ascend-910b3', 's', true, 1, 0, '{}')",
    "INSERT INTO jobs (firm_id, job_id, project, queue, name, spec, submitted_by, submitted_ms)"
    " SELECT :firm, 'job-' || lpad(n::text, 8, '0'), q.project, q.queue, 'j', CAST(:spec AS jsonb), q.who,"
    " :now - (:jobs - n) * 1800000::bigint FROM generate_series(1, :jobs) AS n, (SELECT"
    " (SELECT name FROM projects LIMIT 1) AS project, (SELECT name FROM queues LIMIT 1) AS queue,"
    " (SELECT principal_id FROM principals LIMIT 1) AS who) AS q",
    "INSERT INTO job_states (firm_id, job_id, state, version, attempt, changed_ms)"
    " SELECT firm_id, job_id, CASE WHEN n <= :jobs - :waiting THEN 'succeeded' ELSE 'queued' END, 1, 1, 0"
    " FROM (SELECT *, row_number() OVER (ORDER BY job_id) AS n FROM jobs) AS numbered",
    "INSERT INTO attempts (firm_id, job_id, attempt, variant, device_model, state, why_here, allocated_ms,"
    " ended_ms) SELECT firm_id, job_id, 1, 0, 'ascend-910b3', 'ended', '{}', submitted_ms, submitted_ms + 1"
    " FROM jobs JOIN job_states USING (firm_id, job_id) WHERE state = 'succeeded'",
    "INSERT INTO allocations (firm_id, allocation_id, job_id, attempt, rank, node_id, goal, live, granted_ms,"
    " ended_ms) SELECT firm_id, 'a-' || job_id, job_id, 1, 0, 'n', 'stop', false, allocated_ms, ended_ms"
    " FROM attempts",
    "INSERT INTO allocation_devices (firm_id, allocation_id, device_id, share_ppm, live)"
    " SELECT firm_id, allocation_id, 'd', 1000000, false FROM allocations",
    "ANALYZE",
)


@pytest.fixture
async def world(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database_urls, make_keys(tmp_path / "keys"))
    await made.configure()
    values = {
        "pool": POOL, "firm": FIRM, "spec": json.dumps(SPEC), "now": NOW_MS, "jobs": JOBS, "waiting": WAITING,
    }  # fmt: skip
    for statement in FILL:
        await made.execute(statement, **{k: v for k, v in values.items() if f":{k}" in statement})
    yield made
    await made.close()


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


async def rows_read(world: World, work: Callable[[AsyncSession], Awaitable[object]]) -> tuple[int, str]:
    """The most rows that one step of a statement of `work` reads from a table or an index, and which that is."""
    said: list[tuple[str, Any]] = []

    def hear(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        said.append((statement, parameters))

    async with world.api.transaction() as session:
        engine = world.api.engine.sync_engine
        event.listen(engine, "before_cursor_execute", hear)
        try:
            await work(session)
        finally:
            event.remove(engine, "before_cursor_execute", hear)
        most = 0, ""
        connection = await session.connection()
        # So few rows are quicker read in one go than by an index; the question is what the indexes can serve.
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in said:
            found = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
            )
            for node in _nodes(found.scalar_one()[0]["Plan"]):
                if "Scan" in node["Node Type"]:
                    read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                    most = max(most, (int(read * node["Actual Loops"]), f"{node}\n{statement}"))
    return most


class Heard(Direct):
    """Direct statements by way of a session, so that what it listens with hears them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows, as `Direct` gives them."""
        connection = await self._session.connection()
        return [tuple(row) for row in await connection.exec_driver_sql(statement, dict(values))]


OPERATOR = Principal("op", "op", "user", Role.OPERATOR, None)


@pytest.mark.parametrize("order", [JobOrder.NEWEST, JobOrder.OLDEST])
async def test_an_operators_page_of_jobs_reads_a_page(world: World, order: JobOrder) -> None:
    async def page(session: AsyncSession) -> None:
        answers = JobAnswers(Heard(session), lambda job: job.job_id.encode())
        assert len((await answers.page(OPERATOR, JobFilter(), limit=50, order=order)).jobs) == 50

    assert await rows_read(world, page) < (1_000, "")


async def test_who_waits_is_read_without_those_who_have_ended(world: World) -> None:
    async def waiting(session: AsyncSession) -> None:
        [(queue,)] = await world.rows("SELECT name FROM queues")
        assert len(await list_waiting(session, OPERATOR, queue, 100)) == WAITING

    assert await rows_read(world, waiting) < (1_000, "")


async def test_a_courier_claims_a_few_notifications_without_reading_all_that_wait(world: World) -> None:
    await world.execute(
        "INSERT INTO notifications (event_seq, firm_id, job_id, moment, url, body, created_ms, next_ms)"
        " SELECT row_number() OVER (), firm_id, job_id, 'failed', 'https://x', '{}', 0, submitted_ms FROM jobs"
    )

    async def courier(session: AsyncSession) -> None:
        assert len(await claim(session, NOW_MS, 100, 10)) == 10

    assert await rows_read(world, courier) < (100, "")


async def test_a_controller_starts_without_reading_what_ended_long_ago(world: World) -> None:
    async def load(session: AsyncSession) -> None:
        state = await load_state(session, load_catalogue(), NOW_MS)
        assert len(state.jobs) == WAITING

    week = 7 * DAY_MS // 1_800_000
    assert await rows_read(world, load) < (week * 2, "")
