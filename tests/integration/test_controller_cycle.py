"""The controller's cycle on a real PostgreSQL: what is committed, what is not, and who may."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import text

from scheduler.controller.commit import Leader
from scheduler.domain.gangs import Elastic
from scheduler.domain.ids import JobId, NodeId
from scheduler.domain.jobs import Dependencies, Output
from scheduler.domain.nodes import NodeState
from scheduler.machine.queueing import as_it_waits
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.leadership import Leadership, LeadershipLost
from suanli.evidence.entries import signing_message
from suanli.evidence.records import AllocationEvent, parse_record
from tests.builders.cluster import a_node
from tests.builders.controller import NOW_MS, Installation, OpenDatabase, a_leader, connected
from tests.builders.database import DatabaseServer, DatabaseUrls
from tests.builders.jobs import a_spec
from tests.builders.state_content import content
from tests.builders.waiting import until

LEADER_APPLICATION = "leader-under-test"


@pytest_asyncio.fixture
async def installation(database_urls: DatabaseUrls, open_database: OpenDatabase) -> Installation:
    """A configured database with two nodes of eight devices and a living gateway."""
    made = Installation(open_database(database_urls.owner))
    await made.configure()
    await made.beat()
    await made.enrol(a_node("n1"))
    await made.enrol(a_node("n2"))
    return made


@pytest_asyncio.fixture
async def leadership(database_urls: DatabaseUrls, open_database: OpenDatabase) -> AsyncIterator[Leadership]:
    """The right to lead, under the controller's own database role."""
    made = Leadership(open_database(database_urls.controller), "controller", "test")
    yield made
    await made.release()


@pytest_asyncio.fixture
async def leader(
    installation: Installation, leadership: Leadership, database_urls: DatabaseUrls
) -> AsyncIterator[Leader]:
    """A leader that has taken the nodes in."""
    term = await leadership.acquire(asyncio.Event())
    database = Database(database_urls.controller, LEADER_APPLICATION, pool_size=2)
    made = await a_leader(database, leadership, term)
    await made.cycle(NOW_MS)
    yield made
    await database.dispose()


async def test_a_submitted_job_is_allocated_in_one_cycle_with_everything_that_belongs_to_it(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec(devices=16, per_node=8))
    result = await leader.cycle(NOW_MS + 10)
    assert (result.messages, result.placements) == (1, 1)
    assert await installation.rows("SELECT state, attempt, device_model FROM job_states") == [
        ("allocated", 1, "ascend-910b3")
    ]
    assert await installation.rows("SELECT rank, node_id, goal, live FROM allocations ORDER BY rank") == [
        (0, "n1", "prepare", True),
        (1, "n2", "prepare", True),
    ]
    assert await installation.rows("SELECT count(*) FROM allocation_devices WHERE live") == [(16,)]
    assert await installation.rows("SELECT count(*) FROM inbox") == [(0,)]
    assert await installation.rows("SELECT node_id, generation FROM node_states ORDER BY 1") == [
        ("n1", 1),
        ("n2", 1),
    ]
    kinds = await installation.rows("SELECT event_seq, kind FROM events ORDER BY event_seq")
    assert [seq for seq, _ in kinds] == list(range(1, len(kinds) + 1))
    assert [kind for _, kind in kinds][-2:] == ["JobSubmitted", "JobAllocated"]


async def test_a_job_that_trips_the_planner_waits_and_says_so_and_the_others_start(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("trips", a_spec(devices=2))
    await installation.submit("other", a_spec(devices=1))
    await leader.cycle(NOW_MS + 10, may_plan=False)
    job = leader.state.jobs[JobId("trips")]
    assert job.shape is not None
    leader.state.waiting.remove(job.shape, job.ages_from_ms, job.job_id)
    job.shape = job.shape._replace(devices_per_node=0)
    leader.state.waiting.add(job.shape, as_it_waits(leader.state, job, job.shape))
    for cycle in (11, 12):
        await installation.submit(f"later-{cycle}", a_spec(devices=1))
        await leader.cycle(NOW_MS + cycle)
    assert await installation.rows("SELECT job_id, state FROM job_states ORDER BY job_id") == [
        ("later-11", "allocated"),
        ("later-12", "allocated"),
        ("other", "allocated"),
        ("trips", "queued"),
    ]
    [(reasons,)] = await installation.rows("SELECT reasons FROM reports WHERE job_id = 'trips'")
    assert isinstance(reasons, list)
    assert [why["reason"] for why in reasons] == ["plan_failed"]
    told = await installation.rows("SELECT job_id, data FROM events WHERE kind = 'JobLeftOutOfPlans'")
    assert told == [("trips", {"jobs": 1})], "once, however many cycles there are"


async def test_a_job_goes_where_the_agent_has_said_that_it_knows_what_the_job_asks_for(
    installation: Installation, leader: Leader
) -> None:
    newer = {**connected("n2"), "boot_id": "boot-2", "at_ms": NOW_MS + 1, "understands": ["output_patterns"]}
    await installation.put("NodeConnected", newer)
    await installation.submit("j1", replace(a_spec(), outputs=(Output("out/*.bin"),)))
    await leader.cycle(NOW_MS + 10)
    said = await installation.rows("SELECT node_id, understands FROM node_states ORDER BY 1")
    assert said == [("n1", []), ("n2", ["output_patterns"])]
    assert await installation.rows("SELECT node_id FROM allocations") == [("n2",)]


async def test_a_job_runs_from_prepare_to_its_end_and_frees_its_devices(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec(devices=2))
    await leader.cycle(NOW_MS + 1)
    [(allocation_id, node_id)] = await installation.rows("SELECT allocation_id, node_id FROM allocations")
    task: dict[str, object] = {"allocation_id": allocation_id, "phase": "ready", "rendezvous_port": 29500}
    await installation.report(str(node_id), [task], 1)
    await leader.cycle(NOW_MS + 2)
    assert await installation.rows("SELECT master_address, master_port, state FROM attempts") == [
        ("127.0.0.1", 29500, "ready")
    ]
    await installation.report(str(node_id), [{**task, "phase": "running", "started_ms": 5}], 2)
    await leader.cycle(NOW_MS + 3)
    assert await installation.rows("SELECT state FROM job_states") == [("running",)]
    ended = {**task, "phase": "ended", "started_ms": 5, "exit_code": 0, "end_reason": "exited"}
    await installation.report(str(node_id), [ended], 3)
    await leader.cycle(NOW_MS + 4)
    assert await installation.rows("SELECT state, reason, exit_code FROM job_states") == [
        ("succeeded", "completed", 0)
    ]
    assert await installation.rows("SELECT count(*) FROM allocation_devices WHERE live") == [(0,)]
    assert leader.state.jobs == {}


async def test_a_gang_that_was_too_young_to_grow_grows_later_though_nothing_else_happens(
    installation: Installation, leader: Leader
) -> None:
    spec = a_spec(devices=16, per_node=8, estimate_seconds=36_000)
    await installation.submit("j1", replace(spec, gang=replace(spec.gang, elastic=Elastic(8, 24))))
    await leader.cycle(NOW_MS + 1)
    placed = await installation.rows("SELECT allocation_id, node_id FROM allocations ORDER BY rank")
    for seq, phase in enumerate(("ready", "running"), 1):
        for allocation_id, node_id in placed:
            task: dict[str, object] = {"allocation_id": allocation_id, "phase": phase, "rendezvous_port": 1}
            await installation.report(str(node_id), [task], seq)
        await leader.cycle(NOW_MS + 1 + seq)
    await installation.enrol(a_node("n3"))
    await leader.cycle(NOW_MS + 1_000)
    assert await installation.rows("SELECT state FROM job_states") == [("running",)]
    await leader.cycle(NOW_MS + 6 * 60_000)
    assert await installation.rows("SELECT state, reason FROM attempts") == [("stopping", "preempted")]


async def test_facts_for_the_evidence_log_are_signed_by_the_controllers_key(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec(devices=2))
    await leader.cycle(NOW_MS + 1)
    [(kind, fact, body, signature, key_id)] = await installation.rows(
        "SELECT type, fact, body, signature, producer_key_id FROM evidence_intake"
    )
    record = parse_record(str(kind), bytes(body))  # type: ignore[arg-type]
    assert isinstance(record, AllocationEvent)
    assert (record.event, record.job_id, record.at_ms) == ("granted", "j1", NOW_MS + 1)
    assert fact == f"allocation/{record.allocation_id}/granted"
    signer = leader.seat.signer
    assert key_id == signer.key_id
    assert signature == signer.sign(signing_message(str(kind), bytes(body)))  # type: ignore[arg-type]
    assert json.loads(bytes(body))["schema"] == "suanli.allocation_event.v1"  # type: ignore[arg-type]


async def test_memory_equals_what_is_loaded_after_every_step_of_a_life(
    installation: Installation, leader: Leader, leadership: Leadership, open_database: OpenDatabase
) -> None:
    database = open_database(leader.seat.database.url)
    steps: list[tuple[str, dict[str, object]]] = [
        ("CordonRequested", {"node_id": "n2", "cordoned": True}),
        ("CancelRequested", {"firm_id": "firm-a", "job_id": "j2", "by": "ana"}),
        ("NodeDisconnected", {"node_id": "n1", "gateway_id": "gateway-1", "at_ms": NOW_MS + 1}),
    ]
    await installation.submit("j1", a_spec(devices=8, time_limit_s=60))
    await installation.submit("j2", a_spec(devices=8))
    await installation.submit("j3", a_spec(devices=8))
    now_ms = NOW_MS
    for kind, body in [("", {}), *steps, ("", {}), ("", {})]:
        if kind:
            await installation.put(kind, body)
        now_ms += 40_000
        await installation.beat()
        await leader.cycle(now_ms)
        loaded = await a_leader(database, leadership, leader.term, now_ms=now_ms)
        assert content(loaded.state, now_ms) == content(leader.state, now_ms)
    assert leader.state.nodes[NodeId("n1")].state is NodeState.LOST


async def test_a_commit_that_is_cut_leaves_nothing_and_the_next_leader_does_it_again(
    installation: Installation,
    leader: Leader,
    database_server: DatabaseServer,
    database_urls: DatabaseUrls,
) -> None:
    async def hangs() -> bool:
        return await installation.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") != [(0,)]

    await installation.submit("j1", a_spec(devices=2))
    async with installation.database.transaction() as session:
        # The cycle needs this table late in its transaction: it hangs there, and is killed there.
        await session.execute(text("LOCK TABLE events IN EXCLUSIVE MODE"))
        cycle = asyncio.create_task(leader.cycle(NOW_MS + 1))
        await until(hangs)
        assert database_server.kill_connections(database_urls.name, LEADER_APPLICATION) == 1
        with pytest.raises(DatabaseAway):
            await cycle
    assert await installation.rows("SELECT count(*) FROM allocations") == [(0,)]
    assert await installation.rows("SELECT count(*) FROM inbox") == [(1,)]
    again = await a_leader(leader.seat.database, leader.seat.leadership, leader.term)
    await again.cycle(NOW_MS + 2)
    assert await installation.rows("SELECT state FROM job_states") == [("allocated",)]
    assert JobId("j1") in again.state.jobs


async def test_a_leader_that_was_replaced_cannot_commit(
    installation: Installation,
    leader: Leader,
    leadership: Leadership,
    database_urls: DatabaseUrls,
    open_database: OpenDatabase,
) -> None:
    await leadership.release()  # its connection dies; the process does not know
    second = Leadership(open_database(database_urls.controller), "controller", "second")
    try:
        term = await second.acquire(asyncio.Event())
        assert term == leader.term + 1
        await installation.submit("j1", a_spec(devices=2))
        with pytest.raises(LeadershipLost):
            await leader.cycle(NOW_MS + 1)
        assert await installation.rows("SELECT count(*) FROM job_states") == [(0,)]
        replacement = await a_leader(open_database(database_urls.controller), second, term)
        await replacement.cycle(NOW_MS + 2)
        assert await installation.rows("SELECT state FROM job_states") == [("allocated",)]
        assert await installation.rows(
            "SELECT DISTINCT leader_term FROM node_states WHERE generation > 0"
        ) == [(term,)]
    finally:
        await second.release()


async def test_a_job_that_waits_has_a_report_that_goes_when_it_starts(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec(devices=16, per_node=8))
    await installation.submit("j2", a_spec(devices=8))
    await leader.cycle(NOW_MS + 1)
    [(job_id, position, reasons)] = await installation.rows("SELECT job_id, position, reasons FROM reports")
    assert (job_id, position) == ("j2", 1)
    assert isinstance(reasons, list)
    assert (reasons[0]["reason"], reasons[0]["asked"], reasons[0]["available"]) == ("devices_busy", 8, 0)
    await installation.put("CancelRequested", {"firm_id": "firm-a", "job_id": "j2", "by": "ana"})
    await leader.cycle(NOW_MS + 2)
    assert await installation.rows("SELECT count(*) FROM reports") == [(0,)]


async def test_a_gateway_that_is_not_seen_makes_its_nodes_silent_until_it_is_seen_again(
    installation: Installation, leader: Leader
) -> None:
    await installation.beat(seen_at=datetime.now(UTC) - timedelta(seconds=30))
    await leader.cycle(NOW_MS + 2_000)
    states = "SELECT state FROM node_states ORDER BY node_id"
    assert await installation.rows(states) == [("silent",), ("silent",)]
    await installation.beat()
    await leader.cycle(NOW_MS + 4_000)
    assert await installation.rows(states) == [("connected",), ("connected",)]


async def test_a_connection_through_a_gateway_that_is_dead_by_now_does_not_count(
    installation: Installation, leader: Leader
) -> None:
    await installation.beat(seen_at=datetime.now(UTC) - timedelta(seconds=30))
    await leader.cycle(NOW_MS + 2_000)
    await installation.put("NodeConnected", {**connected("n1"), "at_ms": NOW_MS + 1_000})
    await leader.cycle(NOW_MS + 4_000)
    await leader.cycle(NOW_MS + 6_000)
    states = await installation.rows("SELECT state FROM node_states ORDER BY node_id")
    assert states == [("silent",), ("silent",)]


async def test_a_message_that_is_none_is_dropped_and_holds_up_no_other(
    installation: Installation, leader: Leader
) -> None:
    await installation.put("Nonsense", {})
    await installation.put("NodeReported", {"node_id": "n1"})
    await installation.put("NodeConnected", {**connected("n1"), "isolation": "wall"})
    await installation.submit("j1", a_spec())
    result = await leader.cycle(NOW_MS + 1)
    assert (result.messages, result.placements) == (1, 1)
    assert await installation.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_a_number_of_an_agent_that_no_column_holds_holds_up_nothing(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec())
    await leader.cycle(NOW_MS + 1)
    [(allocation_id, node_id)] = await installation.rows("SELECT allocation_id, node_id FROM allocations")
    ended = {"allocation_id": allocation_id, "phase": "ended", "end_reason": "exited", "exit_code": 1}
    await installation.report(str(node_id), [{**ended, "log_pattern": 2**32 - 1}], 1)
    await installation.submit("j2", a_spec())
    assert (await leader.cycle(NOW_MS + 2)).placements == 1
    await installation.report(str(node_id), [ended], 2)
    await leader.cycle(NOW_MS + 3)
    assert await installation.rows("SELECT state FROM job_states WHERE job_id = 'j1'") == [("failed",)]


async def test_a_job_that_says_it_has_steps_for_longer_than_any_number_holds_up_nothing(
    installation: Installation, leader: Leader
) -> None:
    spec = a_spec(devices=8)
    endless = replace(spec, variants=tuple(replace(v, steps_per_hour=1) for v in spec.variants))
    for job_id in ("j1", "j2"):
        await installation.submit(job_id, endless)
    await leader.cycle(NOW_MS + 1)
    report = {"step": 0, "of": 2**63 - 1, "at_ms": NOW_MS}
    for allocation_id, node_id in await installation.rows("SELECT allocation_id, node_id FROM allocations"):
        running = {"allocation_id": allocation_id, "phase": "running", "started_ms": 5, "step_report": report}
        for number in (1, 2):  # before and after it was told to run
            await installation.report(str(node_id), [running], number)
    await leader.cycle(NOW_MS + 2)
    await installation.submit("j3", a_spec(devices=8))
    await leader.cycle(NOW_MS + 3)
    [(told,)] = await installation.rows("SELECT announced FROM job_states WHERE job_id = 'j3'")
    assert told is not None
    assert max(told) < NOW_MS + 2 * 366 * 86_400_000


async def test_the_same_submission_twice_has_one_effect_even_after_the_job_has_ended(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec())
    await installation.put("JobSubmitted", {"firm_id": "firm-a", "job_id": "j1"})
    await installation.put("CancelRequested", {"firm_id": "firm-a", "job_id": "j1", "by": "ana"})
    await leader.cycle(NOW_MS + 1)
    await installation.put("JobSubmitted", {"firm_id": "firm-a", "job_id": "j1"})
    await leader.cycle(NOW_MS + 2)
    assert await installation.rows("SELECT count(*) FROM events WHERE kind = 'JobSubmitted'") == [(1,)]
    assert leader.state.jobs == {}


async def test_a_job_whose_stored_spec_cannot_be_read_fails_and_says_why_and_holds_up_nothing(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("after", a_spec(dependencies=Dependencies(after_ok=("wrong",))))
    await installation.submit("wrong", a_spec())
    async with installation.database.transaction() as session:
        await session.execute(
            text("UPDATE jobs SET spec = spec || '{\"priority\": \"urgent\"}' WHERE job_id = 'wrong'")
        )
    await installation.put("JobSubmitted", {"firm_id": "firm-a", "job_id": "wrong"})  # twice
    await installation.submit("right", a_spec())
    assert (await leader.cycle(NOW_MS + 10)).placements == 1
    rows = await installation.rows("SELECT job_id, state, reason FROM job_states ORDER BY job_id")
    assert rows == [
        ("after", "cancelled", "dependency_failed"),
        ("right", "allocated", None),
        ("wrong", "failed", "spec_unreadable"),
    ]
    [(detail,)] = await installation.rows("SELECT detail FROM job_states WHERE job_id = 'wrong'")
    assert "urgent" in str(detail)
    assert await installation.rows("SELECT kind FROM events WHERE job_id = 'wrong'") == [("JobFailed",)]


@pytest.mark.parametrize("stored", [{"priority": "urgent"}, {"time_limit_seconds": "soon"}, {"gang": 7}])
async def test_a_leader_leads_where_the_stored_spec_of_a_live_job_cannot_be_read(
    installation: Installation, leader: Leader, stored: dict[str, object]
) -> None:
    for job_id in ("ends-well", "ends-badly", "waits"):
        await installation.submit(job_id, a_spec(devices=8))
    await leader.cycle(NOW_MS + 1)
    async with installation.database.transaction() as session:
        changed = text("UPDATE jobs SET spec = spec || CAST(:stored AS jsonb)")
        await session.execute(changed, {"stored": json.dumps(stored)})
    await installation.submit("after", a_spec(dependencies=Dependencies(after_ok=("waits",))))
    await installation.submit("right", a_spec(priority="high"))
    again = await a_leader(leader.seat.database, leader.seat.leadership, leader.term)
    await again.cycle(NOW_MS + 2)
    states = "SELECT job_id, state, reason FROM job_states ORDER BY job_id"
    assert await installation.rows(states) == [
        ("after", "cancelled", "dependency_failed"),
        ("ends-badly", "allocated", None),
        ("ends-well", "allocated", None),
        ("right", "queued", None),
        ("waits", "failed", "spec_unreadable"),
    ]
    placed = await installation.rows("SELECT allocation_id, node_id FROM allocations ORDER BY job_id")
    for seq, phase in enumerate(("ready", "running", "ended"), 1):
        for (allocation_id, node_id), exit_code in zip(placed, (1, 0), strict=True):
            task: dict[str, object] = {"allocation_id": allocation_id, "phase": phase, "rendezvous_port": 1}
            if phase == "ended":
                task |= {"exit_code": exit_code, "end_reason": "exited"}
            await installation.report(str(node_id), [task], seq)
        await again.cycle(NOW_MS + 2 + seq)
    assert (await installation.rows(states))[1:4] == [
        ("ends-badly", "failed", "spec_unreadable"),
        ("ends-well", "succeeded", "completed"),
        ("right", "allocated", None),
    ]
    details = await installation.rows("SELECT detail FROM job_states WHERE reason = 'spec_unreadable'")
    assert len(details) == 2
    assert all(str(detail).startswith("its spec cannot be read: ") for (detail,) in details)


async def test_where_no_plan_can_be_made_everything_else_goes_on(
    installation: Installation, leader: Leader
) -> None:
    await installation.submit("j1", a_spec())
    assert (await leader.cycle(NOW_MS + 10)).placements == 1
    cohorts, leader.state.cohorts = leader.state.cohorts, None  # type: ignore[assignment]  # a defect of ours
    await installation.submit("j2", a_spec())
    await installation.put("CancelRequested", {"firm_id": "firm-a", "job_id": "j1", "by": "ana"})
    result = await leader.cycle(NOW_MS + 20)
    assert (result.messages, result.placements) == (2, 0)
    assert await installation.rows("SELECT goal FROM allocations") == [("stop",)]
    leader.state.cohorts = cohorts
    await installation.submit("j3", a_spec())
    assert (await leader.cycle(NOW_MS + 30)).placements == 2
