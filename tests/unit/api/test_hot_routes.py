"""Hot routes are ordinary routes, reached by a shorter way."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from scheduler.api.app import create_app
from scheduler.api.config import ApiConfig
from scheduler.api.hot import HotRoute, route_of
from scheduler.api.routers import jobs


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


def test_a_parameter_that_needs_checking_is_refused_when_the_program_starts() -> None:
    router = APIRouter()

    @router.get("/things")
    async def things(request: Request, limit: Annotated[int, Query(ge=1)] = 1) -> Response:
        return Response(f"{request.url} {limit}")

    with pytest.raises(TypeError, match="limit"):
        HotRoute("GET", "/things", things)
