"""Many jobs at once, arrays, dependencies, and changes of jobs, over HTTP."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, func, select
from sqlalchemy.engine import Engine

from scheduler.domain.time import to_rfc3339
from scheduler.storage.tables import InboxRow, JobRow
from tests.builders.api import MODEL, NOW_MS, ApiInstallation, InhabitedUrls, job_spec, running_api


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def stored(installation: ApiInstallation) -> int:
    async with installation.controller.read() as session:
        return await session.scalar(select(func.count()).select_from(JobRow)) or 0


async def told(installation: ApiInstallation, kind: str) -> list[dict[str, Any]]:
    async with installation.controller.read() as session:
        rows = await session.scalars(
            select(InboxRow.body).where(InboxRow.kind == kind).order_by(InboxRow.inbox_id)
        )
        return list(rows)


def after_ok(name: str, *references: str, **more: Any) -> dict[str, Any]:
    return job_spec(name=name, dependencies={"after_ok": list(references)}, **more)


async def test_a_part_of_a_device_is_kept_in_both_measures_in_a_batch_too(
    installation: ApiInstallation,
) -> None:
    lin, spec = installation.as_("lin"), job_spec(share={"memory_bytes": 16 << 30})
    alone = (await lin.post("/v1/jobs", json=spec)).json()["spec"]["share"]
    assert (await lin.post("/v1/jobs/batch", json={"jobs": [spec, spec]})).status_code == 201
    shares = [job["spec"]["share"] for job in (await lin.get("/v1/jobs")).json()["jobs"]]
    assert alone["ppm"] is not None
    assert shares == [alone] * 3


async def test_a_batch_is_stored_whole_with_its_dependencies_resolved(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    jobs = [after_ok("merge", "shard"), job_spec(name="shard", array={"count": 3, "concurrency": 2})]
    answer = await lin.post("/v1/jobs/batch", json={"jobs": jobs})
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["submitted"], said["refused"]) == (4, 0)
    merge, shards = said["outcomes"]
    assert (shards["jobs"], merge["array_id"]) == (3, None)
    merged = (await lin.get(f"/v1/jobs/{merge['job_id']}")).json()
    assert merged["spec"]["dependencies"]["after_ok"] == [shards["array_id"]]
    members = (await lin.get("/v1/jobs", params={"array": shards["array_id"], "sort": "submitted"})).json()
    assert sorted(job["array_index"] for job in members["jobs"]) == [0, 1, 2]
    ids = [body["job_id"] for body in await told(installation, "JobSubmitted")]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
async def test_many_jobs_fit_into_one_call_and_a_repetition_submits_none(
    installation: ApiInstallation, count: int
) -> None:
    lin = installation.as_("lin")
    body = {"jobs": [job_spec(name=f"j{number}") for number in range(count)]}
    for replayed in (None, "true"):
        answer = await lin.post("/v1/jobs/batch", json=body, headers={"Idempotency-Key": "b1"}, timeout=120)
        assert answer.status_code == 201, answer.text
        assert answer.headers.get("idempotent-replayed") == replayed
        assert answer.json()["submitted"] == count
    assert await stored(installation) == count
    too_many = {"jobs": [job_spec(array={"count": 10_000}), job_spec()]}
    assert (await lin.post("/v1/jobs/batch", json=too_many)).status_code == 413


async def test_of_an_atomic_batch_with_one_bad_job_nothing_is_stored(installation: ApiInstallation) -> None:
    jobs = [job_spec(), job_spec(gang={"devices": 0}), after_ok("a", "nowhere"), job_spec(project="nope")]
    answer = await installation.as_("lin").post("/v1/jobs/batch", json={"jobs": jobs})
    assert answer.status_code == 422
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"jobs[1].gang.devices", "jobs[2].dependencies.after_ok[0]", "jobs[3].project"}
    assert await stored(installation) == 0


async def test_without_atomic_each_job_has_its_own_outcome(installation: ApiInstallation) -> None:
    jobs = [
        job_spec(name="good"),
        after_ok("loop", "loop"),
        after_ok("behind", "loop"),
        job_spec(gang={"devices": 64, "devices_per_node": 8}),
        after_ok("follows", "good"),
    ]
    answer = await installation.as_("lin").post("/v1/jobs/batch", json={"jobs": jobs, "atomic": False})
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["submitted"], said["refused"]) == (2, 3)
    codes = [outcome["refused"] and outcome["refused"]["code"] for outcome in said["outcomes"]]
    assert codes == [None, "invalid", "invalid", "impossible", None]
    assert said["outcomes"][1]["refused"]["errors"][0]["got"] == "loop -> loop"
    assert [error["field"] for error in said["outcomes"][3]["refused"]["errors"]] == ["jobs[3].gang.devices"]
    assert await stored(installation) == 2


async def test_a_batch_is_tried_without_being_submitted(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    good = [after_ok("merge", "shard"), job_spec(name="shard", array={"count": 3})]
    said = (await lin.post("/v1/jobs/batch/validate", json={"jobs": good})).json()
    assert (said["submitted"], said["refused"]) == (4, 0)
    assert [(one["name"], one["jobs"], one["job_id"]) for one in said["outcomes"]] == [
        ("merge", 1, None),
        ("shard", 3, None),
    ]
    bad = [job_spec(name="good"), job_spec(gang={"devices": 0}), after_ok("loop", "loop")]
    tried = (await lin.post("/v1/jobs/batch/validate", json={"jobs": bad})).json()
    assert (tried["submitted"], tried["refused"]) == (1, 2)
    assert (await lin.post("/v1/jobs/batch/validate", json={"jobs": []})).status_code == 422
    assert await stored(installation) == 0
    assert await told(installation, "JobSubmitted") == []
    submitted = (await lin.post("/v1/jobs/batch", json={"jobs": bad, "atomic": False})).json()
    assert [one["refused"] for one in submitted["outcomes"]] == [one["refused"] for one in tried["outcomes"]]


async def test_who_waits_for_a_job_that_cannot_be_read_is_not_told_that_nobody_has_its_name(
    installation: ApiInstallation,
) -> None:
    jobs = [job_spec(name="bad", gang={"devices": 0}), after_ok("next", "bad"), after_ok("last", "next")]
    lin = installation.as_("lin")
    alone = (await lin.post("/v1/jobs/batch", json={"jobs": jobs, "atomic": False})).json()
    assert (alone["submitted"], alone["refused"]) == (0, 3)
    errors = [error for one in alone["outcomes"][1:] for error in one["refused"]["errors"]]
    assert {(error["field"][7:], error["got"]) for error in errors} == {
        (".dependencies", "a job of the batch that was refused")
    }
    together = (await lin.post("/v1/jobs/batch", json={"jobs": jobs})).json()
    assert [error["field"] for error in together["errors"]] == ["jobs[0].gang.devices"]
    assert await stored(installation) == 0


async def test_a_batch_names_the_fields_of_all_that_could_never_start(installation: ApiInstallation) -> None:
    too_large = job_spec(gang={"devices": 64, "devices_per_node": 8})
    jobs = [job_spec(name="good"), too_large, {**too_large, "name": "other"}]
    answer = await installation.as_("lin").post("/v1/jobs/batch", json={"jobs": jobs})
    said = answer.json()
    assert (answer.status_code, said["code"]) == (422, "impossible")
    assert said["detail"].startswith("jobs[1]: the job could never start")
    assert said["detail"].endswith(" (jobs refused in all: 2)")
    assert [error["field"] for error in said["errors"]] == ["jobs[1].gang.devices", "jobs[2].gang.devices"]
    array = await installation.as_("lin").post("/v1/jobs", json={**too_large, "array": {"count": 2}})
    assert [error["field"] for error in array.json()["errors"]] == ["gang.devices"]
    wrong = [*jobs, job_spec(name="wrong", project="none")]
    mixed = (await installation.as_("lin").post("/v1/jobs/batch", json={"jobs": wrong})).json()
    assert mixed["code"] == "invalid"
    assert {error["field"] for error in mixed["errors"]} == {
        "jobs[1].gang.devices", "jobs[2].gang.devices", "jobs[3].project",
    }  # fmt: skip


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, {"jobs": [1]}, {"jobs": [], "all": True}])
async def test_a_batch_that_is_none_is_refused(installation: ApiInstallation, body: dict[str, Any]) -> None:
    answer = await installation.as_("lin").post("/v1/jobs/batch", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_jobs_of_another_firm_cannot_be_waited_for(installation: ApiInstallation) -> None:
    theirs = await installation.submit("lin")
    answer = await installation.as_("zhao").post("/v1/jobs", json=after_ok("spy", theirs))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "dependencies.after_ok[0]"


async def test_a_job_is_held_released_and_sent_back_by_messages_to_the_controller(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    job_id = await installation.submit("lin", hold=True)
    assert (await lin.get(f"/v1/jobs/{job_id}")).json()["held"] is True
    assert (await lin.post(f"/v1/jobs/{job_id}/release")).status_code == 202
    assert (await lin.post(f"/v1/jobs/{job_id}/hold")).status_code == 202
    assert [body["held"] for body in await told(installation, "HoldRequested")] == [False, True]
    waits = await lin.post(f"/v1/jobs/{job_id}/requeue")
    assert (waits.status_code, waits.json()["code"]) == (409, "conflict")
    await installation.set_state(job_id, state="running")
    assert (await lin.post(f"/v1/jobs/{job_id}/requeue")).status_code == 202
    assert [body["by"] for body in await told(installation, "RequeueRequested")] == ["lin"]
    for verb in ("hold", "release", "requeue", "cancel"):
        assert (await installation.as_("zhao").post(f"/v1/jobs/{job_id}/{verb}")).status_code == 404


async def test_a_change_is_a_new_revision_that_the_controller_is_told_of(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    job_id = await installation.submit("lin", time_limit_seconds=60, labels={"a": "1"})
    changed = await lin.patch(f"/v1/jobs/{job_id}", json={"priority": "high", "time_limit_seconds": "2h"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["revision"] == 1
    assert changed.json()["spec"]["time_limit_seconds"] == 7200
    back = await lin.patch(f"/v1/jobs/{job_id}", json={"time_limit_seconds": None})
    assert (back.json()["revision"], back.json()["spec"]["time_limit_seconds"]) == (2, None)
    assert back.json()["spec"]["priority"] == "high"
    assert [body["revision"] for body in await told(installation, "JobRevised")] == [1, 2]
    passed = {"deadline": "2020-01-01T00:00:00Z"}
    for bad in ({"name": "x"}, {}, [], {"priority": "urgent"}, {"time_limit_seconds": 0}, passed):
        answer = await lin.patch(f"/v1/jobs/{job_id}", json=bad)
        assert answer.status_code == 422, bad
    assert (
        await installation.as_("zhao").patch(f"/v1/jobs/{job_id}", json={"priority": "low"})
    ).status_code == 404


async def test_who_read_an_older_revision_changes_nothing(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    job_id = await installation.submit("lin")
    path = f"/v1/jobs/{job_id}"
    read = (await lin.get(path)).headers["ETag"]
    changed = await lin.patch(path, json={"priority": "high"}, headers={"If-Match": read})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"1"')
    late = await lin.patch(path, json={"priority": "low"}, headers={"If-Match": read})
    assert (late.status_code, late.json()["code"], late.json()["facts"]) == (
        412,
        "precondition_failed",
        {"etag": '"1"'},
    )
    assert (await lin.get(path)).json()["spec"]["priority"] == "high"
    weak = await lin.patch(path, json={"priority": "low"}, headers={"If-Match": 'W/"1"'})
    assert weak.status_code == 412
    either = await lin.patch(path, json={"priority": "low"}, headers={"If-Match": '"0", "1"'})
    assert (either.status_code, either.headers["ETag"]) == (200, '"2"')
    anything = await lin.patch(path, json={"priority": "high"}, headers={"If-Match": "*"})
    assert anything.status_code == 200
    wrong = await lin.patch(path, json={"priority": "low"}, headers={"If-Match": "1"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "header If-Match")
    foreign = await installation.as_("zhao").patch(path, json={}, headers={"If-Match": '"9"'})
    assert foreign.status_code == 404


async def test_all_jobs_of_an_array_are_told_at_once(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    first = (await lin.post("/v1/jobs", json=job_spec(array={"count": 5}))).json()
    assert first["array_index"] == 0
    answer = await lin.post(f"/v1/arrays/{first['array_id']}/hold")
    assert (answer.status_code, answer.json()["jobs"]) == (202, 5)
    assert len(await told(installation, "HoldRequested")) == 5
    assert (await installation.as_("zhao").post(f"/v1/arrays/{first['array_id']}/cancel")).status_code == 404


async def test_jobs_are_listed_by_what_they_say_and_in_any_order_page_by_page(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    for name in ("b", "a", "c"):
        installation.clock.now_ms += 1_000
        await installation.submit("lin", name=name, labels={"letter": name, "all": "yes"})
    installation.clock.now_ms += 1_000
    await installation.submit("wang", name="d", priority="high", kind="evaluate")

    async def names(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = (await lin.get("/v1/jobs", params={**query, "limit": 2})).json()
            found += [job["name"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    assert await names(sort="name") == ["a", "b", "c", "d"]
    assert await names(sort="-name") == ["d", "c", "b", "a"]
    assert (await names(sort="submitted"))[:3] == ["b", "a", "c"]
    assert await names(label=["letter=a", "all=yes"]) == ["a"]
    assert await names(priority="high") == ["d"]
    assert await names(kind="evaluate") == ["d"]
    assert await names(submitted_by="wang") == ["d"]
    assert await names(submitted_from="2027-01-15T08:00:03Z", sort="name") == ["c", "d"]
    bad = [{"label": "x"}, {"sort": "size"}, {"submitted_from": "now"}, {"kind": "x"}, {"cursor": "x"}]
    for query in bad:
        assert (await lin.get("/v1/jobs", params=query)).status_code == 422, query
    by_time = (await lin.get("/v1/jobs", params={"limit": 1})).json()["next_cursor"]
    assert (await lin.get("/v1/jobs", params={"sort": "name", "cursor": by_time})).status_code == 422


async def test_a_trial_says_on_what_when_and_at_what_price_and_stores_nothing(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    spec = job_spec(
        gang={"devices": 8}, time_limit_seconds="2h", estimate_seconds=1800, hold=True, array={"count": 9}
    )
    trial = (await lin.post("/v1/jobs/validate", json=spec)).json()
    assert (trial["starts_now"], trial["device_model"], trial["pool"]) == (True, MODEL, "haidian")
    (price,) = trial["prices"]
    assert price == {
        "model": MODEL,
        "device_hour_cny": "12.50",
        "gang_hour_cny": "100.00",
        "at_most_cny": "200.00",
        "estimate_cny": "50.00",
    }
    assert await stored(installation) == 0
    beyond = {**spec, "estimate_seconds": "3h"}  # it is stopped at its time limit
    (price,) = (await lin.post("/v1/jobs/validate", json=beyond)).json()["prices"]
    assert (price["estimate_cny"], price["at_most_cny"]) == ("200.00", "200.00")
    too_large = await lin.post(
        "/v1/jobs/validate", json=job_spec(gang={"devices": 64, "devices_per_node": 8})
    )
    assert (too_large.status_code, too_large.json()["code"]) == (422, "impossible")


async def test_a_trial_warns_of_what_the_job_can_hardly_mean(installation: ApiInstallation) -> None:
    await installation.add_node("n9")
    lin = installation.as_("lin")
    deadline = "2027-01-15T08:30:00.000Z"
    spec = job_spec(estimate_seconds=7200, time_limit_seconds=3600, deadline=deadline)
    warnings = (await lin.post("/v1/jobs/validate", json=spec)).json()["warnings"]
    assert [(one["field"], one["got"]) for one in warnings] == [
        ("estimate_seconds", "7200"), ("deadline", deadline),
    ]  # fmt: skip
    assert warnings[1]["want"].endswith("about when it most likely ends, by its estimate")
    assert (await lin.post("/v1/jobs/validate", json=job_spec(deadline=deadline))).json()["warnings"] == []


async def test_a_trial_refuses_to_wait_for_what_a_submission_could_not_wait_for(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    there = (await lin.post("/v1/jobs", json=job_spec())).json()["job_id"]
    for reference in ("nope", job_spec()["name"]):
        spec = job_spec(dependencies={"after_ok": [there, reference]})
        tried, submitted = [await lin.post(path, json=spec) for path in ("/v1/jobs/validate", "/v1/jobs")]
        assert (tried.status_code, tried.json()["errors"]) == (422, submitted.json()["errors"])
    kept = job_spec(dependencies={"after_ok": [there]})
    assert (await lin.post("/v1/jobs/validate", json=kept)).status_code == 200


async def test_a_trial_says_why_a_job_would_wait(installation: ApiInstallation) -> None:
    node_id, devices = await installation.add_node("node-2", devices=8)
    for node, held in ((node_id, devices),):
        job_id = await installation.submit("lin", gang={"devices": 8})
        await installation.set_state(job_id)
        await installation.add_attempt(job_id, node, held)
    trial = (await installation.as_("lin").post(
        "/v1/jobs/validate", json=job_spec(gang={"devices": 16, "devices_per_node": 8})
    )).json()  # fmt: skip
    assert trial["starts_now"] is False
    assert trial["reasons"][0]["asked"] == 16
    assert trial["position"] == 1
    starts = trial["starts"]
    assert to_rfc3339(NOW_MS) <= starts["earliest"] <= starts["expected"] <= starts["latest"]


async def test_trials_keep_the_loop_from_nothing_and_those_of_one_firm_none_of_another(
    installation: ApiInstallation,
) -> None:
    threads, answered = set(), []

    def asked(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM node_states" in statement:  # the live cluster is put together where it is read
            threads.add((threading.get_ident(), gc.isenabled()))

    async def try_a_job(person: str) -> None:
        answer = await installation.as_(person).post("/v1/jobs/validate", json=job_spec())
        assert answer.status_code == 200, answer.text
        answered.append(person)

    event.listen(Engine, "before_cursor_execute", asked)
    try:
        await asyncio.gather(*map(try_a_job, [*["lin"] * 7, "zhao"]))
    finally:
        event.remove(Engine, "before_cursor_execute", asked)
    assert threads
    assert threading.get_ident() not in {thread for thread, _ in threads}
    # A walk of the collector through the cluster holds the loop as well: there is none before the end.
    assert not any(collected for _, collected in threads)
    assert gc.isenabled()
    assert answered.index("zhao") <= 3


async def test_a_queue_is_listed_in_the_planners_order_with_reasons(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    second = await installation.submit("lin", name="second")
    first = await installation.submit("lin", name="first")
    await installation.submit("lin", name="held", hold=True)
    for place, job_id in ((1, first), (2, second)):
        await installation.set_state(job_id, state="queued", attempt=0, device_model=None)
        await installation.add_report(
            job_id, position=place, reasons=[{"sentence": f"place {place}"}], starts_from_ms=NOW_MS + place,
            starts_expected_ms=NOW_MS + 10, starts_until_ms=NOW_MS + 20,
        )  # fmt: skip
    waiting = (await lin.get("/v1/queues/default/waiting")).json()["waiting"]
    assert [(one["position"], one["name"], one["why"]) for one in waiting] == [
        (1, "first", "place 1"),
        (2, "second", "place 2"),
        (None, "held", "held"),
    ]
    earliest = [one["starts"] and one["starts"]["earliest"] for one in waiting]
    assert earliest == [to_rfc3339(NOW_MS + 1), to_rfc3339(NOW_MS + 2), None]
    installation.clock.now_ms += 15
    waiting = (await lin.get("/v1/queues/default/waiting")).json()["waiting"]
    told = [one["starts"] and (one["starts"]["earliest"], one["starts"]["latest"]) for one in waiting]
    assert told == [(to_rfc3339(NOW_MS + 15), to_rfc3339(NOW_MS + 20))] * 2 + [None]
    assert (await installation.as_("zhao").get("/v1/queues/default/waiting")).json()["waiting"] == []


async def test_jobs_of_a_moment_without_a_place_are_listed_by_name_and_index(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    await installation.submit("lin", name="sweep", array={"count": 12})
    await installation.submit("lin", name="alone")
    waiting = (await lin.get("/v1/queues/default/waiting")).json()["waiting"]
    listed = [(one["name"], one["array_index"]) for one in waiting]
    assert listed == [("alone", None), *(("sweep", index) for index in range(12))]


async def test_what_holds_a_job_back_is_explained_in_words(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    before = await installation.submit("lin", name="before")
    jobs = [after_ok("after", before), job_spec(name="held", hold=True)]
    said = (await lin.post("/v1/jobs/batch", json={"jobs": jobs})).json()["outcomes"]
    why = (await lin.get(f"/v1/jobs/{said[0]['job_id']}/explain")).json()
    assert why["reasons"][0]["reason"] == "dependency"
    assert f"waits until before ({before}) has succeeded; that is queued now" in why["sentence"]
    why = (await lin.get(f"/v1/jobs/{said[1]['job_id']}/explain")).json()
    assert (why["reasons"][0]["reason"], why["counterfactual"]) == ("held", "it is released")
    await installation.set_state(before, state="queued", attempt=0, device_model=None, held=True)
    why = (await lin.get(f"/v1/jobs/{said[0]['job_id']}/explain")).json()
    assert f"waits until before ({before}) has succeeded; that is held now" in why["sentence"]
    swept = (
        await lin.post("/v1/jobs", json=job_spec(name="sweep", array={"count": 2, "concurrency": 1}))
    ).json()
    members = (await lin.get(f"/v1/jobs?array={swept['array_id']}&sort=submitted")).json()["jobs"]
    first, second = sorted((job["array_index"], job["job_id"]) for job in members)
    await installation.set_state(first[1], state="queued", attempt=0)
    await installation.add_report(first[1])  # the planner sees one at a time
    why = (await lin.get(f"/v1/jobs/{second[1]}/explain")).json()
    assert why["reasons"][0]["reason"] == "array_limit"
    assert (
        "of its array 1 go on or are next, and at most 1 may at a time (this is [1], of 2)" in why["sentence"]
    )
    assert (await lin.get(f"/v1/jobs/{first[1]}/explain")).json()["position"] == 1


async def test_an_elastic_gang_shows_what_it_was_given_while_it_does_not_wait(
    installation: ApiInstallation,
) -> None:
    gang = {"devices": 16, "devices_per_node": 8, "elastic": {"min_devices": 8, "max_devices": 16}}
    await installation.add_node("node-3")
    node_id, devices = await installation.add_node("node-2")
    runs, waits = [await installation.submit(gang=gang) for _ in range(2)]
    for job_id, state in ((runs, "running"), (waits, "queued")):
        await installation.set_state(job_id, state=state)
    await installation.add_attempt(runs, node_id, devices)
    client = installation.as_("lin")
    listed = {job["job_id"]: job["devices"] for job in (await client.get("/v1/jobs")).json()["jobs"]}
    assert listed == {runs: 8, waits: 16}
    assert (await client.get(f"/v1/jobs/{runs}")).json()["devices"] == 8
