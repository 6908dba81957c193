"""This process: is it alive, can it serve, which version, its metrics."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from scheduler.api.auth import MetricsReader
from scheduler.api.problems import problem
from scheduler.api.schemas.base import Out
from scheduler.api.state import ApiState
from scheduler.storage.engine import DatabaseAway
from scheduler.storage.migrate import SchemaTooOld, require_current

router = APIRouter(tags=["process"])


class VersionOut(Out):
    """What runs here."""

    version: str
    api: str = "v1"


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """The process runs. Says nothing about the database: a restart would not mend it."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz")
async def readyz(api: ApiState) -> Response:
    """Requests can be served: the database answers and is migrated."""
    if api.pulse.closing:
        return problem(503, "closing", "Not available now", "this process is stopping")
    try:
        await require_current(api.database)
    except DatabaseAway:
        return problem(503, "database_away", "Not available now", "the database does not answer")
    except SchemaTooOld as error:
        return problem(503, "schema_too_old", "Not available now", str(error))
    return JSONResponse({"status": "ready"})


@router.get("/version")
async def version(api: ApiState) -> VersionOut:
    """What runs here."""
    return VersionOut(version=api.versions.get("suanli-scheduler", "unknown"))


@router.get("/metrics", include_in_schema=False)
async def metrics(principal: MetricsReader) -> Response:
    """For Prometheus, with an operator's key."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
