"""Reads and writes bundles as ZIP files or folders: the only file of this ring that touches a disk.

What comes from the operator is hostile until proved otherwise: sizes are bounded before anything is unpacked,
names may not leave the folder or appear twice, links are refused. Nothing is ever extracted to disk.
"""

from __future__ import annotations

import errno
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from suanli.evidence.bundle import FILES_LIMIT, check_path
from suanli.evidence.errors import EvidenceError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_READ_BYTES = 1 << 20
_ENCRYPTED = 0x1
# What zipfile raises over archives that are not what they say.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a bundle may weigh once unpacked."""

    files: int = FILES_LIMIT
    total_bytes: int = 4 << 30
    ratio: int = 20
    """Largest unpacked size per byte of the archive; hashes and base64 stay far below."""


def read_bundle(path: Path, limits: ReadLimits | None = None) -> dict[str, bytes]:
    """All files of the ZIP file or folder at `path`. Raises EvidenceError, and OSError of the disk."""
    limits = limits or ReadLimits()
    return _read_folder(path, limits) if path.is_dir() else _read_zip(path, limits)


def _read_folder(root: Path, limits: ReadLimits) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    for folder, folders, names in os.walk(root, followlinks=False):
        for name in (*folders, *names):
            if (Path(folder) / name).is_symlink():
                raise EvidenceError("bundle", str(Path(folder, name).relative_to(root)), "no links")
        for name in names:
            file = Path(folder) / name
            path = file.relative_to(root).as_posix()
            check_path(path)
            if not file.is_file():
                raise EvidenceError("bundle", path, "plain files only")
            total += file.stat().st_size
            _check_totals(len(files) + 1, total, limits)
            files[path] = file.read_bytes()
    return files


def _check_totals(count: int, total: int, limits: ReadLimits) -> None:
    if count > limits.files:
        raise EvidenceError("bundle", f"more than {limits.files} files", f"at most {limits.files}")
    if total > limits.total_bytes:
        raise EvidenceError("bundle", f"{total} bytes unpacked", f"at most {limits.total_bytes} bytes")


def _read_zip(path: Path, limits: ReadLimits) -> dict[str, bytes]:
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = _members(archive)
                _check_members(members, limits, path.stat().st_size)
                return {member.filename: _unpack(archive, member) for member in members}
        except EvidenceError:
            raise
        except OSError as error:
            # Offsets that lie make seeks fail; any other error is the disk's own.
            if error.errno != errno.EINVAL:
                raise
            raise _not_a_zip(error) from None
        except _ZIP_ERRORS as error:
            raise _not_a_zip(error) from None


def _not_a_zip(error: Exception) -> EvidenceError:
    return EvidenceError("bundle", str(error) or type(error).__name__, "a readable ZIP file")


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if not all(member.filename for member in members):
        raise EvidenceError("bundle", "a file without a name", "plain relative names with slashes")
    return [member for member in members if not member.is_dir()]


def _check_members(members: list[zipfile.ZipInfo], limits: ReadLimits, archive_bytes: int) -> None:
    names: set[str] = set()
    for member in members:
        # ZipInfo cuts names at NUL and turns separators: what was written must be what is read.
        if member.orig_filename != member.filename:
            raise EvidenceError("bundle", member.orig_filename, "plain relative names with slashes")
        check_path(member.filename)
        if member.filename.casefold() in names:
            raise EvidenceError("bundle", f"{member.filename} twice", "each name once, whatever its case")
        names.add(member.filename.casefold())
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
            raise EvidenceError("bundle", member.filename, "stored or deflated files without encryption")
    total = sum(member.file_size for member in members)
    _check_totals(len(members), total, limits)
    # Against the archive as it lies on the disk: members may overlap, and what they say of themselves may lie.
    if total > limits.ratio * archive_bytes:
        want = f"at most {limits.ratio} bytes per byte of the archive"
        raise EvidenceError("bundle", f"{total} bytes in an archive of {archive_bytes}", want)


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Reads one byte more than announced, so that a lying size is noticed before memory is."""
    parts: list[bytes] = []
    left = member.file_size + 1
    with archive.open(member) as stream:
        while left and (part := stream.read(min(left, _READ_BYTES))):
            parts.append(part)
            left -= len(part)
    if left != 1:
        raise EvidenceError("bundle", f"{member.filename} of another size", f"{member.file_size} bytes")
    return b"".join(parts)


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
