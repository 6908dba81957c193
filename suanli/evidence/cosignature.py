"""C2SP tlog-cosignature, type 0x04: a witness's timestamped Ed25519 statement over a log checkpoint.

The signature is 8 bytes of POSIX seconds (big-endian) and 64 bytes of Ed25519 over
"cosignature/v1\\ntime <seconds>\\n" and the whole note text.
"""

from __future__ import annotations

from collections.abc import Callable

from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    NOTE_COSIGNATURE_ED25519,
    SIGNATURE_BYTES,
    VerifierKey,
    verifier_key,
    verify_signature,
)
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.signed_note import NoteSignature, SignedNote

_TIME_BYTES = 8
_TIME_LIMIT_S = 2**63 - 1


def cosignature_message(text: str, time_s: int) -> bytes:
    """What a witness signs: header line, time line, note text."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(
    text: str, name: str, public_key: bytes, sign: Callable[[bytes], bytes], time_s: int
) -> NoteSignature:
    """A witness's signature line over a log checkpoint's text. Raises EvidenceError."""
    parse_log_checkpoint(text)
    if not 0 <= time_s <= _TIME_LIMIT_S:
        raise EvidenceError("cosignature.time", time_s, "POSIX seconds below 2**63")
    key = verifier_key(name, NOTE_COSIGNATURE_ED25519, public_key)
    signature = time_s.to_bytes(_TIME_BYTES, "big") + sign(cosignature_message(text, time_s))
    return NoteSignature(name, key.key_hash, signature)


def cosignature_time_s(note: SignedNote, key: VerifierKey) -> int | None:
    """When the witness `key` last cosigned the note, in POSIX seconds; None when it did not.

    Raises EvidenceError when a line of this key does not verify.
    """
    newest: int | None = None
    for line in note.signatures_of(key):
        time_s = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        good = (
            key.kind == NOTE_COSIGNATURE_ED25519
            and len(line.signature) == _TIME_BYTES + SIGNATURE_BYTES
            and time_s <= _TIME_LIMIT_S
            and verify_signature(
                key.public_key, cosignature_message(note.text, time_s), line.signature[_TIME_BYTES:]
            )
        )
        if not good:
            raise EvidenceError("cosignature", f"a false line of {key.name}", "a valid cosignature")
        newest = time_s if newest is None else max(newest, time_s)
    return newest
