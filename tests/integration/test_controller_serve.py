"""The controller process as a whole: it leads, answers pokes, stands by, and survives its database."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from scheduler import machine_code
from scheduler.controller.loop import ControllerConfig, serve
from scheduler.planner import PlannerConfig
from tests.builders.cluster import a_node
from tests.builders.controller import Installation, OpenDatabase, write_key
from tests.builders.database import DatabaseServer, DatabaseUrls
from tests.builders.jobs import a_spec
from tests.builders.running import ended
from tests.builders.waiting import until


@asynccontextmanager
async def running(url: str, folder: Path, holder: str = "one") -> AsyncIterator[asyncio.Task[None]]:
    """A controller until the block ends."""
    key_path = folder / f"{holder}.key"
    config = ControllerConfig(url, holder, write_key(key_path), PlannerConfig(), period_ms=200)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(config, stop, lambda _: None))
    try:
        yield task
    finally:
        stop.set()
        await ended(task)


async def test_a_submission_is_allocated_soon_after_its_poke(
    database_urls: DatabaseUrls, open_database: OpenDatabase, tmp_path: Path
) -> None:
    installation = Installation(open_database(database_urls.owner))
    await installation.configure()
    await installation.beat()
    await installation.enrol(a_node("n1"))

    async def connected() -> bool:
        return await installation.rows("SELECT 1 FROM node_states WHERE state = 'connected'") == [(1,)]

    async def allocated() -> bool:
        return await installation.rows("SELECT state FROM job_states") == [("allocated",)]

    async with running(database_urls.controller, tmp_path) as task:
        await until(connected)
        started_s = time.monotonic()
        await installation.submit("j1", a_spec(devices=2))
        await until(allocated)
        assert time.monotonic() - started_s < 5  # by the poke: milliseconds; the bound is for a busy machine
        assert not task.done()


async def test_of_two_controllers_one_leads_and_the_other_takes_over(
    database_urls: DatabaseUrls, open_database: OpenDatabase, tmp_path: Path
) -> None:
    installation = Installation(open_database(database_urls.owner))
    await installation.configure()
    await installation.beat()
    await installation.enrol(a_node("n1"))

    async def leads(holder: str) -> bool:
        rows = await installation.rows("SELECT holder FROM leaders WHERE role = 'controller'")
        return rows == [(holder,)]

    async def allocated() -> bool:
        return await installation.rows("SELECT state FROM job_states") == [("allocated",)]

    async with running(database_urls.controller, tmp_path, "second-in-line") as standing_by:
        await until(lambda: leads("second-in-line"))
        async with running(database_urls.controller, tmp_path, "other"):
            await installation.submit("j1", a_spec())
            await until(allocated)
            assert await leads("second-in-line")
        assert not standing_by.done()
    async with running(database_urls.controller, tmp_path, "other"):
        await until(lambda: leads("other"))
    assert await installation.rows("SELECT term FROM leaders WHERE role = 'controller'") == [(2,)]


async def test_a_controller_whose_connections_are_all_cut_loads_again_and_goes_on(
    database_server: DatabaseServer,
    database_urls: DatabaseUrls,
    open_database: OpenDatabase,
    tmp_path: Path,
) -> None:
    installation = Installation(open_database(database_urls.owner))
    await installation.configure()
    await installation.beat()
    await installation.enrol(a_node("n1"))

    async def allocated(number: int) -> bool:
        rows = await installation.rows("SELECT count(*) FROM job_states WHERE state = 'allocated'")
        return rows == [(number,)]

    async with running(database_urls.controller, tmp_path):
        await installation.submit("j1", a_spec())
        await until(lambda: allocated(1))
        for application in ("controller%", "leadership-%"):
            database_server.kill_connections(database_urls.name, application)
        await installation.submit("j2", a_spec())
        await until(lambda: allocated(2))
    assert await installation.rows("SELECT count(DISTINCT allocation_id) FROM allocations") == [(2,)]


async def test_plans_for_a_large_fleet_wait_for_machine_code_and_nothing_else_does(
    database_urls: DatabaseUrls, open_database: OpenDatabase, tmp_path: Path
) -> None:
    installation = Installation(open_database(database_urls.owner))
    await installation.configure()
    for number in range(100):
        await installation.enrol(a_node(f"n{number}"), connect=False)
    await installation.submit("j1", a_spec(devices=2))

    async def taken() -> bool:
        return await installation.rows("SELECT state FROM job_states") == [("queued",)]

    async def planned() -> bool:
        return bool(await installation.rows("SELECT 1 FROM reports"))

    machine_code._made.clear()  # as in a process that has just begun
    with ExitStack() as held:
        held.enter_context(machine_code._making)
        async with running(database_urls.controller, tmp_path) as task:
            await until(taken, 60)
            assert not await planned()
            held.close()
            await until(planned, 120)
            assert machine_code.compiled()
            assert not task.done()
