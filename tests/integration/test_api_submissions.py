"""Many submissions at once: one commit for many, and each accepted or refused for itself."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import delete, func, select, text

from scheduler.api.app import create_app
from scheduler.rpc.usage import Uploads, UsageStream
from scheduler.services.evidence import NodeKey
from scheduler.storage.direct import MOST_CONNECTIONS, MOST_PREPARED, Direct
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.pokes import Channel, Listener, poke
from scheduler.storage.submissions import insert_jobs
from scheduler.storage.tables import Base, IdempotencyRow, InboxRow, JobRow, ProjectRow
from tests.builders.api import ApiInstallation, InhabitedUrls, job_spec, running_api
from tests.builders.database import DatabaseServer


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def count(installation: ApiInstallation, table: type[Base]) -> int:
    async with installation.api.database.read() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


async def test_jobs_that_come_together_are_each_answered_and_each_told_to_the_controller(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    specs = [job_spec(name=f"tune-{number}") for number in range(30)]
    specs[7] = job_spec(name="wrong", queue="nowhere")
    specs[11] = job_spec(name="huge", gang={"devices": 4096, "devices_per_node": 8})
    before = await count(installation, InboxRow)
    answers = await asyncio.gather(*(lin.post("/v1/jobs", json=spec) for spec in specs))
    assert [answer.status_code for number, answer in enumerate(answers) if number not in (7, 11)] == [
        201
    ] * 28
    assert answers[7].json()["errors"][0]["field"] == "queue"
    assert answers[11].json()["code"] == "impossible"
    accepted = [answer.json() for answer in answers if answer.status_code == 201]
    assert [job["name"] for job in accepted] == [s["name"] for n, s in enumerate(specs) if n not in (7, 11)]
    assert await count(installation, JobRow) == 28
    assert await count(installation, InboxRow) - before == 28
    for job in accepted[:3]:
        assert (await lin.get(f"/v1/jobs/{job['job_id']}")).json() == job


@pytest.mark.parametrize(("table", "waiting"), [("jobs", 2), ("api_keys", 1)])
async def test_an_api_that_ends_leaves_nothing_under_way_on_its_connections(
    inhabited_urls: InhabitedUrls, tmp_path: Path, table: str, waiting: int
) -> None:
    owner = Database(inhabited_urls.owner, "test-lock", 1)
    other = Direct(inhabited_urls.api, "test-other")
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'suanli-api-direct'"
    async with owner.transaction() as session:
        async with running_api(inhabited_urls, tmp_path) as running:
            lin = running.as_("lin")
            assert (await lin.get("/v1/jobs")).status_code == 200
            await session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            calls = (
                lin.post("/v1/jobs", json=job_spec()),
                lin.get("/v1/jobs/01a3185c-5000-7ab1-a290-3241abdd2792"),
            )
            asked = [asyncio.create_task(call) for call in calls]
            async with asyncio.timeout(20):
                while await other.fetch(f"{ours} AND wait_event_type = 'Lock'", {}) != [(waiting,)]:
                    await asyncio.sleep(0.01)
            for call in asked:
                call.cancel()
        async with asyncio.timeout(20):
            while await other.fetch(ours, {}) != [(0,)]:
                await asyncio.sleep(0.01)
    await other.close()
    await owner.dispose()


async def test_the_transaction_of_a_submission_pokes_nobody_itself(
    inhabited_urls: InhabitedUrls, open_database: Callable[[str], Database]
) -> None:
    # Whoever notifies holds a lock until its commit is on the disk: submissions would be written one by one.
    direct, heard = Direct(inhabited_urls.api, "test-direct"), set()
    async with Listener(inhabited_urls.controller, [Channel.INBOX]) as listener:
        await insert_jobs(direct, (), {b"no key of anybody's"}, datetime.now(UTC))
        async with open_database(inhabited_urls.api).transaction() as session:
            await poke(session, Channel.INBOX, "later")
        while (Channel.INBOX, "later") not in heard:
            heard |= await listener.wait(5)
    assert heard == {(Channel.INBOX, "later")}
    await direct.close()


async def test_the_same_key_sent_many_times_at_once_submits_one_job(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    headers = {"Idempotency-Key": "night-run-1"}
    answers = await asyncio.gather(
        *(lin.post("/v1/jobs", json=job_spec(), headers=headers) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    other = await lin.post("/v1/jobs", json=job_spec(name="other"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert (await count(installation, JobRow), await count(installation, IdempotencyRow)) == (1, 1)


async def test_two_processes_agree_on_who_came_first_with_a_key(
    installation: ApiInstallation, inhabited_urls: InhabitedUrls
) -> None:
    second = create_app(installation.config)
    async with second.router.lifespan_context(second):
        lin, twin = installation.as_("lin"), installation.as_("lin", second)
        for number in range(10):
            headers = {"Idempotency-Key": f"key-{number}"}
            answers = await asyncio.gather(
                *(client.post("/v1/jobs", json=job_spec(), headers=headers) for client in (lin, twin) * 3)
            )
            assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert await count(installation, JobRow) == 10


async def test_a_refused_request_leaves_its_key_free(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    headers = {"Idempotency-Key": "again"}
    wrong, right = job_spec(queue="nowhere"), job_spec()
    answers = await asyncio.gather(
        *(lin.post("/v1/jobs", json=spec, headers=headers) for spec in (wrong, right))
    )
    assert [answer.status_code for answer in answers] == [422, 201]


async def test_a_job_is_accepted_as_soon_as_what_it_names_is_there(installation: ApiInstallation) -> None:
    lin, ops = installation.as_("lin"), installation.as_("ops")
    spec = job_spec(project="speech", gang={"devices": 16, "devices_per_node": 8})
    assert (await lin.post("/v1/jobs", json=spec)).json()["errors"][0]["field"] == "project"
    firm = {"name": "lanjing", "title": "Lanjing AI Co., Ltd.", "projects": ["speech"]}
    assert (await ops.post("/v1/apply", json={"firms": [firm]})).status_code == 200
    assert (await lin.post("/v1/jobs", json=spec)).json()["code"] == "impossible"
    await installation.add_node("node-2")
    assert (await lin.post("/v1/jobs", json=spec)).status_code == 201


async def test_a_firm_of_one_project_need_not_name_it(installation: ApiInstallation) -> None:
    queues = [{"name": "default", "pools": ["haidian"]}]
    firm = {"name": "xinghe", "title": "Xinghe Ltd.", "projects": ["robots"], "queues": queues}
    ops = installation.as_("ops")
    assert (await ops.post("/v1/apply", json={"firms": [firm]})).status_code == 200
    await ops.post("/v1/principals", json={"name": "mei", "role": "researcher", "firm": "xinghe"})
    made = await ops.post("/v1/api-keys", json={"principal": "mei"})
    mei = installation.as_(None)
    mei.headers["Authorization"] = f"Bearer {made.json()['api_key']}"
    one = (await mei.post("/v1/jobs", json=job_spec())).json()
    many = await mei.post("/v1/jobs/batch", json={"jobs": [job_spec(), job_spec()]})
    trial = await mei.post("/v1/jobs/validate", json=job_spec())
    assert (one["project"], one["spec"]["project"]) == ("robots", "robots")
    assert (many.status_code, trial.status_code) == (201, 200)
    listed = (await mei.get("/v1/jobs")).json()["jobs"]
    assert [job["project"] for job in listed] == ["robots"] * 3


async def test_what_a_job_names_may_go_while_it_is_submitted(
    installation: ApiInstallation, open_database: Callable[[str], Database]
) -> None:
    lin = installation.as_("lin")
    assert (await lin.post("/v1/jobs", json=job_spec())).status_code == 201
    owner = open_database(installation.urls.owner)
    async with owner.transaction() as session:  # behind the API's back, which has just read it
        await session.execute(delete(ProjectRow).where(ProjectRow.name == "vision"))
    projects = ("default", "vision", "default")
    answers = await asyncio.gather(*(lin.post("/v1/jobs", json=job_spec(project=p)) for p in projects))
    assert [answer.status_code for answer in answers] == [201, 422, 201]
    assert answers[1].json()["errors"][0]["field"] == "project"
    assert await count(installation, JobRow) == 3


async def test_single_statements_survive_a_cut_and_say_when_the_database_is_away(
    database_server: DatabaseServer, inhabited_urls: InhabitedUrls, tmp_path: Path
) -> None:
    direct = Direct(inhabited_urls.api, "test-direct")
    assert await direct.fetch("SELECT %(n)s::int", {"n": 1}) == [(1,)]
    assert database_server.kill_connections(inhabited_urls.name, "test-direct") == 1
    assert await direct.fetch("SELECT %(n)s::int", {"n": 2}) == [(2,)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        await direct.fetch("SELECT 1 / %(n)s::int", {"n": 0})
    with pytest.raises(psycopg.errors.NotNullViolation):
        await insert_jobs(direct, [{"firm_id": None, "idempotency_key": None}], (), datetime.now(UTC))
    assert await direct.fetch("SELECT %(n)s::int", {"n": 3}) == [(3,)]
    await direct.fetch("DEALLOCATE ALL", {})  # as what pools connections between us and PostgreSQL may do
    assert await direct.fetch("SELECT %(n)s::int", {"n": 4}) == [(4,)]
    # Its last words may be read before its end can be seen: who speaks unasked is asked nothing more.
    await direct.fetch("LISTEN unasked", {})
    other, pid = Direct(inhabited_urls.api, "test-direct"), await direct.fetch("SELECT pg_backend_pid()", {})
    async with asyncio.timeout(10):
        while await direct.fetch("SELECT pg_backend_pid()", {}) == pid:
            await other.fetch("NOTIFY unasked", {})
            await asyncio.sleep(0.01)
    await other.close()
    await direct.close()
    away = Direct(f"postgresql://suanli_api@/nothing?host={tmp_path}", "test-direct")
    with pytest.raises(DatabaseAway):
        await away.fetch("SELECT 1", {})


async def test_a_migration_under_single_statements_is_answered_by_what_they_say_now(
    inhabited_urls: InhabitedUrls, open_database: Callable[[str], Database]
) -> None:
    direct, owner = Direct(inhabited_urls.gateway, "test-direct"), open_database(inhabited_urls.owner)
    uploads = Uploads(direct)
    uploads.open(UsageStream(NodeKey("node-a", "key-a", b"k" * 32, 0, {})))
    whole = "SELECT * FROM log_checkpoints WHERE size = %(size)s"
    insert = text("INSERT INTO log_checkpoints (size, root, note, made_ms) VALUES (1, 'r', 'n', 0)")
    async with owner.transaction() as session:
        await session.execute(insert)
    before = await direct.fetch(whole, {"size": 1})
    await uploads.look()
    for change in ("ADD COLUMN later integer", "ALTER COLUMN note TYPE text USING encode(note, 'escape')"):
        async with owner.transaction() as session:
            await session.execute(text(f"ALTER TABLE log_checkpoints {change}"))
        uploads.open(UsageStream(NodeKey("node-b", "key-b", b"k" * 32, 0, {})))
        await uploads.look()  # a gateway whose look fails ends
    (row,) = await direct.fetch(whole, {"size": 1})
    assert row == (*before[0][:2], "n", *before[0][3:], None)
    with pytest.raises(psycopg.errors.FeatureNotSupported):  # which is no migration's doing
        await direct.fetch("SELECT count(*) FROM log_checkpoints FOR UPDATE", {})
    assert await direct.fetch(whole, {"size": 1}) == [row]
    await direct.close()


async def test_who_goes_away_in_the_middle_of_a_statement_leaves_nothing_running_for_long(
    database_server: DatabaseServer, inhabited_urls: InhabitedUrls
) -> None:
    direct, other = (Direct(inhabited_urls.api, name) for name in ("test-direct", "test-other"))
    asleep = asyncio.create_task(direct.fetch("SELECT 1 FROM pg_sleep(60)", {}))
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test-direct' AND state = 'active'"
    )
    async with asyncio.timeout(20):
        while await other.fetch(running, {}) != [(1,)]:
            await asyncio.sleep(0.01)
    asleep.cancel()
    async with asyncio.timeout(20):  # by itself it would end after a minute
        while await other.fetch(running, {}) != [(0,)]:
            await asyncio.sleep(0.01)
    await direct.close()
    await other.close()


async def test_a_connection_that_was_cut_leaves_the_descriptor_of_whoever_has_it_now_alone(
    database_server: DatabaseServer, inhabited_urls: InhabitedUrls
) -> None:
    direct, before = Direct(inhabited_urls.api, "test-direct"), len(os.listdir("/proc/self/fd"))
    assert await direct.fetch("SELECT %(n)s::int", {"n": 1}) == [(1,)]
    assert database_server.kill_connections(inhabited_urls.name, "test-direct") == 1
    async with asyncio.timeout(20):
        while len(os.listdir("/proc/self/fd")) > before:  # until libpq has seen it and closed its socket
            await asyncio.sleep(0.01)
    ours, theirs = socket.socketpair()  # the lowest free descriptor: the one that was closed
    reader, writer = await asyncio.open_connection(sock=ours)
    assert await direct.fetch("SELECT %(n)s::int", {"n": 2}) == [(2,)]
    theirs.send(b"still read\n")
    assert await asyncio.wait_for(reader.readline(), 20) == b"still read\n"
    writer.close()
    theirs.close()
    await direct.close()


async def test_single_statements_of_any_size_and_number_answer_and_one_that_is_broken_off_harms_no_other(
    database_server: DatabaseServer, inhabited_urls: InhabitedUrls
) -> None:
    direct = Direct(inhabited_urls.api, "test-direct")
    large = "砂" * 3_000_000  # more than a socket takes at once, either way
    assert await direct.fetch("SELECT %(text)s::text, %(none)s::text", {"text": large, "none": None}) == [
        (large, None)
    ]
    many = [f"SELECT {n} + %(n)s::int, %(n)b::int" for n in range(MOST_PREPARED + 2)]
    found = [await direct.fetch(statement, {"n": 1}, binary=True) for statement in many]
    assert found == [[(n + 1, 1)] for n in range(MOST_PREPARED + 2)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(direct.fetch("SELECT 1 FROM pg_sleep(60)", {}), 0.1)
    asleep = asyncio.create_task(direct.fetch("SELECT 1 FROM pg_sleep(%(s)s)", {"s": 60}))
    answers = await asyncio.gather(*(direct.fetch("SELECT %(n)s::int", {"n": n}) for n in range(5)))
    assert answers == [[(n,)] for n in range(5)]
    connected = "SELECT count(*) FROM pg_stat_activity, pg_sleep(0.01) WHERE application_name = 'test-crowd'"
    crowd = Direct(inhabited_urls.api, "test-crowd")
    counts = await asyncio.gather(*(crowd.fetch(connected, {}) for _ in range(100)))
    assert max(counts) <= [(MOST_CONNECTIONS,)]  # whoever asks much at once takes nobody else's
    await crowd.close()
    assert database_server.kill_connections(inhabited_urls.name, "test-direct") >= 2
    with pytest.raises(DatabaseAway):
        await asyncio.wait_for(asleep, 20)
    assert await direct.fetch("SELECT %(n)s::int", {"n": 6}) == [(6,)]
    await direct.close()
