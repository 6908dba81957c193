"""Reads what a task left, as the firm's user, and feeds it to the agent. Standard library only.

    python -I -S collect.py UID|- PLACE...

A place is the JSON [FOLDER, PATH]: a path in a folder, called so in the results, or, where PATH is null,
everything in it. A path may be a pattern (`matches`): of what lies below its first names, the files that match.

Standard output: for each file four bytes length and a JSON header {"path", "size", "executable"}, then `size`
bytes. A header {"end": true} ends it, with the paths that are no regular files (links, devices, sockets), which
are left out. Links are never followed, and the user is changed before anything is opened: nothing is read that
the task could not have read itself.
"""

import json
import os
import stat
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import BinaryIO

BLOCK_BYTES = 1 << 20
MOST_SKIPPED = 20
MOST_DEPTH = 64


def become(user: str) -> None:
    """Be that user for good; `-` stays who it is."""
    if user != "-":
        uid = int(user)
        os.setgroups([uid])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def say(target: BinaryIO, header: dict[str, object]) -> None:
    """A header with its length before it."""
    data = json.dumps(header).encode()
    target.write(len(data).to_bytes(4, "big") + data)


class Collector:
    """Walks folders and writes what it finds."""

    def __init__(self, target: BinaryIO) -> None:
        self.target = target
        self.skipped: list[str] = []
        self.skips = 0
        self.pattern: tuple[str, ...] = ()

    def skip(self, path: str) -> None:
        """Leave something out, and say so at the end."""
        self.skips += 1
        if len(self.skipped) < MOST_SKIPPED:
            self.skipped.append(path)

    def one(self, folder: int, name: str, path: str, depth: int = 0) -> None:
        """A file or a folder, by its name in an open folder; `path` is what it is called in the results."""
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return  # the job never made it
        try:
            if stat.S_ISDIR(found.st_mode) and depth < MOST_DEPTH:
                self.all_of(
                    os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder), path, depth
                )
            elif self.pattern and not matches(path, self.pattern):
                return
            elif stat.S_ISREG(found.st_mode):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                self.file(os.open(name, flags, dir_fd=folder), path)
            else:
                self.skip(path)
        except OSError:
            self.skip(path)

    def all_of(self, folder: int, prefix: str, depth: int) -> None:
        """Everything in an open folder, which is closed then."""
        try:
            for name in sorted(os.listdir(folder)):
                self.one(folder, name, f"{prefix}/{name}" if prefix else name, depth + 1)
        finally:
            os.close(folder)

    def file(self, descriptor: int, path: str) -> None:
        """One open file, which is closed then; what it lacks by the time it is read is filled with zeros."""
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            left = found.st_size
            say(self.target, {"path": path, "size": left, "executable": bool(found.st_mode & 0o100)})
            while left:
                block = file.read(min(left, BLOCK_BYTES)) or bytes(min(left, BLOCK_BYTES))
                self.target.write(block)
                left -= len(block)


def main(user: str, places: list[str]) -> int:
    """Collect all places."""
    become(user)
    collector = Collector(sys.stdout.buffer)
    for place in places:
        folder, path = json.loads(place)
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        if path is None:
            collector.all_of(opened, "", 0)
        else:
            inner(collector, opened, path)
    say(collector.target, {"end": True, "skipped": collector.skipped, "skips": collector.skips})
    sys.stdout.buffer.flush()
    return 0


def inner(collector: Collector, folder: int, path: str) -> None:
    """A path below an open folder, which is closed then; no link is followed on the way to it."""
    fixed, pattern = divided(path)
    parts = fixed.split("/")
    collector.pattern = pattern
    try:
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        if fixed:
            collector.one(folder, parts[-1], fixed)
        else:
            collector.all_of(os.dup(folder), "", 0)
    except OSError:
        return  # the job never made it
    finally:
        collector.pattern = ()
        os.close(folder)


def divided(path: str) -> tuple[str, tuple[str, ...]]:
    """The folder in which all that matches lies, and the parts of the pattern; a path that is none has no parts."""
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if "*" in part or "?" in part), None)
    if first is None:
        return path, ()
    return "/".join(parts[:first]), tuple(part.replace("[", "[[]") for part in parts)


def matches(path: str, pattern: Sequence[str]) -> bool:
    """`*` and `?` stand for what is in one name, `**` for any folders, also none. Cost: O(names * parts)."""

    def past_any(reached: set[int]) -> set[int]:
        for at, part in enumerate(pattern):
            if part == "**" and at in reached:
                reached.add(at + 1)
        return reached

    reached = past_any({0})
    for name in path.split("/"):
        going = [at for at in reached if at < len(pattern)]
        stay = {at for at in going if pattern[at] == "**"}
        reached = past_any(stay | {at + 1 for at in going if fnmatchcase(name, pattern[at])})
    return len(pattern) in reached


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
