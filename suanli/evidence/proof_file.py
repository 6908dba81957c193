"""C2SP tlog-proof: one file that shows, offline, that an entry is in a log which witnesses have seen.

Index, inclusion path and the cosigned log checkpoint; as extra data the entry itself, which the path
authenticates. Name such files `*.tlog-proof`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suanli.evidence.entries import ENTRY_LIMIT_BYTES
from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import (
    LogCheckpoint,
    open_log_checkpoint,
    parse_log_checkpoint,
    parse_size,
)
from suanli.evidence.merkle import HASH_BYTES, PROOF_LIMIT, inclusion_proof, leaf_hash, verify_inclusion
from suanli.evidence.policy import Policy, cosigners
from suanli.evidence.signed_note import parse_note
from suanli.evidence.strict_json import decode_base64, encode_base64
from suanli.evidence.tiles import WIDTH, TileReader, entries_path, parse_entry_bundle

FIRST_LINE = "c2sp.org/tlog-proof@v1"
PROOF_FILE_LIMIT_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A proof taken apart; nothing is verified yet. `extra` is opaque and None where there is none."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [FIRST_LINE]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines += [f"index {self.index}", *(encode_base64(step) for step in self.path), ""]
        return "".join(line + "\n" for line in lines).encode("ascii") + self.checkpoint


def parse_proof_file(data: bytes) -> ProofFile:
    """The proof in a file, read strictly. Raises EvidenceError naming what is wrong."""
    if len(data) > PROOF_FILE_LIMIT_BYTES:
        raise EvidenceError("proof", f"{len(data)} bytes", f"at most {PROOF_FILE_LIMIT_BYTES} bytes")
    preamble, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = preamble.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise EvidenceError("proof", "bytes that are not ASCII", "ASCII before the empty line") from None
    if not separator or lines[0] != FIRST_LINE:
        raise EvidenceError(
            "proof", lines[0][:80], f"{FIRST_LINE}, then a proof, an empty line, a log checkpoint"
        )
    rest = lines[1:]
    extra = None
    if rest and rest[0].startswith("extra "):
        extra = decode_base64(rest.pop(0)[6:], "proof.extra", PROOF_FILE_LIMIT_BYTES)
    if not rest or not rest[0].startswith("index "):
        raise EvidenceError("proof.index", rest[0][:80] if rest else "nothing", "index <number>")
    index = parse_size(rest.pop(0)[6:], "proof.index")
    if len(rest) > PROOF_LIMIT:
        raise EvidenceError("proof.path", f"{len(rest)} lines", f"at most {PROOF_LIMIT}")
    path = tuple(decode_base64(line, "proof.path", HASH_BYTES) for line in rest)
    if any(len(step) != HASH_BYTES for step in path):
        raise EvidenceError("proof.path", "a line of another length", f"{HASH_BYTES} bytes a line")
    return ProofFile(index, path, checkpoint, extra)


def make_proof(index: int, checkpoint: bytes, read: Callable[[str], bytes]) -> ProofFile:
    """The proof of entry `index` under a log checkpoint, from the log's tiles.

    `read` gives the bytes at a tile path. Raises EvidenceError, also for tiles that do not prove it.
    """
    head = parse_log_checkpoint(parse_note(checkpoint).text)
    if not 0 <= index < head.size:
        raise EvidenceError("index", index, f"0 to {head.size - 1}: the log has {head.size} entries")
    number, place = divmod(index, WIDTH)
    width = min(WIDTH, head.size - number * WIDTH)
    bundle = entries_path(number, width)
    entry = parse_entry_bundle(read(bundle), width, bundle)[place]
    path = tuple(inclusion_proof(index, head.size, TileReader(head.size, read)))
    if not verify_inclusion(index, head.size, leaf_hash(entry), path, head.root):
        raise EvidenceError(
            "tiles", "hashes that do not lead to the root", "the tiles of this log checkpoint"
        )
    return ProofFile(index, path, checkpoint, entry)


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof shows: the entry's bytes, its tree, and when which witnesses saw it (POSIX seconds)."""

    entry: bytes
    head: LogCheckpoint
    witnessed_s: dict[str, int]


def check_proof(proof: ProofFile, policy: Policy, entry: bytes | None = None) -> Proved:
    """Verify a proof under the reader's own policy; `entry` where the file does not bring it.

    Raises EvidenceError naming the step that fails: log, signature, quorum or inclusion.
    """
    note = parse_note(proof.checkpoint)
    origin = parse_log_checkpoint(note.text).origin
    key = policy.log_key(origin)
    if key is None:
        raise EvidenceError("proof.log", origin, "a log of the policy")
    head, note = open_log_checkpoint(proof.checkpoint, key)
    times, false_lines = cosigners(policy, note)
    if false_lines:
        raise false_lines[0]
    if not policy.quorum_met(times):
        seen = ", ".join(sorted(times)) or "no witness"
        raise EvidenceError("proof.quorum", seen, f"the policy's quorum, {policy.quorum}")
    said = proof.extra if entry is None else entry
    if said is None or len(said) > ENTRY_LIMIT_BYTES:
        raise EvidenceError("proof.entry", "no entry", "the entry, in the file or beside it")
    if not verify_inclusion(proof.index, head.size, leaf_hash(said), proof.path, head.root):
        raise EvidenceError("proof.inclusion", f"entry {proof.index}", "a path that leads to the signed root")
    return Proved(said, head, times)
