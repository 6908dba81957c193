"""Applying a configuration file over HTTP."""

import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from scheduler.domain.firms import UidRange
from scheduler.storage.tables import (
    EvidenceIntakeRow,
    FirmRow,
    InboxRow,
    PoolRow,
    PriceVersionRow,
    PrincipalRow,
    ProgramVersionRow,
    QueueRow,
)
from suanli.evidence.calendar import DeviceCalendar
from suanli.evidence.records import Firm, PriceVersion, ProgramVersion, encode_record, parse_record
from tests.builders.api import CONFIGURATION, MODEL, ApiInstallation, InhabitedUrls, running_api

LATER = "2027-02-01T00:00:00+08:00"  # the clock of these tests stands on 2027-01-15
PROGRAM = {
    "program_id": "haidian-2027",
    "version": 1,
    "title": "Support for compute used",
    "legal_reference": "an example",
    "rate": "0.30",
    "usage_measure": "live",
    "domestic_only": True,
    "per_firm_cap_cny": "20000000.00",
    "effective_from": "2027-01-01T00:00:00+08:00",
}


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def apply(installation: ApiInstallation, body: object, dry_run: bool = False) -> Any:
    answer = await installation.as_("ops").post(f"/v1/apply?dry_run={str(dry_run).lower()}", json=body)
    return answer.json()


def outcomes(applied: Any) -> dict[tuple[str, str], str]:
    return {(change["kind"], change["name"]): change["outcome"] for change in applied["changes"]}


async def counts(installation: ApiInstallation) -> dict[str, int]:
    tables = (
        FirmRow, PoolRow, QueueRow, PriceVersionRow, ProgramVersionRow, PrincipalRow, EvidenceIntakeRow, InboxRow,
    )  # fmt: skip
    async with installation.api.database.read() as session:
        return {
            table.__tablename__: await session.scalar(select(func.count()).select_from(table)) or 0
            for table in tables
        }


async def facts(installation: ApiInstallation) -> dict[str, tuple[str | None, object]]:
    async with installation.api.database.read() as session:
        rows = await session.scalars(select(EvidenceIntakeRow))
        return {row.fact: (row.firm_id, parse_record(row.type, row.body)) for row in rows}


async def test_applying_the_same_file_again_changes_nothing(installation: ApiInstallation) -> None:
    before = await counts(installation)
    applied = await apply(installation, CONFIGURATION)
    assert set(outcomes(applied).values()) == {"unchanged"}
    assert await counts(installation) == before


async def test_a_dry_run_says_what_would_change_and_changes_nothing(installation: ApiInstallation) -> None:
    before = await counts(installation)
    wanted = {
        "pools": [{"name": "haidian", "patience_seconds": 90}, {"name": "fengtai"}],
        "firms": [
            {
                "name": "lanjing",
                "title": "Lanjing (renamed)",
                "queues": [{"name": "big", "pools": ["fengtai"]}],
            }
        ],
        "programs": [PROGRAM],
        "users": [{"name": "new", "role": "auditor"}],
    }
    dry = await apply(installation, wanted, dry_run=True)
    assert dry["dry_run"] is True
    assert outcomes(dry) == {
        ("pool", "haidian"): "changed",
        ("pool", "fengtai"): "created",
        ("firm", "lanjing"): "changed",
        ("queue", "lanjing/big"): "created",
        ("program", "haidian-2027/1"): "created",
        ("user", "new"): "created",
    }
    change = next(change for change in dry["changes"] if change["name"] == "haidian")
    assert change["differences"] == [{"field": "patience_seconds", "was": 30, "now": 90}]
    assert await counts(installation) == before

    real = await apply(installation, wanted)
    assert real["changes"] == dry["changes"]
    assert (await counts(installation))["pools"] == before["pools"] + 1


async def test_what_is_billed_by_is_left_for_the_evidence_log(installation: ApiInstallation) -> None:
    await apply(installation, {"programs": [PROGRAM]})
    logged = await facts(installation)
    lanjing = installation.firms["lanjing"]
    assert logged[f"firm/{lanjing}"] == (lanjing, Firm(lanjing, "Lanjing AI Co., Ltd.", 1_800_000_000_000))
    price = logged[f"price/{MODEL}@2025-12-31T16:00Z"][1]
    assert isinstance(price, PriceVersion)
    assert (price.price_nano_cny, price.effective_from_ms) == (12_500_000_000, 1_767_196_800_000)
    program = logged["program/haidian-2027/1"][1]
    assert isinstance(program, ProgramVersion)
    assert (program.rate_ppm, program.per_firm_cap_fen) == (300_000, 2_000_000_000)
    assert MODEL in program.domestic_models
    assert not any(model.startswith("nvidia") for model in program.domestic_models)


async def test_a_new_title_is_a_new_fact_beside_the_first(installation: ApiInstallation) -> None:
    installation.clock.now_ms += 1000
    await apply(installation, {"firms": [{"name": "lanjing", "title": "Lanjing Holdings"}]})
    lanjing = installation.firms["lanjing"]
    logged = await facts(installation)
    names = [
        record.name for owner, record in logged.values() if isinstance(record, Firm) and owner == lanjing
    ]
    assert sorted(names) == ["Lanjing AI Co., Ltd.", "Lanjing Holdings"]


async def test_a_change_tells_the_controller_to_look_again(installation: ApiInstallation) -> None:
    await apply(installation, {"pools": [{"name": "fengtai"}]})
    async with installation.api.database.read() as session:
        kinds = list(await session.scalars(select(InboxRow.kind)))
    assert kinds.count("ConfigurationChanged") == 2


async def test_a_published_price_never_changes_and_a_later_version_is_taken(
    installation: ApiInstallation,
) -> None:
    price = {**CONFIGURATION["prices"][0], "price_cny_per_device_hour": "99"}
    refused = await apply(installation, {"prices": [price]})
    assert refused["errors"] == [
        {
            "field": "prices[0].price_cny_per_device_hour",
            "got": "99.00",
            "want": "12.50, as published; a price changes by a new version with a later effective_from",
        }
    ]
    past = await apply(installation, {"prices": [{**price, "effective_from": "2026-06-01T00:00:00+08:00"}]})
    assert past["errors"][0]["field"] == "prices[0].effective_from"
    assert "does not change" in past["errors"][0]["want"]
    later = await apply(installation, {"prices": [{**price, "effective_from": LATER}]})
    assert outcomes(later) == {("price", f"{MODEL}@2027-01-31T16:00Z"): "created"}
    prices = (await installation.as_("lin").get("/v1/prices")).json()["prices"]
    assert [(p["price_cny_per_device_hour"], p["in_force"]) for p in prices] == [
        ("12.50", True),
        ("99.00", False),
    ]


async def test_a_published_program_changes_by_a_new_version_only(installation: ApiInstallation) -> None:
    await apply(installation, {"programs": [PROGRAM]})
    again = await apply(installation, {"programs": [PROGRAM]})
    assert set(outcomes(again).values()) == {"unchanged"}
    refused = await apply(installation, {"programs": [{**PROGRAM, "rate": "0.5"}]})
    assert refused["errors"][0]["field"] == "programs[0].rate_ppm"
    assert "by a new version" in refused["errors"][0]["want"]
    second = {**PROGRAM, "version": 2, "rate": "0.5", "effective_from": LATER}
    assert set(outcomes(await apply(installation, {"programs": [second]})).values()) == {"created"}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"firm": []}, "firm"),
    ({"pools": [{"name": "Bad Name"}]}, "pools[0].name"),
    ({"pools": [{"name": "a"}, {"name": "a"}]}, "pools[1]"),
    ({"pools": [{"name": "a", "patience": 3}]}, "pools[0].patience"),
    ({"firms": [{"name": "x", "queues": [{"name": "q", "pools": ["nowhere"]}]}]}, "firms[0].queues[0].pools[0]"),
    ({"firms": [{"name": "x", "queues": [{"name": "q", "nominal": {"nope": 1}}]}]}, "firms[0].queues[0].nominal.nope"),
    ({"cohorts": [{"name": "c", "nominal": {"compute": 1}}]}, "cohorts[0].nominal.compute"),
    ({"firms": [{"name": "x", "queues": [{"name": "q", "weight": 0}]}]}, "firms[0].queues[0].weight"),
    ({"prices": [{"model": MODEL, "price_cny_per_device_hour": 12.5, "effective_from": LATER}]},
     "prices[0].price_cny_per_device_hour"),
    ({"prices": [{"model": MODEL, "price_cny_per_device_hour": "-1", "effective_from": LATER}]},
     "prices[0].price_cny_per_device_hour"),
    ({"prices": [{"model": MODEL, "price_cny_per_device_hour": "0.1234567891", "effective_from": LATER}]},
     "prices[0].price_cny_per_device_hour"),
    ({"prices": [{"model": "nope", "price_cny_per_device_hour": "1", "effective_from": LATER}]}, "prices[0].model"),
    ({"prices": [{"model": MODEL, "price_cny_per_device_hour": "1", "effective_from": "2027-02-01T00:00:01+08:00"}]},
     "prices[0].effective_from"),
    ({"prices": [{"model": MODEL, "price_cny_per_device_hour": "1", "effective_from": "2027-02-01T00:00:00"}]},
     "prices[0].effective_from"),
    ({"programs": [{**PROGRAM, "rate": "1.01"}]}, "programs[0].rate"),
    ({"programs": [{**PROGRAM, "usage_measure": "used"}]}, "programs[0].usage_measure"),
    ({"programs": [{**PROGRAM, "domestic_only": "yes"}]}, "programs[0].domestic_only"),
    ({"users": [{"name": "u", "role": "researcher"}]}, "users[0].firm"),
    ({"users": [{"name": "u", "role": "operator", "firm": "lanjing"}]}, "users[0].firm"),
    ({"users": [{"name": "u", "role": "researcher", "firm": "nowhere"}]}, "users[0].firm"),
    ({"users": [{"name": "lin", "role": "firm_administrator", "firm": "lanjing"}]}, "users[0].role"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), BAD, ids=lambda value: str(value)[:60])
async def test_a_wrong_file_names_the_field_and_changes_nothing(
    installation: ApiInstallation, body: dict[str, Any], field: str
) -> None:
    before = await counts(installation)
    answer = await installation.as_("ops").post("/v1/apply", json=body)
    assert answer.status_code == 422, answer.text
    errors = {error["field"]: error for error in answer.json()["errors"]}
    assert field in errors, errors
    assert errors[field]["want"]
    assert await counts(installation) == before


async def test_a_firm_without_queues_gets_one_with_all_pools(installation: ApiInstallation) -> None:
    await apply(installation, {"pools": [{"name": "fengtai"}], "firms": [{"name": "solo"}]})
    queues = (await installation.as_("ops").get("/v1/queues")).json()["queues"]
    solo = next(queue for queue in queues if queue["firm"] == "solo")
    assert (solo["name"], solo["pools"], solo["nominal"]) == ("default", ["fengtai", "haidian"], {})


async def uids(installation: ApiInstallation) -> dict[str, int]:
    """The user id of each firm's tasks."""
    async with installation.api.database.read() as session:
        return dict((await session.execute(select(FirmRow.name, FirmRow.uid))).all())


async def test_each_firm_is_given_a_user_id_for_good_until_none_is_left(
    inhabited_urls: InhabitedUrls, tmp_path: Path
) -> None:
    count = len(CONFIGURATION["firms"])
    range_ = UidRange(400_000, 400_000 + count)
    async with running_api(inhabited_urls, tmp_path, range_) as installation:
        before = await uids(installation)
        assert sorted(before.values()) == list(range(400_000, 400_000 + count))
        await apply(installation, {"firms": [{"name": "lanjing", "title": "Renamed"}, {"name": "new"}]})
        assert await uids(installation) == {**before, "new": range_.last}
        refused = await apply(installation, {"firms": [{"name": "another"}]})
        assert refused["code"] == "invalid"
        assert f"all of SUANLI_FIRM_UIDS 400000-{range_.last} are given" in str(refused)
        assert "another" not in await uids(installation)


async def test_users_of_the_file_exist_and_get_keys_apart(installation: ApiInstallation) -> None:
    await apply(installation, {"users": [{"name": "liu", "role": "researcher", "firm": "lanjing"}]})
    made = await installation.as_("ops").post("/v1/api-keys", json={"principal": "liu"})
    who = await installation.as_(None).get(
        "/v1/whoami", headers={"Authorization": f"Bearer {made.json()['api_key']}"}
    )
    assert who.json()["name"] == "liu"


async def test_what_can_be_chosen_is_listed(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    models = (await lin.get("/v1/models")).json()["models"]
    assert MODEL in {model["model"] for model in models}
    assert (await lin.get("/v1/pools")).json()["pools"] == [
        {"name": "haidian", "backend": "agents", "patience_seconds": 30, "volumes": [], "object_stores": []}
    ]
    (firm,) = (await lin.get("/v1/firms")).json()["firms"]
    assert firm == {"name": "lanjing", "title": "Lanjing AI Co., Ltd.", "projects": ["default", "vision"]}


async def test_cordoning_asks_the_controller(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    answer = await ops.post("/v1/nodes/node-1/cordon", json={"cordoned": True})
    assert answer.status_code == 202
    async with installation.api.database.read() as session:
        asked = await session.scalar(select(InboxRow.body).where(InboxRow.kind == "CordonRequested"))
    assert asked == {"node_id": answer.json()["node_id"], "cordoned": True}
    assert (await ops.post("/v1/nodes/nowhere/cordon", json={"cordoned": True})).status_code == 404


COHORTS = {
    "cohorts": [
        {"name": "company", "nominal": {MODEL: 8}},
        {"name": "research", "parent": "company", "borrowing": {MODEL: 8}, "weight": 2},
    ],
    "firms": [
        {
            "name": "lanjing",
            "queues": [
                {
                    "name": "default",
                    "cohort": "research",
                    "nominal": {MODEL: 16, "compute_tflops": 9000},
                    "lending": {MODEL: 8},
                },
                {"name": "batch", "cohort": "research", "nominal": {MODEL: 0}},
            ],
        }
    ],
}


async def test_a_tree_of_cohorts_is_applied_and_shown_with_what_may_be_taken(
    installation: ApiInstallation,
) -> None:
    applied = await apply(installation, COHORTS)
    assert outcomes(applied)["cohort", "research"] == "created"
    assert set(outcomes(await apply(installation, COHORTS)).values()) == {"unchanged"}

    lines = (await installation.as_("ops").get("/v1/quotas")).json()["quotas"]
    found = {(line["firm"], line["name"], line["key"]): line for line in lines}
    default = found["lanjing", "default", MODEL]
    assert (default["nominal"], default["held"], default["lending"]) == (16, 0, 8)
    assert default["available"] == 24  # its 16, and the company's 8: what `batch` has is nothing
    assert found["lanjing", "batch", MODEL]["available"] == 16  # 8 that default lends, 8 of the company
    assert found["lanjing", "default", "compute_tflops"]["nominal"] == 9000
    # A cohort has in its hands what is its own and what its members lend.
    assert found[None, "company", MODEL]["nominal"] == 16

    own = (await installation.as_("lin").get("/v1/quotas")).json()["quotas"]
    assert {line["firm"] for line in own} == {"lanjing"}

    more = copy.deepcopy(COHORTS)
    more["firms"][0]["queues"][0]["nominal"]["compute_tflops"] = 9600
    changed = next(c for c in (await apply(installation, more))["changes"] if c["outcome"] == "changed")
    assert changed["differences"] == [
        {
            "field": "nominal",
            "was": {MODEL: 16, "compute_tflops": 9000},
            "now": {MODEL: 16, "compute_tflops": 9600},
        }
    ]


async def test_parts_of_devices_are_held_as_parts(installation: ApiInstallation) -> None:
    await apply(installation, COHORTS)
    node_id, devices = await installation.add_node("node-2")
    for _ in range(4):
        job_id = await installation.submit(share={"ppm": 250_000})
        await installation.add_attempt(job_id, node_id, devices[:1], share_ppm=250_000)
    lines = (await installation.as_("lin").get("/v1/quotas")).json()["quotas"]
    (default,) = [line for line in lines if (line["name"], line["key"]) == ("default", MODEL)]
    assert (default["held"], default["available"]) == (1, 23)


@pytest.mark.parametrize(
    ("body", "field", "want"),
    [
        ({"cohorts": [{"name": "a", "parent": "b"}]}, "cohorts[0].parent", "one of: a"),
        (
            {"cohorts": [{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}]},
            "cohorts[0].parent",
            "a -> b -> a is a circle",
        ),
        (
            {"cohorts": [{"name": "c1"}, *({"name": f"c{n}", "parent": f"c{n - 1}"} for n in range(2, 41))]},
            "cohorts[32].parent",
            "c33 would be on level 33, and a tree has 32 at most",
        ),
        ({"cohorts": [{"name": "a", "nominal": {"h9000": 1}}]}, "cohorts[0].nominal.h9000", "catalogue"),
        (
            {"firms": [{"name": "lanjing", "queues": [{"name": "q", "cohort": "nowhere"}]}]},
            "firms[0].queues[0].cohort",
            "none exists yet",
        ),
        (
            {"firms": [{"name": "lanjing", "queues": [{"name": "q", "borrowing": {MODEL: 1}}]}]},
            "firms[0].queues[0].borrowing",
            "nobody borrows",
        ),
        (
            {
                "cohorts": [{"name": "a"}],
                "firms": [
                    {
                        "name": "lanjing",
                        "queues": [
                            {"name": "q", "cohort": "a", "nominal": {MODEL: 4}, "lending": {MODEL: 5}}
                        ],
                    }
                ],
            },
            f"firms[0].queues[0].lending.{MODEL}",
            "at most 4",
        ),
        (
            {
                "cohorts": [{"name": "a"}],
                "firms": [
                    {
                        "name": "lanjing",
                        "queues": [
                            {"name": "q", "cohort": "a", "nominal": {MODEL: 4}, "borrowing": {MODEL: 5}}
                        ],
                    }
                ],
            },
            f"firms[0].queues[0].borrowing.{MODEL}",
            "at most 0",
        ),
        ({"cohorts": [{"name": "a", "nominal": {MODEL: -1}}]}, f"cohorts[0].nominal.{MODEL}", "0 to"),
        ({"cohorts": [{"name": "a", "weight": 0}]}, "cohorts[0].weight", "1 to 1000"),
    ],
)
async def test_quotas_that_cannot_be_are_refused_by_field(
    installation: ApiInstallation, body: object, field: str, want: str
) -> None:
    before = await counts(installation)
    answer = await installation.as_("ops").post("/v1/apply", json=body)
    assert answer.status_code == 422
    problems = {problem["field"]: problem["want"] for problem in answer.json()["errors"]}
    assert want in problems[field]
    assert await counts(installation) == before


async def test_what_a_file_does_not_name_of_a_firm_is_left_alone(installation: ApiInstallation) -> None:
    queue = {"name": "default", "pools": ["haidian"], "nominal": {MODEL: 4}}
    await apply(installation, {"firms": [{"name": "lanjing", "title": "Lanjing AI", "queues": [queue]}]})
    applied = await apply(installation, {"firms": [{"name": "lanjing", "projects": ["vision"]}]})
    assert set(outcomes(applied)) == {("firm", "lanjing"), ("project", "lanjing/vision")}
    assert outcomes(applied)["firm", "lanjing"] == "unchanged"
    applied = await apply(installation, {"firms": [{"name": "lanjing", "queues": [{**queue, "weight": 2}]}]})
    assert outcomes(applied) == {("firm", "lanjing"): "unchanged", ("queue", "lanjing/default"): "changed"}
    made = outcomes(await apply(installation, {"firms": [{"name": "newcomer"}]}))
    assert set(made) == {("firm", "newcomer"), ("project", "newcomer/default"), ("queue", "newcomer/default")}


async def test_more_quota_than_there_are_devices_is_applied_with_a_warning(
    installation: ApiInstallation,
) -> None:
    def file(devices: int) -> dict[str, object]:
        queue = {"name": "default", "pools": ["haidian"], "nominal": {MODEL: devices}}
        return {"firms": [{"name": "lanjing", "queues": [queue]}]}

    nodes = (await installation.as_("ops").get("/v1/nodes")).json()["nodes"]
    there = sum(len(node["devices"]) for node in nodes)
    assert there
    assert (await apply(installation, file(there)))["warnings"] == []
    applied = await apply(installation, file(there + 1))
    assert outcomes(applied)["queue", "lanjing/default"] == "changed"
    assert applied["warnings"] == [
        {
            "field": f"firms[0].queues[0].nominal.{MODEL}",
            "got": str(there + 1),
            "want": f"at most {there}, as its pools have no more (nodes may come later)",
        }
    ]


def booking(**changes: object) -> dict[str, object]:
    """A reservation of the pool for an hour, a day after the clock of these tests."""
    entry = {
        "name": "demo", "firm": "lanjing", "pool": "haidian", "from": "2027-01-16T16:00:00+08:00",
        "until": "2027-01-16T17:00:00+08:00",
    }  # fmt: skip
    return {key: value for key, value in {**entry, **changes}.items() if value is not None}


async def test_the_calendar_is_applied_listed_and_cut_short(installation: ApiInstallation) -> None:
    window = booking(name="rack-7", firm=None, why="a new power supply")
    body = {
        "reservations": [
            booking(**{"from": "2027-01-17T16:00:00+08:00", "until": "2027-01-17T17:00:00+08:00"})
        ]
    }
    applied = await apply(installation, {**body, "maintenance": [window]})
    assert outcomes(applied) == {("calendar", "rack-7"): "created", ("calendar", "demo"): "created"}
    assert set(outcomes(await apply(installation, body)).values()) == {"unchanged"}

    listed = (await installation.as_("lin").get("/v1/calendar")).json()["calendar"]
    assert [(entry["name"], entry["firm"]) for entry in listed] == [("rack-7", None), ("demo", "lanjing")]
    assert listed[0]["begins"] == "2027-01-16T08:00:00.000Z"

    assert (await installation.as_("lin").delete("/v1/calendar/demo")).status_code == 403
    assert (await installation.as_("ops").delete("/v1/calendar/demo")).status_code == 204
    assert (await installation.as_("ops").delete("/v1/calendar/demo")).status_code == 404
    listed = (await installation.as_("ops").get("/v1/calendar")).json()["calendar"]
    assert [entry["name"] for entry in listed] == ["rack-7"]


async def test_what_is_planned_for_a_node_enters_the_log_and_names_no_firm(
    installation: ApiInstallation,
) -> None:
    window = booking(name="rack-7", firm=None, why="a new power supply")
    later = booking(**{"from": "2027-01-17T16:00:00+08:00", "until": "2027-01-17T17:00:00+08:00"})
    planned = {"maintenance": [window], "reservations": [later]}

    async def said() -> list[DeviceCalendar]:
        records = [record for _, record in (await facts(installation)).values()]
        return [record for record in records if isinstance(record, DeviceCalendar)]

    await apply(installation, planned, dry_run=True)
    assert await said() == []
    await apply(installation, planned)
    await apply(installation, planned)
    (first,) = await said()
    assert [(one.plan, one.until_ms - one.from_ms) for one in first.planned] == [
        ("maintenance", 3_600_000),
        ("reserved", 3_600_000),
    ]
    assert first.device_ids
    assert b"lanjing" not in encode_record(first)

    await installation.as_("ops").delete("/v1/calendar/rack-7")
    (newest,) = [record for record in await said() if record != first]
    assert newest == replace(first, planned=first.planned[1:])


@pytest.mark.parametrize(
    ("entry", "field", "want"),
    [
        (booking(**{"from": "2026-01-01T00:00:00Z"}), "reservations[0].from", "a time from now on"),
        (
            booking(**{"from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}),
            "reservations[0].until",
            "a time after now",
        ),
        (booking(until="2027-01-16T16:00:00+08:00"), "reservations[0].until", "a time after from"),
        (booking(until="tomorrow"), "reservations[0].until", "with its zone"),
        (booking(until="2027-02-29T08:00:00+08:00"), "reservations[0].until", "2027-02 has 28 days"),
        (booking(firm="nobody"), "reservations[0].firm", "one of:"),
        (booking(queue="nowhere"), "reservations[0].queue", "one of: default"),
        (booking(pool="nowhere"), "reservations[0].pool", "one of: haidian"),
        (booking(nodes=["n1"]), "reservations[0].nodes", "or a pool"),
        (booking(pool=None, nodes=["n1"]), "reservations[0].nodes[0]", "one of: node-1"),
    ],
)  # fmt: skip
async def test_a_reservation_that_cannot_be_is_refused_by_field(
    installation: ApiInstallation, entry: dict[str, object], field: str, want: str
) -> None:
    answer = await installation.as_("ops").post("/v1/apply", json={"reservations": [entry]})
    assert answer.status_code == 422
    problems = {problem["field"]: problem["want"] for problem in answer.json()["errors"]}
    assert want in problems[field]


@pytest.mark.parametrize(
    ("where", "field"), [({"pool": "haidian"}, "pool"), ({"pool": None, "nodes": ["node-1"]}, "nodes[0]")]
)
async def test_what_a_queue_may_not_use_is_not_reserved_for_it(
    installation: ApiInstallation, where: dict[str, object], field: str
) -> None:
    body = {
        "pools": [{"name": "elsewhere"}],
        "firms": [{"name": "new", "queues": [{"name": "default", "pools": ["elsewhere"]}]}],
        "reservations": [booking(firm="new", **where)],
    }
    answer = await installation.as_("ops").post("/v1/apply", json=body)
    assert answer.status_code == 422
    problems = {problem["field"]: problem["want"] for problem in answer.json()["errors"]}
    assert problems == {f"reservations[0].{field}": "in a pool of queue default: elsewhere"}
