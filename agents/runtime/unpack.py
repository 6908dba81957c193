"""Writes files into a task's folder as the firm's user, from what the agent feeds it. Standard library only.

    python -I -S unpack.py FOLDER UID|-

Standard input: for each file four bytes length and a JSON header {"path", "size", "executable"}, then `size`
bytes; length 0 ends it. One JSON object on standard output says what went wrong, {} that nothing did. The user
is changed before anything is opened, so that whatever the folder holds (links, other tasks of the firm) leads
nowhere that this user could not go by itself.
"""

import json
import os
import sys
from contextlib import suppress
from typing import BinaryIO

BLOCK_BYTES = 1 << 20


class Truncated(Exception):
    """The agent went away in the middle."""


def become(user: str) -> None:
    """Be that user for good; `-` stays who it is."""
    if user != "-":
        uid = int(user)
        os.setgroups([uid])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    os.umask(0o022)


def read(source: BinaryIO, size: int) -> bytes:
    """Exactly so many bytes."""
    data = source.read(size)
    if len(data) < size:
        raise Truncated
    return data


def unpack(root: int, source: BinaryIO) -> None:
    """All files. Raises OSError with the path as its filename, Truncated, ValueError."""
    while length := int.from_bytes(read(source, 4), "big"):
        header = json.loads(read(source, length))
        path = header["path"]
        try:
            write(root, path.split("/"), header["size"], 0o755 if header["executable"] else 0o644, source)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error


def write(root: int, parts: list[str], size: int, mode: int, source: BinaryIO) -> None:
    """One file, replacing what has its name; no link is followed on the way."""
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise ValueError("a path that leads out of the folder")
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        with suppress(FileNotFoundError):
            os.unlink(parts[-1], dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(parts[-1], flags, mode, dir_fd=folder), "wb") as file:
            while size:
                block = read(source, min(size, BLOCK_BYTES))
                file.write(block)
                size -= len(block)
    finally:
        os.close(folder)


def main(folder: str, user: str) -> int:
    """Unpack; 0 where all went well."""
    said: dict[str, str] = {}
    try:
        become(user)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        unpack(root, sys.stdin.buffer)
    except Truncated:
        said = {"error": "the agent went away"}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        said = {"error": reason, "path": str(getattr(error, "filename", "") or "")}
    sys.stdout.write(json.dumps(said))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
