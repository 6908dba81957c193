"""Steps 1 to 4: the manifest, the log checkpoint under the reader's policy, the tree, and earlier history."""

from __future__ import annotations

import hashlib

from suanli.evidence.bundle import CHECKPOINT, MANIFEST, PAYLOADS, STATEMENT, TILES, parse_manifest
from suanli.evidence.entries import parse_entry
from suanli.evidence.errors import EvidenceError, shorten
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint
from suanli.evidence.merkle import HASH_BYTES, CompactRange, leaf_hash, leaves_source
from suanli.evidence.policy import NO_QUORUM, cosigners
from suanli.evidence.signed_note import parse_note, verify_note
from suanli.evidence.steps.case import Case
from suanli.evidence.tiles import (
    WIDTH,
    entries_path,
    entry_bundles,
    hash_tile,
    hash_tiles,
    parse_entry_bundle,
    tile_path,
    tile_paths,
)

_FUTURE_MS = 600_000
ENTRIES_LIMIT = 1 << 27
"""Trees larger than this are refused before their list of tiles is even written down."""


def check_manifest(case: Case) -> None:
    """Step 1: every file of the manifest is there with its hash, and none besides."""
    data = case.files.get(MANIFEST)
    if data is None:
        case.report("manifest.missing", MANIFEST, "a manifest", "none")
        case.stop("Nothing: the bundle has no manifest.")
        return
    try:
        case.manifest = parse_manifest(data)
    except EvidenceError as error:
        case.report("manifest.format", error.field, error.want, error.got)
        case.stop("Nothing: the manifest cannot be read.")
    broken = False
    for path, claim in case.manifest.files.items():
        found = case.files.get(path)
        if found is None:
            code, expected, got = "manifest.file_missing", f"{claim.size} bytes", "no such file"
        elif len(found) != claim.size:
            code, expected, got = "manifest.size", f"{claim.size} bytes", f"{len(found)} bytes"
        elif hashlib.sha256(found).hexdigest() != claim.sha256:
            code, expected, got = "manifest.hash", claim.sha256, hashlib.sha256(found).hexdigest()
        else:
            continue
        broken = True
        case.report(code, path, expected, got)
    for path in sorted(case.files.keys() - case.manifest.files.keys() - {MANIFEST}):
        case.report("manifest.extra_file", shorten(path), "no such file", "a file")
    for path in (CHECKPOINT, PAYLOADS, STATEMENT):
        if path not in case.manifest.files:
            broken = True
            case.report("manifest.file_missing", path, "the file", "none")
    if broken:
        case.stop("Anything beyond the manifest: files are missing or differ from it.")


def check_log_checkpoint(case: Case) -> None:
    """Step 2: origin and signature of the log, cosignatures, quorum by the reader's own policy."""
    try:
        case.note = parse_note(case.files[CHECKPOINT])
        case.head = parse_log_checkpoint(case.note.text)
    except EvidenceError as error:
        case.report("checkpoint.format", error.field, error.want, error.got)
        case.stop("Anything about the log: its checkpoint cannot be read.")
    origin = case.manifest.log_origin
    if case.head.origin != origin:
        case.report("checkpoint.origin", "origin", origin, shorten(case.head.origin))
    case.facts["log"] = {
        "origin": case.head.origin,
        "size": case.head.size,
        "root": case.head.root.hex(),
    }
    if case.policy is not None:
        _check_policy(case)


def _check_policy(case: Case) -> None:
    policy, note = case.policy, case.note
    if policy is None or note is None:
        return
    log_key = policy.log_key(case.head.origin)
    if log_key is None:
        accepted = ", ".join(log.key.name for log in policy.logs) or "no log at all"
        case.report("checkpoint.unknown_log", "origin", f"a log of the policy: {accepted}", case.head.origin)
        case.stop("Anything about the log: the policy does not know it.")
        return
    try:
        verify_note(note, [log_key])
    except EvidenceError as error:
        case.report("checkpoint.signature", log_key.name, error.want, error.got)
        case.stop("Anything about the log: its checkpoint is not signed by the key of the policy.")
    case.cosigned_s, false_lines = cosigners(policy, note)
    case.facts["cosigned_s"] = dict(case.cosigned_s)
    case.facts["quorum"] = policy.quorum
    for line in false_lines:
        case.report("checkpoint.false_cosignature", line.field, line.want, line.got)
    if not policy.quorum_met(case.cosigned_s):
        names = ", ".join(sorted(case.cosigned_s)) or "no witness of the policy"
        expected = f"the quorum {policy.quorum}"
        case.report("checkpoint.quorum", "cosignatures", expected, names)
    elif policy.quorum == NO_QUORUM:
        case.not_proved.append("That others saw the same log: the policy asks for no witness.")
    now_ms = case.settings.now_ms
    for name, time_s in case.cosigned_s.items():
        if now_ms is not None and time_s * 1000 > now_ms + _FUTURE_MS:
            case.report("checkpoint.time", name, "a time gone by", f"{time_s} s")


def check_tree(case: Case) -> None:
    """Step 4: the tree recomputed from every entry, and every published tile compared with it."""
    size = case.head.size
    if size > ENTRIES_LIMIT:
        case.report("tree.size", "size", f"at most {ENTRIES_LIMIT}", str(size))
        case.stop("Anything about the entries: the tree is larger than this verifier reads.")
    published = {path for path in case.files if path.startswith(TILES)}
    # Each bundle holds at most 256 entries: a size without files for it is refused before listing its tiles.
    if len(published) < size // WIDTH:
        found = f"{len(published)} files"
        case.report("tree.tiles", "tiles", f"the tiles of {size} entries", found)
        case.stop("Anything about the entries: tiles are missing.")
    wanted = tile_paths(size)
    missing = [path for path in wanted if path not in published]
    for path in missing:
        case.report("tree.tile_missing", path, "the tile", "no such file")
    for path in sorted(published.difference(wanted)):
        case.report("tree.extra_tile", path, f"no tile beyond {size}", "a file")
    if missing:
        case.stop("Anything about the entries: tiles are missing.")
    _read_entries(case, size)
    _compare_tiles(case, size)
    tree = CompactRange()
    for leaf in case.leaves:
        tree.append(leaf)
    if tree.root() != case.head.root:
        explained = any(finding.step == 4 for finding in case.findings)
        (case.follow if explained else case.report)(
            "tree.root", "root", case.head.root.hex(), tree.root().hex()
        )
        case.stop("Anything about the entries: they are not those of the signed tree.")


def _read_entries(case: Case, size: int) -> None:
    raw: list[bytes] = []
    for number, width in entry_bundles(size):
        path = entries_path(number, width)
        try:
            raw.extend(parse_entry_bundle(case.files[path], width, path))
        except EvidenceError as error:
            case.report("tree.bundle", path, error.want, error.got)
    if len(raw) != size:
        case.stop("Anything about the entries: a bundle of them cannot be read.")
    case.leaves = [leaf_hash(data) for data in raw]
    for index, data in enumerate(raw):
        try:
            case.entries.append(parse_entry(data))
        except EvidenceError as error:
            case.entries.append(None)
            case.report("entry.format", error.field, error.want, error.got, index)


def _compare_tiles(case: Case, size: int) -> None:
    node = leaves_source(case.leaves)
    differs = False
    for level, number, width in hash_tiles(size):
        path = tile_path(level, number, width)
        found, want = case.files[path], hash_tile(level, number, width, node)
        if found == want:
            continue
        index = None
        expected = "the hashes of the entries"
        if level == 0:
            place = _first_difference(found, want)
            index = number * WIDTH + place
            expected = f"the hash of entry {index}"
        (case.follow if differs else case.report)("tree.tile", path, expected, "another hash", index)
        differs = True


def _first_difference(found: bytes, want: bytes) -> int:
    """Place of the first hash in which two tiles differ."""
    for place in range(len(want) // HASH_BYTES):
        start, end = place * HASH_BYTES, (place + 1) * HASH_BYTES
        if found[start:end] != want[start:end]:
            return place
    return 0


def root_at(case: Case, sizes: set[int]) -> dict[int, bytes]:
    """Roots of this tree at each of `sizes` that it reaches, in one pass over its leaves."""
    roots: dict[int, bytes] = {}
    tree = CompactRange()
    if 0 in sizes:
        roots[0] = tree.root()
    for leaf in case.leaves:
        tree.append(leaf)
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    return roots


def check_history(case: Case) -> None:
    """Step 3: this tree extends the one that the reader kept from before."""
    if case.since is None:
        case.not_proved.append(
            "That this log extends an earlier one: no earlier log checkpoint was given (--since). "
            "Keep the bundle's file `checkpoint` for the next time."
        )
        return
    earlier = _read_since(case, case.since)
    if earlier is None:
        return
    if earlier.size > case.head.size:
        case.broken_history = True
        case.report(
            "history.rolled_back", "size", f"at least {earlier.size} entries", f"{case.head.size} entries"
        )
    elif (found := root_at(case, {earlier.size})[earlier.size]) != earlier.root:
        case.broken_history = True
        case.report("history.forked", f"root at size {earlier.size}", earlier.root.hex(), found.hex())
    else:
        case.facts["extends"] = {"size": earlier.size, "root": earlier.root.hex()}


def _read_since(case: Case, since: bytes) -> LogCheckpoint | None:
    try:
        note = parse_note(since)
        earlier = parse_log_checkpoint(note.text)
        log_key = None if case.policy is None else case.policy.log_key(case.head.origin)
        if log_key is not None:
            verify_note(note, [log_key])
    except EvidenceError as error:
        case.report("history.since", error.field, error.want, error.got)
        return None
    if earlier.origin != case.head.origin:
        case.report("history.since", "origin", case.head.origin, earlier.origin)
        return None
    return earlier
