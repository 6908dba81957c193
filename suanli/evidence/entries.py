"""Entries of the evidence log: what becomes a Merkle leaf, and the payload that it commits to.

An entry's bytes are public and say only the type, the key of the producer and, where a firm is concerned, a
number in that firm's own gap-free sequence (never the firm). The payload - exact body bytes and a signature
over them - goes with its salt only to those entitled. What bodies hold is in `records` and `windows`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

from suanli.evidence import plain, quick_base64
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import KEY_ID_BYTES, SIGNATURE_BYTES, Signer
from suanli.evidence.strict_json import Fields, encode, parse_object
from suanli.evidence.windows import SALT_BYTES, WINDOW_LABEL

ENTRY_SCHEMA = "suanli.entry.v1"
PAYLOAD_LABEL = b"suanli/payload/v1\n"
ENTRY_LIMIT_BYTES = 65_535
"""Entry bundles of C2SP tlog-tiles prefix each entry with 16 bits of length."""
BODY_LIMIT_BYTES = 1 << 20
PAYLOAD_LIMIT_BYTES = 2 << 20

USAGE_WINDOW = "usage_window"
OPERATOR_KEYS = "operator_keys"
KEY_EVENT = "key_event"
DEVICE_EVENT = "device_event"
ALLOCATION_EVENT = "allocation_event"
PRICE_VERSION = "price_version"
PROGRAM_VERSION = "program_version"
FIRM = "firm"
ADMINISTRATIVE_ACT = "administrative_act"
FIRM_KEY = "firm_key"
JOB_RECEIPT = "job_receipt"
STATEMENT = "statement"

ENTRY_TYPES = frozenset(
    {
        USAGE_WINDOW,
        OPERATOR_KEYS,
        KEY_EVENT,
        DEVICE_EVENT,
        ALLOCATION_EVENT,
        PRICE_VERSION,
        PROGRAM_VERSION,
        FIRM,
        ADMINISTRATIVE_ACT,
        FIRM_KEY,
        JOB_RECEIPT,
        STATEMENT,
    }
)
FIRM_SCOPED = frozenset({ALLOCATION_EVENT, FIRM, FIRM_KEY, JOB_RECEIPT, STATEMENT})
"""Types that concern one firm: they carry a firm_seq, and other firms are not given their payload."""


class Entry(NamedTuple):
    """One leaf. `firm_seq` counts the entries of one firm from 1 and is null for all others."""

    type: str
    producer_key_id: str
    firm_seq: int | None
    payload_commitment: str


class Payload(NamedTuple):
    """Exact body bytes and the producer's signature over label and body."""

    body: bytes
    signature: bytes


@dataclass(slots=True)
class SealedEntry:
    """All bytes of one log entry: the leaf, and what it commits to."""

    entry: bytes
    payload: bytes
    salt: bytes


def signing_message(entry_type: str, body: bytes) -> bytes:
    """The bytes that a producer signs: a label of the type, then the exact body."""
    if entry_type == USAGE_WINDOW:
        return WINDOW_LABEL + body
    return f"suanli/{entry_type}/v1\n".encode("ascii") + body


def payload_commitment(salt: bytes, payload: bytes) -> str:
    """Hex of SHA-256 over label, salt and exact payload bytes."""
    if len(salt) != SALT_BYTES:
        raise EvidenceError("salt", f"{len(salt)} bytes", f"{SALT_BYTES} bytes")
    return hashlib.sha256(PAYLOAD_LABEL + salt + payload).hexdigest()


def build_entry(entry: Entry) -> bytes:
    """The JSON bytes of an entry. Raises EvidenceError when they would not be read back."""
    if entry.type == USAGE_WINDOW and entry.firm_seq is None:
        data = _WINDOW_FORM % (entry.payload_commitment.encode(), entry.producer_key_id.encode())
        if window_parts(data) is not None:  # nearly all of a log: what is read back needs no other reader
            return data
    data = encode(
        {
            "schema": ENTRY_SCHEMA,
            "type": entry.type,
            "producer_key_id": entry.producer_key_id,
            "firm_seq": entry.firm_seq,
            "payload_commitment": entry.payload_commitment,
        }
    )
    read_entry(data)
    return data


def parse_entry(data: bytes) -> Entry:
    """The entry in `data`, read strictly. Raises EvidenceError naming the field."""
    fields: Fields = parse_object(data, "entry", ENTRY_LIMIT_BYTES)
    fields.schema(ENTRY_SCHEMA)
    entry = Entry(
        type=fields.choice("type", ENTRY_TYPES),
        producer_key_id=fields.hex("producer_key_id", KEY_ID_BYTES),
        firm_seq=fields.optional_integer("firm_seq", 1),
        payload_commitment=fields.hex("payload_commitment", 32),
    )
    fields.done()
    if (entry.firm_seq is None) == (entry.type in FIRM_SCOPED):
        want = "a number for what concerns a firm, null for what does not"
        raise EvidenceError("entry.firm_seq", entry.firm_seq, want)
    return entry


_WINDOW_FORM = (
    b'{"firm_seq":null,"payload_commitment":"%b","producer_key_id":"%b","schema":"suanli.entry.v1",'
    b'"type":"usage_window"}'
)
_WINDOW_ENTRY = re.compile(
    rb'\{"firm_seq":null,"payload_commitment":"([0-9a-f]{64})","producer_key_id":"([0-9a-f]{32})",'
    rb'"schema":"suanli\.entry\.v1","type":"usage_window"\}'
)


def read_entry(data: bytes) -> Entry:
    """`parse_entry`, at a tenth of the cost for windows as `build_entry` writes them: nearly all of a log."""
    parts = window_parts(data)
    return parse_entry(data) if parts is None else window_entry(*parts)


def window_parts(data: bytes) -> tuple[bytes, bytes] | None:
    """Commitment and key, as hex, of a window's entry as `build_entry` writes it; None may be one of another form."""
    found = _WINDOW_ENTRY.fullmatch(data)
    return None if found is None else (found[1], found[2])


def window_entry(commitment: bytes, key_id: bytes) -> Entry:
    """The entry of what `window_parts` gives."""
    return Entry(USAGE_WINDOW, key_id.decode("ascii"), None, commitment.decode("ascii"))


def build_payload(body: bytes, signature: bytes) -> bytes:
    """The JSON bytes of a payload, as `encode` would write them: base64 needs no escaping."""
    return b'{"body":"%b","signature":"%b"}' % (
        quick_base64.encode(body),
        quick_base64.encode(signature),
    )


_BODY, _SIGNATURE, _CLOSE = b'{"body":"', b'","signature":"', b'"}'


def _plain_payload(data: bytes) -> Payload | None:
    """The payload in `data` where it is as `build_payload` writes it."""
    head, _, tail = data.partition(_SIGNATURE)
    if len(data) > PAYLOAD_LIMIT_BYTES or not head.startswith(_BODY) or not tail.endswith(_CLOSE):
        return None
    body, signature = plain.base64_bytes(head[len(_BODY) :]), plain.base64_bytes(tail[: -len(_CLOSE)])
    if body is None or len(body) > BODY_LIMIT_BYTES or signature is None or len(signature) != SIGNATURE_BYTES:
        return None
    return Payload(body, signature)


def parse_payload(data: bytes) -> Payload:
    """The payload in `data`, read strictly. Raises EvidenceError naming the field."""
    return _plain_payload(data) or _strict_payload(data)


def _strict_payload(data: bytes) -> Payload:
    fields = parse_object(data, "payload", PAYLOAD_LIMIT_BYTES)
    payload = Payload(
        body=fields.base64("body", BODY_LIMIT_BYTES), signature=fields.base64("signature", SIGNATURE_BYTES)
    )
    fields.done()
    if len(payload.signature) != SIGNATURE_BYTES:
        got = f"{len(payload.signature)} bytes"
        raise EvidenceError("payload.signature", got, f"{SIGNATURE_BYTES} bytes")
    return payload


def seal(
    entry_type: str, body: bytes, signer: Signer, *, salt: bytes, firm_seq: int | None = None
) -> SealedEntry:
    """Signs `body` and makes the entry that commits to it. `salt` is 32 random bytes.

    `firm_seq` is the number within the firm for types in FIRM_SCOPED. Raises EvidenceError.
    """
    payload = build_payload(body, signer.sign(signing_message(entry_type, body)))
    return _commit(entry_type, payload, firm_seq, signer.key_id, salt)


def seal_window(header: bytes, signature: bytes, producer_key_id: str, *, salt: bytes) -> SealedEntry:
    """Makes the entry of a window that its node's key has signed. Its segments travel beside the payload."""
    payload = build_payload(header, signature)
    return _commit(USAGE_WINDOW, payload, None, producer_key_id, salt)


def _commit(
    entry_type: str, payload: bytes, firm_seq: int | None, producer_key_id: str, salt: bytes
) -> SealedEntry:
    commitment = payload_commitment(salt, payload)
    entry = build_entry(Entry(entry_type, producer_key_id, firm_seq, commitment))
    return SealedEntry(entry=entry, payload=payload, salt=salt)
