"""C2SP tlog-checkpoint 1.0.0: origin, size and root of a log as the text of a signed note.

Three lines: the origin, the number of entries in decimal, the root in base64; extension lines may follow.
A log checkpoint is not a model checkpoint: nothing here resumes a job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import VerifierKey
from suanli.evidence.merkle import HASH_BYTES
from suanli.evidence.signed_note import SignedNote, parse_note, sign_note, verify_note
from suanli.evidence.strict_json import INT64_MAX, decode_base64, encode_base64


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """A tree head. `root` is 32 raw bytes."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text, ending in a newline."""
        lines = [self.origin, str(self.size), encode_base64(self.root), *self.extensions]
        return "".join(line + "\n" for line in lines)


def parse_log_checkpoint(text: str) -> LogCheckpoint:
    """The tree head in a note's text. Raises EvidenceError."""
    if not text.endswith("\n"):
        raise EvidenceError("log_checkpoint", "no newline at the end", "a newline at the end")
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise EvidenceError("log_checkpoint", f"{len(lines)} lines", "three or more lines, none empty")
    root = decode_base64(lines[2], "log_checkpoint.root", HASH_BYTES)
    if len(root) != HASH_BYTES:
        raise EvidenceError("log_checkpoint.root", f"{len(root)} bytes", f"{HASH_BYTES} bytes")
    return LogCheckpoint(lines[0], parse_size(lines[1], "log_checkpoint.size"), root, tuple(lines[3:]))


def parse_size(text: str, what: str) -> int:
    """A tree size in ASCII decimal without leading zeroes. Raises EvidenceError."""
    digits = text.isascii() and text.isdigit() and len(text) <= 19
    if not digits or (len(text) > 1 and text[0] == "0") or int(text) > INT64_MAX:
        raise EvidenceError(what, text, "a decimal number without leading zeroes")
    return int(text)


def sign_log_checkpoint(head: LogCheckpoint, public_key: bytes, sign: Callable[[bytes], bytes]) -> SignedNote:
    """A note over `head`, signed by the log's key under the origin as its name. Raises EvidenceError."""
    text = head.text()
    if parse_log_checkpoint(text) != head:
        raise EvidenceError("log_checkpoint", text, "a tree head that can be read back")
    return sign_note(text, head.origin, public_key, sign)


def open_log_checkpoint(data: bytes, log_key: VerifierKey) -> tuple[LogCheckpoint, SignedNote]:
    """The tree head in a note's bytes, signed by `log_key`, whose name must be the origin.

    Raises EvidenceError when the note, the signature or the text is not what it must be.
    """
    note = parse_note(data)
    verify_note(note, [log_key])
    head = parse_log_checkpoint(note.text)
    if head.origin != log_key.name:
        raise EvidenceError("log_checkpoint.origin", head.origin, log_key.name)
    return head, note
