"""The public evidence log in files (C2SP tlog-tiles): open to everybody, cached by its own rules."""

import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.responses import Response

from scheduler.api.state import ApiState
from scheduler.domain.errors import NotFound

router = APIRouter(prefix="/log", tags=["evidence log"])

# https://c2sp.org/tlog-tiles: tile/<L>/<N>[.p/<W>] with L 0 to 63 or "entries", N in groups of three digits.
_TILE = re.compile(r"(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?")
_NOT_KEPT = {"Cache-Control": "no-cache"}
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/checkpoint")
async def checkpoint(api: ApiState) -> Response:
    """The newest signed log checkpoint."""
    path = _file(api.config.log_folder / "checkpoint")
    return FileResponse(path, media_type="text/plain; charset=utf-8", headers=_NOT_KEPT)


@router.get("/tile/{path:path}")
async def tile(path: str, api: ApiState) -> Response:
    """A tile, full or partial, or a bundle of entries."""
    if _TILE.fullmatch(path) is None:
        raise NotFound(f"there is no tile {path[:100]}")
    found = _file(api.config.log_folder / "tile" / path)
    return FileResponse(found, media_type="application/octet-stream", headers=_KEPT)


def _file(path: Path) -> Path:
    if not path.is_file():
        raise NotFound("the evidence log has no such file (yet)")
    return path
