"""The manifest: every file of a folder with its size, its hash, and the objects that it is made of.

    {"schema": "suanli.manifest.v1", "files": [
      {"path": "src/train.py", "size": 1200, "executable": false, "sha256": HEX, "objects": [HEX]}]}

Files are sorted by path, and the bytes are canonical, so that the same folder has the same digest anywhere.
There are regular files only: no links, no devices, no owners.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

SCHEMA = "suanli.manifest.v1"
# An object is at most this long; a file is cut into objects of exactly this length and a rest.
OBJECT_BYTES = 4 << 20
MOST_MANIFEST_BYTES = OBJECT_BYTES
MOST_FILES = 50_000
MOST_PATH_BYTES = 1_000
MOST_NAME_BYTES = 255
MOST_DEPTH = 64
MOST_BYTES = 1 << 40

_HEX = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset({"path", "size", "executable", "sha256", "objects"})


class ContentError(ValueError):
    """A manifest or a path that nobody may use; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file. `sha256` is of the whole file; `objects` are the hashes of its parts, in order."""

    path: str
    size: int
    executable: bool
    sha256: str
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a folder, by path."""

    files: tuple[FileEntry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def objects(self) -> dict[str, int]:
        """Every object once, with its length in bytes."""
        return {
            digest: min(OBJECT_BYTES, file.size - number * OBJECT_BYTES)
            for file in self.files
            for number, digest in enumerate(file.objects)
        }

    def to_bytes(self) -> bytes:
        """Canonical bytes. Raises ContentError where it would be too large to send."""
        files = [
            {
                "path": f.path,
                "size": f.size,
                "executable": f.executable,
                "sha256": f.sha256,
                "objects": list(f.objects),
            }
            for f in self.files
        ]
        text = json.dumps(
            {"schema": SCHEMA, "files": files}, separators=(",", ":"), sort_keys=True, ensure_ascii=False
        )
        data = text.encode()
        if len(data) > MOST_MANIFEST_BYTES:
            raise ContentError(
                f"{len(files)} files are too many for one folder: the list of them has {len(data)} bytes, "
                f"and {MOST_MANIFEST_BYTES} are allowed; leave some out, or pack them into one file"
            )
        return data


def hash_of(data: bytes) -> str:
    """SHA-256 in hex: the name of an object."""
    return hashlib.sha256(data).hexdigest()


def make_manifest(files: Iterable[FileEntry]) -> Manifest:
    """A manifest of checked files. Raises ContentError."""
    manifest = Manifest(tuple(sorted(files, key=lambda file: file.path)))
    _check(manifest)
    return manifest


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest that somebody sent. Raises ContentError."""
    if len(data) > MOST_MANIFEST_BYTES:
        raise ContentError(f"a manifest of {len(data)} bytes; {MOST_MANIFEST_BYTES} are allowed")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ContentError("the manifest is not JSON") from None
    if not isinstance(value, dict) or value.keys() != {"schema", "files"} or value["schema"] != SCHEMA:
        raise ContentError(f"the manifest is none of schema {SCHEMA}")
    if not isinstance(value["files"], list):
        raise ContentError("the manifest's files are no list")
    manifest = Manifest(tuple(_file(number, item) for number, item in enumerate(value["files"])))
    _check(manifest)
    return manifest


def _file(number: int, item: object) -> FileEntry:
    where = f"files[{number}]"
    if not isinstance(item, dict) or item.keys() != _FIELDS:
        raise ContentError(f"{where} does not have exactly the fields {', '.join(sorted(_FIELDS))}")
    path, size, objects = item["path"], item["size"], item["objects"]
    if not isinstance(path, str):
        raise ContentError(f"{where}.path is no text")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MOST_BYTES:
        raise ContentError(f"{where}.size is no size")
    if not isinstance(item["executable"], bool):
        raise ContentError(f"{where}.executable is neither true nor false")
    if not isinstance(objects, list):
        raise ContentError(f"{where}.objects is no list")
    for digest in (item["sha256"], *objects):
        if not isinstance(digest, str) or not _HEX.fullmatch(digest):
            raise ContentError(f"{where} holds something that is no SHA-256")
    return FileEntry(path, size, item["executable"], item["sha256"], tuple(objects))


def _check(manifest: Manifest) -> None:
    if len(manifest.files) > MOST_FILES:
        raise ContentError(f"{len(manifest.files)} files; {MOST_FILES} are allowed")
    if manifest.size > MOST_BYTES:
        raise ContentError(f"{manifest.size} bytes; {MOST_BYTES} are allowed")
    folders: set[str] = set()
    names: set[str] = set()
    for file in manifest.files:
        check_path(file.path)
        if file.path in names:
            raise ContentError(f"{file.path!r} is there twice")
        names.add(file.path)
        parts = file.path.split("/")
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
        if len(file.objects) != -(-file.size // OBJECT_BYTES):
            raise ContentError(f"{file.path!r} of {file.size} bytes cannot be of {len(file.objects)} objects")
    both = names & folders
    if both:
        raise ContentError(f"{min(both)!r} is a file and a folder at once")
    if [file.path for file in manifest.files] != sorted(names):
        raise ContentError("the files are not sorted by path")


def check_path(path: str) -> None:
    """A relative path that stays inside, on any system. Raises ContentError."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ContentError(f"the name {path!r} is not Unicode") from None
    if not 0 < size <= MOST_PATH_BYTES:
        raise ContentError(f"a path of {size} bytes; 1 to {MOST_PATH_BYTES} are allowed")
    parts = path.split("/")
    if len(parts) > MOST_DEPTH:
        raise ContentError(f"{path[:100]!r} lies {len(parts)} folders deep; {MOST_DEPTH} are allowed")
    for part in parts:
        if part in ("", ".", ".."):
            raise ContentError(
                f"the path {path[:100]!r} leads out of the folder, or is not in its simplest form"
            )
        if len(part.encode()) > MOST_NAME_BYTES:
            raise ContentError(f"a name of {len(part.encode())} bytes; {MOST_NAME_BYTES} are allowed")
        if any(ord(c) < 32 or ord(c) == 127 for c in part) or "\\" in part:
            raise ContentError(f"the name {part[:100]!r} holds a control character or a backslash")
