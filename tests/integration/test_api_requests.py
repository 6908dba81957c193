"""What comes over the wire is not always what was meant."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import structlog
from prometheus_client import REGISTRY

from scheduler.api.app import create_app
from scheduler.api.listening import listen
from scheduler.api.middleware import BODY_LIMIT_BYTES
from scheduler.api.openapi import FILE
from scheduler.api.openapi import text as openapi_text
from tests.builders.api import ApiInstallation, InhabitedUrls, job_spec, running_api, served
from tests.builders.database import DatabaseServer

JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'name': 1}", "not JSON"),
        (b'{"name": "\xff"}', "not UTF-8"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"name": NaN}', "no number of JSON"),
        (b'{"name": "\\u0000"}', "NUL"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"\\u0000": 1}', "NUL"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"gang": {"devices": ' + b"9" * 5000 + b"}}", "JSON"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_what_is_not_json_is_refused_as_that(
    installation: ApiInstallation, body: bytes, says: str
) -> None:
    answer = await installation.as_("lin").post("/v1/jobs", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "bad_request"
    assert says in problem["detail"]
    assert problem["status"] == 400


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b'[{"name": "a"}]'])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/apply", "/v1/principals"])
async def test_json_that_is_no_object_is_refused_by_its_root(
    installation: ApiInstallation, path: str, body: bytes
) -> None:
    person = "lin" if path == "/v1/jobs" else "ops"
    answer = await installation.as_(person).post(path, content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "(root)"


async def test_another_media_type_is_refused_by_name(installation: ApiInstallation) -> None:
    form = await installation.as_("lin").post("/v1/jobs", data={"name": "x"})
    assert form.status_code == 415
    assert "application/x-www-form-urlencoded" in form.json()["detail"]
    charset = {"Content-Type": "application/json; charset=utf-8"}
    fine = await installation.as_("lin").post("/v1/jobs", content=json.dumps(job_spec()), headers=charset)
    assert fine.status_code == 201


async def test_bodies_above_the_limit_are_refused_announced_or_not(installation: ApiInstallation) -> None:
    async with served(installation) as url, httpx.AsyncClient(base_url=url) as client:
        client.headers["Authorization"] = f"Bearer {installation.keys['lin']}"

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * (BODY_LIMIT_BYTES // 10)

        announced = await client.post("/v1/jobs", content=b" " * 4 * BODY_LIMIT_BYTES, headers=JSON)
        in_pieces = await client.post("/v1/jobs", content=pieces(), headers=JSON)
        just_fits = json.dumps(job_spec()).encode().ljust(BODY_LIMIT_BYTES)
        taken = await client.post("/v1/jobs", content=just_fits, headers=JSON)
    assert (announced.status_code, in_pieces.status_code) == (413, 413)
    assert announced.json()["code"] == in_pieces.json()["code"] == "limit_exceeded"
    assert taken.status_code == 201


async def test_every_answer_has_a_request_id_that_is_in_the_log(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    with structlog.testing.capture_logs() as logged:
        given = await ops.get("/v1/whoami", headers={"X-Request-Id": "abc-123"})
        forged = await ops.get("/v1/jobs/x", headers={"X-Request-Id": "a b\tc"})
        nobody = await installation.as_(None).get("/v1/whoami")
    assert given.headers["x-request-id"] == "abc-123"
    assert forged.headers["x-request-id"] == forged.json()["request_id"] != "a b\tc"
    lines = {entry["request_id"]: entry for entry in logged if entry["event"] == "request"}
    assert lines["abc-123"]["principal"] == "ops"
    assert lines["abc-123"]["status"] == 200
    assert lines[forged.headers["x-request-id"]]["status"] == 404
    assert lines[nobody.headers["x-request-id"]]["principal"] is None
    assert all(secret not in json.dumps(logged) for secret in installation.keys.values())


async def test_unknown_paths_and_methods_are_problems_too(installation: ApiInstallation) -> None:
    lin = installation.as_("lin")
    path, method = await lin.get("/v1/nothing"), await lin.put("/v1/jobs", json={})
    assert (path.status_code, path.json()["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert path.headers["content-type"] == method.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "field", "got", "want"),
    [
        ({"pool": "haidian", "uses": 0}, "uses", "0", "at least 1"),
        ({"pool": "haidian", "uses": "3"}, "uses", '"3"', "a whole number"),
        ({"pool": "haidian", "uses": True}, "uses", "true", "a whole number"),
        (
            {"pool": "haidian", "use": 3},
            "use",
            "an unknown field",
            "uses? (one of: lifetime_seconds, pool, uses)",
        ),
        ({}, "pool", "nothing", "a value: the field is required"),
        ({"pool": None}, "pool", "nothing", "text"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named_with_what_came_and_what_is_wanted(
    installation: ApiInstallation, body: object, field: str, got: str, want: str
) -> None:
    answer = await installation.as_("ops").post("/v1/join-tokens", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": field, "got": got, "want": want}]


async def test_a_join_token_is_made_for_a_pool_that_exists(installation: ApiInstallation) -> None:
    ops = installation.as_("ops")
    made = await ops.post("/v1/join-tokens", json={"pool": "haidian", "uses": 2})
    assert made.status_code == 201
    assert made.json()["token"].startswith("sjt_")
    assert made.json()["uses"] == 2
    assert (await ops.post("/v1/join-tokens", json={"pool": "nowhere"})).status_code == 404


async def test_while_the_database_is_away_requests_are_told_to_come_back(
    database_server: DatabaseServer, inhabited_urls: InhabitedUrls, tmp_path: Path
) -> None:
    gone = tmp_path / "nobody-listens-here"
    async with running_api(inhabited_urls, tmp_path) as installation:
        away = installation.config.__class__(
            f"postgresql://suanli_api@/nothing?host={gone}", "127.0.0.1", 0, tmp_path, tmp_path
        )
        app = create_app(away)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {installation.keys['lin']}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
            asked = await client.get("/v1/jobs")
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
        await app.state.api.database.dispose()
    assert (asked.status_code, asked.json()["code"]) == (503, "database_away")
    assert int(asked.headers["retry-after"]) >= 1
    assert (ready.status_code, alive.status_code) == (503, 200)


async def test_connections_that_were_cut_cost_no_request_an_error(
    database_server: DatabaseServer, installation: ApiInstallation
) -> None:
    lin = installation.as_("lin")
    assert (await lin.get("/v1/jobs")).status_code == 200
    assert database_server.kill_connections(installation.urls.name, "suanli-api%") >= 1
    assert (await lin.get("/v1/jobs")).status_code == 200


async def test_the_process_says_that_it_is_ready_and_which_version_it_is(
    installation: ApiInstallation,
) -> None:
    nobody = installation.as_(None)
    assert (await nobody.get("/readyz")).json() == {"status": "ready"}
    version = (await nobody.get("/version")).json()
    assert version["api"] == "v1"
    assert version["version"] != "unknown"


async def test_metrics_count_requests_by_route_and_are_for_operators(installation: ApiInstallation) -> None:
    labels = {"method": "GET", "route": "/v1/jobs/{job_id}", "status": "404"}
    before = REGISTRY.get_sample_value("suanli_api_requests_total", labels) or 0
    await installation.as_("lin").get("/v1/jobs/some-id-or-other")
    assert REGISTRY.get_sample_value("suanli_api_requests_total", labels) == before + 1
    metrics = await installation.as_("ops").get("/metrics")
    assert metrics.status_code == 200
    assert "some-id-or-other" not in metrics.text
    assert (await installation.as_("lin").get("/metrics")).status_code == 403


async def test_the_openapi_document_is_fresh_and_names_every_route(installation: ApiInstallation) -> None:
    current = openapi_text(installation.app)
    assert FILE.read_text(encoding="utf-8") == current, "run: python -m scheduler.api.openapi"
    served_document = await installation.as_("lin").get("/v1/openapi.json")
    assert served_document.json() == json.loads(current)
    schemas = json.loads(current)["components"]["schemas"]
    assert set(schemas["JobSpecIn"]["properties"]) >= {"name", "gang", "variants", "retry", "labels"}


async def test_serving_stops_while_streams_are_open(installation: ApiInstallation) -> None:
    headers = {"Authorization": f"Bearer {installation.keys['lin']}", "Accept": "text/event-stream"}
    async with httpx.AsyncClient(headers=headers) as client:
        async with served(installation) as url:
            opened = await client.send(client.build_request("GET", f"{url}/v1/events"), stream=True)
            lines = opened.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            begun = asyncio.get_running_loop().time()
        rest = [line async for line in lines]
        assert asyncio.get_running_loop().time() - begun < 3
    assert rest == [""]


def test_connections_are_without_nagles_algorithm_which_costs_40_ms_a_request() -> None:
    with listen("127.0.0.1", 0) as listener:
        # What asyncio looks at before it sets TCP_NODELAY on the connections of a listener.
        assert listener.proto == socket.IPPROTO_TCP


async def test_a_taken_port_is_an_error_at_once(installation: ApiInstallation) -> None:
    async with served(installation) as url:
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", int(url.rsplit(":", 1)[1]))
