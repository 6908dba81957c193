"""Folders on their way: sent along with a job, and results fetched back. Both go on where they broke."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from suanli.client.errors import Unreachable, Unusable
from suanli.content.manifest import (
    OBJECT_BYTES,
    ContentError,
    FileEntry,
    Manifest,
    check_path,
    hash_of,
    make_manifest,
)

if TYPE_CHECKING:
    from suanli.client.transport import Transport

IGNORE_FILE = ".suanliignore"
# What nobody means to send; a .suanliignore can bring it back with a line like !.git/
ALWAYS_IGNORED = (
    ".git/",
    ".hg/",
    ".svn/",
    "__pycache__/",
    "*.pyc",
    ".venv/",
    "venv/",
    "node_modules/",
    ".DS_Store",
)
OBJECTS_TYPE = "application/vnd.suanli.objects"
MOST_ASKED = 10_000
MOST_BODY_BYTES = 2 * (OBJECT_BYTES + 4)
MOST_BODY_OBJECTS = 1_000
MOST_BREAKS = 8

# What a name on Windows must not hold, be, or end with (Win32, "Naming Files, Paths, and Namespaces").
_OTHERWISE_ON_WINDOWS = re.compile(
    r'.*[<>:"|?*].*|.*[ .]|(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?',
    re.IGNORECASE,
)
_PathT = TypeVar("_PathT", bound=PurePath)
# (what is being done, bytes done, bytes in all)
Progress = Callable[[str, int, int], None]


class FolderError(Unusable):
    """The folder cannot be sent; the sentence names the file."""


@dataclass(frozen=True)
class LocalFile:
    """A file to send."""

    path: str  # in the folder, with /
    place: Path
    size: int
    executable: bool


def list_folder(folder: Path) -> list[LocalFile]:
    """The files of a folder that are not ignored, by path. Raises FolderError.

    A link is sent as what it points to, where that lies in the folder; what it leads to elsewhere is not.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder")
    spec = _ignored(folder)
    root = folder.resolve()
    found = []
    for place, path in _walk(root, "", spec):
        info = place.stat()
        if not stat.S_ISREG(info.st_mode):
            raise FolderError(f"{path} is no regular file; leave it out in {IGNORE_FILE}")
        try:
            check_path(path)
        except ContentError as error:
            raise FolderError(str(error)) from None
        found.append(LocalFile(path, place, info.st_size, bool(info.st_mode & 0o100)))
    return sorted(found, key=lambda file: file.path)


def _ignored(folder: Path) -> Any:
    from pathspec import GitIgnoreSpec

    lines = list(ALWAYS_IGNORED)
    try:
        lines += (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as error:
        raise FolderError(f"{IGNORE_FILE} is not UTF-8: byte {error.start} cannot be read") from None
    return GitIgnoreSpec.from_lines(lines)


def _walk(root: Path, inside: str, spec: Any) -> Iterator[tuple[Path, str]]:
    with os.scandir(root / inside) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not spec.match_file(path + "/"):
                    yield from _walk(root, path, spec)
            elif not spec.match_file(path):
                yield _target(root, Path(entry.path), path), path


def _target(root: Path, place: Path, path: str) -> Path:
    if not place.is_symlink():
        return place
    target = place.resolve()
    if not target.is_relative_to(root) or target.is_dir():
        what = "a folder" if target.is_dir() else "something outside of the folder"
        raise FolderError(f"{path} is a link to {what}; leave it out in {IGNORE_FILE}, or send it by itself")
    if not target.exists():
        raise FolderError(f"{path} is a link to something that is not there")
    return target


def describe(files: Sequence[LocalFile], progress: Progress) -> Manifest:
    """Read every file and hash it. Raises FolderError, OSError."""
    total = sum(file.size for file in files)
    done = 0
    entries = []
    for file in files:
        whole = hashlib.sha256()
        objects = []
        for data in _objects(file):
            whole.update(data)
            objects.append(hash_of(data))
            done += len(data)
            progress("reading", done, total)
        entries.append(FileEntry(file.path, file.size, file.executable, whole.hexdigest(), tuple(objects)))
    try:
        return make_manifest(entries)
    except ContentError as error:
        raise FolderError(str(error)) from None


def _objects(file: LocalFile) -> Iterator[bytes]:
    left = file.size
    with file.place.open("rb") as source:
        while left:
            data = source.read(min(left, OBJECT_BYTES))
            if len(data) < min(left, OBJECT_BYTES):
                raise FolderError(f"{file.path} became shorter while it was read; try again")
            left -= len(data)
            yield data


@dataclass(frozen=True)
class Sent:
    """A folder that the server has: its digest for the job's inputs, and what of its files had to be sent."""

    digest: str
    files: int
    bytes: int
    sent_bytes: int


def send_folder(transport: Transport, folder: Path, progress: Progress) -> Sent:
    """Send what the firm's store lacks of a folder. Run again after a break, it sends the rest only.

    Raises FolderError, Refused (and its kinds), Unreachable, OSError.
    """
    files = list_folder(folder)
    manifest = describe(files, progress)
    try:
        head = manifest.to_bytes()
    except ContentError as error:
        raise FolderError(str(error)) from None
    digest = hash_of(head)
    wanted = list(dict.fromkeys([digest, *manifest.objects()]))
    missing: set[str] = set()
    for begin in range(0, len(wanted), MOST_ASKED):
        asked = {"objects": wanted[begin : begin + MOST_ASKED]}
        answer = transport.request("POST", "/v1/uploads/missing", body=asked, repeatable=True)
        missing.update(answer["missing"])
    sent = _send(
        transport, _missing_objects(files, manifest, head, missing), _sizes(manifest, head, missing), progress
    )
    transport.request("POST", "/v1/uploads", body={"digest": f"sha256:{digest}"}, repeatable=True)
    # The list of the files is no part of what they hold.
    sent_of_files = sent - (len(head) if digest in missing else 0)
    return Sent(f"sha256:{digest}", len(manifest.files), manifest.size, sent_of_files)


def _sizes(manifest: Manifest, head: bytes, missing: set[str]) -> int:
    sizes = {**manifest.objects(), hash_of(head): len(head)}
    return sum(sizes[sha256] for sha256 in missing)


def _missing_objects(
    files: Sequence[LocalFile], manifest: Manifest, head: bytes, missing: set[str]
) -> Iterator[bytes]:
    left = set(missing)
    by_path = {file.path: file for file in files}
    for entry in manifest.files:
        if left.isdisjoint(entry.objects):
            continue
        for sha256, data in zip(entry.objects, _objects(by_path[entry.path]), strict=True):
            if hash_of(data) != sha256:
                raise FolderError(f"{entry.path} changed while it was sent; try again")
            if sha256 in left:
                left.discard(sha256)
                yield data
    if hash_of(head) in left:
        yield head


def _send(transport: Transport, objects: Iterable[bytes], total: int, progress: Progress) -> int:
    sent = 0
    body: list[bytes] = []
    size = 0

    def flush() -> None:
        transport.request(
            "POST", "/v1/uploads/objects", content=b"".join(body), content_type=OBJECTS_TYPE, repeatable=True
        )
        body.clear()

    for data in objects:
        if body and (size + len(data) + 4 > MOST_BODY_BYTES or len(body) >= 2 * MOST_BODY_OBJECTS):
            flush()
            size = 0
        body += [len(data).to_bytes(4, "big"), data]
        size += len(data) + 4
        sent += len(data)
        progress("sending", sent, total)
    if body:
        flush()
    return sent


def fetch_file(
    transport: Transport,
    path: str,
    file: dict[str, Any],
    target: Path,
    progress: Callable[[int], None],
    *,
    replace: bool,
) -> bool:
    """Download one file of a result below `path` to `target`; False where it is there already.

    It goes on where it broke, and is there whole and checked, or not at all. Raises Refused, Unreachable, OSError, and
    FileExistsError where another file is there and not to be replaced.
    """
    if _is_there(target, file):
        progress(file["size"])
        return False
    if not replace and os.path.lexists(target):  # a link that leads nowhere is somebody's, too
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target, file["sha256"])
    url = f"{path}/files/{quote(file['path'])}"
    breaks = 0
    while (have := part.stat().st_size if part.exists() else 0) < file["size"] or not part.exists():
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with transport.stream(url, headers=headers) as answer, _to_go_on(part) as out:
                for data in answer.iter_bytes():
                    out.write(data)
                    progress(len(data))
        except Unreachable:
            breaks += 1
            if breaks > MOST_BREAKS:
                raise
        if file["size"] == 0:
            break
    if part.stat().st_size != file["size"] or _sha256(part) != file["sha256"]:
        part.unlink()
        raise Unreachable(f"{file['path']} came with other bytes than its hash says; try again")
    part.chmod(0o755 if file["executable"] else 0o644)
    part.replace(target)
    return True


def part_of(target: Path, sha256: str) -> Path:
    """Where a file lies while it comes: under a name of ours, for `NAME.part` may be somebody's own."""
    name = hashlib.sha256(f"{sha256} {target.name}".encode()).hexdigest()[:32]
    return target.with_name(f".suanli-{name}.part")


def _to_go_on(part: Path) -> IO[bytes]:
    """What has come of a file, to be written on; never what a link leads to. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, 0o666), "ab")


def place_in(folder: _PathT, path: str) -> _PathT:
    """Where a path that the server names lies in a folder of ours. Raises Unreachable for one that leads elsewhere.

    On Windows `C:x` is another drive, `x:y` another stream of a file, `NUL` a device, and `.. ` the folder above.
    """
    try:
        check_path(path)
    except ContentError as error:
        raise _not_to_be_written(str(error)) from None
    windows = isinstance(folder, PureWindowsPath)
    for part in path.split("/") if windows else ():
        if _OTHERWISE_ON_WINDOWS.fullmatch(part):
            raise _not_to_be_written(f"Windows has another meaning for the name {part!r}")
    return folder / path


def _not_to_be_written(why: str) -> Unreachable:
    return Unreachable(f"the server names a file that nobody should write: {why}")


def _is_there(target: Path, file: dict[str, Any]) -> bool:
    return target.is_file() and target.stat().st_size == file["size"] and _sha256(target) == file["sha256"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_files(transport: Transport, path: str) -> list[dict[str, Any]]:
    """The files of a result, each with a path that stays inside. Raises Refused, Unreachable."""
    files = cast(list[dict[str, Any]], transport.request("GET", path)["files"])
    for file in files:
        place_in(Path(), file["path"])
    return files
