"""What a caller with a good key may send to do harm: each is answered as a mistake, and costs little."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scheduler.api.routers.uploads import MOST_OBJECTS, OBJECTS
from tests.builders.api import MODEL, ApiInstallation, InhabitedUrls, job_spec, running_api


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
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


MANY = 40_000
HUGE: dict[str, tuple[dict[str, Any], str]] = {
    "labels": ({"labels": {f"l{number}": "x" for number in range(MANY)}}, "labels"),
    "variables": ({"environment": {f"V{number}": "x" for number in range(MANY)}}, "environment"),
    "dependencies": ({"dependencies": {"after_ok": [f"job-{number}" for number in range(MANY)]}}, "dependencies"),
    "arguments": ({"command": ["x"] * 200_000}, "command"),
    "variants": ({"model": None, "command": None, "variants": [{"model": MODEL, "command": "x"}] * 15_000}, "variants"),
    "ports": ({"ports": list(range(1, MANY))}, "ports"),
    "array": ({"array": {"count": 10**9}}, "array.count"),
    "devices": ({"gang": {"devices": 10**18}}, "gang"),
    "name": ({"name": "n" * 500_000}, "name"),
    "a key": ({"k" * 500_000: 1}, "k"),
    "keys": ({f"k{number}": 1 for number in range(MANY)}, "k"),
    "priority": ({"priority": ["high"] * MANY}, "priority"),
}  # fmt: skip


@pytest.mark.parametrize("what", HUGE)
async def test_a_spec_with_far_too_much_of_something_is_refused_in_few_words_by_its_field(
    installation: ApiInstallation, what: str
) -> None:
    changes, field = HUGE[what]
    spec = {key: value for key, value in job_spec(**changes).items() if value is not None}
    lin = installation.as_("lin")
    for path, body in (("/v1/jobs", spec), ("/v1/jobs/validate", spec), ("/v1/jobs/batch", {"jobs": [spec]})):
        answer = await lin.post(path, json=body)
        assert answer.status_code in {413, 422}, (path, answer.text[:500])
        assert len(answer.content) < 80_000, (path, len(answer.content))
        problem = answer.json()
        named = [error["field"] for error in problem.get("errors", ())] or [problem["detail"]]
        assert any(field in name for name in named), (path, named[:3])
    assert (await lin.post("/v1/jobs", json=job_spec())).status_code == 201


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"name": "tune", "gang": {"devices": ' + b"9" * 100_000 + b"}}", {}),
        (b'{"name": "tune", "gang": {"devices": 1e999999}}', {}),
        (b'{"name": ' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"}", {}),
        (gzip.compress(b" " * (64 << 20)), {"Content-Encoding": "gzip"}),
    ],
    ids=["digits", "exponent", "depth", "zip bomb"],
)
async def test_a_body_that_would_grow_when_it_is_read_is_refused(
    installation: ApiInstallation, body: bytes, headers: dict[str, str]
) -> None:
    lin = installation.as_("lin")
    answer = await lin.post("/v1/jobs", content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code in {400, 413, 415, 422}, answer.text[:500]
    assert len(answer.content) < 20_000
    assert (await lin.post("/v1/jobs", json=job_spec())).status_code == 201
