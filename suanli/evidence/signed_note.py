"""C2SP signed-note 1.0.0: text, a blank line, and signature lines `— name base64(hash || signature)`.

Signatures of unknown keys are ignored. A signature of a known key that does not verify sinks the note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    NOTE_ED25519,
    VerifierKey,
    check_key_name,
    verifier_key,
    verify_signature,
)
from suanli.evidence.strict_json import decode_base64, encode_base64

NOTE_LIMIT_BYTES = 1 << 20
SIGNATURE_LIMIT = 128
_DASH = "— "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line. `signature` is what follows the 4 bytes of key hash."""

    name: str
    key_hash: bytes
    signature: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_hash + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note taken apart. `text` ends in a newline and is what was signed."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(item.line() for item in self.signatures)).encode("utf-8")

    def signatures_of(self, key: VerifierKey) -> list[NoteSignature]:
        """Lines that name this key and carry its hash; whether they verify is another question."""
        return [s for s in self.signatures if s.name == key.name and s.key_hash == key.key_hash]


def parse_note(data: bytes, *, canonical: bool = True) -> SignedNote:
    """The note in `data`, read strictly; nothing is verified yet. Raises EvidenceError.

    `canonical=False` lets spare bits in the base64 of signatures be anything, as other implementations do.
    """
    if len(data) > NOTE_LIMIT_BYTES:
        raise EvidenceError("note", f"{len(data)} bytes", f"at most {NOTE_LIMIT_BYTES} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise EvidenceError("note", "bytes that are not UTF-8", "UTF-8") from None
    if any(ord(c) < 0x20 and c != "\n" for c in whole):
        raise EvidenceError("note", "a control character", "no control character but newline")
    split = whole.rfind("\n\n")
    if split < 0:
        raise EvidenceError("note", "no blank line", "text, a blank line, signatures")
    text, tail = whole[: split + 1], whole[split + 2 :]
    if not tail.endswith("\n"):
        raise EvidenceError("note", "no newline at the end", "a newline at the end")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURE_LIMIT:
        raise EvidenceError("note", f"{len(lines)} signatures", f"at most {SIGNATURE_LIMIT}")
    return SignedNote(text, tuple(parse_signature_line(line, canonical=canonical) for line in lines))


def parse_signature_line(line: str, *, canonical: bool = True) -> NoteSignature:
    """One signature line without its newline. Raises EvidenceError."""
    if not line.startswith(_DASH):
        raise EvidenceError("note.signature", line, "a line that begins with an em dash and a space")
    name, _, encoded = line[len(_DASH) :].partition(" ")
    check_key_name(name, "note.signature.name")
    raw = decode_base64(encoded, "note.signature", 16_384, canonical=canonical)
    if len(raw) < 5:
        raise EvidenceError("note.signature", f"{len(raw)} bytes", "4 bytes of key hash and a signature")
    return NoteSignature(name, raw[:4], raw[4:])


def verify_note(note: SignedNote, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Those of `keys` (plain Ed25519) that signed the note.

    Raises EvidenceError when a known key's signature does not verify, or when no known key signed.
    """
    signed: list[VerifierKey] = []
    for key in keys:
        lines = note.signatures_of(key)
        if key.kind != NOTE_ED25519 or not lines:
            continue
        if not all(verify_signature(key.public_key, note.text.encode(), s.signature) for s in lines):
            raise EvidenceError("note.signature", f"a false signature of {key.name}", "a valid signature")
        signed.append(key)
    if not signed:
        names = ", ".join(s.name for s in note.signatures)
        raise EvidenceError("note.signature", f"signatures of {names}", "a signature of a known key")
    return signed


def sign_note(text: str, name: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> SignedNote:
    """`text` (ending in a newline) with one plain Ed25519 signature under `name`. Raises EvidenceError."""
    if not text.endswith("\n"):
        raise EvidenceError("note.text", text[-20:], "a newline at the end")
    key = verifier_key(name, NOTE_ED25519, public_key)
    note = SignedNote(text, (NoteSignature(name, key.key_hash, sign(text.encode("utf-8"))),))
    # Control characters or a blank tail would make a note that nobody can read back as it was meant.
    if parse_note(note.encode()) != note:
        raise EvidenceError("note.text", text, "text that survives a note")
    return note


def with_signatures(note: SignedNote, lines: Iterable[NoteSignature]) -> SignedNote:
    """`note` with further signature lines; a newer line of the same key replaces the older one."""
    kept = {(s.name, s.key_hash): s for s in note.signatures}
    for line in lines:
        kept[line.name, line.key_hash] = line
    return SignedNote(note.text, tuple(kept.values()))
