"""Reads bundles as ZIP files or folders: the only file of this ring that touches a disk.

What comes from the operator is hostile until proved otherwise: sizes are bounded before anything is unpacked,
names may not leave the folder or appear twice, links are refused. Nothing is ever extracted to disk.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol, Self

from suanli.evidence.bundle import FILES_LIMIT, check_path
from suanli.evidence.bundle_files import BundleFiles
from suanli.evidence.errors import EvidenceError

_READ_BYTES = 1 << 20
_ENCRYPTED = 0x1
_TAIL_BYTES = 22 + 65_535 + 20 + 56
_MEMBER_BYTES = 46
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
    total_bytes: int = 256 << 30
    """Never in memory at once; this bounds time."""
    ratio: int = 20
    """Largest unpacked size per byte of the archive; hashes and base64 stay far below."""


class OpenBundle(BundleFiles, Protocol):
    """A bundle on a disk, closed at the end of a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_bundle(path: Path, limits: ReadLimits | None = None) -> OpenBundle:
    """The bundle in the ZIP file or folder at `path`, to be read as streams and closed at the end.

    Raises EvidenceError, and OSError of the disk.
    """
    limits = limits or ReadLimits()
    return FolderBundle(path, limits) if path.is_dir() else ZipBundle(path, limits)


class FolderBundle:
    """A bundle in a folder. Picklable: another process opens it again."""

    def __init__(self, root: Path, limits: ReadLimits) -> None:
        self._root = root
        self._limits = limits
        self._sizes = _folder_sizes(root, limits)

    def sizes(self) -> Mapping[str, int]:
        """Sizes in bytes by path."""
        return self._sizes

    def open(self, path: str) -> BinaryIO:
        """The file as a stream. Raises KeyError where there was none, and OSError."""
        if path not in self._sizes:
            raise KeyError(path)
        return (self._root / path).open("rb", _READ_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class ZipBundle:
    """A bundle in a ZIP file. Picklable: another process opens it again, and checks it again."""

    def __init__(self, path: Path, limits: ReadLimits) -> None:
        self._path = path
        self._limits = limits
        self._open()

    def _open(self) -> None:
        self._stream = self._path.open("rb")
        try:
            with _zip_errors():
                _check_directory(self._stream, self._limits)
                self._archive = zipfile.ZipFile(self._stream)
                members = _members(self._archive)
                _check_members(members, self._limits, self._path.stat().st_size)
        except BaseException:
            self._stream.close()
            raise
        self._members = {member.filename: member for member in members}
        self._sizes = {member.filename: member.file_size for member in members}

    def __getstate__(self) -> tuple[Path, ReadLimits]:
        return self._path, self._limits

    def __setstate__(self, state: tuple[Path, ReadLimits]) -> None:
        self._path, self._limits = state
        self._open()

    def sizes(self) -> Mapping[str, int]:
        """Sizes in bytes by path, as the archive announces them."""
        return self._sizes

    def open(self, path: str) -> BinaryIO:
        """The file as a stream, which raises EvidenceError where it is not as announced. Raises KeyError."""
        member = self._members[path]
        with _zip_errors():
            unpacked = self._archive.open(member)
        return io.BufferedReader(_Unpacked(unpacked, path, member.file_size), _READ_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()
        self._stream.close()


class _Unpacked(io.RawIOBase):
    """A member of an archive, no byte longer or shorter than announced."""

    def __init__(self, stream: IO[bytes], path: str, size: int) -> None:
        self._inner = stream
        self._path = path
        self._size = size
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with _zip_errors():
            # One byte more than announced, so that a lying size is noticed before memory is.
            data = self._inner.read(min(len(buffer), self._left + 1))
        self._left -= len(data)
        if self._left < 0 or (not data and self._left):
            raise EvidenceError("bundle", f"{self._path} of another size", f"{self._size} bytes")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


def _folder_sizes(root: Path, limits: ReadLimits) -> dict[str, int]:
    sizes: dict[str, int] = {}
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
            sizes[path] = file.stat().st_size
            total += sizes[path]
            _check_totals(len(sizes), total, limits)
    return sizes


def _check_totals(count: int, total: int, limits: ReadLimits) -> None:
    if count > limits.files:
        raise EvidenceError("bundle", f"more than {limits.files} files", f"at most {limits.files}")
    if total > limits.total_bytes:
        raise EvidenceError("bundle", f"{total} bytes unpacked", f"at most {limits.total_bytes} bytes")


@contextlib.contextmanager
def _zip_errors() -> Iterator[None]:
    """Turns what zipfile raises over bad archives into EvidenceError; the disk's own errors pass."""
    try:
        yield
    except EvidenceError:
        raise
    except OSError as error:
        # Offsets that lie make seeks fail; any other error is the disk's own.
        if error.errno != errno.EINVAL:
            raise
        raise _not_a_zip(error) from None
    except _ZIP_ERRORS as error:
        raise _not_a_zip(error) from None


def _check_directory(stream: BinaryIO, limits: ReadLimits) -> None:
    """Counts the members before zipfile makes an object of each. Where there is no directory, zipfile says so.

    Source: PKWARE APPNOTE 4.3: end of central directory (22 bytes), its ZIP64 form (56) and locator (20).
    """
    end = stream.seek(0, os.SEEK_END)
    first = stream.seek(max(0, end - _TAIL_BYTES))
    tail = stream.read()
    # Found exactly as zipfile finds it: at the very end without a comment, else the last of its signatures.
    at = len(tail) - 22
    if at < 0 or not tail[at:].startswith(b"PK\x05\x06") or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return
    place = first + at
    (size,) = struct.unpack_from("<L", tail, at + 12)
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        stream.seek(max(0, place - 20 - 56))
        record = stream.read(56)
        if record.startswith(b"PK\x06\x06") and len(record) == 56:
            place -= 20 + 56
            (size,) = struct.unpack_from("<Q", record, 40)
    stream.seek(max(0, place - size))
    for count in range(limits.files + 1):
        header = stream.read(_MEMBER_BYTES)
        if len(header) < _MEMBER_BYTES or not header.startswith(b"PK\x01\x02"):
            break
        if count == limits.files:
            raise EvidenceError("bundle", f"more than {limits.files} files", f"at most {limits.files}")
        stream.read(sum(struct.unpack_from("<HHH", header, 28)))
    stream.seek(0)


def _not_a_zip(error: Exception) -> EvidenceError:
    said = str(error) or type(error).__name__
    got = "something that is no ZIP file" if said == "File is not a zip file" else said
    return EvidenceError("bundle", got, "a readable ZIP file")


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
