"""Folders that are sent along with jobs: ask what is missing, send it, name the folder.

Objects are named by their SHA-256; a lost connection loses at most the request that was on its way.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from scheduler.api.auth import Uploader
from scheduler.api.bodies import body_of, request_body
from scheduler.api.pagination import DEFAULT_LIMIT, Limit
from scheduler.api.problems import UnsupportedMediaType
from scheduler.api.schemas.content import (
    MissingOut,
    ObjectsIn,
    StoredOut,
    UploadIn,
    UploadOut,
    UploadsOut,
    upload_out,
)
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import require_firm
from scheduler.domain.errors import FieldProblem, Invalid, Unavailable
from scheduler.services.content import (
    DIGEST_PREFIX,
    kept,
    list_uploads,
    missing_objects,
    note_stored,
    register_upload,
    reserve_objects,
)
from suanli.content.manifest import OBJECT_BYTES, ContentError, hash_of, parse_manifest

OBJECTS = "application/vnd.suanli.objects"
# Each is a file and a row: a body of tiny ones would otherwise be a million of both.
MOST_OBJECTS = 10_000
_LENGTH_BYTES = 4
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Objects one after the other: four bytes length (big endian), then so many bytes.",
        "content": {OBJECTS: {"schema": {"type": "string", "format": "binary"}}},
    }
}

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])


@router.post("/missing", openapi_extra=request_body(ObjectsIn))
async def missing(
    api: ApiState, principal: Uploader, wanted: Annotated[ObjectsIn, Depends(body_of(ObjectsIn))]
) -> MissingOut:
    """Which objects the firm has not sent yet. Those that it has stay for another day at least."""
    firm_id = require_firm(principal)
    async with api.database.transaction() as session:
        hashes = list(dict.fromkeys(wanted.objects))
        return MissingOut(missing=await missing_objects(session, firm_id, hashes, api.now_ms()))


@router.post("/objects", openapi_extra=_BODY)
async def objects(request: Request, api: ApiState, principal: Uploader) -> StoredOut:
    """Keep objects. Answered when they are durable."""
    firm_id = require_firm(principal)
    kind = request.headers.get("content-type", OBJECTS)
    if kind != OBJECTS:
        raise UnsupportedMediaType(f"the body is {kind}; send {OBJECTS}")
    parts = split_objects(await request.body())
    sizes = {hash_of(part): len(part) for part in parts}
    async with api.database.transaction() as session:
        await reserve_objects(session, firm_id, sizes, api.config.content_quota, api.now_ms())
    stored = await _store(api, firm_id, parts)
    async with api.database.transaction() as session:
        await note_stored(session, firm_id, sizes, api.now_ms())
    return StoredOut(stored=stored)


def split_objects(body: bytes) -> list[bytes]:
    """The objects of a body. Raises Invalid."""
    parts: list[bytes] = []
    position = 0
    while position < len(body):
        if len(parts) == MOST_OBJECTS:
            want = f"at most {MOST_OBJECTS} objects in a body"
            raise Invalid([FieldProblem("body", f"more than {MOST_OBJECTS} objects", want)])
        where = f"body, object {len(parts)}"
        length = int.from_bytes(body[position : position + _LENGTH_BYTES], "big")
        if not 1 <= length <= OBJECT_BYTES:
            raise Invalid([FieldProblem(where, f"{length} bytes", f"1 to {OBJECT_BYTES} bytes")])
        part = body[position + _LENGTH_BYTES : position + _LENGTH_BYTES + length]
        if len(part) < length:
            raise Invalid([FieldProblem(where, f"{len(part)} of {length} bytes", "whole objects")])
        parts.append(part)
        position += _LENGTH_BYTES + length
    return parts


async def _store(api: Api, firm_id: str, parts: list[bytes]) -> list[str]:
    try:
        # In a thread: it waits for the disk.
        return await asyncio.to_thread(lambda: [api.content.put(firm_id, part) for part in parts])
    except OSError as error:
        raise Unavailable(f"the installation cannot keep uploads now: {error.strerror}") from error


@router.post("", status_code=201, openapi_extra=request_body(UploadIn))
async def register(
    api: ApiState, principal: Uploader, wanted: Annotated[UploadIn, Depends(body_of(UploadIn))]
) -> UploadOut:
    """Name a folder by the digest of its manifest, which is an object sent before, as are all that it lists."""
    digest = wanted.digest.removeprefix(DIGEST_PREFIX)
    data = await asyncio.to_thread(api.content.get, require_firm(principal), digest)
    if data is None:
        raise Invalid([FieldProblem("digest", wanted.digest, "the hash of a manifest that was sent before")])
    try:
        manifest = await asyncio.to_thread(parse_manifest, data)
    except ContentError as error:
        raise Invalid([FieldProblem("digest", str(error), "the hash of a manifest")]) from None
    async with api.database.transaction() as session:
        return upload_out(await register_upload(session, principal, digest, manifest, api.now_ms()))


@router.get("")
async def list_(api: ApiState, principal: Uploader, limit: Limit = DEFAULT_LIMIT) -> UploadsOut:
    """The firm's uploads, last used first; what no job uses for two weeks is removed."""
    async with api.database.read() as session:
        uploads = await list_uploads(session, principal, limit)
        there = await kept(session, require_firm(principal))
    return UploadsOut(
        uploads=[upload_out(upload) for upload in uploads],
        kept_bytes=there.bytes,
        quota_bytes=api.config.content_quota.bytes,
        kept_objects=there.objects,
        quota_objects=api.config.content_quota.objects,
    )
