"""When a stream of output grew: a small index beside it, by which output is found and ordered without times in it.

Pairs of two unsigned 64-bit little-endian numbers: the stream's length before some bytes came, and when they came
(milliseconds of UTC). Pairs are more than 10 ms apart, and there are at most 4,096 and one for each 128 bytes of the
stream: an index takes 64 KiB and an eighth of its stream at most.
"""

import mmap
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

TIMES = ".times"
_PAIR = Struct("<QQ")
_SPACING_MS = 10
_FREE_PAIRS = 4_096
_BYTES_A_PAIR = 128


def _room(pairs: int, length: int) -> bool:
    """Whether a stream of this length may have one more than so many pairs."""
    return pairs < _FREE_PAIRS + length // _BYTES_A_PAIR


def note_growth(path: Path, length: int, at_ms: int) -> None:
    """Note that the stream at `path` was `length` bytes long when more came at `at_ms`. One small read and at most
    one write; two writers at one moment may lose one of two pairs."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path.with_name(path.name + TIMES), flags, 0o600)
    try:
        pairs = os.fstat(file).st_size // _PAIR.size
        if pairs:
            last = os.pread(file, _PAIR.size, (pairs - 1) * _PAIR.size)
            if at_ms <= _PAIR.unpack(last)[1] + _SPACING_MS or not _room(pairs, length):
                return
        os.pwrite(file, _PAIR.pack(length, at_ms), pairs * _PAIR.size)
    finally:
        os.close(file)


class _Pairs:
    """The pairs of one stream, read where they are asked for: an index may be large."""

    def __init__(self, data: "bytes | mmap.mmap") -> None:
        self._data = data
        self.count = len(data) // _PAIR.size

    def length(self, index: int) -> int:
        return int(_PAIR.unpack_from(self._data, index * _PAIR.size)[0])

    def came_ms(self, index: int) -> int:
        return int(_PAIR.unpack_from(self._data, index * _PAIR.size)[1])


@contextmanager
def _pairs(path: Path) -> Iterator[_Pairs]:
    try:
        file = os.open(path.with_name(path.name + TIMES), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield _Pairs(b"")
        return
    try:
        if os.fstat(file).st_size == 0:
            yield _Pairs(b"")
            return
        with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data:
            yield _Pairs(data)
    finally:
        os.close(file)


def offset_since(path: Path, size: int, at_ms: int) -> int:
    """Where the bytes begin that came at `at_ms` or later: no byte too late, and at most what came within 10 ms (in a
    stream that has all its pairs: between two of them) too early. `size` where none came since; 0 where nobody noted
    times."""
    with _pairs(path) as pairs:
        after = bisect_left(range(pairs.count), at_ms, key=pairs.came_ms)
        if after == 0:
            return 0
        length = pairs.length(after - 1)
        if at_ms <= pairs.came_ms(after - 1) + _SPACING_MS or not _room(after, length):
            return min(length, size)
        return min(pairs.length(after), size) if after < pairs.count else size


def arrivals(path: Path, begin: int, end: int, most: int) -> list[tuple[int, int]]:
    """The bytes from `begin` to `end` by when they came: (where a piece ends, milliseconds of UTC), at most `most`
    pieces. Bytes of one piece came within 10 ms, or between two pairs; those whose time nobody noted at 0."""
    result: list[tuple[int, int]] = []
    with _pairs(path) as pairs:
        index = bisect_right(range(pairs.count), begin, key=pairs.length)
        came_ms = pairs.came_ms(index - 1) if index else 0
        while begin < end and len(result) < most:
            next_ = min(pairs.length(index), end) if index < pairs.count else end
            if next_ > begin:
                result.append((next_, came_ms))
                begin = next_
            if index < pairs.count:
                came_ms = pairs.came_ms(index)
                index += 1
    return result
