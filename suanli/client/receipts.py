"""Calls about what a firm says of its use: its keys, and receipts for allocations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict, cast
from urllib.parse import quote

from suanli.client.transport import Transport

_PAGE = 200


class FirmKey(TypedDict):
    """A key with which a firm signs receipts; `vkey` is its line in an auditor's list."""

    key_id: str
    firm: str
    firm_id: str
    public_key: str
    vkey: str
    created_at: str
    revoked_at: str | None


class Receipt(TypedDict):
    """What a firm signed of an allocation. `log_index` is None until the log holds it."""

    receipt_id: str
    job_id: str
    allocation_id: str
    stance: str
    reason: str
    start_at: str
    end_at: str
    signed_at: str
    received_at: str
    key_id: str
    log_index: int | None


class Allocation(TypedDict):
    """Devices of one node that a task held."""

    allocation_id: str
    firm_id: str
    attempt: int
    rank: int
    node: str
    devices: int
    granted_ms: int
    started_ms: int | None
    ended_ms: int | None
    receipt: Receipt | None


class ReceiptCalls:
    """One method a call; raises as `Client` does."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def firm(self) -> str | None:
        """Id of the caller's firm, which receipts and proofs name; None for operators and auditors."""
        return cast(str | None, self._keys()["firm_id"])

    def keys(self) -> list[FirmKey]:
        """Keys with which firms sign: the own firm's, or all for operators and auditors."""
        return cast(list[FirmKey], self._keys()["keys"])

    def _keys(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._transport.request("GET", "/v1/firm-keys"))

    def register_key(self, public_key: bytes, proof: bytes) -> FirmKey:
        """Register a key of the own firm; `proof` is its signature over `proof_message`."""
        body = {"public_key": public_key.hex(), "proof": proof.hex()}
        return cast(FirmKey, self._transport.request("POST", "/v1/firm-keys", body=body, repeatable=True))

    def revoke_key(self, key_id: str) -> None:
        """End a key of the own firm."""
        self._transport.request("DELETE", f"/v1/firm-keys/{quote(key_id, safe='')}", repeatable=True)

    def allocations(self, job_id: str) -> list[Allocation]:
        """What a job held, with the receipt that stands for each."""
        path = f"/v1/jobs/{quote(job_id, safe='')}/allocations"
        return cast(list[Allocation], self._transport.request("GET", path)["allocations"])

    def hand_in(self, key_id: str, receipt: bytes, signature: bytes) -> Receipt:
        """Hand in exact bytes that were signed. Sending them again changes nothing."""
        body = {"key_id": key_id, "receipt": receipt.decode("utf-8"), "signature": signature.hex()}
        return cast(Receipt, self._transport.request("POST", "/v1/receipts", body=body, repeatable=True))

    def receipts(self, *, job_id: str | None = None, stance: str | None = None) -> Iterator[Receipt]:
        """Receipts, the newest first, page by page."""
        cursor: str | None = None
        while True:
            query = {"job_id": job_id, "stance": stance, "limit": _PAGE, "cursor": cursor}
            page = self._transport.request("GET", "/v1/receipts", query=query)
            yield from cast(list[Receipt], page["receipts"])
            cursor = page["next_cursor"]
            if cursor is None:
                return
