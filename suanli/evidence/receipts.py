"""What a firm itself says of its use: its signing keys, and receipts that it signs for allocations that it had.

A receipt agrees with a stretch of use or contests it. It is signed by the firm's client with a key that only the
firm holds, so neither agreement nor its absence can be made up by an operator. The newest receipt of an allocation,
by its own time, is the one that stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import KEY_ID_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, key_id, verify_signature
from suanli.evidence.strict_json import Fields

FIRM_KEY_EVENTS = frozenset({"added", "revoked"})
STANCES = frozenset({"agreed", "contested"})
WORKLOADS = frozenset({"pretraining", "finetuning", "inference", "evaluation", "other"})
PROOF_LABEL = b"suanli/firm_key_proof/v1\n"
MODEL_CHECKPOINTS_LIMIT = 256


@dataclass(frozen=True, slots=True)
class FirmKey:
    """A key with which a firm signs receipts was added or revoked; takes effect from its own log index onward.

    `proof` is the new key's signature over label, firm and key: whoever registered it holds it.
    """

    event: str
    firm_id: str
    key_id: str
    public_key: str
    proof: str
    registered_by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class JobReceipt:
    """What a firm says of the use of one allocation: agreed, or contested with the reason.

    [start_ms, end_ms) is the stretch for which the firm says that it had the devices. Of the work: the digest of
    its image, what kind it is by the firm's own word, how far it came, and SHA-256 of its model checkpoints; null
    and none where the firm does not say. `at_ms` is the firm's clock.
    """

    firm_id: str
    job_id: str
    allocation_id: str
    stance: str
    reason: str
    start_ms: int
    end_ms: int
    image_digest: str | None
    workload: str | None
    steps: int | None
    tokens: int | None
    model_checkpoints: tuple[str, ...]
    at_ms: int


def proof_message(firm_id: str, public_key: bytes) -> bytes:
    """The bytes that a firm's new key signs to be registered."""
    return PROOF_LABEL + firm_id.encode("utf-8") + b"\n" + public_key


def read_firm_key(fields: Fields) -> FirmKey:
    """The firm key event in `fields`. Raises EvidenceError, also for a proof that is none."""
    event = FirmKey(
        event=fields.choice("event", FIRM_KEY_EVENTS),
        firm_id=fields.text("firm_id", 64),
        key_id=fields.hex("key_id", KEY_ID_BYTES),
        public_key=fields.hex("public_key", PUBLIC_KEY_BYTES),
        proof=fields.hex("proof", SIGNATURE_BYTES),
        registered_by=fields.text("registered_by", 64),
        at_ms=fields.integer("at_ms"),
    )
    public_key = bytes.fromhex(event.public_key)
    if event.key_id != key_id(public_key):
        raise EvidenceError("firm_key.key_id", event.key_id, key_id(public_key))
    if not verify_signature(public_key, proof_message(event.firm_id, public_key), bytes.fromhex(event.proof)):
        raise EvidenceError("firm_key.proof", "no match", "a signature of the key over firm and key")
    return event


def read_receipt(fields: Fields) -> JobReceipt:
    """The receipt in `fields`. Raises EvidenceError."""
    receipt = JobReceipt(
        firm_id=fields.text("firm_id", 64),
        job_id=fields.text("job_id", 64),
        allocation_id=fields.text("allocation_id", 64),
        stance=fields.choice("stance", STANCES),
        reason=fields.text("reason", 1024, empty=True),
        start_ms=fields.integer("start_ms"),
        end_ms=fields.integer("end_ms"),
        image_digest=fields.optional_text("image_digest", 128),
        workload=fields.optional_choice("workload", WORKLOADS),
        steps=fields.optional_integer("steps"),
        tokens=fields.optional_integer("tokens"),
        model_checkpoints=fields.hexes("model_checkpoints", 32, MODEL_CHECKPOINTS_LIMIT),
        at_ms=fields.integer("at_ms"),
    )
    if receipt.end_ms < receipt.start_ms:
        raise EvidenceError("job_receipt.end_ms", receipt.end_ms, f"at least start_ms {receipt.start_ms}")
    if receipt.stance == "contested" and not receipt.reason:
        raise EvidenceError("job_receipt.reason", repr(receipt.reason), "a reason")
    if receipt.stance != "contested" and receipt.reason:
        raise EvidenceError("job_receipt.reason", receipt.reason, "no reason, since it is not contested")
    return receipt
