"""Hot routes are ordinary routes, reached by a shorter way."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, Cookie, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from httpx import ASGITransport, AsyncClient
from starlette.routing import Match

from scheduler.api.app import create_app
from scheduler.api.config import ApiConfig
from scheduler.api.hot import HotRoute, route_of
from scheduler.api.routers import jobs
from scheduler.domain.jobs import JobKind


def test_every_path_leads_by_the_shorter_way_to_the_endpoint_that_fastapi_would_call() -> None:
    create_app(ApiConfig("postgresql://nowhere", "127.0.0.1", 0, Path("log"), Path("logs")))
    routes = [route for route in jobs.router.routes if isinstance(route, APIRoute)]
    found = 0
    for method in ("GET", "POST", "PATCH", "DELETE", "HEAD"):
        for path in (
            "/v1/jobs",
            "/v1/jobs/",
            "/v1/jobs/batch",
            "/v1/jobs/x",
            "/v1/jobs/x/",
            "/v1/jobs/x/explain",
        ):
            hot = route_of(method, path)
            if hot is None:
                continue
            found += 1
            scope = {"type": "http", "method": method, "path": path, "headers": []}
            usual = next(route for route in routes if route.matches(scope)[0] is Match.FULL)
            assert hot[0].endpoint is usual.endpoint
            assert hot[0].path == usual.path
            assert hot[1] == usual.matches(scope)[1]["path_params"]
    assert found >= 3


def test_a_parameter_that_only_fastapi_can_read_is_refused_when_the_program_starts() -> None:
    router = APIRouter()

    @router.get("/things")
    async def things(request: Request, colour: Annotated[str, Cookie()] = "red") -> Response:
        return Response(f"{request.url} {colour}")

    with pytest.raises(TypeError, match="colour"):
        HotRoute("GET", "/things", things)


async def _things(
    sizes: Annotated[list[int] | None, Query()] = None,
    kind: JobKind | None = None,
    limit: Annotated[int, Query(ge=1)] = 7,
) -> Response:
    return JSONResponse([sizes, kind, limit])


@pytest.mark.parametrize(
    "query",
    ["", "limit=3", "limit=3&limit=4", "sizes=1&sizes=2", "kind=evaluate&other=1", "limit=%2B3", "limit=2.0"],
)
@pytest.mark.parametrize("wrong", ["", "limit=0", "limit=", "sizes=x", "kind=none", "limit=1.5"])
async def test_a_query_is_read_as_fastapi_reads_it_and_left_to_it_where_it_is_wrong(
    query: str, wrong: str
) -> None:
    app = FastAPI()
    app.get("/things")(_things)
    text = f"{query}&{wrong}"
    scope = {"type": "http", "method": "GET", "path": "/things", "headers": [], "query_string": text.encode()}
    answer = await HotRoute("GET", "/things", _things)(Request(scope))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://here") as client:
        usual = await client.get(f"/things?{text}")
    if answer is None:
        assert usual.status_code == 422
    else:
        assert usual.status_code == 200
        assert usual.content == answer.body
