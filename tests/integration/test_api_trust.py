"""What every caller may rely on: limits, keys with scopes, repetitions, acts that cannot be denied."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from scheduler.api.app import create_app
from scheduler.api.languages import TITLES_ZH
from scheduler.api.problems import _TITLES, STATUSES
from scheduler.domain import errors
from scheduler.domain.authorise import Action, scope_of
from scheduler.domain.principals import Scope
from scheduler.storage.tables import EvidenceIntakeRow
from suanli.evidence.records import AdministrativeAct, parse_record
from tests.builders.api import MODEL, ApiInstallation, InhabitedUrls, job_spec, running_api

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def acts(installation: ApiInstallation) -> list[AdministrativeAct]:
    """What waits for the evidence log, oldest first."""
    row = EvidenceIntakeRow
    async with installation.api.database.read() as session:
        found = await session.execute(select(row.type, row.body).order_by(row.intake_id))
        records = [parse_record(kind, body) for kind, body in found]
    return [record for record in records if isinstance(record, AdministrativeAct)]


async def test_who_asks_too_fast_is_told_when_to_come_back(installation: ApiInstallation) -> None:
    slow = create_app(dataclasses.replace(installation.config, requests_per_s=1))
    async with slow.router.lifespan_context(slow):
        lin, zhao = installation.as_("lin", slow), installation.as_("zhao", slow)
        answers = [await lin.get("/v1/whoami")]
        while answers[-1].status_code == 200:  # one comes back each second, however slow the machine is
            answers += await asyncio.gather(*(lin.get("/v1/whoami") for _ in range(20)))
        assert sum(answer.status_code == 200 for answer in answers) >= 10
        assert {answer.status_code for answer in answers} == {200, 429}
        assert answers[0].headers["ratelimit-policy"] == '"principal";q=10;w=10'
        assert answers[0].headers["ratelimit"].startswith('"principal";r=9;')
        assert answers[-1].json()["code"] == "rate_limited"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await zhao.get("/v1/whoami")).status_code == 200


async def test_a_dead_key_hears_that_it_is_dead_however_fast_it_asks(installation: ApiInstallation) -> None:
    slow = create_app(dataclasses.replace(installation.config, requests_per_s=1))
    async with slow.router.lifespan_context(slow):
        lin = installation.as_("lin")
        made = (await lin.post("/v1/api-keys", json={"scope": "jobs"})).json()
        dead = installation.as_(None, slow)
        dead.headers["Authorization"] = f"Bearer {made['api_key']}"
        assert (await dead.post("/v1/jobs", json=job_spec())).status_code == 201
        assert (await lin.delete(f"/v1/api-keys/{made['api_key_id']}")).status_code == 204
        answers = await asyncio.gather(*(dead.post("/v1/jobs", json=job_spec()) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {401}


async def test_a_key_does_what_its_scope_says_and_makes_no_wider_key(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    clients = {}
    for scope in Scope:
        made = (await lin.post("/v1/api-keys", json={"scope": scope.value})).json()
        assert made["scope"] == scope.value
        clients[scope] = installation.as_(None)
        clients[scope].headers["Authorization"] = f"Bearer {made['api_key']}"
    read, jobs, everything = (clients[scope] for scope in (Scope.READ, Scope.JOBS, Scope.ADMINISTRATION))
    assert (await read.get("/v1/jobs")).status_code == 200
    refused = await read.post("/v1/jobs", json=job_spec())
    assert (refused.status_code, refused.json()["facts"]) == (403, {"action": "submit_job", "scope": "read"})
    made_job = await jobs.post("/v1/jobs", json=job_spec())
    assert made_job.status_code == 201
    assert (await read.post(f"/v1/jobs/{made_job.json()['job_id']}/cancel")).status_code == 403
    for narrow in (read, jobs):
        assert (await narrow.post("/v1/api-keys", json={})).status_code == 403
        assert (await narrow.get("/v1/api-keys")).status_code == 403
    assert (await everything.post("/v1/api-keys", json={})).status_code == 201
    assert (await lin.post("/v1/api-keys", json={"scope": "root"})).status_code == 422


def test_actions_that_are_not_named_need_the_widest_scope() -> None:
    assert scope_of(Action.CONFIGURE) is scope_of(Action.MANAGE_OWN_KEYS) is Scope.ADMINISTRATION
    assert {a for a in Action if scope_of(a) is Scope.READ} >= {Action.READ_JOBS, Action.DOWNLOAD_BUNDLE}


async def test_administrative_acts_wait_for_the_evidence_log_and_name_nobody(
    installation: ApiInstallation,
) -> None:
    ops, wang = installation.as_("ops"), installation.as_("wang")
    before = len(await acts(installation))
    made = await wang.post("/v1/principals", json={"name": "new", "role": "researcher", "firm": "lanjing"})
    key = (await ops.post("/v1/api-keys", json={"principal": "new"})).json()
    for _ in range(2):  # the second has no effect, and is no act
        assert (await ops.delete(f"/v1/api-keys/{key['api_key_id']}")).status_code == 204
        assert (await wang.post("/v1/principals/new/disable")).status_code == 204
    for _ in range(2):
        change = {"pools": [{"name": "haidian", "patience_seconds": 60}]}
        assert (await ops.post("/v1/apply", json=change)).status_code == 200
    assert (await ops.post("/v1/apply?dry_run=true", json={"pools": [{"name": "other"}]})).status_code == 200
    await ops.post("/v1/join-tokens", json={"pool": "haidian", "uses": 3})
    await ops.post("/v1/nodes/node-1/cordon", json={"cordoned": True})
    assert made.status_code == 201
    noted = (await acts(installation))[before:]
    assert [act.act for act in noted] == [
        "principal_created", "api_key_created", "api_key_revoked", "principal_disabled",
        "configuration_applied", "join_token_created", "node_cordoned",
    ]  # fmt: skip
    assert {act.actor_role for act in noted} == {"firm_administrator", "operator"}
    assert noted[4].subject == "1 objects of 1"
    assert not any(name in str(noted) for name in ("new", "wang", "lanjing", key["api_key"]))


@pytest.mark.parametrize(
    ("person", "path", "body", "secret"),
    [
        ("wang", "/v1/principals", {"name": "new", "role": "researcher", "firm": "lanjing"}, None),
        ("lin", "/v1/api-keys", {}, "api_key"),
        ("ops", "/v1/join-tokens", {"pool": "haidian"}, "token"),
    ],
)
async def test_what_is_made_is_made_once_and_its_secret_is_not_kept(
    installation: ApiInstallation, person: str, path: str, body: dict[str, str], secret: str | None
) -> None:
    client = installation.as_(person)
    headers = {"Idempotency-Key": "k-1"}
    first = await client.post(path, json=body, headers=headers)
    again = await client.post(path, json=body, headers=headers)
    other = await client.post(path, json={**body, "x": 1}, headers=headers)
    assert first.status_code == 201
    assert other.status_code == 422
    if secret is None:
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotent-replayed"] == "true"
    else:
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
        assert first.json()[secret] not in again.text
        assert set(again.json()["facts"].values()) <= set(first.json().values())
    made = sum(act.act.endswith("_created") for act in await acts(installation))
    third = await client.post(path, json=body)
    expected = 409 if path == "/v1/principals" else 201
    assert third.status_code == expected
    assert sum(act.act.endswith("_created") for act in await acts(installation)) == made + (expected == 201)


async def test_long_answers_are_compressed_for_those_who_accept_it(installation: ApiInstallation) -> None:
    for _ in range(3):
        await installation.submit()
    lin = installation.as_("lin")
    plain = await lin.get("/v1/jobs", headers={"Accept-Encoding": "identity"})
    packed = await lin.get("/v1/jobs", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert packed.json() == plain.json()


def codes() -> Iterator[str]:
    """Every code that an error can have."""
    waiting: list[type[errors.DomainError]] = [errors.DomainError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if (
            "code" in vars(kind)
            and kind is not errors.DomainError
            and kind.__module__.startswith(("scheduler.domain", "scheduler.api"))
        ):
            yield kind.code


def test_every_code_is_in_the_document_with_its_status() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    written = {code: int(status) for code, status in rows}
    assert len(written) == len(rows)
    assert set(codes()) <= set(written)
    for kind, status, _ in STATUSES:
        assert written[kind.code] == status
    for status, (code, _) in _TITLES.items():
        assert written[code] == status
    assert set(TITLES_ZH) == set(written)


@pytest.mark.parametrize(
    ("accepted", "title"),
    [
        (None, "Not found"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "未找到"),
        ("en-GB, zh;q=0.5", "Not found"),
        ("fr, zh;q=0.1", "未找到"),
        ("zh;q=x, *", "Not found"),
        ("zh;q=0", "Not found"),
    ],
)
async def test_titles_are_in_the_language_that_is_asked_for(
    installation: ApiInstallation, accepted: str | None, title: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    answer = await installation.as_("lin").get("/v1/jobs/none", headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (404, title)
    assert answer.headers["content-language"] == ("zh" if title == "未找到" else "en")
    assert answer.json()["code"] == "not_found"
    assert answer.json()["detail"] == ("没有作业 none" if title == "未找到" else "there is no job none")


async def test_what_is_wrong_is_said_in_chinese_and_programs_read_what_they_always_did(
    installation: ApiInstallation,
) -> None:
    lin, wrong = installation.as_("lin"), job_spec(gang={"devices": -1})
    english = (await lin.post("/v1/jobs", json=wrong)).json()
    chinese = (await lin.post("/v1/jobs", json=wrong, headers={"Accept-Language": "zh"})).json()
    assert chinese["detail"].startswith("gang.devices：收到 -1，应为 1 到 ")
    ((said,), (meant,)) = chinese["errors"], english["errors"]
    assert (said["field"], said["got"], chinese["code"]) == (meant["field"], meant["got"], "invalid")
    assert said["want"].startswith("1 到 ")
    misspelt = job_spec(gnag={"devices": 1})  # names of fields are names in every language
    (unknown,) = (await lin.post("/v1/jobs", json=misspelt, headers={"Accept-Language": "zh"})).json()[
        "errors"
    ]
    assert unknown["want"].startswith("one of: ")
    act = await lin.post(
        "/v1/nodes/node-1/cordon", json={"cordoned": True}, headers={"Accept-Language": "zh"}
    )
    assert (act.status_code, act.json()["title"]) == (403, "没有权限")
    assert act.json()["detail"].startswith("lin 的角色是研究人员；")


async def test_warnings_and_refused_jobs_of_a_batch_are_in_the_language_that_is_asked_for(
    installation: ApiInstallation,
) -> None:
    chinese = {"Accept-Language": "zh"}
    ops, lin = installation.as_("ops"), installation.as_("lin")
    more = {"pools": ["haidian"], "nominal": {MODEL: 900}}
    for write in (ops.put, ops.patch):
        queue = (await write("/v1/firms/lanjing/queues/default", json=more, headers=chinese)).json()
        assert queue["warnings"][0]["want"].startswith("最多 ")
    firms = {"firms": [{"name": "lanjing", "queues": [{"name": "default", **more}]}]}
    applied = (await ops.post("/v1/apply", json=firms, headers=chinese)).json()
    assert applied["warnings"][0]["want"].startswith("最多 ")

    long = job_spec(time_limit_seconds=3600, estimate_seconds=7200)
    said = "最多 3600，即其时限：到时作业会被停止"
    for path in ("/v1/jobs", "/v1/jobs/validate"):
        (warning,) = (await lin.post(path, json=long, headers=chinese)).json()["warnings"]
        assert (warning["got"], warning["want"]) == ("7200", said)
    body = {"jobs": [long, job_spec(name="bad", gang={"devices": -1})], "atomic": False}
    batch = (await lin.post("/v1/jobs/batch", json=body, headers=chinese)).json()
    accepted, refused = batch["outcomes"]
    assert accepted["warnings"][0]["want"] == said
    assert refused["refused"]["errors"][0]["want"].startswith("1 到 ")
    assert refused["refused"]["detail"].startswith("jobs[1].gang.devices：收到 -1，应为 1 到 ")
