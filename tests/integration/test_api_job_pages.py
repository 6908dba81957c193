"""Jobs as they are answered: what is remembered is never older than what is stored."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from scheduler.api.schemas.jobs import JobOut
from scheduler.services import job_pages
from scheduler.storage.tables import JobStateRow
from tests.builders.api import ApiInstallation, InhabitedUrls, running_api


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def test_every_answer_shows_what_was_committed_before_it_was_asked_for(
    installation: ApiInstallation,
) -> None:
    job_id = await installation.submit("lin")
    lin = installation.as_("lin")

    async def seen() -> list[tuple[str, int | None]]:
        one = (await lin.get(f"/v1/jobs/{job_id}")).json()
        (listed,) = (await lin.get("/v1/jobs")).json()["jobs"]
        assert one == listed
        assert one.keys() == JobOut.model_fields.keys()
        return [(one["state"], one["exit_code"])]

    assert await seen() == await seen() == [("queued", None)]
    await installation.set_state(job_id, state="running")
    assert await seen() == await seen() == [("running", None)]
    # Nothing but the row itself says that it changed: no version, no time.
    await installation.as_controller(
        update(JobStateRow).filter_by(job_id=job_id).values(state="failed", exit_code=3)
    )
    assert await seen() == await seen() == [("failed", 3)]


async def test_a_revision_shows_in_the_next_answer(installation: ApiInstallation) -> None:
    job_id = await installation.submit("lin")
    lin = installation.as_("lin")
    before = await lin.get(f"/v1/jobs/{job_id}")
    changed = await lin.patch(f"/v1/jobs/{job_id}", json={"labels": {"night": "yes"}})
    assert changed.status_code == 200, changed.text
    after = await lin.get(f"/v1/jobs/{job_id}")
    assert after.json()["spec"]["labels"] == {"night": "yes"}
    assert after.headers["ETag"] != before.headers["ETag"]


async def test_what_is_remembered_for_the_firm_is_not_shown_to_others(installation: ApiInstallation) -> None:
    job_id = await installation.submit("lin", environment={"TOKEN": "of-lanjing"})
    for _ in range(2):
        for person, expected in (("lin", "of-lanjing"), ("ops", "(hidden)")):
            job = (await installation.as_(person).get(f"/v1/jobs/{job_id}")).json()
            assert job["spec"]["variants"][0]["environment"] == {"TOKEN": expected}
        assert (await installation.as_("zhao").get(f"/v1/jobs/{job_id}")).status_code == 404
        assert (await installation.as_("zhao").get("/v1/jobs")).json()["jobs"] == []


@pytest_asyncio.fixture
async def two_firms(installation: ApiInstallation) -> ApiInstallation:
    """A second firm, whose queue has the first one's name."""
    beiming = {
        "name": "beiming",
        "title": "Beiming Robotics Co., Ltd.",
        "projects": ["default"],
        "queues": [{"name": "default", "pools": ["haidian"]}],
    }
    await installation.as_("ops").post("/v1/apply", json={"firms": [beiming]})
    return installation


async def test_an_operator_names_a_queue_with_its_firm(two_firms: ApiInstallation) -> None:
    lin, ops = two_firms.as_("lin"), two_firms.as_("ops")
    ours, theirs = await two_firms.submit("lin", name="ours"), await two_firms.submit("zhao", name="theirs")
    both = "/v1/queues/default/waiting", "/v1/jobs?queue=default"
    lanjing = "/v1/queues/lanjing/default/waiting", "/v1/queues/lanjing%2Fdefault/waiting"
    for asked, expected in ((lanjing, {ours}), (("/v1/queues/beiming/default/waiting",), {theirs})):
        for path in asked:
            assert {one["job_id"] for one in (await ops.get(path)).json()["waiting"]} == expected, path
    assert [job["name"] for job in (await ops.get("/v1/jobs?queue=lanjing/default")).json()["jobs"]] == [
        "ours"
    ]
    waiting, jobs = [(await ops.get(path)).json() for path in both]
    assert {(one["firm"], one["name"]) for one in waiting["waiting"]} == {
        ("lanjing", "ours"),
        ("beiming", "theirs"),
    }
    assert {job["name"] for job in jobs["jobs"]} == {"ours", "theirs"}
    assert [one["job_id"] for one in (await lin.get(lanjing[0])).json()["waiting"]] == [ours]


@pytest.mark.parametrize(
    ("person", "typed", "known"),
    [
        ("ops", "beiming/nope", "beiming/default, lanjing/default"),
        ("ops", "nope", "beiming/default, lanjing/default"),
        ("lin", "beiming/default", "default"),
        ("lin", "nope", "default"),
        ("lin", "/default", "default"),
    ],
)
async def test_a_queue_that_is_not_there_is_told_with_those_that_are(
    two_firms: ApiInstallation, person: str, typed: str, known: str
) -> None:
    client = two_firms.as_(person)
    for path, status, field in (
        (f"/v1/queues/{typed}/waiting", 404, "path queue"),
        (f"/v1/jobs?queue={typed}", 422, "query queue"),
    ):
        answer = await client.get(path)
        assert answer.status_code == status
        wrong = {"field": field, "got": typed, "want": f"one of: {known}"}
        assert [{name: item[name] for name in wrong} for item in answer.json()["errors"]] == [wrong]


async def test_an_operator_pages_through_the_jobs_of_all_firms_in_one_order(
    two_firms: ApiInstallation,
) -> None:
    installation = two_firms
    submitted = []
    for number in range(9):
        installation.clock.now_ms += 1_000
        submitted.append(await installation.submit(("lin", "zhao")[number % 2], name=f"job-{number}"))
    ops = installation.as_("ops")
    for sort, expected in (("-submitted", submitted[::-1]), ("submitted", submitted), ("name", submitted)):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await ops.get("/v1/jobs", params={"limit": 2, "sort": sort, **cursor})).json()
            found += [job["job_id"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == expected, sort


async def test_what_is_remembered_is_bounded(installation: ApiInstallation) -> None:
    answers = installation.api.job_answers
    text = b"x" * (job_pages.MOST_REMEMBERED_BYTES // 4)
    for number in range(10):
        answers._remember((str(number), True), (None, 0), text)
    assert len(answers._remembered) == 4
    answers._remember(("9", True), (None, 1), text)
    assert len(answers._remembered) == 4
