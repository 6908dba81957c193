"""Who may do what, over every route that there is."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from sqlalchemy import text, update

from scheduler.api.auth import OPEN_PATHS, Allow
from scheduler.api.middleware import BODY_LIMIT_BYTES
from scheduler.domain.authorise import ALLOWED, Action
from scheduler.domain.principals import Role
from scheduler.domain.time import DAY_MS
from scheduler.storage.tables import NodeStateRow
from tests.builders.api import PEOPLE, ApiInstallation, InhabitedUrls, job_spec, running_api

TOO_LARGE = {"name": "x" * BODY_LIMIT_BYTES}


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


def routes(app: FastAPI) -> Iterator[tuple[str, str, Action | None]]:
    """(method, path, action) of every route, WebSocket routes among them."""
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        waiting.extend(getattr(getattr(route, "original_router", None), "routes", ()))
        if isinstance(route, APIRoute):
            for method in sorted(route.methods or ()):
                yield method, route.path, action_of(route.dependant)
        elif isinstance(route, APIWebSocketRoute):
            yield "WEBSOCKET", route.path, action_of(route.dependant)


def action_of(dependant: Dependant) -> Action | None:
    found = [d.call.action for d in dependant.dependencies if isinstance(d.call, Allow)]
    return found[0] if found else None


async def test_every_route_is_found(installation: ApiInstallation) -> None:
    found = {(method, path) for method, path, _ in routes(installation.app)}
    assert len(found) >= 30
    assert ("WEBSOCKET", "/v1/jobs/{job_id}/attach") in found
    assert {("POST", "/v1/jobs"), ("GET", "/v1/bundle"), ("GET", "/log/checkpoint")} <= found


async def test_every_route_outside_the_open_paths_names_its_action(installation: ApiInstallation) -> None:
    unnamed = {path for _, path, action in routes(installation.app) if action is None}
    of_the_log = {"/log/checkpoint", "/log/tile/{path:path}"}
    assert unnamed == {"/healthz", "/readyz", "/version", "/v1/issuers", *of_the_log}
    assert all(OPEN_PATHS.fullmatch(path) for path in unnamed)


async def test_without_a_key_only_the_open_paths_answer(installation: ApiInstallation) -> None:
    for method, path, _ in routes(installation.app):
        answer = await installation.ask(None, method, path.replace("{path:path}", "0/000"))
        if OPEN_PATHS.fullmatch(path):
            assert answer.status_code in (200, 404), path
        else:
            assert answer.status_code == 401, (method, path)
            assert answer.json()["code"] == "unauthenticated"
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/nowhere", "/v1", "/logs", "/log", "/metrics"]
)
async def test_no_other_path_is_open(installation: ApiInstallation, path: str) -> None:
    assert (await installation.as_(None).get(path)).status_code == 401


@pytest.mark.parametrize("person", sorted(PEOPLE))
async def test_every_role_is_refused_exactly_what_is_not_its_own(
    installation: ApiInstallation, person: str
) -> None:
    role = Role(PEOPLE[person][0])
    for method, path, action in routes(installation.app):
        if action is None:
            continue
        answer = await installation.ask(person, method, path)
        refused = answer.status_code == 403
        assert refused == (role not in ALLOWED[action]), (method, path, answer.text)
        if refused:
            assert answer.json()["code"] == "forbidden"
            assert answer.json()["facts"] == {"action": action.value, "role": role.value}


async def test_a_foreign_firms_job_does_not_exist_on_any_route(installation: ApiInstallation) -> None:
    job_id = await installation.submit("lin")
    of_a_job = [
        (
            method,
            re.sub(
                r"{path:path}|{attempt}|{rank}",
                "1",
                path.replace("{job_id}", job_id).replace("{stream}", "stdout"),
            ),
        )
        for method, path, _ in routes(installation.app)
        if "{job_id}" in path
    ]
    assert len(of_a_job) >= 6
    for person in ("zhao", "sun"):
        for method, path in [*of_a_job, ("GET", f"/v1/usage?job_id={job_id}")]:
            answer = await reach(installation, person, method, path)
            unknown = await reach(installation, person, method, path.replace(job_id, "x" * 36))
            assert answer.status_code == unknown.status_code == 404, (method, path)
            assert answer.json()["detail"].replace(job_id, "") == unknown.json()["detail"].replace(
                "x" * 36, ""
            )


async def reach(installation: ApiInstallation, person: str, method: str, path: str) -> httpx.Response:
    """With what a route asks for before it looks for the job."""
    if method == "WEBSOCKET":
        return await installation.handshake(person, path, b"port=8888&rank=0")
    changes = {"priority": "high"} if method == "PATCH" else None
    return await installation.as_(person).request(method, path, json=changes)


async def test_lists_hold_nothing_of_another_firm(installation: ApiInstallation) -> None:
    mine = await installation.submit("lin")
    await installation.set_state(mine)
    node_id, devices = await installation.add_node("node-2")
    await installation.add_attempt(mine, node_id, devices)
    await installation.add_event(1, "JobStarted", mine)
    zhao = installation.as_("zhao")

    assert (await zhao.get("/v1/jobs")).json()["jobs"] == []
    assert (await zhao.get("/v1/events")).json()["events"] == []
    assert (await zhao.get("/v1/nodes")).json()["nodes"] == []
    assert {f["name"] for f in (await zhao.get("/v1/firms")).json()["firms"]} == {"beiming"}
    assert {q["firm"] for q in (await zhao.get("/v1/queues")).json()["queues"]} == {"beiming"}
    assert (await zhao.get("/v1/usage")).json()["firms"] == []
    sun = installation.as_("sun")
    assert {p["name"] for p in (await sun.get("/v1/principals")).json()["principals"]} == {"zhao", "sun"}
    assert {k["principal"] for k in (await sun.get("/v1/api-keys")).json()["api_keys"]} == {"zhao", "sun"}


async def test_people_see_of_the_nodes_what_is_theirs_and_what_is_free(installation: ApiInstallation) -> None:
    mine = await installation.submit("lin")
    node_id, devices = await installation.add_node("node-2")
    await installation.add_attempt(mine, node_id, devices[:3])

    (node,) = (await installation.as_("lin").get("/v1/nodes")).json()["nodes"]
    assert (node["name"], [d["index"] for d in node["devices"]]) == ("node-2", [0, 1, 2])
    assert node["devices"][0]["held_by"]["job_id"] == mine
    assert node["devices"][0]["held_by"]["array_index"] is None
    everything = (await installation.as_("ops").get("/v1/nodes")).json()
    assert {n["name"]: len(n["devices"]) for n in everything["nodes"]} == {"node-1": 8, "node-2": 8}
    free = {"pool": "haidian", "device_model": "ascend-910b3", "devices": 16, "free": 13, "in_use": 3}
    free |= {"simulated": 16, "in_use_ppm": 3_000_000, "free_parts_ppm": 0}
    assert everything["free"] == [free]
    others = {"nodes": [], "free": [free | {"in_use_ppm": 0}]}
    assert (await installation.as_("zhao").get("/v1/nodes")).json() == others


@pytest.mark.parametrize(
    ("isolation", "one_firm", "for_another_ppm"),
    [("none", False, 0), ("uid", True, 0), ("namespace", True, 0), ("namespace", False, 870_000)],
)
async def test_a_firm_is_told_of_the_parts_that_it_may_have_and_of_no_neighbours_use(
    installation: ApiInstallation, isolation: str, one_firm: bool, for_another_ppm: int
) -> None:
    mine = await installation.submit("lin")
    node_id, devices = await installation.add_node("node-2", model="ascend-910b4")
    await installation.add_attempt(mine, node_id, devices[:1], share_ppm=130_000)
    serves = installation.firms["lanjing"] if one_firm else None
    await installation.as_controller(
        update(NodeStateRow)
        .where(NodeStateRow.node_id == node_id)
        .values(isolation=isolation, one_firm=one_firm, one_firm_id=serves)
    )

    async def parts(person: str) -> tuple[int, int, int]:
        counts = (await installation.as_(person).get("/v1/nodes")).json()["free"]
        (one,) = [one for one in counts if one["device_model"] == "ascend-910b4"]
        return one["in_use"], one["in_use_ppm"], one["free_parts_ppm"]

    assert await parts("ops") == (1, 130_000, 870_000)
    assert await parts("lin") == (1, 130_000, 870_000)
    assert await parts("zhao") == (1, 0, for_another_ppm)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic b3BzOng=", "Bearer sk_", "Bearer sk_" + "a" * 43, "Bearer sk_\xe9", "sk_" + "a" * 43],
)  # fmt: skip
async def test_a_wrong_key_opens_nothing(installation: ApiInstallation, header: str) -> None:
    sent = [(b"Authorization", header.encode("latin-1"))]
    answer = await installation.as_(None).get("/v1/whoami", headers=sent)
    assert answer.status_code == 401
    assert answer.headers["x-request-id"]


async def test_only_the_hash_of_a_key_is_stored(
    installation: ApiInstallation, inhabited_urls: InhabitedUrls
) -> None:
    secret = installation.keys["lin"]
    async with installation.api.database.read() as session:
        rows = (await session.execute(text("SELECT api_keys::text FROM api_keys"))).scalars().all()
    assert len(rows) == len(PEOPLE)
    assert not any(secret in row or secret.removeprefix("sk_") in row for row in rows)
    assert any(hashlib.sha256(secret.encode()).hexdigest() in row for row in rows)


async def in_pieces(body: object) -> AsyncIterator[bytes]:
    """As JSON whose length is not said before."""
    yield json.dumps(body).encode()


async def test_keys_end_when_they_expire_are_revoked_or_their_principal_is_disabled(
    installation: ApiInstallation,
) -> None:
    def with_key(secret: str) -> httpx.AsyncClient:
        client = installation.as_(None)
        client.headers["Authorization"] = f"Bearer {secret}"
        return client

    async def works(secret: str, first: int = 0) -> bool:
        """The same wherever it is used first: jobs are submitted by the statement that asks about the key."""
        client = with_key(secret)
        jobs = [job_spec(), job_spec(array={"count": 2}), job_spec(queue="nowhere"), {"queue": 1}, TOO_LARGE]
        answers = [
            await client.post("/v1/jobs", content=in_pieces(job)) for job in jobs[first:] + jobs[:first]
        ]
        answers.append(await client.get("/v1/whoami"))
        (refused,) = {answer.status_code == 401 for answer in answers}
        return not refused

    lin, wang, ops = (installation.as_(person) for person in ("lin", "wang", "ops"))
    short = (await lin.post("/v1/api-keys", json={"expires_in_days": 1})).json()
    other = (await lin.post("/v1/api-keys", json={})).json()
    assert await works(short["api_key"])
    assert await works(other["api_key"])
    installation.clock.now_ms += DAY_MS
    both = [with_key(key).post("/v1/jobs", json=job_spec()) for key in (short["api_key"], other["api_key"])]
    assert [answer.status_code for answer in await asyncio.gather(*both)] == [401, 201]
    assert not await works(short["api_key"])

    assert (await lin.delete(f"/v1/api-keys/{other['api_key_id']}")).status_code == 204
    assert (await lin.delete(f"/v1/api-keys/{other['api_key_id']}")).status_code == 204
    assert not await works(other["api_key"], first=1)

    for first in (2, 4):
        key = (await lin.post("/v1/api-keys", json={})).json()
        assert await works(key["api_key"])
        assert (await lin.delete(f"/v1/api-keys/{key['api_key_id']}")).status_code == 204
        assert not await works(key["api_key"], first)

    assert await works(installation.keys["lin"])
    assert (await wang.post("/v1/principals/lin/disable")).status_code == 204
    assert not await works(installation.keys["lin"], first=3)
    assert (await wang.post("/v1/principals/zhao/disable")).status_code == 404
    assert (await ops.post("/v1/principals/ops/disable")).status_code == 409


async def test_firm_administrators_manage_their_own_firm_only(installation: ApiInstallation) -> None:
    wang = installation.as_("wang")
    made = await wang.post("/v1/principals", json={"name": "new", "role": "researcher", "firm": "lanjing"})
    assert made.status_code == 201
    key = await wang.post("/v1/api-keys", json={"principal": "new"})
    assert key.status_code == 201
    answer = await installation.as_(None).get(
        "/v1/whoami", headers={"Authorization": f"Bearer {key.json()['api_key']}"}
    )
    who = answer.json()
    firm_id = (await wang.get("/v1/whoami")).json()["firm_id"]
    assert (who["name"], who["kind"], who["role"], who["projects"]) == ("new", "user", "researcher", None)
    assert (who["firm"], who["firm_id"]) == ("lanjing", firm_id)
    assert firm_id

    foreign = await wang.post("/v1/principals", json={"name": "x", "role": "researcher", "firm": "beiming"})
    operator = await wang.post("/v1/principals", json={"name": "x", "role": "operator"})
    assert (foreign.status_code, operator.status_code) == (403, 403)
    assert (await wang.post("/v1/api-keys", json={"principal": "zhao"})).status_code == 404
    assert (await wang.post("/v1/api-keys", json={"principal": "ops"})).status_code == 404
    assert (await installation.as_("lin").post("/v1/api-keys", json={"principal": "wang"})).status_code == 403
    keys = (await installation.as_("ops").get("/v1/api-keys")).json()["api_keys"]
    of_ops = next(key["api_key_id"] for key in keys if key["principal"] == "ops")
    assert (await wang.delete(f"/v1/api-keys/{of_ops}")).status_code == 404


async def test_the_databases_role_of_the_api_cannot_move_a_job(installation: ApiInstallation) -> None:
    job_id = await installation.submit()
    await installation.set_state(job_id)
    with pytest.raises(Exception, match="permission denied"):
        async with installation.api.database.transaction() as session:
            await session.execute(text("UPDATE job_states SET state = 'succeeded'"))
    assert (await installation.as_("lin").get(f"/v1/jobs/{job_id}")).json()["state"] == "running"


async def test_the_answer_to_a_body_never_comes_before_the_answer_to_who_asks(
    installation: ApiInstallation,
) -> None:
    refused = await installation.as_("audit").post("/v1/jobs", json=job_spec(name="!!"))
    nobody = await installation.as_(None).post("/v1/jobs", content=b"\xff")
    assert (refused.status_code, nobody.status_code) == (403, 401)


def test_the_tables_of_actions_and_rows_agree() -> None:
    assert set(ALLOWED) == set(Action)
    assert all(roles for roles in ALLOWED.values())
    assert {str(role) for role in Role} == {role for role, _ in PEOPLE.values()}
