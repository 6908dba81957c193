"""Steps 1 to 4: the manifest, the log checkpoint under the reader's policy, the tree, and earlier history."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from suanli.evidence.bundle import (
    CHECKPOINT,
    MANIFEST,
    MANIFEST_LIMIT_BYTES,
    PAYLOADS,
    STATEMENT,
    TILES,
    parse_manifest,
)
from suanli.evidence.bundle_files import BundleFiles, read_entry_bundle, read_file
from suanli.evidence.entries import USAGE_WINDOW, read_entry, window_parts
from suanli.evidence.errors import EvidenceError, shorten
from suanli.evidence.limits import limit
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint
from suanli.evidence.merkle import HASH_BYTES, CompactRange, complete_root, fold_peaks, leaf_hash
from suanli.evidence.moments import shown_time
from suanli.evidence.policy import NO_QUORUM, cosigners
from suanli.evidence.signed_note import NOTE_LIMIT_BYTES, parse_note, verify_note
from suanli.evidence.steps.case import Case, Progress, root_at
from suanli.evidence.steps.report import UNREADABLE
from suanli.evidence.tiles import (
    WIDTH,
    entries_path,
    entry_bundles,
    tile_path,
    tile_paths,
)

_FUTURE_MS = 600_000
_READ_BYTES = 1 << 20
ENTRIES_LIMIT = 1 << 27
"""Trees larger than this are refused before their list of tiles is even written down."""


def check_manifest(case: Case) -> None:
    """Step 1: every file of the manifest is there with its hash, and none besides."""
    sizes = case.files.sizes()
    if MANIFEST not in sizes:
        case.report.add("manifest.missing", MANIFEST, "a manifest", "none")
        case.stop(limit("no_manifest"))
    try:
        data = read_file(case.files, MANIFEST, MANIFEST_LIMIT_BYTES)
        case.known.manifest = parse_manifest(data)
    except EvidenceError as error:
        case.report.add("manifest.format", error.field, error.want, error.got)
        case.stop(limit("manifest_unreadable"))
        return
    case.facts["bundle_sha256"] = hashlib.sha256(data).hexdigest()
    firm_id, scope = case.known.settings.firm_id, case.known.manifest.scope
    if firm_id is not None and scope.firm_id != firm_id:
        found = "the auditor's" if scope.firm_id is None else f"firm {scope.firm_id}'s"
        case.report.add("manifest.scope", "scope", f"a bundle of firm {firm_id}", found)
    claims = case.known.manifest.files
    broken = False
    done, total = 0, sum(claim.size for claim in claims.values())
    for path, claim in claims.items():
        case.progress("manifest", done, total)
        done += claim.size
        if path not in sizes:
            code, expected, got = "manifest.file_missing", f"{claim.size} bytes", "no such file"
        elif sizes[path] != claim.size:
            code, expected, got = "manifest.size", f"{claim.size} bytes", f"{sizes[path]} bytes"
        elif (found := _sha256(case.files, path, case.progress, done - claim.size, total)) != claim.sha256:
            code, expected, got = "manifest.hash", claim.sha256, found
        else:
            continue
        broken = True
        case.report.add(code, path, expected, got)
    for path in sorted(sizes.keys() - claims.keys() - {MANIFEST}):
        case.report.add("manifest.extra_file", shorten(path), "no such file", "a file")
    for path in (CHECKPOINT, PAYLOADS, STATEMENT):
        if path not in claims:
            broken = True
            case.report.add("manifest.file_missing", path, "the file", "none")
    if broken:
        case.stop(limit("files_differ"))
    # There are two files for every 256 entries, and no later step asks: what is kept must not grow with windows.
    case.known.manifest = replace(case.known.manifest, files={})


def _sha256(files: BundleFiles, path: str, progress: Progress, done: int, total: int) -> str:
    digest = hashlib.sha256()
    with files.open(path) as stream:
        while part := stream.read(_READ_BYTES):
            digest.update(part)
            done += len(part)
            if len(part) == _READ_BYTES:
                progress("manifest", done, total)
    return digest.hexdigest()


def check_log_checkpoint(case: Case) -> None:
    """Step 2: origin and signature of the log, cosignatures, quorum by the reader's own policy."""
    try:
        case.note = parse_note(read_file(case.files, CHECKPOINT, NOTE_LIMIT_BYTES))
        case.known.head = parse_log_checkpoint(case.note.text)
    except EvidenceError as error:
        case.report.add("checkpoint.format", error.field, error.want, error.got)
        case.stop(limit("checkpoint_unreadable"))
    origin = case.known.manifest.log_origin
    if case.known.head.origin != origin:
        case.report.add("checkpoint.origin", "origin", origin, shorten(case.known.head.origin))
    case.facts["log"] = {
        "origin": case.known.head.origin,
        "size": case.known.head.size,
        "root": case.known.head.root.hex(),
    }
    if case.policy is not None:
        _check_policy(case)


def _check_policy(case: Case) -> None:
    policy, note = case.policy, case.note
    if policy is None or note is None:
        return
    log_key = policy.log_key(case.known.head.origin)
    if log_key is None:
        accepted = ", ".join(log.key.name for log in policy.logs) or "no log at all"
        case.report.add(
            "checkpoint.unknown_log", "origin", f"a log of the policy: {accepted}", case.known.head.origin
        )
        case.stop(limit("log_unknown"))
        return
    try:
        verify_note(note, [log_key])
    except EvidenceError as error:
        case.report.add("checkpoint.signature", log_key.name, error.want, error.got)
        case.stop(limit("log_unsigned"))
    case.cosigned_s, false_lines = cosigners(policy, note)
    case.facts["cosigned_s"] = dict(case.cosigned_s)
    case.facts["quorum"] = policy.quorum
    for line in false_lines:
        case.report.add("checkpoint.false_cosignature", line.field, line.want, line.got)
    if not policy.quorum_met(case.cosigned_s):
        names = ", ".join(sorted(case.cosigned_s)) or "no witness of the policy"
        expected = f"the quorum {policy.quorum}"
        case.report.add("checkpoint.quorum", "cosignatures", expected, names)
    elif policy.quorum == NO_QUORUM:
        case.not_proved.append(limit("no_witness"))
    now_ms = case.known.settings.now_ms
    for name, time_s in case.cosigned_s.items():
        if now_ms is not None and time_s * 1000 > now_ms + _FUTURE_MS:
            case.report.add("checkpoint.time", name, "a time gone by", shown_time(1000 * time_s))


def check_tree(case: Case) -> None:
    """Step 4: the tree recomputed from every entry, and every published tile compared with it."""
    size = case.known.head.size
    if size > ENTRIES_LIMIT:
        case.report.add("tree.size", "size", f"at most {ENTRIES_LIMIT}", str(size))
        case.stop(limit("tree_too_large"))
    published = {path for path in case.files.sizes() if path.startswith(TILES)}
    # Each bundle holds at most 256 entries: a size without files for it is refused before listing its tiles.
    if len(published) < size // WIDTH:
        found = f"{len(published)} files"
        case.report.add("tree.tiles", "tiles", f"the tiles of {size} entries", found)
        case.stop(limit("tiles_missing"))
    wanted = tile_paths(size)
    missing = [path for path in wanted if path not in published]
    for path in missing:
        case.report.add("tree.tile_missing", path, "the tile", "no such file")
    for path in sorted(published.difference(wanted)):
        case.report.add("tree.extra_tile", path, f"no tile beyond {size}", "a file")
    if missing:
        case.stop(limit("tiles_missing"))
    root = _read_tree(case, size)
    if root != case.known.head.root:
        case.report.add("tree.root", "root", case.known.head.root.hex(), root.hex())
        case.stop(limit("other_tree"))


def _read_tree(case: Case, size: int) -> bytes:
    """Root over all entries; compares every tile on the way and notes what is not a window."""
    tiles = _Tiles(case)
    rest: list[bytes] = []
    for number, width in entry_bundles(size):
        case.progress("tree", number * WIDTH, size)
        path = entries_path(number, width)
        try:
            raw = read_entry_bundle(case.files, number, width)
        except EvidenceError as error:
            case.report.add("tree.bundle", path, error.want, error.got)
            case.stop(limit("bundle_unreadable"))
            break
        leaves = [leaf_hash(data) for data in raw]
        tiles.add(leaves)
        rest = [] if width == WIDTH else leaves
        _note_entries(case, number * WIDTH, raw)
    tiles.finish()
    tail = CompactRange()
    for leaf in rest:
        tail.append(leaf)
    return fold_peaks([*tiles.whole.peaks, *tail.peaks])


def _note_entries(case: Case, first: int, raw: list[bytes]) -> None:
    for index, data in enumerate(raw, first):
        if window_parts(data) is not None:
            case.windows += 1
            continue
        try:
            entry = read_entry(data)
        except EvidenceError as error:
            case.report.add("entry.format", error.field, error.want, error.got, index)
            # Whatever it was, something will miss it.
            case.report.damage(UNREADABLE, "entry.format")
            continue
        if entry.type == USAGE_WINDOW:
            case.windows += 1
        else:
            case.others.append((index, entry))


class _Tiles:
    """Hash tiles as they must be, made level by level while leaves come, and compared with what is there."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._differs = False
        self._levels: list[list[bytes]] = []
        self._done: list[int] = []
        self.whole = CompactRange()
        """The tree over roots of full tiles of leaves."""

    def add(self, hashes: list[bytes], level: int = 0) -> None:
        """Takes what a tile of `level` holds next; at level 0, all that one bundle of entries gives."""
        if level == len(self._levels):
            self._levels.append([])
            self._done.append(0)
        tile = self._levels[level]
        tile += hashes
        if len(tile) == WIDTH:
            self._compare(level)
            above = complete_root(tile)
            self._levels[level] = []
            self._done[level] += 1
            if level == 0:
                self.whole.append(above)
            self.add([above], level + 1)

    def finish(self) -> None:
        """Compares the partial tiles at the end of each level."""
        for level, tile in enumerate(self._levels):
            if tile:
                self._compare(level)

    def _compare(self, level: int) -> None:
        want, number = self._levels[level], self._done[level]
        path = tile_path(level, number, len(want))
        size = self._case.files.sizes()[path]
        found = read_file(self._case.files, path, size) if size == len(want) * HASH_BYTES else b""
        if found == b"".join(want):
            return
        index = None
        expected = "the hashes of the entries"
        if level == 0:
            index = number * WIDTH + _first_difference(found, b"".join(want))
            expected = f"the hash of entry {index}"
        self._case.report.add("tree.tile", path, expected, "another hash", index, follows=self._differs)
        self._differs = True


def _first_difference(found: bytes, want: bytes) -> int:
    """Place of the first hash in which two tiles differ."""
    for place in range(len(want) // HASH_BYTES):
        start, end = place * HASH_BYTES, (place + 1) * HASH_BYTES
        if found[start:end] != want[start:end]:
            return place
    return 0


def check_history(case: Case) -> None:
    """Step 3: this tree extends the one that the reader kept from before. Raises EvidenceError: that is of no use."""
    if case.since is None:
        case.not_proved.append(limit("no_since"))
        return
    earlier = _read_since(case, case.since)
    if earlier.size > case.known.head.size:
        case.report.add(
            "history.rolled_back",
            "size",
            f"at least {earlier.size} entries",
            f"{case.known.head.size} entries",
        )
    elif (found := root_at(case.files, case.known.head)(earlier.size)) != earlier.root:
        got = "none" if found is None else found.hex()
        case.report.add("history.forked", f"root at size {earlier.size}", earlier.root.hex(), got)
    else:
        case.facts["extends"] = {"size": earlier.size, "root": earlier.root.hex()}


def _read_since(case: Case, since: bytes) -> LogCheckpoint:
    """Raises EvidenceError for what the reader took for a checkpoint of this log: it says nothing of the bundle."""
    origin = case.known.head.origin
    want = f"a log checkpoint that {origin} signed"
    try:
        note = parse_note(since)
        earlier = parse_log_checkpoint(note.text)
        log_key = None if case.policy is None else case.policy.log_key(origin)
        if log_key is not None and earlier.origin == origin:
            verify_note(note, [log_key])
    except EvidenceError as error:
        raise EvidenceError("--since", error.got, want) from None
    if earlier.origin != origin:
        raise EvidenceError("--since", earlier.origin, want)
    return earlier
