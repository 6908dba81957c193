"""The application: routers, errors, the gate."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from scheduler.api import problems
from scheduler.api.auth import Authentication
from scheduler.api.compression import Compression
from scheduler.api.config import ApiConfig
from scheduler.api.hot import HotRoutes
from scheduler.api.idempotency import forget_old
from scheduler.api.middleware import RequestContext
from scheduler.api.openapi import document
from scheduler.api.routers import (
    budgets,
    configuration,
    configured,
    costs,
    events,
    evidence_log,
    job_changes,
    job_logs,
    jobs,
    nodes,
    notifications,
    principals,
    process,
    receipts,
    results,
    secrets,
    tunnels,
    uploads,
    usage,
    waiting,
)
from scheduler.api.state import Api, make_api
from scheduler.services.content_tidying import tidy_content
from scheduler.services.notifications import forget_old as forget_old_notifications
from scheduler.storage.engine import DatabaseAway

TIDY_PERIOD_S = 3600.0

_log = structlog.get_logger(__name__)


async def _tidy(api: Api) -> None:
    """Once an hour, forget what nobody will ask for again."""
    while not api.pulse.closing:
        try:
            async with api.database.transaction() as session:
                await forget_old(session, api.now_ms())
                await forget_old_notifications(session, api.now_ms())
            await tidy_content(api.database, api.content, api.now_ms())
        except (DatabaseAway, OSError) as error:
            _log.warning("cannot_tidy", reason=str(error))
        await asyncio.sleep(TIDY_PERIOD_S)


class _Gated(FastAPI):
    """FastAPI behind our gate: what all requests pass, and the hot routes, stand before its own stack."""

    def __init__(self, api: Api, **settings: Any) -> None:
        super().__init__(**settings)
        self.state.api = api
        self._gate = RequestContext(Authentication(HotRoutes(super().__call__), api))

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette's, without its answer to what nobody expected: `RequestContext` has a better one."""
        stack = super().build_middleware_stack()
        return stack.app if isinstance(stack, ServerErrorMiddleware) else stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self._gate(scope, receive, send)


def create_app(config: ApiConfig) -> FastAPI:
    """An application that serves from the moment its lifespan begins. Touches nothing before."""
    api = make_api(config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = (
            asyncio.create_task(api.pulse.listen(config.database_url)),
            asyncio.create_task(api.event_tail.run()),
            asyncio.create_task(_tidy(api)),
            *([asyncio.create_task(api.courier.run())] if api.courier is not None else []),
        )
        try:
            yield
        finally:
            api.pulse.close()
            await api.log_watch.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await api.close()

    # No pages of FastAPI's own: they would be open and load scripts from elsewhere.
    app = _Gated(
        api,
        title="Suanli",
        version="1",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for module in (
        *(process, evidence_log, waiting, jobs, job_changes, job_logs, results, uploads, tunnels, events),
        *(
            notifications,
            costs,
            secrets,
            nodes,
            configuration,
            configured,
            budgets,
            principals,
            usage,
            receipts,
        ),
    ):
        app.include_router(module.router)
    for path, mounted in config.mounts:
        app.mount(path, mounted)
    problems.install(app)
    app.add_middleware(Compression)
    app.add_api_route("/v1/openapi.json", document, methods=["GET"], include_in_schema=False)
    return app
