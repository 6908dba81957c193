"""C2SP tlog-tiles: a log as a finite set of files. Tiles are 256 hashes wide (height 8).

Paths: `tile/<level>/<N>[.p/<W>]` for hashes, `tile/entries/<N>[.p/<W>]` for entries; N is written in groups
of three digits, all but the last beginning with `x`. The partial tile at level l of a tree of size s has
floor(s / 256**l) mod 256 hashes. Source: C2SP tlog-tiles 0.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from suanli.evidence.errors import EvidenceError
from suanli.evidence.merkle import HASH_BYTES, NodeSource, complete_root

WIDTH = 256
HEIGHT = 8
_ENTRY_LIMIT = 65_535
_TILES_KEPT = 64


def _index_path(index: int) -> str:
    groups = [f"{index % 1000:03d}"]
    index //= 1000
    while index:
        groups.append(f"x{index % 1000:03d}")
        index //= 1000
    return "/".join(reversed(groups))


def _suffix(width: int) -> str:
    if not 1 <= width <= WIDTH:
        raise EvidenceError("width", width, "1 to 256")
    return "" if width == WIDTH else f".p/{width}"


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Path of a hash tile."""
    return f"tile/{level}/{_index_path(index)}{_suffix(width)}"


def entries_path(index: int, width: int = WIDTH) -> str:
    """Path of an entry bundle."""
    return f"tile/entries/{_index_path(index)}{_suffix(width)}"


def _tiles_of_level(count: int) -> Iterator[tuple[int, int]]:
    for index in range(count // WIDTH):
        yield index, WIDTH
    if count % WIDTH:
        yield count // WIDTH, count % WIDTH


def hash_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, index, width) of every hash tile of a tree of `size` entries."""
    level = 0
    while size:
        for index, width in _tiles_of_level(size):
            yield level, index, width
        size >>= HEIGHT
        level += 1


def entry_bundles(size: int) -> Iterator[tuple[int, int]]:
    """(index, width) of every entry bundle of a log of `size` entries."""
    return _tiles_of_level(size)


def tile_paths(size: int) -> list[str]:
    """Every path that a log of `size` entries is made of, entry bundles first."""
    paths = [entries_path(index, width) for index, width in entry_bundles(size)]
    paths.extend(tile_path(*tile) for tile in hash_tiles(size))
    return paths


def hash_tile(level: int, index: int, width: int, node: NodeSource) -> bytes:
    """Bytes of a hash tile, from the hashes of complete subtrees."""
    return b"".join(node(level * HEIGHT, index * WIDTH + i) for i in range(width))


def parse_hash_tile(data: bytes, width: int, what: str = "tile") -> list[bytes]:
    """The hashes in a tile of `width`. Raises EvidenceError."""
    return _split(_whole(data, width, what))


def _whole(data: bytes, width: int, what: str) -> bytes:
    if len(data) != width * HASH_BYTES:
        raise EvidenceError(what, f"{len(data)} bytes", f"{width * HASH_BYTES} bytes")
    return data


def _split(data: bytes) -> list[bytes]:
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def encode_entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Bytes of an entry bundle: each entry after its length in 16 bits, big-endian."""
    if not 1 <= len(entries) <= WIDTH:
        raise EvidenceError("entry bundle", f"{len(entries)} entries", f"1 to {WIDTH}")
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > _ENTRY_LIMIT:
            raise EvidenceError("entry", f"{len(entry)} bytes", f"at most {_ENTRY_LIMIT} bytes")
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def parse_entry_bundle(data: bytes, width: int, what: str = "entry bundle") -> list[bytes]:
    """The `width` entries in a bundle, with nothing after them. Raises EvidenceError."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        if len(entries) == width:
            raise EvidenceError(what, f"bytes after entry {width}", f"{width} entries")
        start = position + 2
        end = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or end > len(data):
            raise EvidenceError(what, f"the end of the file inside entry {len(entries)}", f"{width} entries")
        entries.append(data[start:end])
        position = end
    if len(entries) != width:
        raise EvidenceError(what, f"{len(entries)} entries", f"{width} entries")
    return entries


class TileReader:
    """Hashes of complete subtrees of a tree of `size` entries, read from its tiles, some of which are kept.

    Calling it makes it a NodeSource for proofs and roots. `read` returns the bytes at a tile path and may
    raise whatever its storage raises; a tile of the wrong length raises EvidenceError.
    """

    def __init__(self, size: int, read: Callable[[str], bytes]) -> None:
        self._size = size
        self._read = read
        self._tiles: dict[tuple[int, int], bytes] = {}

    def _tile(self, level: int, index: int) -> bytes:
        key = (level, index)
        found = self._tiles.get(key)
        if found is None:
            width = min(WIDTH, (self._size >> (HEIGHT * level)) - index * WIDTH)
            path = tile_path(level, index, width)
            found = _whole(self._read(path), width, path)
            if len(self._tiles) >= _TILES_KEPT:
                self._tiles.clear()
            self._tiles[key] = found
        return found

    def __call__(self, level: int, index: int) -> bytes:
        """Hash of the complete subtree over leaves [index << level, (index + 1) << level)."""
        if (index + 1) << level > self._size:
            raise EvidenceError("node", f"level {level} index {index}", f"inside a tree of {self._size}")
        tile_level, rest = divmod(level, HEIGHT)
        first = index << rest
        place = first % WIDTH * HASH_BYTES
        return complete_root(
            _split(self._tile(tile_level, first // WIDTH)[place : place + (HASH_BYTES << rest)])
        )
