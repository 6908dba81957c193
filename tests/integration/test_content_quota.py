"""What a firm keeps: counted before it is stored, so that nothing overshoots and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from scheduler.api.routers.uploads import OBJECTS
from scheduler.domain.errors import NotFound
from scheduler.domain.time import DAY_MS, HOUR_MS
from scheduler.services.content import Quota, reserve_objects
from scheduler.services.content_tidying import tidy_content
from scheduler.services.results import note_result, task_that_leaves_results
from scheduler.services.tasks import TaskOutput
from scheduler.storage.tables import AllocationRow, ContentObjectRow
from suanli.content.manifest import hash_of
from tests.builders.api import ApiInstallation, InhabitedUrls, running_api

QUOTA = Quota(bytes=10_000, objects=5)


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path, content_quota=QUOTA) as running:
        yield running


async def sent(installation: ApiInstallation, *objects: bytes) -> httpx.Response:
    content = b"".join(len(item).to_bytes(4, "big") + item for item in objects)
    headers = {"Content-Type": OBJECTS}
    return await installation.as_("lin").post("/v1/uploads/objects", content=content, headers=headers)


async def kept(installation: ApiInstallation) -> tuple[int, int]:
    listed = (await installation.as_("lin").get("/v1/uploads")).json()
    assert (listed["quota_bytes"], listed["quota_objects"]) == (QUOTA.bytes, QUOTA.objects)
    return listed["kept_bytes"], listed["kept_objects"]


def files(installation: ApiInstallation) -> set[str]:
    return {path.name for path in installation.config.content_folder.rglob("*") if path.is_file()}


async def test_objects_are_counted_as_well_as_bytes(installation: ApiInstallation) -> None:
    assert (await sent(installation, b"a", b"b", b"c")).status_code == 200
    refused = await sent(installation, b"d", b"e", b"f")
    assert (refused.status_code, refused.json()["code"]) == (413, "limit_exceeded")
    assert refused.json()["facts"]["quota_objects"] == QUOTA.objects
    assert await kept(installation) == (3, 3)
    assert len(files(installation)) == 3
    # What is there already takes no room.
    assert (await sent(installation, b"a", b"b", b"c", b"d", b"e")).status_code == 200
    assert (await sent(installation, b"x" * QUOTA.bytes)).status_code == 413


async def test_uploads_at_the_same_time_do_not_fit_into_the_same_room(installation: ApiInstallation) -> None:
    answers = await asyncio.gather(*(sent(installation, bytes([number]) * 4_000) for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [413] * 6
    assert await kept(installation) == (8_000, 2)
    assert len(files(installation)) == 2


async def test_an_upload_that_was_cut_off_is_not_there_and_leaves_nothing_for_long(
    installation: ApiInstallation,
) -> None:
    api, firm_id = installation.api, installation.firms["lanjing"]
    cut = b"cut off between the file and its row"
    async with api.database.transaction() as session:
        await reserve_objects(session, firm_id, {hash_of(cut): len(cut)}, QUOTA, api.now_ms())
    api.content.put(firm_id, cut)  # and here the process was killed
    lin = installation.as_("lin")

    async def missing() -> list[str]:
        answer = await lin.post("/v1/uploads/missing", json={"objects": [hash_of(cut)]})
        return list(answer.json()["missing"])

    assert await missing() == [hash_of(cut)]
    assert await kept(installation) == (len(cut), 1)
    await tidy_content(api.database, api.content, api.now_ms() + HOUR_MS + 1)
    assert await kept(installation) == (0, 0)
    assert files(installation) == set()
    assert (await sent(installation, cut)).status_code == 200
    assert await missing() == []


async def test_an_object_that_is_sent_again_while_it_is_forgotten_stays(
    installation: ApiInstallation,
) -> None:
    api = installation.api
    assert (await sent(installation, b"again")).status_code == 200
    async with api.database.transaction() as session:
        await session.execute(update(ContentObjectRow).values(used_ms=api.now_ms() - 2 * DAY_MS))
    done = asyncio.create_task(tidy_content(api.database, api.content, api.now_ms()))
    for _ in range(10):
        assert (await sent(installation, b"again")).status_code == 200
    await done
    assert (await kept(installation))[1] == len(files(installation)) == 1


async def test_results_come_once_and_not_long_after_the_task_ended(installation: ApiInstallation) -> None:
    job_id = await installation.submit()
    await installation.set_state(job_id)
    node_id, devices = await installation.add_node("node-2")
    allocation_id = await installation.add_attempt(job_id, node_id, devices)
    other_node, _ = await installation.add_node("node-3")
    now_ms = installation.api.now_ms()

    async def task(by: str, at_ms: int) -> tuple[TaskOutput, bool]:
        async with installation.gateway.read() as session:
            return await task_that_leaves_results(session, by, allocation_id, at_ms)

    output, delivered = await task(node_id, now_ms)
    assert (output.job_id, output.rank, delivered) == (job_id, 0, False)
    with pytest.raises(NotFound):
        await task(other_node, now_ms)
    await installation.as_controller(
        update(AllocationRow).filter_by(allocation_id=allocation_id).values(ended_ms=now_ms, live=False)
    )
    await task(node_id, now_ms + 6 * DAY_MS)
    with pytest.raises(NotFound, match="too long ago"):
        await task(node_id, now_ms + 8 * DAY_MS)
    async with installation.gateway.transaction() as session:
        await note_result(
            session,
            output,
            digest=None,
            size=0,
            files=0,
            problem="it left nothing",
            now_ms=now_ms,
            keep_ms=DAY_MS,
        )
    assert (await task(node_id, now_ms))[1]
