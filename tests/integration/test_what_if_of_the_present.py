"""What would be if, asked of a real PostgreSQL: the present is read in one moment, and nothing is written."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import insert, text, update

from scheduler.controller.commit import Leader
from scheduler.domain.errors import Invalid
from scheduler.domain.time import to_rfc3339
from scheduler.planner import PlannerConfig
from scheduler.simulator.what_if import Question, answer_of, ask, document
from scheduler.storage import tables
from scheduler.storage.engine import Database
from scheduler.storage.leadership import Leadership
from tests.builders.cluster import a_node
from tests.builders.controller import FIRM, NOW_MS, Installation, OpenDatabase, a_leader
from tests.builders.database import DatabaseUrls
from tests.builders.jobs import MODEL, a_spec

OTHER = "other"
CONFIG = PlannerConfig()


@pytest_asyncio.fixture
async def installation(database_urls: DatabaseUrls, open_database: OpenDatabase) -> Installation:
    """Two nodes; two firms, of which the first may hold one node and the other nothing."""
    made = Installation(open_database(database_urls.owner))
    await made.configure()
    await made.configure(pools=(), firm=OTHER)
    async with made.database.transaction() as session:
        for firm, devices in ((FIRM, 8), (OTHER, 0)):
            await session.execute(
                update(tables.QueueRow)
                .where(tables.QueueRow.firm_id == firm)
                .values(pools=["pool-a"], nominal={MODEL: devices})
            )
        price = {"price_id": "p", "device_model": MODEL, "price_nano_cny": 10**10, "effective_from_ms": 0}
        await session.execute(insert(tables.PriceVersionRow).values(price))
    await made.beat()
    await made.enrol(a_node("n1"))
    await made.enrol(a_node("n2"))
    for job in ("runs", "waits"):
        await made.submit(job, a_spec(job, devices=8, time_limit_s=3600))
    await made.submit("poor", a_spec("poor", devices=8, time_limit_s=3600), firm=OTHER)
    return made


@pytest_asyncio.fixture
async def leader(
    installation: Installation, database_urls: DatabaseUrls, open_database: OpenDatabase
) -> AsyncIterator[Leader]:
    """The controller has planned: one job has its node, the others wait for quota."""
    leadership = Leadership(open_database(database_urls.controller), "controller", "test")
    term = await leadership.acquire(asyncio.Event())
    made = await a_leader(open_database(database_urls.controller), leadership, term)
    await made.cycle(NOW_MS)
    await made.cycle(NOW_MS + 1_000)
    assert await installation.rows("SELECT job_id FROM job_states WHERE state = 'allocated'") == [("runs",)]
    yield made
    await leadership.release()


@pytest.fixture
def database(database_urls: DatabaseUrls, open_database: OpenDatabase) -> Database:
    """What the command asks with: the API's role."""
    return open_database(database_urls.api)


async def everything(installation: Installation) -> list[list[tuple[object, ...]]]:
    """What the controller, the API and the firms would see changed."""
    watched = (
        "job_states",
        "attempts",
        "allocations",
        "node_states",
        "queues",
        "events",
        "inbox",
        "evidence_intake",
    )
    return [await installation.rows(f"SELECT t::text FROM {table} t ORDER BY 1") for table in watched]  # noqa: S608


async def asked(database: Database, folder: Path, change: str) -> dict[str, Any]:
    """The answer for programs."""
    path = folder / "change.yaml"
    path.write_text(change, encoding="utf-8")
    question = Question((path,))
    return document(answer_of(await ask(database, question, CONFIG), CONFIG), question)


def quota(firm: str, devices: int) -> str:
    return (
        f"firms: [{{name: {firm}, queues: [{{name: default, pools: [pool-a],"
        f" nominal: {{{MODEL}: {devices}}}}}]}}]\n"
    )


async def test_more_quota_would_start_what_waits_and_nothing_is_written(
    installation: Installation, leader: Leader, database: Database, tmp_path: Path
) -> None:
    before = await everything(installation)
    answer = await asked(database, tmp_path, quota(OTHER, 8))
    assert (answer["running"], answer["waiting"]) == (1, 2)
    base, more = answer["situations"]
    assert base["starts"] == []
    assert [(start["job_id"], start["firm"], start["placed_devices"]) for start in more["starts"]] == [
        ("poor", OTHER, 8)
    ]
    verdicts = {found["firm"]: found["verdict"] for found in answer["verdicts"]}
    assert verdicts[OTHER] == "wins"
    assert await everything(installation) == before
    # What it said would come does, once the quota is so.
    async with installation.database.transaction() as session:
        queue = update(tables.QueueRow).where(tables.QueueRow.firm_id == OTHER)
        await session.execute(queue.values(nominal={MODEL: 8}))
    await installation.put("ConfigurationChanged", {})
    await leader.cycle(NOW_MS + 2_000)
    started = await installation.rows("SELECT job_id FROM job_states WHERE state = 'allocated' ORDER BY 1")
    assert started == [("poor",), ("runs",)]


async def test_a_change_of_nothing_changes_nothing(
    leader: Leader, database: Database, tmp_path: Path
) -> None:
    answer = await asked(database, tmp_path, "{}")
    base, same = answer["situations"]
    assert {**base, "name": "change"} == same
    assert {found["verdict"] for found in answer["verdicts"]} == {"same"}


async def test_the_session_that_reads_the_present_may_not_write(database: Database) -> None:
    async with database.snapshot() as session:
        with pytest.raises(Exception, match="read-only transaction"):
            await session.execute(text("UPDATE queues SET weight = 2"))


async def test_a_new_budget_counts_what_was_spent_before_it_was_set(
    installation: Installation, leader: Leader, database: Database, tmp_path: Path
) -> None:
    # The job that has its node since NOW_MS costs 80 CNY an hour: years of it are spent.
    budget = f"budgets: [{{firm: {FIRM}, amount_cny: '100000', period: total}}]\n"
    answer = await asked(database, tmp_path, quota(FIRM, 16) + budget)
    _, poor = answer["situations"]
    assert poor["starts"] == []
    answer = await asked(database, tmp_path, quota(FIRM, 16))
    _, rich = answer["situations"]
    assert [start["job_id"] for start in rich["starts"]] == ["waits"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("firms: [{name: firm-x, queues: [{name: default}]}]", "firms: firm-x/default"),
        (
            "maintenance: [{name: w, nodes: [n9], from: '2030-01-01T00:00:00Z', until: '2031-01-01T00:00:00Z'}]",
            r"maintenance\[0\].nodes\[0\]: got n9, want one of: n1, n2",
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_its_field(
    leader: Leader, database: Database, tmp_path: Path, change: str, field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        await asked(database, tmp_path, change)


async def test_a_window_of_maintenance_that_begins_soon_stops_what_runs_on_its_nodes(
    leader: Leader, database: Database, tmp_path: Path
) -> None:
    from_ = to_rfc3339(time.time_ns() // 1_000_000 + 60_000)
    window = f"maintenance: [{{name: works, pool: pool-a, from: '{from_}', until: '2100-01-02T00:00:00Z'}}]"
    answer = await asked(database, tmp_path, window)
    base, later = answer["situations"]
    assert base["stops"] == []
    assert [(stop["job_id"], stop["cause"]) for stop in later["stops"]] == [("runs", "maintenance")]
    assert later["all"]["devices"] == 0


async def test_without_a_change_there_is_nothing_to_answer(database: Database) -> None:
    with pytest.raises(Invalid, match=r"--change: got nothing, want a change file, or a --profile"):
        await ask(database, Question(), CONFIG)
