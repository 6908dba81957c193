"""The application: routers, errors, the gate."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from scheduler.api import problems
from scheduler.api.auth import Authentication
from scheduler.api.config import ApiConfig
from scheduler.api.hot import HotRoutes
from scheduler.api.idempotency import forget_old
from scheduler.api.middleware import RequestContext
from scheduler.api.openapi import document
from scheduler.api.routers import (
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
GZIP_FROM_BYTES = 1024
GZIP_LEVEL = 4  # three times as fast as the usual 9, for a twentieth more bytes
# A compressor holds back what a follower waits for; tiles are hashes, which nothing makes smaller.
NOT_COMPRESSED = ("application/x-ndjson", "application/octet-stream")

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
            await api.direct.close()
            await api.database.dispose()

    # No pages of FastAPI's own: they would be open and load scripts from elsewhere.
    app = FastAPI(
        title="Suanli",
        version="1",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.api = api
    for module in (
        *(process, evidence_log, waiting, jobs, job_changes, job_logs, results, uploads, tunnels, events),
        *(notifications, costs, secrets, nodes, configuration, configured, principals, usage, receipts),
    ):
        app.include_router(module.router)
    for path, mounted in config.mounts:
        app.mount(path, mounted)
    problems.install(app)
    # The last added is the outermost.
    app.add_middleware(HotRoutes)
    app.add_middleware(Authentication, api=api)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=GZIP_FROM_BYTES,
        compresslevel=GZIP_LEVEL,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, *NOT_COMPRESSED),
    )
    app.add_middleware(RequestContext)
    app.add_api_route("/v1/openapi.json", document, methods=["GET"], include_in_schema=False)
    return app
