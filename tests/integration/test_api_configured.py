"""Firms, queues, cohorts, pools, prices and programs one by one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from scheduler.domain.budgets import BudgetKey
from scheduler.domain.errors import Conflict
from scheduler.domain.ids import FirmId
from scheduler.domain.time import to_rfc3339
from scheduler.planner.snapshot import Money
from scheduler.services.budgets import BudgetLine, require_left
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    EvidenceIntakeRow,
    InboxRow,
    JobStateRow,
)
from tests.builders.api import MODEL, ApiInstallation, InhabitedUrls, running_api


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


QUEUE = "/v1/firms/lanjing/queues/night"


async def acts(installation: ApiInstallation) -> int:
    async with installation.api.database.read() as session:
        rows = await session.scalars(
            select(EvidenceIntakeRow.body).where(EvidenceIntakeRow.type == "administrative_act")
        )
        return sum(b"configuration_" in bytes(row) for row in rows)


async def test_a_queue_is_made_read_changed_and_removed(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    before = await acts(installation)
    made = await ops.put(QUEUE, json={"nominal": {MODEL: 8}}, headers={"If-None-Match": "*"})
    assert made.status_code == 201, made.text
    everything = {
        "pools": ["haidian"], "cohort": None, "nominal": {MODEL: 8}, "borrowing": {}, "lending": {}, "weight": 1,
    }  # fmt: skip
    assert made.json() == {**everything, "warnings": []}
    read = await installation.as_("lin").get(QUEUE)
    assert (read.json(), read.headers["etag"]) == (everything, made.headers["etag"])
    assert (await ops.put(QUEUE, json={}, headers={"If-None-Match": "*"})).status_code == 412

    changed = await ops.patch(QUEUE, json={"weight": 3}, headers={"If-Match": made.headers["etag"]})
    assert changed.json() == {**everything, "weight": 3, "warnings": []}
    late = await ops.patch(QUEUE, json={"weight": 4}, headers={"If-Match": made.headers["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert late.json()["facts"] == {"etag": changed.headers["etag"]}
    closed = await ops.patch(QUEUE, json={"nominal": {MODEL: None}, "weight": None})
    assert (closed.json()["nominal"], closed.json()["weight"]) == ({}, 1)
    again = await ops.put(QUEUE, json={})
    assert (again.status_code, again.headers["etag"]) == (200, closed.headers["etag"])
    assert await acts(installation) == before + 3  # the last changed nothing

    assert (await ops.delete(QUEUE)).status_code == 204
    assert (await ops.delete(QUEUE)).status_code == 404
    assert await acts(installation) == before + 4
    async with installation.api.database.read() as session:
        kinds = (await session.scalars(select(InboxRow.kind))).all()
    assert kinds.count("ConfigurationChanged") >= 5


async def test_firms_pools_and_cohorts_are_made_and_what_is_used_stays(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    assert (await ops.put("/v1/pools/night", json={"patience_seconds": 90})).status_code == 201
    assert (await ops.put("/v1/cohorts/all", json={"nominal": {MODEL: 16}})).status_code == 201
    firm = await ops.put("/v1/firms/newcomer", json={"title": "Newcomer"})
    assert (firm.status_code, firm.json()) == (201, {"title": "Newcomer", "projects": ["default"]})
    more = await ops.patch("/v1/firms/newcomer", json={"projects": ["vision"]})
    assert more.json() == {"title": "Newcomer", "projects": ["default", "vision"]}
    queue = await ops.patch("/v1/firms/newcomer/queues/default", json={"cohort": "all", "pools": ["night"]})
    assert queue.status_code == 200, queue.text

    for path, why in {
        "/v1/pools/haidian": "queues such as", "/v1/pools/night": "queues such as default",
        "/v1/cohorts/all": "queues or other cohorts",
    }.items():  # fmt: skip
        refused = await ops.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert why in refused.json()["detail"]
    await installation.submit("lin")
    used = await ops.delete("/v1/firms/lanjing/queues/default")
    assert "jobs that were submitted to it" in used.json()["detail"]
    assert (await ops.delete("/v1/firms/newcomer")).status_code == 405

    assert (await ops.patch("/v1/firms/newcomer/queues/default", json={"cohort": None})).status_code == 200
    assert (await ops.delete("/v1/cohorts/all")).status_code == 204


async def test_more_quota_than_there_are_devices_is_written_with_a_warning(
    installation: ApiInstallation,
) -> None:
    ops = installation.as_("ops")
    nodes = (await ops.get("/v1/nodes")).json()["nodes"]
    there = sum(len(node["devices"]) for node in nodes)
    warning = {
        "field": f"nominal.{MODEL}",
        "got": str(there + 1),
        "want": f"at most {there}, as its pools have no more (nodes may come later)",
    }
    more = {"nominal": {MODEL: there + 1}}
    put = await ops.put(QUEUE, json={"pools": ["haidian"], **more})
    assert (put.status_code, put.json()["warnings"]) == (201, [warning])
    read = await ops.get(QUEUE)
    assert "warnings" not in read.json()
    assert read.headers["etag"] == put.headers["etag"]
    assert (await ops.patch(QUEUE, json=more)).json()["warnings"] == [warning]
    enough = await ops.patch(QUEUE, json={"nominal": {MODEL: there}})
    assert enough.json()["warnings"] == []
    assert (await ops.put("/v1/cohorts/all", json={})).json()["warnings"] == []


async def test_prices_and_programs_are_published_once(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    price = {
        "model": MODEL, "price_cny_per_device_hour": "11.00", "effective_from": "2030-01-01T00:00:00+08:00",
    }  # fmt: skip
    made = await ops.post("/v1/prices", json=price)
    assert made.status_code == 201, made.text
    (change,) = made.json()["changes"]
    assert change["outcome"] == "created"
    assert (await installation.as_("lin").get(f"/v1/prices/{change['name']}")).json()["in_force"] is False
    other = await ops.post("/v1/prices", json={**price, "price_cny_per_device_hour": "12.00"})
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "price_cny_per_device_hour"
    program = {
        "program_id": "city", "version": 1, "title": "City", "legal_reference": "No. 1", "rate": "0.3",
        "effective_from": "2030-01-01T00:00:00+08:00",
    }  # fmt: skip
    assert (await ops.post("/v1/programs", json=program)).status_code == 201
    (listed,) = (await installation.as_("audit").get("/v1/programs")).json()["programs"]
    assert (listed["program_id"], listed["rate_ppm"], listed["per_firm_cap_fen"]) == ("city", 300_000, None)
    assert not listed["in_force"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("PUT", QUEUE, {"nominal": {"h100": 8}}, 422, "nominal.h100"),
        ("PUT", QUEUE, {"weight": 0}, 422, "weight"),
        ("PUT", QUEUE, {"wieght": 1}, 422, "wieght"),
        ("PUT", QUEUE, {"name": "day"}, 422, "name"),
        ("PUT", QUEUE, [], 422, "(root)"),
        ("PUT", "/v1/firms/lanjin/queues/night", {}, 404, "firm"),
        ("PUT", "/v1/firms/Lan%20Jing", {}, 422, "name"),
        ("PUT", "/v1/pools/x", {"patience_seconds": "1h"}, 422, "patience_seconds"),
        ("PATCH", "/v1/pools/haidian", {"patience_seconds": {"a": {"b": 1}}}, 422, "patience_seconds"),
        ("PATCH", "/v1/pools/haidian", "x", 422, "(root)"),
        ("POST", "/v1/prices", {"model": MODEL}, 422, "price_cny_per_device_hour"),
        ("POST", "/v1/programs", 7, 422, "(root)"),
    ],
)
async def test_what_is_wrong_is_named_by_its_field(
    installation: ApiInstallation, method: str, path: str, body: Any, status: int, field: str
) -> None:
    answer = await installation.as_("ops").request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]], answer.text


async def test_what_is_not_there_is_not_found_and_foreign_firms_are_not_there(
    installation: ApiInstallation,
) -> None:
    ops, zhao = installation.as_("ops"), installation.as_("zhao")
    for path in ("/v1/firms/x", "/v1/firms/x/queues/default", QUEUE, "/v1/cohorts/x", "/v1/pools/x"):
        assert (await ops.get(path)).status_code == 404, path
        assert (await ops.patch(path, json={})).status_code == 404, path
    assert (await ops.put("/v1/firms/x/queues/default", json={})).status_code == 404
    assert (await ops.get("/v1/prices/x")).status_code == 404
    for path in ("/v1/firms/lanjing", "/v1/firms/lanjing/queues/default"):
        assert (await zhao.get(path)).json()["detail"] == (
            await zhao.get(path.replace("lanjing", "nowhere"))
        ).json()["detail"].replace("nowhere", "lanjing")
    assert (await zhao.get("/v1/firms/beiming")).status_code == 200
    assert (await zhao.get("/v1/pools/haidian")).json() == {"patience_seconds": 30}


BUDGET = "/v1/firms/lanjing/projects/vision/budget"
WHOLE = "/v1/firms/lanjing/budget"


async def test_a_firms_administrator_sets_what_a_project_may_spend_and_sees_what_is_gone(
    installation: ApiInstallation,
) -> None:
    wang, before = installation.as_("wang"), await acts(installation)
    made = await wang.put(BUDGET, json={"amount_cny": "500.00"})
    assert made.status_code == 201, made.text
    assert made.json() == {
        "firm": "lanjing", "project": "vision", "amount_cny": "500.00", "period": "month",
        "begins": "2026-12-31T16:00:00.000Z", "ends": "2027-01-31T16:00:00.000Z",
        "spent_cny": "0.00", "held_cny": "0.00", "left_cny": "500.00",
    }  # fmt: skip
    whole = await installation.as_("ops").put(WHOLE, json={"amount_cny": "900", "period": "total"})
    assert (whole.status_code, whole.json()["begins"], whole.json()["ends"]) == (201, None, None)
    again = await wang.put(BUDGET, json={"amount_cny": "500", "period": "month"}, headers=if_match(made))
    assert (again.status_code, await acts(installation)) == (200, before + 2)  # the last changed nothing

    # Two devices for half an hour, and an hour and a half to go; another project of the firm has one.
    running = ""
    for project, devices in (("vision", 2), ("default", 1)):
        job_id = await installation.submit(
            project=project, gang={"devices": devices}, time_limit_seconds=7200
        )
        node_id, found = await installation.add_node(f"node-of-{project}")
        await installation.set_state(job_id, started_ms=installation.clock.now_ms)
        allocation_id = await installation.add_attempt(job_id, node_id, found[:devices])
        running = running or job_id
    installation.clock.now_ms += 30 * 60_000
    shown = (await installation.as_("lin").get("/v1/budgets")).json()["budgets"]
    assert [(b["project"], b["spent_cny"], b["held_cny"], b["left_cny"]) for b in shown] == [
        (None, "18.75", "56.25", "825.00"),
        ("vision", "12.50", "37.50", "450.00"),
    ]
    assert (await installation.as_("lin").get("/v1/usage")).json()["budgets"] == shown
    lines = (await installation.as_("lin").get(f"/v1/usage?job_id={job_id}")).json()
    assert lines["budgets"] == []  # of one job alone
    zhao = installation.as_("zhao")
    assert (
        (await zhao.get("/v1/budgets")).json()["budgets"]
        == (await zhao.get("/v1/usage")).json()["budgets"]
        == []
    )
    assert (await zhao.get(BUDGET)).status_code == (await zhao.get(WHOLE)).status_code == 404

    # The other project's job was stopped for others: its time limit is held for its next attempt.
    now_ms = installation.clock.now_ms
    await installation.as_controller(
        update(JobStateRow).where(JobStateRow.job_id == job_id).values(state="queued"),
        update(AllocationDeviceRow)
        .where(AllocationDeviceRow.allocation_id == allocation_id)
        .values(live=False),
        update(AllocationRow)
        .where(AllocationRow.job_id == job_id)
        .values(live=False, goal="stop", ended_ms=now_ms),
        update(AttemptRow)
        .where(AttemptRow.job_id == job_id)
        .values(state="ended", reason="preempted", ended_ms=now_ms),
    )
    whole_now = (await installation.as_("lin").get(WHOLE)).json()
    assert (whole_now["spent_cny"], whole_now["held_cny"]) == ("18.75", "62.50")

    # A dearer price counts for what runs, not for what was promised before.
    half_ms = 30 * 60_000
    dearer = {
        "model": MODEL, "price_cny_per_device_hour": "25.00", "effective_from": to_rfc3339(now_ms + half_ms),
    }  # fmt: skip
    assert (await installation.as_("ops").post("/v1/prices", json=dearer)).status_code == 201
    installation.clock.now_ms += half_ms
    assert (await installation.as_("lin").get(WHOLE)).json()["held_cny"] == "75.00"

    # A longer time limit is checked against what is left, of the job that waits for more and of the one that runs.
    lin = installation.as_("lin")
    for one, left in ((job_id, "793.75"), (running, "425.00")):
        path = f"/v1/jobs/{one}"
        refused = await lin.patch(path, json={"time_limit_seconds": 100 * 3600})
        assert (refused.status_code, refused.json()["facts"]["left_cny"]) == (409, left)
        assert "have the budget raised" in refused.json()["detail"]
        assert (await lin.get(path)).json()["spec"]["time_limit_seconds"] == 7200
        assert (await lin.patch(path, json={"time_limit_seconds": 3600})).status_code == 200
    assert (await lin.get(BUDGET)).json()["held_cny"] == "0.00"  # an hour has passed


def test_a_budget_that_is_set_while_a_job_is_changed_counts_from_the_next_change_on() -> None:
    key = BudgetKey(FirmId("lanjing-id"), "vision")
    free, full = (BudgetLine("lanjing", "vision", Money(10, 0, held), 0) for held in (10, 20))
    require_left({}, {key: full})
    with pytest.raises(Conflict, match=r"has 0\.00 CNY left"):
        require_left({key: free}, {key: full})


async def test_who_changes_a_budget_says_which_he_had_read(installation: ApiInstallation) -> None:
    wang, ops = installation.as_("wang"), installation.as_("ops")
    early = await wang.put(BUDGET, json={"amount_cny": "1"}, headers={"If-Match": '"x"'})
    assert (early.status_code, early.json()["code"]) == (412, "precondition_failed")
    made = await wang.put(BUDGET, json={"amount_cny": "500.00"}, headers={"If-None-Match": "*"})
    read = await installation.as_("lin").get(BUDGET)
    assert (read.json(), read.headers["etag"]) == (made.json(), made.headers["etag"])
    again = await wang.put(BUDGET, json={"amount_cny": "1"}, headers={"If-None-Match": "*"})
    assert (again.status_code, again.json()["facts"]) == (412, {"etag": made.headers["etag"]})

    # Two read the same; the second is not let overwrite what the first has said meanwhile.
    first = await ops.put(BUDGET, json={"amount_cny": "600"}, headers=if_match(read))
    assert (first.status_code, first.headers["etag"] != read.headers["etag"]) == (200, True)
    for method, more in (("PUT", {"json": {"amount_cny": "700"}}), ("DELETE", {})):
        late = await wang.request(method, BUDGET, headers=if_match(read), **more)
        assert (late.status_code, late.json()["facts"]) == (412, {"etag": first.headers["etag"]}), method
    assert (await wang.get(BUDGET)).json()["amount_cny"] == "600.00"

    assert (await ops.get(WHOLE)).status_code == 404
    assert (await wang.delete(BUDGET, headers=if_match(first))).status_code == 204
    gone = await wang.delete(BUDGET)
    assert (gone.status_code, gone.json()["detail"]) == (404, "lanjing/vision has no budget")


def if_match(answer: Any) -> dict[str, str]:
    return {"If-Match": answer.headers["etag"]}


@pytest.mark.parametrize(
    ("person", "path", "body", "status", "said"),
    [
        ("sun", BUDGET, {"amount_cny": "1"}, 404, "there is no firm lanjing"),
        (
            "wang",
            WHOLE,
            {"amount_cny": "1"},
            403,
            "these may: operator; you may set the budgets of the firm's projects",
        ),
        (
            "lin",
            BUDGET,
            {"amount_cny": "1"},
            403,
            "may not set budgets of projects; these may: firm administrator, operator",
        ),
        ("wang", BUDGET.replace("vision", "none"), {"amount_cny": "1"}, 404, "has no project none"),
        ("wang", BUDGET, {"amount_cny": 1.5}, 422, "amount_cny: got 1.5, want a decimal number in quotes"),
        ("wang", BUDGET, {"amount_cny": "-1"}, 422, "amount_cny: got '-1'"),
        ("wang", BUDGET, {"amount_cny": "12,5"}, 422, "got '12,5', want a decimal number like 12.50, with"),
        ("wang", BUDGET, {"amount_cny": "1", "period": "week"}, 422, "want one of month, year, total"),
        ("wang", BUDGET, {"amount_cny": "1", "limit": 1}, 422, "an unknown field"),
    ],
)
async def test_a_budget_is_refused_with_what_is_wrong(
    installation: ApiInstallation, person: str, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = await installation.as_(person).put(path, json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"], answer.text
    if status == 404:
        assert [error["field"] for error in answer.json()["errors"]] == [said.split()[-2]], answer.text


async def test_a_file_sets_budgets_and_names_whom_it_does_not_know(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    wanted = [
        {"firm": "beiming", "amount_cny": "10", "period": "year"},
        {"firm": "lanjing", "project": "vision", "amount_cny": "2.50"},
    ]
    file = {"budgets": wanted}
    made = (await ops.post("/v1/apply", json=file)).json()["changes"]
    assert [(c["kind"], c["name"], c["outcome"]) for c in made] == [
        ("budget", "beiming", "created"),
        ("budget", "lanjing/vision", "created"),
    ]
    file["budgets"][1]["amount_cny"] = "3"
    changed = (await ops.post("/v1/apply", json=file)).json()["changes"][1]
    assert changed["differences"] == [{"field": "amount_cny", "was": "2.50", "now": "3.00"}]
    wrong = {"budgets": [{"firm": "beimin", "amount_cny": "1"}, {**wanted[1], "project": "visio"}]}
    refused = await ops.post("/v1/apply", json=wrong)
    assert [error["field"] for error in refused.json()["errors"]] == ["budgets[0].firm", "budgets[1].project"]
