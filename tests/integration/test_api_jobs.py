"""Jobs over HTTP against a real database."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from scheduler.api.idempotency import KEPT_MS, forget_old
from scheduler.storage.engine import Database
from scheduler.storage.tables import InboxRow, JobRow, NodeStateRow, PoolRow
from tests.builders.api import MODEL, NOW_MS, ApiInstallation, InhabitedUrls, job_spec, running_api


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def inbox(installation: ApiInstallation) -> list[tuple[str, dict[str, Any]]]:
    async with installation.controller.read() as session:
        return [(row.kind, row.body) for row in await session.scalars(select(InboxRow))]


async def jobs_stored(installation: ApiInstallation) -> list[str]:
    async with installation.controller.read() as session:
        return list(await session.scalars(select(JobRow.job_id)))


async def test_a_submitted_job_is_durable_queued_and_told_to_the_controller(
    installation: ApiInstallation,
) -> None:
    answer = await installation.as_("lin").post("/v1/jobs", json=job_spec(labels={"paper": "icml"}))

    assert answer.status_code == 201
    job = answer.json()
    assert job["state"] == "queued"
    assert (job["name"], job["firm"], job["submitted_by"], job["devices"]) == ("tune", "lanjing", "lin", 1)
    assert job["submitted_at"] == "2027-01-15T08:00:00.000Z"
    assert answer.headers["location"] == f"/v1/jobs/{job['job_id']}"
    submitted = ("JobSubmitted", {"firm_id": installation.firms["lanjing"], "job_id": job["job_id"]})
    assert submitted in await inbox(installation)
    again = await installation.as_("lin").get(answer.headers["location"])
    assert again.json() == job
    (variant,) = job["spec"]["variants"]
    assert variant["model"] == MODEL
    assert variant["command"] == ["/bin/sh", "-c", "python train.py"]
    assert (variant["environment"], variant["image"]) == ({}, None)


async def test_a_repeated_idempotency_key_submits_once_and_another_body_is_refused(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    headers = {"Idempotency-Key": "one"}
    first = await lin.post("/v1/jobs", json=job_spec(), headers=headers)
    second = await lin.post("/v1/jobs", json=job_spec(), headers=headers)
    other_body = await lin.post("/v1/jobs", json=job_spec(name="other"), headers=headers)
    other_person = await installation.as_("zhao").post("/v1/jobs", json=job_spec(), headers=headers)

    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert other_body.status_code == 409
    assert other_body.json()["code"] == "idempotency_conflict"
    assert other_person.status_code == 201
    assert len(await jobs_stored(installation)) == 2


async def test_two_requests_with_one_key_at_the_same_time_submit_once(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    answers = await asyncio.gather(
        *(lin.post("/v1/jobs", json=job_spec(), headers={"Idempotency-Key": "k"}) for _ in range(6))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(await jobs_stored(installation)) == 1


BAD_SPECS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "name", "nothing"),
    ({"name": "Not A Name"}, "name", "'Not A Name'"),
    ({"modle": MODEL}, "modle", "an unknown field"),
    ({"gang": {"devices": 0}}, "gang.devices", "0"),
    ({"gang": {"devices": True}}, "gang.devices", "True"),
    ({"gang": {"devices": 6, "devices_per_node": 4}}, "gang.devices_per_node", "4"),
    ({"gang": {"devises": 6}}, "gang.devises", "an unknown field"),
    ({"command": []}, "command", "[]"),
    ({"command": "x" * 200_000}, "command", "'200009 bytes'"),
    ({"environment": {"A": 1}}, "environment.A", "'int'"),
    ({"time_limit_seconds": 0}, "time_limit_seconds", "0"),
    ({"working_directory": "relative"}, "working_directory", "'relative'"),
    ({"retry": {"max_attempts": 1_001}}, "retry.max_attempts", "1001"),
    ({"kind": "mine"}, "kind", "'mine'"),
    ({"project": "nowhere"}, "project", "nowhere"),
    ({"queue": "nowhere"}, "queue", "nowhere"),
    ({"model": "ascend-910b9"}, "variants[0].model", "ascend-910b9"),
]


@pytest.mark.parametrize(("changes", "field", "got"), BAD_SPECS, ids=lambda value: str(value)[:30])
async def test_a_bad_spec_names_the_field_what_came_and_what_is_wanted(
    installation: ApiInstallation, changes: dict[str, Any], field: str, got: str
) -> None:
    answer = await installation.as_("lin").post("/v1/jobs", json=job_spec(**changes))

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid"
    errors = {error["field"]: error for error in problem["errors"]}
    assert errors[field]["got"] == got
    assert errors[field]["want"]
    assert await jobs_stored(installation) == []


async def test_what_the_pools_of_the_queue_cannot_do_yet_is_refused_and_never_ignored(
    installation: ApiInstallation, open_database: Callable[[str], Database]
) -> None:
    async with open_database(installation.urls.owner).transaction() as session:
        await session.execute(update(PoolRow).values(backend="another"))
    answer = await installation.as_("lin").post("/v1/jobs", json=job_spec(topology={"required": "leaf"}))
    assert answer.status_code == 422
    assert answer.json()["code"] == "not_supported"
    errors = {error["field"]: error["want"] for error in answer.json()["errors"]}
    assert set(errors) == {"topology.required"}
    assert errors["topology.required"].endswith("topology requests are not yet supported by pool haidian")
    assert await jobs_stored(installation) == []


async def test_an_image_wants_a_node_that_runs_some_and_a_secret_that_is_there(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    answer = await lin.post("/v1/jobs", json=job_spec(image="registry.example/train:1"))
    assert answer.status_code == 422
    assert "no node of the queue's pools (haidian) with ascend-910b3 runs container images" in answer.text
    answer = await lin.post(
        "/v1/jobs", json=job_spec(image="registry.example/train:1", image_credentials="reg")
    )
    (error,) = answer.json()["errors"]
    assert error["field"] == "variants[0].image_credentials"
    assert "suanli secret set reg" in error["want"]
    assert await jobs_stored(installation) == []


async def test_a_device_class_stands_for_every_model_that_fits(installation: ApiInstallation) -> None:
    spec = {
        "name": "any-ascend",
        "command": "true",
        "device_class": {"vendor": "ascend", "memory_bytes_at_least": "64GiB"},
    }
    job = (await installation.as_("lin").post("/v1/jobs", json=spec)).json()
    models = [variant["model"] for variant in job["spec"]["variants"]]
    assert MODEL in models
    assert all(model.startswith("ascend") for model in models)
    nothing = {**spec, "device_class": {"vendor": "ascend", "fp16_tflops_at_least": 900_000}}
    answer = await installation.as_("lin").post("/v1/jobs", json=nothing)
    assert [error["field"] for error in answer.json()["errors"]] == ["variants[0].device_class"]


async def test_unknown_names_are_answered_with_those_that_exist(installation: ApiInstallation) -> None:
    spec = job_spec(project="visoin", model="ascend-910b")
    answer = await installation.as_("lin").post("/v1/jobs", json=spec)
    wants = {error["field"]: error["want"] for error in answer.json()["errors"]}
    assert wants["project"] == "one of: default, vision"
    assert "perhaps ascend-910b" in wants["variants[0].model"]
    listed = await installation.as_("lin").get("/v1/jobs?project=visoin&submitted_by=nobody")
    wants = {error["field"]: error["want"] for error in listed.json()["errors"]}
    assert wants == {"query project": "one of: default, vision", "query submitted_by": "a person or token"}


async def test_an_unknown_person_is_compared_with_no_more_than_may_be_meant(
    installation: ApiInstallation,
) -> None:
    ops, lin = installation.as_("ops"), installation.as_("lin")
    long = "ab" * 49
    for name in (*(f"lin-{n}" for n in range(60)), f"{long}c"):
        body = {"name": name, "role": "researcher", "firm": "lanjing"}
        assert (await ops.post("/v1/principals", json=body)).status_code == 201

    async def want(name: str) -> str:
        answer = await lin.get("/v1/jobs", params={"submitted_by": name})
        return "" if answer.status_code == 200 else str(answer.json()["errors"][0]["want"])

    assert await want("lin-59") == ""
    assert await want(f"{long}c") == ""
    assert await want("wamg") == "a person or token, perhaps wang"
    assert await want(long) == "a person or token"


async def test_a_secret_in_a_wrong_environment_is_not_repeated(installation: ApiInstallation) -> None:
    spec = job_spec(environment={"HF_TOKEN": ["hf_secret"]})
    answer = await installation.as_("lin").post("/v1/jobs", json=spec)
    assert answer.status_code == 422
    assert "hf_secret" not in answer.text


async def test_a_gang_that_never_fits_is_refused_with_the_nearest_possible_one(
    installation: ApiInstallation,
) -> None:
    spec = job_spec(gang={"devices": 32, "devices_per_node": 8})
    answer = await installation.as_("lin").post("/v1/jobs", json=spec)

    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "impossible"
    assert "the nearest possible gang is 8 ascend-910b3 as 1 x 8" in problem["detail"]
    assert problem["facts"]["nearest"] == {"model": MODEL, "devices": 8, "devices_per_node": 8}
    assert problem["errors"] == [
        {"field": "gang.devices", "got": "32", "want": "8, as in the nearest possible gang"}
    ]
    assert await jobs_stored(installation) == []


async def test_a_model_that_no_pool_has_is_refused_with_those_it_has(installation: ApiInstallation) -> None:
    answer = await installation.as_("lin").post("/v1/jobs", json=job_spec(model="mlu-370-x8"))
    other = await installation.as_("lin").post("/v1/jobs", json=job_spec(model="ascend-910b1"))
    assert {answer.status_code, other.status_code} == {422}
    assert "the queue's pools have: ascend-910b3" in other.json()["detail"]


async def test_nodes_that_join_later_make_a_gang_possible(installation: ApiInstallation) -> None:
    gang = {"devices": 16, "devices_per_node": 8}
    refused = await installation.as_("lin").post("/v1/jobs", json=job_spec(gang=gang))
    await installation.add_node("node-2")
    taken = await installation.as_("lin").post("/v1/jobs", json=job_spec(gang=gang))
    assert (refused.status_code, taken.status_code) == (422, 201)


async def test_pages_are_complete_and_stable_while_new_jobs_come(installation: ApiInstallation) -> None:
    ids = []
    for number in range(5):
        installation.clock.now_ms += 1
        ids.append(await installation.submit(name=f"job-{number}"))
    lin = installation.as_("lin")
    seen, cursor = [], None
    while True:
        query: dict[str, Any] = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await lin.get("/v1/jobs", params=query)).json()
        seen += [job["job_id"] for job in page["jobs"]]
        installation.clock.now_ms += 1
        await installation.submit(name="newer")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


async def test_jobs_are_found_by_state_project_and_name(installation: ApiInstallation) -> None:
    waiting = await installation.submit(name="waits", project="vision")
    running = await installation.submit(name="runs")
    ended = await installation.submit(name="ended")
    await installation.set_state(running, state="running")
    await installation.set_state(ended, state="failed", exit_code=1)
    lin = installation.as_("lin")

    async def found(query: str) -> set[str]:
        answer = await lin.get(f"/v1/jobs?{query}")
        return {job["job_id"] for job in answer.json()["jobs"]}

    assert await found("state=queued") == {waiting}
    assert await found("state=running,failed") == {running, ended}
    assert await found("state=live") == {waiting, running}
    assert await found("state=ended") == {ended}
    assert await found("project=vision") == {waiting}
    assert await found("name=runs") == {running}


@pytest.mark.parametrize(
    "query",
    [
        "state=nonsense",
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=bm8",
        "cursor=W251bGwsMV0",
        "cursor=%ff",
        "cursor=WzEsIlx1ZDgwMCJd",
    ],
)
async def test_a_bad_query_is_refused_by_name(installation: ApiInstallation, query: str) -> None:
    answer = await installation.as_("lin").get(f"/v1/jobs?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith(f"query {query.split('=', maxsplit=1)[0]}")


async def test_progress_is_shown_from_the_step_report(installation: ApiInstallation) -> None:
    job_id = await installation.submit()
    report = {"step": 7, "of": 100, "loss_micros": 1_250_000, "tokens": 4096, "at_ms": 1_800_000_000_000}
    await installation.set_state(job_id, step_report=report)
    job = (await installation.as_("lin").get(f"/v1/jobs/{job_id}")).json()
    assert job["step_report"] == {
        "step": 7, "of": 100, "loss": 1.25, "tokens": 4096, "model_checkpoint": None,
        "at": "2027-01-15T08:00:00.000Z",
    }  # fmt: skip


async def test_cancelling_asks_the_controller_and_is_refused_after_the_end(
    installation: ApiInstallation,
) -> None:
    running, ended, cancelled = [await installation.submit(name=f"job-{n}") for n in range(3)]
    await installation.set_state(ended, state="succeeded")
    await installation.set_state(cancelled, state="cancelled")
    lin = installation.as_("lin")

    assert (await lin.post(f"/v1/jobs/{running}/cancel")).status_code == 202
    asked = {"firm_id": installation.firms["lanjing"], "job_id": running, "by": "lin"}
    assert ("CancelRequested", asked) in await inbox(installation)
    refused = await lin.post(f"/v1/jobs/{ended}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await lin.post(f"/v1/jobs/{cancelled}/cancel")).status_code == 202


async def test_operators_see_jobs_without_the_secrets_in_their_environments(
    installation: ApiInstallation,
) -> None:
    job_id = await installation.submit(environment={"HF_TOKEN": "hf_secret"})
    own = await installation.as_("lin").get(f"/v1/jobs/{job_id}")
    operators = await installation.as_("ops").get(f"/v1/jobs/{job_id}")
    listed = await installation.as_("ops").get("/v1/jobs")
    assert own.json()["spec"]["variants"][0]["environment"] == {"HF_TOKEN": "hf_secret"}
    assert operators.json()["spec"]["variants"][0]["environment"] == {"HF_TOKEN": "(hidden)"}
    assert "hf_secret" not in listed.text


async def test_explain_says_that_the_deadline_comes_before_the_start(installation: ApiInstallation) -> None:
    deadline = "2027-01-15T08:30:00.000Z"
    starts = {"late": 3_600_000, "in time": 0}
    for name, expected_ms in starts.items():
        job_id = await installation.submit(name=name.replace(" ", "-"), deadline=deadline)
        await installation.set_state(job_id, state="queued", attempt=0)
        await installation.add_report(
            job_id, position=1, reasons=[], starts_from_ms=NOW_MS,
            starts_expected_ms=NOW_MS + expected_ms, starts_until_ms=NOW_MS + 7_200_000,
        )  # fmt: skip
        account = (await installation.as_("lin").get(f"/v1/jobs/{job_id}/explain")).json()["account"]
        said = (
            f"Its deadline, {deadline}, comes before it most likely starts, about 2027-01-15T09:00:00.000Z."
        )
        assert account == ([said] if name == "late" else []), name


async def test_an_estimate_above_the_time_limit_is_accepted_with_a_warning(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    odd = {"estimate_seconds": 7200, "time_limit_seconds": 3600}
    warning = {
        "field": "estimate_seconds", "got": "7200", "want": "at most 3600, its time limit, at which it is stopped",
    }  # fmt: skip
    submitted = (await lin.post("/v1/jobs", json=job_spec(**odd))).json()
    assert submitted["warnings"] == [warning]
    assert (await lin.get(f"/v1/jobs/{submitted['job_id']}")).json()["warnings"] == [warning]
    batch = {"jobs": [job_spec(name="even"), job_spec(name="odd", **odd)]}
    outcomes = (await lin.post("/v1/jobs/batch", json=batch)).json()["outcomes"]
    assert [one["warnings"] for one in outcomes] == [[], [{**warning, "field": "jobs[1].estimate_seconds"}]]
    changed = await lin.patch(f"/v1/jobs/{submitted['job_id']}", json={"time_limit_seconds": 7200})
    assert changed.json()["warnings"] == []


async def test_explain_tells_reasons_of_waiting_jobs_and_the_placement_of_running_ones(
    installation: ApiInstallation,
) -> None:
    new, waiting, running = [await installation.submit(name=f"job-{n}") for n in range(3)]
    reason = {
        "reason": "devices_busy", "domain": "haidian", "device_model": MODEL, "asked": 1, "available": 0,
        "sentence": "all 8 are held",
    }  # fmt: skip
    await installation.set_state(waiting, state="queued", attempt=0)
    await installation.add_report(
        waiting, position=3, reasons=[reason], counterfactual="one device more", starts_from_ms=NOW_MS,
        starts_expected_ms=NOW_MS + 90_000, starts_until_ms=NOW_MS + 3_600_500,
    )  # fmt: skip
    await installation.set_state(running)
    node_id, devices = await installation.add_node("node-2")
    await installation.add_attempt(running, node_id, devices[:2])
    lin = installation.as_("lin")

    first = (await lin.get(f"/v1/jobs/{new}/explain")).json()
    assert first["reasons"][0]["reason"] == "not_planned_yet"
    second = (await lin.get(f"/v1/jobs/{waiting}/explain")).json()
    assert second["sentence"] == "The job waits at position 3 of queue default: all 8 are held"
    assert (second["position"], second["reasons"], second["counterfactual"]) == (
        3,
        [reason],
        "one device more",
    )
    assert second["starts"] == {
        "earliest": "2027-01-15T08:00:00.000Z",
        "expected": "2027-01-15T08:01:30.000Z",
        "latest": "2027-01-15T09:00:00.500Z",
    }
    assert first["starts"] is None
    installation.clock.now_ms += 120_000  # and it still waits: it starts not before now
    later = (await lin.get(f"/v1/jobs/{waiting}/explain")).json()
    assert later["starts"] == {
        "earliest": "2027-01-15T08:02:00.000Z",
        "expected": "2027-01-15T08:31:00.250Z",
        "latest": "2027-01-15T09:00:00.500Z",
    }
    installation.clock.now_ms += 3_600_000
    assert (await lin.get(f"/v1/jobs/{waiting}/explain")).json()["starts"] is None, "it has passed"
    third = (await lin.get(f"/v1/jobs/{running}/explain")).json()
    assert third["sentence"] == "Attempt 1 runs on ascend-910b3."
    assert third["placement"] == {"sentence": "it fits"}
    silent = {"state": "silent", "silent_since_ms": NOW_MS}
    await installation.as_controller(
        update(NodeStateRow).where(NodeStateRow.node_id == node_id).values(silent)
    )
    fourth = (await lin.get(f"/v1/jobs/{running}/explain")).json()
    assert fourth["account"][0].startswith("Node node-2 has been silent since 2027-01-15T08:00:00.000Z: ")
    assert fourth["account"][1:] == third["account"]


async def test_attempts_show_tasks_with_node_and_devices(installation: ApiInstallation) -> None:
    job_id = await installation.submit()
    node_id, devices = await installation.add_node("node-2")
    job = (await installation.as_("lin").get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["simulated"]) == ("queued", None)
    await installation.set_state(job_id)
    await installation.add_attempt(job_id, node_id, devices[2:4])
    assert (await installation.as_("lin").get(f"/v1/jobs/{job_id}")).json()["simulated"] is True
    answer = (await installation.as_("lin").get(f"/v1/jobs/{job_id}/attempts")).json()
    (attempt,) = answer["attempts"]
    assert (attempt["attempt"], attempt["state"], attempt["device_model"]) == (1, "running", MODEL)
    (task,) = attempt["tasks"]
    assert (task["node"], task["devices"], task["phase"]) == ("node-2", [2, 3], "running")


@pytest.mark.parametrize(
    "path", ["/v1/jobs?name=%00", "/v1/jobs/%00", "/v1/jobs/a%00b/logs", "/v1/jobs?cursor=%00"]
)
async def test_a_nul_character_in_the_address_is_refused(installation: ApiInstallation, path: str) -> None:
    answer = await installation.as_("lin").get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_stored_answers_are_forgotten_after_a_week(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    headers = {"Idempotency-Key": "old"}
    first = await lin.post("/v1/jobs", json=job_spec(), headers=headers)
    now_ms = time.time_ns() // 1_000_000  # rows carry the database's own time
    async with installation.api.database.transaction() as session:
        await forget_old(session, now_ms + KEPT_MS - 60_000)
    kept = await lin.post("/v1/jobs", json=job_spec(), headers=headers)
    async with installation.api.database.transaction() as session:
        await forget_old(session, now_ms + KEPT_MS + 60_000)
    forgotten = await lin.post("/v1/jobs", json=job_spec(), headers=headers)
    assert kept.json()["job_id"] == first.json()["job_id"] != forgotten.json()["job_id"]
