"""Whether a task's output holds a line that its job wants to be tried again after.

No regular expressions: patterns come from strangers, and some expressions take for ever. A pattern's parts,
parted by *, stand in one line in their order; looking for them costs O(bytes x patterns), and bytes are bounded.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

WILDCARD = b"*"
# The last of what a task printed, all of its streams together: what ends a task stands at the end.
MOST_BYTES = 16 << 20


def first_match(
    output: Path, processes: int, patterns: Sequence[str], most_bytes: int = MOST_BYTES
) -> int | None:
    """Position of the first of the patterns that a line of the output matches; None where none does.

    Blocking. What cannot be read does not match.
    """
    wanted = [[part for part in pattern.encode().split(WILDCARD) if part] for pattern in patterns]
    best = len(wanted)
    share = most_bytes // max(2 * processes, 1)
    for rank in range(processes):
        for stream in ("stderr", "stdout"):
            data = _tail(output / f"{rank}.{stream}", share)
            best = next((n for n, parts in enumerate(wanted[:best]) if _stands(parts, data)), best)
    return best if best < len(wanted) else None


def _stands(parts: Sequence[bytes], data: bytes) -> bool:
    """Whether some line holds the parts in their order."""
    at = 0
    while parts and (found := data.find(parts[0], at)) >= 0:
        end = data.find(b"\n", found)
        end = len(data) if end < 0 else end
        place = found
        for part in parts:
            place = data.find(part, place, end)
            if place < 0:
                break
            place += len(part)
        else:
            return True
        at = end  # the first part may come again, but never earlier in this line: no other place is better
    return False


def _tail(path: Path, most: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b""
        file.seek(max(found.st_size - most, 0))
        return file.read(most)
