"""The public evidence log in files (C2SP tlog-tiles): open to everybody, cached by its own rules."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from scheduler.api.state import Api, ApiState
from scheduler.domain.errors import NotFound
from scheduler.storage.tile_store import TileStore

router = APIRouter(prefix="/log", tags=["evidence log"])

_NOT_KEPT = {"Cache-Control": "no-cache"}
# A tile never changes: https://c2sp.org/tlog-tiles
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


_BYTES = {"type": "string", "format": "binary"}


def _answers(kind: str, schema: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": schema}}}}


@router.get("/checkpoint", response_class=Response, responses=_answers("text/plain", {"type": "string"}))
async def checkpoint(api: ApiState) -> Response:
    """The newest signed log checkpoint."""
    return Response(await _file(api, "checkpoint"), headers=_NOT_KEPT, media_type="text/plain; charset=utf-8")


@router.get(
    "/tile/{path:path}", response_class=Response, responses=_answers("application/octet-stream", _BYTES)
)
async def tile(path: str, api: ApiState) -> Response:
    """A tile, full or partial, or a bundle of entries."""
    return Response(await _file(api, f"tile/{path}"), headers=_KEPT, media_type="application/octet-stream")


async def _file(api: Api, path: str) -> bytes:
    data = await asyncio.to_thread(TileStore(api.config.log_place).file, path)
    if data is None:
        raise NotFound("the evidence log has no such file (yet)")
    return data
