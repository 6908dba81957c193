"""The witness as a pure state machine: C2SP tlog-witness 1.0.0, `POST /add-checkpoint`.

Request in, answer and new state out. Whoever calls must make "check and store" one atomic step and must have
stored the new head durably before the answer leaves, or the witness could be rolled back (L3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suanli.evidence.cosignature import Cosigner, cosign
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import VerifierKey
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint, parse_size
from suanli.evidence.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from suanli.evidence.signed_note import SignedNote, parse_note, verify_note
from suanli.evidence.strict_json import decode_base64, encode_base64

PROOF_LINES_LIMIT = 63
REQUEST_LIMIT_BYTES = 1 << 20
SIZE_CONTENT_TYPE = "text/x.tlog.size"
TEXT_CONTENT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a witness remembers of a log: the newest tree it cosigned."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A parsed request."""

    old_size: int
    proof: tuple[bytes, ...]
    note: SignedNote
    head: LogCheckpoint


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """HTTP status, body and content type; `store` is the head to be made durable before answering, if any."""

    status: int
    body: bytes
    content_type: str
    origin: str | None = None
    store: TreeHead | None = None


def encode_request(old_size: int, proof: list[bytes], checkpoint: bytes) -> bytes:
    """The request body that a log sends: old size, proof lines, an empty line, the signed log checkpoint."""
    lines = [f"old {old_size}", *(encode_base64(step) for step in proof), ""]
    return "".join(line + "\n" for line in lines).encode("ascii") + checkpoint


def parse_request(body: bytes) -> AddCheckpoint:
    """The request in `body`. Raises EvidenceError for what must be answered with 400."""
    if len(body) > REQUEST_LIMIT_BYTES:
        raise EvidenceError("request", f"{len(body)} bytes", f"at most {REQUEST_LIMIT_BYTES} bytes")
    preamble, separator, checkpoint = body.partition(b"\n\n")
    if not separator:
        raise EvidenceError("request", "no empty line", "old size, proof, an empty line, a log checkpoint")
    try:
        first, *proof_lines = preamble.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise EvidenceError("request", "bytes that are not ASCII", "ASCII before the empty line") from None
    if not first.startswith("old "):
        raise EvidenceError("request.old", first, "old <size>")
    if len(proof_lines) > PROOF_LINES_LIMIT:
        raise EvidenceError("request.proof", f"{len(proof_lines)} lines", f"at most {PROOF_LINES_LIMIT}")
    proof = tuple(decode_base64(line, "request.proof", HASH_BYTES) for line in proof_lines)
    if any(len(step) != HASH_BYTES for step in proof):
        raise EvidenceError("request.proof", "a line of another length", f"{HASH_BYTES} bytes a line")
    # A signature is judged by its bytes here: what does not verify is 403, not 400.
    note = parse_note(checkpoint, canonical=False)
    return AddCheckpoint(
        old_size=parse_size(first[4:], "request.old"),
        proof=proof,
        note=note,
        head=parse_log_checkpoint(note.text),
    )


@dataclass(frozen=True, slots=True)
class Witness:
    """Who the witness is and which logs it knows, by origin."""

    cosigner: Cosigner
    logs: Mapping[str, VerifierKey]

    def add_checkpoint(self, body: bytes, heads: Mapping[str, TreeHead], now_s: int) -> WitnessAnswer:
        """The answer to one request, given the newest tree cosigned of each log, and POSIX seconds.

        Statuses: 400 malformed, or old size above the new one; 404 unknown origin; 403 no valid signature;
        409 old size is not the remembered one (body: that size), or another root at the same size; 422 the
        proof does not hold; 200 with a cosignature line.
        """
        try:
            request = parse_request(body)
        except EvidenceError as error:
            return _refusal(400, f"malformed request: {error}")
        head = request.head
        log_key = self.logs.get(head.origin)
        if log_key is None:
            return _refusal(404, "unknown log")
        try:
            verify_note(request.note, [log_key])
        except EvidenceError:
            return _refusal(403, "invalid signature", head.origin)
        refused = _refuse_growth(request, heads.get(head.origin))
        if refused is not None:
            return refused
        line = cosign(request.note.text, self.cosigner, now_s)
        store = TreeHead(head.size, head.root)
        return WitnessAnswer(200, line.line().encode("utf-8"), TEXT_CONTENT_TYPE, head.origin, store)


def _refuse_growth(request: AddCheckpoint, known: TreeHead | None) -> WitnessAnswer | None:
    """Why a signed head may not follow the remembered one; None when it may."""
    head = request.head
    known_size = known.size if known else 0
    if request.old_size > head.size:
        return _refusal(400, "old size above the size of the log checkpoint", head.origin)
    # Two roots of one size under one signature are proof that the log misbehaved.
    forked = known is not None and head.size == known.size and head.root != known.root
    if request.old_size != known_size or forked:
        return WitnessAnswer(409, f"{known_size}\n".encode("ascii"), SIZE_CONTENT_TYPE, head.origin)
    if known is None or known.size == 0:
        good = not request.proof and (head.size > 0 or head.root == EMPTY_ROOT)
    else:
        good = verify_consistency(known.size, head.size, known.root, head.root, request.proof)
    return None if good else _refusal(422, "the consistency proof does not hold", head.origin)


def _refusal(status: int, text: str, origin: str | None = None) -> WitnessAnswer:
    return WitnessAnswer(status, f"{text}\n".encode(), TEXT_CONTENT_TYPE, origin)
