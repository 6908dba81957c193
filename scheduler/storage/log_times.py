"""When a stream of output grew: a small index beside it, so that output since a moment is found without times in it.

Pairs of two unsigned 64-bit little-endian numbers: the stream's length before some bytes came, and when they came
(milliseconds of UTC). The first 4,096 pairs are at least a second apart, the next 4,096 two, then four and so on:
256 KiB hold 17 hours, and a year takes less than a MiB.
"""

import os
from bisect import bisect_right
from pathlib import Path
from struct import Struct

TIMES = ".times"
_PAIR = Struct("<QQ")
_FIRST_SPACING_MS = 1_000
_PAIRS_A_SPACING = 4_096


def _spacing_ms(pair: int) -> int:
    """How long after a pair further bytes still count as its own."""
    return _FIRST_SPACING_MS << min(pair // _PAIRS_A_SPACING, 30)


def note_growth(path: Path, length: int, at_ms: int) -> None:
    """Note that the stream at `path` was `length` bytes long when more came at `at_ms`. One small read and at most
    one write; two writers at one moment may lose one of two pairs."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path.with_name(path.name + TIMES), flags, 0o600)
    try:
        pairs = os.fstat(file).st_size // _PAIR.size
        if pairs:
            last = os.pread(file, _PAIR.size, (pairs - 1) * _PAIR.size)
            if at_ms <= _PAIR.unpack(last)[1] + _spacing_ms(pairs - 1):
                return
        os.pwrite(file, _PAIR.pack(length, at_ms), pairs * _PAIR.size)
    finally:
        os.close(file)


def offset_since(path: Path, size: int, at_ms: int) -> int:
    """Where the bytes begin that came at `at_ms` or later: no byte too late, at most one spacing too early. `size`
    where none came since; 0 where nobody noted times."""
    try:
        data = path.with_name(path.name + TIMES).read_bytes()
    except FileNotFoundError:
        return 0
    pairs = len(data) // _PAIR.size

    def pair(index: int) -> tuple[int, int]:
        length, came_ms = _PAIR.unpack_from(data, index * _PAIR.size)
        return length, came_ms

    after = bisect_right(range(pairs), at_ms, key=lambda index: pair(index)[1])
    if after == 0:
        return 0
    length, came_ms = pair(after - 1)
    if at_ms <= came_ms + _spacing_ms(after - 1):
        return min(length, size)
    return min(pair(after)[0], size) if after < pairs else size
