"""Jobs that wait for each other, arrays, holds and revisions: from the API's rows to the controller's states."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from sqlalchemy import insert, text
from sqlalchemy.dialects.postgresql import insert as upsert

from scheduler.catalogue import load_catalogue
from scheduler.controller.commit import Leader
from scheduler.domain.authorise import Principal
from scheduler.domain.ids import Ids
from scheduler.domain.principals import Role
from scheduler.services.batches import Batches, Submitted
from scheduler.services.job_changes import act_on_array, cancel_job, hold_job, requeue_job, revise_job
from scheduler.services.possible import Known
from scheduler.storage import inbox
from scheduler.storage.cluster import load_state
from scheduler.storage.engine import Database
from scheduler.storage.leadership import Leadership
from scheduler.storage.tables import BudgetRow, PriceVersionRow
from tests.builders.cluster import a_node
from tests.builders.controller import FIRM, NOW_MS, Installation, OpenDatabase, a_leader
from tests.builders.database import DatabaseUrls
from tests.builders.state_content import content

ANA = Principal(f"{FIRM}-ana", f"{FIRM}-ana", "user", Role.RESEARCHER, FIRM)


class Cluster:
    """A leader, one node, and a researcher at the API's side of the database."""

    def __init__(self, installation: Installation, leader: Leader) -> None:
        self.installation = installation
        self.leader = leader
        self.now_ms = NOW_MS
        self.reports = 0

    async def submit(self, *jobs: dict[str, Any]) -> list[Submitted]:
        """A batch, all or none."""
        database = self.installation.database
        batches = Batches(database, load_catalogue(), Known(), Ids(os.urandom))
        values = [{"model": "ascend-910b3", "command": "true", **job} for job in jobs]
        async with database.transaction() as session:
            outcomes = await batches.submit(session, ANA, values, now_ms=self.now_ms, atomic=True)
        assert all(isinstance(outcome, Submitted) for outcome in outcomes)
        return [outcome for outcome in outcomes if isinstance(outcome, Submitted)]

    async def cycle(self) -> None:
        """Time passes; what a new leader would load is what this one has."""
        self.now_ms += 1_000
        await self.installation.beat()  # its time is the machine's, which may be a slow one
        await self.leader.cycle(self.now_ms)
        async with self.installation.database.read() as session:
            loaded = await load_state(session, load_catalogue(), self.now_ms)
        assert content(loaded, self.now_ms) == content(self.leader.state, self.now_ms)

    async def report(self, **task: object) -> None:
        """The node says the same of every task that holds devices."""
        rows = await self.installation.rows("SELECT allocation_id FROM allocations WHERE live")
        self.reports += 1
        tasks = [{"allocation_id": row[0], "rendezvous_port": 29_500, **task} for row in rows]
        await self.installation.report("n1", tasks, self.reports)
        await self.cycle()

    async def run(self) -> None:
        """Whatever has devices starts."""
        await self.report(phase="ready")
        await self.report(phase="running", started_ms=5)

    async def end(self, exit_code: int = 0) -> None:
        """Whatever runs ends."""
        await self.report(phase="ended", started_ms=5, exit_code=exit_code, end_reason="exited")

    async def states(self) -> dict[str, list[str]]:
        """States by the jobs' names, in the order of arrays."""
        rows = await self.installation.rows(
            "SELECT j.name, s.state FROM jobs j JOIN job_states s USING (job_id)"
            " ORDER BY j.array_index NULLS FIRST, j.job_id"
        )
        found: dict[str, list[str]] = {}
        for name, state in rows:
            found.setdefault(str(name), []).append(str(state))
        return found


@pytest_asyncio.fixture
async def cluster(database_urls: DatabaseUrls, open_database: OpenDatabase) -> AsyncIterator[Cluster]:
    installation = Installation(open_database(database_urls.owner))
    await installation.configure()
    await installation.beat()
    await installation.enrol(a_node("n1"))
    leadership = Leadership(open_database(database_urls.controller), "controller", "test")
    term = await leadership.acquire(asyncio.Event())
    database = Database(database_urls.controller, "leader-under-test", pool_size=2)
    made = Cluster(installation, await a_leader(database, leadership, term))
    await made.cycle()
    yield made
    await database.dispose()
    await leadership.release()


async def test_a_batch_runs_in_the_order_of_its_dependencies_and_its_array_within_its_bound(
    cluster: Cluster,
) -> None:
    await cluster.submit(
        {"name": "merge", "dependencies": {"after_ok": ["shard"]}},
        {"name": "shard", "array": {"count": 3, "concurrency": 2}, "dependencies": {"after_ok": ["prepare"]}},
        {"name": "prepare"},
    )
    await cluster.cycle()
    assert await cluster.states() == {"merge": ["queued"], "prepare": ["allocated"], "shard": ["queued"] * 3}
    await cluster.run()
    await cluster.end()
    assert (await cluster.states())["shard"] == ["allocated", "allocated", "queued"]
    await cluster.run()
    await cluster.end()
    assert (await cluster.states())["shard"] == ["succeeded", "succeeded", "allocated"]
    assert (await cluster.states())["merge"] == ["queued"]
    await cluster.run()
    await cluster.end()
    assert (await cluster.states())["merge"] == ["allocated"]


async def test_jobs_that_can_never_follow_are_cancelled_down_the_line_and_those_after_any_end_run(
    cluster: Cluster,
) -> None:
    await cluster.submit(
        {"name": "first"},
        {"name": "second", "dependencies": {"after_ok": ["first"]}},
        {"name": "third", "dependencies": {"after_ok": ["second"]}},
        {"name": "cleanup", "dependencies": {"after_any": ["third"]}},
    )
    await cluster.cycle()
    await cluster.run()
    await cluster.end(exit_code=1)
    assert await cluster.states() == {
        "first": ["failed"],
        "second": ["cancelled"],
        "third": ["cancelled"],
        "cleanup": ["allocated"],
    }
    reasons = await cluster.installation.rows(
        "SELECT DISTINCT reason FROM job_states WHERE state = 'cancelled'"
    )
    assert reasons == [("dependency_failed",)]


async def test_the_time_is_stored_for_which_a_job_waited_for_others(cluster: Cluster) -> None:
    submitted_ms = cluster.now_ms
    gate, _ = await cluster.submit(
        {"name": "gate", "hold": True}, {"name": "behind", "dependencies": {"after_any": ["gate"]}}
    )
    await cluster.cycle()
    cluster.now_ms += 3_600_000
    async with cluster.installation.database.transaction() as session:
        await cancel_job(session, ANA, gate.job_id)
    await cluster.cycle()
    assert await cluster.states() == {"gate": ["cancelled"], "behind": ["allocated"]}
    assert await cluster.installation.rows(
        "SELECT ineligible_since_ms, ineligible_before_ms FROM job_states WHERE state = 'allocated'"
    ) == [(None, cluster.now_ms - submitted_ms)]


async def test_of_a_job_that_a_former_controller_wrote_time_counts_from_its_last_change(
    cluster: Cluster,
) -> None:
    await cluster.submit(
        {"name": "gate", "hold": True}, {"name": "behind", "dependencies": {"after_any": ["gate"]}}
    )
    await cluster.cycle()
    written_ms = cluster.now_ms
    async with cluster.installation.database.transaction() as session:
        await session.execute(
            text("UPDATE job_states SET ineligible_since_ms = NULL")
        )  # it knew no such thing
    async with cluster.installation.database.read() as session:
        loaded = await load_state(session, load_catalogue(), written_ms + 3_600_000)
    assert [job.ineligible_since_ms for job in loaded.jobs.values()] == [written_ms, written_ms]


async def test_a_held_job_waits_for_its_release_and_a_job_sent_back_waits_again(cluster: Cluster) -> None:
    database = cluster.installation.database
    (job,) = await cluster.submit({"name": "a", "hold": True})
    await cluster.cycle()
    assert await cluster.states() == {"a": ["queued"]}
    time_held = "SELECT ineligible_since_ms, ineligible_before_ms FROM job_states"
    ((since_ms, before_ms),) = await cluster.installation.rows(time_held)
    assert before_ms == 0
    cluster.now_ms += 3_600_000
    async with database.transaction() as session:
        await hold_job(session, ANA, job.job_id, held=False)
    await cluster.cycle()
    assert await cluster.installation.rows(time_held) == [(None, cluster.now_ms - since_ms)]
    await cluster.run()
    async with database.transaction() as session:
        await hold_job(session, ANA, job.job_id, held=True)
        await requeue_job(session, ANA, job.job_id)
    await cluster.cycle()
    assert await cluster.states() == {"a": ["stopping"]}
    await cluster.report(phase="ended", started_ms=5, exit_code=143, end_reason="stopped")
    assert await cluster.states() == {"a": ["queued"]}
    assert await cluster.installation.rows("SELECT outcome, reason FROM attempts") == [
        ("requeued", "requeued")
    ]


async def test_a_revised_time_limit_binds_the_attempt_that_runs(cluster: Cluster) -> None:
    (job,) = await cluster.submit({"name": "a", "time_limit_seconds": "1h"})
    await cluster.cycle()
    await cluster.run()
    async with cluster.installation.database.transaction() as session:
        revised = await revise_job(session, ANA, job.job_id, {"time_limit_seconds": 2}, cluster.now_ms)
    assert revised.revision == 1
    for _ in range(3):
        await cluster.cycle()
    assert await cluster.states() == {"a": ["stopping"]}
    assert await cluster.installation.rows("SELECT revision FROM job_states") == [(1,)]


async def test_a_job_is_stopped_at_its_deadline_also_while_it_waits(cluster: Cluster) -> None:
    await cluster.submit(
        {"name": "one", "gang": {"devices": 8}, "deadline": "2023-11-14T22:13:30Z"},
        {"name": "other", "gang": {"devices": 8}, "deadline": "2023-11-14T22:13:30Z"},
    )
    await cluster.cycle()
    await cluster.run()
    cluster.now_ms += 10_000
    await cluster.cycle()
    # Of two of the same moment the id decides, and that is random.
    assert sorted((await cluster.states()).values()) == [["failed"], ["stopping"]]


async def test_an_array_is_cancelled_whole(cluster: Cluster) -> None:
    (array,) = await cluster.submit({"name": "a", "array": {"count": 20}})
    await cluster.cycle()
    database = cluster.installation.database
    async with database.transaction() as session:
        assert await act_on_array(session, ANA, str(array.array_id), "CancelRequested") == 20
    await cluster.cycle()
    assert set((await cluster.states())["a"]) == {"stopping", "cancelled"}
    async with database.transaction() as session:
        await cancel_job(session, ANA, array.job_id)


async def set_budget(cluster: Cluster, amount_nano: int, *, project: str = "default") -> None:
    """As the API leaves it."""
    row = {"firm_id": FIRM, "project": project, "amount_nano_cny": amount_nano, "period": "month"}
    async with cluster.installation.database.transaction() as session:
        await session.execute(
            upsert(BudgetRow)
            .values(**row)
            .on_conflict_do_update(index_elements=["firm_id", "project"], set_=row)
        )
        await inbox.put(session, "ConfigurationChanged", {})


async def test_a_projects_budget_counts_what_ran_before_it_was_set_and_the_same_after_every_reload(
    cluster: Cluster,
) -> None:
    # A device costs 1 CNY a second, and from three seconds after the first grant 2.
    second, model = 3_600_000_000_000, "ascend-910b3"
    async with cluster.installation.database.transaction() as session:
        for at_ms, price in ((0, second), (cluster.now_ms + 4_000, 2 * second)):
            await session.execute(
                insert(PriceVersionRow).values(
                    price_id=f"{at_ms}", device_model=model, price_nano_cny=price, effective_from_ms=at_ms
                )
            )
        await inbox.put(session, "ConfigurationChanged", {})
    await cluster.submit({"name": "first", "time_limit_seconds": 60})
    await cluster.cycle()  # granted
    await cluster.run()  # two seconds
    await set_budget(cluster, 100 * 10**9)
    await set_budget(cluster, 10**15, project="")
    await cluster.submit({"name": "second", "time_limit_seconds": 30})
    await cluster.cycle()  # three seconds at 1 CNY, and 60 s to the time limit of the first at 2
    cost = [spent // 3_600_000 // 10**15 for spent in spending(cluster)]
    assert cost == [3, 3]
    assert await cluster.states() == {"first": ["running"], "second": ["queued"]}
    report = (await cluster.installation.rows("SELECT reasons FROM reports"))[0][0]
    assert isinstance(report, list)
    assert report[0]["reason"] == "budget_exhausted"
    assert "project default has" in report[0]["sentence"]

    # The end of the first and a smaller budget come in one batch.
    await set_budget(cluster, 64 * 10**9)
    await cluster.end()
    assert [spent // 3_600_000 // 10**15 for spent in spending(cluster)] == [5, 5]
    assert await cluster.states() == {"first": ["succeeded"], "second": ["queued"]}
    await set_budget(cluster, 65 * 10**9)
    await cluster.cycle()
    assert await cluster.states() == {"first": ["succeeded"], "second": ["allocated"]}


def spending(cluster: Cluster) -> list[int]:
    """What was spent of each budget, in the unit of the ledger."""
    state = cluster.leader.state
    return sorted(state.spending.spent(state.prices, cluster.now_ms).values())
