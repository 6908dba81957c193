"""C2SP tlog-cosignature: timestamped statements over a log checkpoint, by a witness or by the log itself.

Type 0x04 is Ed25519 over "cosignature/v1\\ntime <seconds>\\n" and the whole note text. Type 0x06 is ML-DSA-44
(FIPS 204), safe from quantum computers, over a `cosigned_message` that names the cosigner: label, name, time,
origin, start 0, size and root. Type 0xff is any algorithm that another package gives, over the message of 0x04;
so a log may carry a second line of its own by SM2, which a policy asks for as for a witness. Each line holds
8 bytes of POSIX seconds, big-endian, and the signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    COSIGNATURE_KINDS,
    NOTE_COSIGNATURE_ED25519,
    NOTE_COSIGNATURE_ML_DSA_44,
    NOTE_OTHER,
    SIGNATURE_BYTES,
    VerifierKey,
    other_algorithm,
    verifier_key,
    verify_ml_dsa_44,
    verify_signature,
)
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint
from suanli.evidence.signed_note import NoteSignature, SignedNote

ML_DSA_44_SIGNATURE_BYTES = 2420
_SIGNATURE_BYTES = {
    NOTE_COSIGNATURE_ED25519: SIGNATURE_BYTES,
    NOTE_COSIGNATURE_ML_DSA_44: ML_DSA_44_SIGNATURE_BYTES,
}
_TIME_BYTES = 8
_TIME_LIMIT_S = 2**63 - 1
_NAME_LIMIT_BYTES = 255
_SUBTREE_LABEL = b"subtree/v1\n\x00"


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Who cosigns: its verifier key, and what signs for it (a key in memory, or a device that keeps it)."""

    key: VerifierKey
    sign: Callable[[bytes], bytes]


def ed25519_cosigner(name: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> Cosigner:
    """A cosigner of type 0x04. Raises EvidenceError."""
    return Cosigner(verifier_key(name, NOTE_COSIGNATURE_ED25519, public_key), sign)


def cosignature_message(text: str, time_s: int) -> bytes:
    """What an Ed25519 cosigner signs: header line, time line, note text."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosigned_message(name: str, head: LogCheckpoint, time_s: int) -> bytes:
    """What an ML-DSA-44 cosigner signs. Raises EvidenceError for names that do not fit."""
    parts = [_SUBTREE_LABEL]
    for field, text in (("cosigner name", name), ("origin", head.origin)):
        data = text.encode("utf-8")
        if not 1 <= len(data) <= _NAME_LIMIT_BYTES:
            raise EvidenceError(
                f"cosignature.{field}", f"{len(data)} bytes", f"1 to {_NAME_LIMIT_BYTES} bytes"
            )
        parts += [bytes([len(data)]), data]
        if field == "cosigner name":
            parts.append(time_s.to_bytes(_TIME_BYTES, "big"))
    parts += [bytes(8), head.size.to_bytes(8, "big"), head.root]
    return b"".join(parts)


def _message(key: VerifierKey, text: str, time_s: int) -> bytes:
    if key.kind in (NOTE_COSIGNATURE_ED25519, NOTE_OTHER):
        return cosignature_message(text, time_s)
    return cosigned_message(key.name, parse_log_checkpoint(text), time_s)


def cosign(text: str, cosigner: Cosigner, time_s: int) -> NoteSignature:
    """A cosigner's signature line over a log checkpoint's text. Raises EvidenceError."""
    parse_log_checkpoint(text)
    if not 0 <= time_s <= _TIME_LIMIT_S:
        raise EvidenceError("cosignature.time", time_s, "POSIX seconds below 2**63")
    key = cosigner.key
    signature = time_s.to_bytes(_TIME_BYTES, "big") + cosigner.sign(_message(key, text, time_s))
    return NoteSignature(key.name, key.key_hash, signature)


def cosignature_time_s(note: SignedNote, key: VerifierKey) -> int | None:
    """When `key` last cosigned the note, in POSIX seconds; None when it did not.

    Raises EvidenceError when a line of this key does not verify.
    """
    newest: int | None = None
    for line in note.signatures_of(key):
        time_s = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        if time_s > _TIME_LIMIT_S or not _verifies(note, key, time_s, line.signature[_TIME_BYTES:]):
            raise EvidenceError("cosignature", f"a false line of {key.name}", "a valid cosignature")
        newest = time_s if newest is None else max(newest, time_s)
    return newest


def _verifies(note: SignedNote, key: VerifierKey, time_s: int, signature: bytes) -> bool:
    if key.kind == NOTE_OTHER:
        algorithm, public_key = other_algorithm(key.public_key)
        return algorithm.verify(public_key, _message(key, note.text, time_s), signature)
    if key.kind not in COSIGNATURE_KINDS or len(signature) != _SIGNATURE_BYTES[key.kind]:
        return False
    message = _message(key, note.text, time_s)
    verify = verify_signature if key.kind == NOTE_COSIGNATURE_ED25519 else verify_ml_dsa_44
    return verify(key.public_key, message, signature)
