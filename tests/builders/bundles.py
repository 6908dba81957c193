"""Whole bundles, as tests make and change them; the product writes and reads them as streams."""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from suanli.evidence.bundle import (
    MANIFEST,
    PAYLOADS,
    STATEMENT,
    BundleHead,
    FileClaim,
    PayloadLine,
    check_path,
    encode_manifest,
    encode_payload_line,
)
from suanli.evidence.bundle_files import read_file
from suanli.evidence.bundle_io import ReadLimits, open_bundle
from suanli.evidence.merkle import NodeSource, node_hash
from suanli.evidence.strict_json import encode

_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_manifest(files: Mapping[str, bytes], head: BundleHead) -> bytes:
    """MANIFEST.json over `files`, which must not contain it."""
    claims = {path: FileClaim(hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items()}
    return encode_manifest(claims, head)


def build_bundle(
    log_files: Mapping[str, bytes],
    lines: Sequence[PayloadLine],
    statement: Mapping[str, object],
    head: BundleHead,
) -> dict[str, bytes]:
    """All files of a bundle by path.

    `log_files` are the signed log checkpoint and the tiles as published for its size; `statement` is what
    `suanli.rating.statements.build_statement` gives for the same period.
    """
    files = dict(log_files)
    files[PAYLOADS] = b"".join(encode_payload_line(line) for line in lines)
    files[STATEMENT] = encode(statement)
    files[MANIFEST] = build_manifest(files, head)
    return files


def read_bundle(path: Path, limits: ReadLimits | None = None) -> dict[str, bytes]:
    """All files of a small bundle at once. Raises EvidenceError, and OSError of the disk."""
    with open_bundle(path, limits) as bundle:
        return {name: read_file(bundle, name, size) for name, size in bundle.sizes().items()}


def write_bundle(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes `files` as a ZIP file without compression; the same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            check_path(name)
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name])


def write_bundle_folder(root: Path, files: Mapping[str, bytes]) -> None:
    """Writes `files` as a folder. Files that are there already are replaced, others left alone."""
    for name in sorted(files):
        check_path(name)
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(files[name])


def leaves_source(leaves: Sequence[bytes]) -> NodeSource:
    """A NodeSource over leaf hashes in memory; complete subtrees are computed once, on demand."""
    levels: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        key = (level, index)
        found = levels.get(key)
        if found is None:
            found = node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))
            levels[key] = found
        return found

    return node
