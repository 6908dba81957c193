"""What firms say of their use: their keys, and receipts that agree with an allocation or contest it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from scheduler.api.auth import FirmKeyManager, JobReader, ReceiptReader, ReceiptSigner
from scheduler.api.bodies import body_of, request_body
from scheduler.api.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from scheduler.api.schemas.receipts import (
    AllocationsOut,
    FirmKeyIn,
    FirmKeyOut,
    FirmKeysOut,
    ReceiptIn,
    ReceiptOut,
    ReceiptsOut,
    StanceName,
    allocation_out,
    firm_key_out,
    receipt_out,
)
from scheduler.api.state import ApiState
from scheduler.services.receipts import (
    add_firm_key,
    add_receipt,
    list_allocations,
    list_firm_keys,
    list_receipts,
    revoke_firm_key,
)

router = APIRouter(prefix="/v1", tags=["receipts"])


@router.get("/firm-keys")
async def firm_keys(api: ApiState, principal: ReceiptReader) -> FirmKeysOut:
    """Keys that sign for the caller's firm; operators and auditors see those of every firm."""
    async with api.database.read() as session:
        found = await list_firm_keys(session, principal)
    return FirmKeysOut(firm_id=principal.firm_id, keys=[firm_key_out(record) for record in found])


@router.post("/firm-keys", status_code=201, response_model=FirmKeyOut, openapi_extra=request_body(FirmKeyIn))
async def register_key(
    api: ApiState, principal: FirmKeyManager, body: Annotated[FirmKeyIn, Depends(body_of(FirmKeyIn))]
) -> FirmKeyOut:
    """Register a key of the caller's firm: from its log entry on, receipts that it signs are the firm's.

    Sending the same again changes nothing.
    """
    async with api.database.transaction() as session:
        public_key, proof = bytes.fromhex(body.public_key), bytes.fromhex(body.proof)
        record = await add_firm_key(session, principal, public_key, proof, api.now_ms())
    return firm_key_out(record)


@router.delete("/firm-keys/{key_id}", status_code=204)
async def revoke_key(key_id: str, api: ApiState, principal: FirmKeyManager) -> Response:
    """End a key of the caller's firm. Receipts that it signed before stand."""
    async with api.database.transaction() as session:
        await revoke_firm_key(session, principal, key_id, api.now_ms())
    return Response(status_code=204)


@router.get("/jobs/{job_id}/allocations")
async def allocations(job_id: str, api: ApiState, principal: JobReader) -> AllocationsOut:
    """What a job held, device by device in time, and the receipt that stands for each."""
    async with api.database.read() as session:
        found = await list_allocations(session, principal, job_id)
    return AllocationsOut(job_id=job_id, allocations=[allocation_out(record) for record in found])


@router.get("/receipts")
async def receipts(
    api: ApiState,
    principal: ReceiptReader,
    job_id: Annotated[str | None, Query(max_length=64, description="Only of this job.")] = None,
    stance: StanceName | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> ReceiptsOut:
    """Receipts, the newest first; operators and auditors see those of every firm."""
    async with api.database.read() as session:
        found = await list_receipts(
            session, principal, job_id=job_id, stance=stance, limit=limit + 1, after=decode_cursor(cursor)
        )
    page = found[:limit]
    more = encode_cursor((page[-1].receipt.at_ms, page[-1].receipt_id)) if len(found) > limit else None
    return ReceiptsOut(receipts=[receipt_out(record) for record in page], next_cursor=more)


@router.post("/receipts", status_code=201, response_model=ReceiptOut, openapi_extra=request_body(ReceiptIn))
async def sign(
    api: ApiState, principal: ReceiptSigner, body: Annotated[ReceiptIn, Depends(body_of(ReceiptIn))]
) -> ReceiptOut:
    """Hand in a receipt that the firm's client signed. It becomes an entry of the evidence log.

    Sending the same again changes nothing; a newer one of the same allocation takes the place of an older one.
    """
    async with api.database.transaction() as session:
        record = await add_receipt(
            session,
            principal,
            name=body.key_id,
            body=body.receipt.encode("utf-8"),
            signature=bytes.fromhex(body.signature),
            now_ms=api.now_ms(),
        )
    return receipt_out(record)
