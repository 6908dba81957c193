"""What a caller with a good key may send to do harm: each is answered as a mistake, and costs little."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scheduler.api.routers.uploads import MOST_OBJECTS, OBJECTS
from tests.builders.api import ApiInstallation, running_api
from tests.builders.database import DatabaseUrls


@pytest_asyncio.fixture
async def installation(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(database_urls, tmp_path) as running:
        yield running


def framed(objects: list[bytes]) -> bytes:
    """The body of an upload."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in objects)


async def sent(installation: ApiInstallation, objects: list[bytes]) -> Any:
    """The answer to an upload of these objects."""
    return await installation.as_("lin").post(
        "/v1/uploads/objects", content=framed(objects), headers={"Content-Type": OBJECTS}
    )


async def test_a_body_of_very_many_objects_is_refused_before_any_is_kept(
    installation: ApiInstallation,
) -> None:
    # More than a statement of PostgreSQL has room for: what is kept then is kept, and counted nowhere.
    many = [number.to_bytes(3, "big") for number in range(17_000)]
    answer = await sent(installation, many)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "body"
    assert not (installation.config.content_folder / installation.firms["lanjing"]).exists()


async def test_the_most_objects_that_a_body_may_hold_are_kept_and_counted(
    installation: ApiInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The disk's promise of each file is another test's matter, and takes minutes here.
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    bodies = [number.to_bytes(3, "big") for number in range(MOST_OBJECTS)]
    answer = await sent(installation, bodies)
    assert answer.status_code == 200, answer.text
    listed = (await installation.as_("lin").get("/v1/uploads")).json()
    assert listed["kept_bytes"] == 3 * MOST_OBJECTS


@pytest.mark.parametrize("door", ["attach", "forward"])
async def test_no_number_and_no_name_in_a_handshake_reaches_the_database_unread(
    installation: ApiInstallation, door: str
) -> None:
    job_id = await installation.submit(ports=[{"name": "web", "port": 8888}])
    await installation.set_state(job_id, state="running")
    path = f"/v1/jobs/{job_id}/{door}"
    assert (await installation.handshake("lin", "/v1/jobs/a\0b/" + door, b"port=8888")).status_code == 400
    assert (await installation.handshake("lin", path, b"port=%00")).status_code == 400
    for rank in (b"000000001" + b"0" * 30, b"000000001" + b"0" * 5_000, b"-1", b"1" * 5_000):
        assert (await installation.handshake("lin", path, b"port=8888&rank=" + rank)).status_code == 422, (
            rank[:20]
        )


@pytest.mark.parametrize("door", ["attach", "forward"])
async def test_into_a_job_goes_its_own_firm_alone_and_not_with_a_key_for_reading(
    installation: ApiInstallation, door: str
) -> None:
    job_id = await installation.submit(ports=[{"name": "web", "port": 8888}])
    await installation.set_state(job_id, state="running")
    path = f"/v1/jobs/{job_id}/{door}"
    made = (await installation.as_("lin").post("/v1/api-keys", json={"scope": "read"})).json()
    reading = {**installation.keys, "reader": made["api_key"]}
    assert (
        await installation.handshake("lin", path, b"port=8888")
    ).status_code == 409  # it is not on any node
    assert (await installation.handshake("zhao", path, b"port=8888")).status_code == 404
    assert (await installation.handshake("ops", path, b"port=8888")).status_code == 403
    installation.keys = reading
    assert (await installation.handshake("reader", path, b"port=8888")).status_code == 403
