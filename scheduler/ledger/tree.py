"""The growing tree and the files that it is published as. PURE: entries in, paths and bytes out.

Only the right edge is kept: the incomplete tile of each level, the incomplete entry bundle, and the peaks.
"""

from collections.abc import Callable, Sequence

from suanli.evidence.errors import EvidenceError
from suanli.evidence.merkle import CompactRange, leaf_hash, node_hash, peaks
from suanli.evidence.tiles import (
    HEIGHT,
    WIDTH,
    TileReader,
    encode_entry_bundle,
    entries_path,
    hash_tiles,
    parse_entry_bundle,
    parse_hash_tile,
    tile_path,
)

File = tuple[str, bytes]


class GrowingTree:
    """A log to which entries are appended. `drain` gives the files that are new since the last time."""

    def __init__(self) -> None:
        self._range = CompactRange()
        self._levels: list[list[bytes]] = []
        self._bundle: list[bytes] = []
        self._full: list[File] = []

    @classmethod
    def load(cls, size: int, read: Callable[[str], bytes]) -> "GrowingTree":
        """The tree of `size` entries from its published files. Raises EvidenceError and what `read` does."""
        tree = cls()
        tree._range = CompactRange(size, peaks(size, TileReader(size, read)))
        top = max((level for level, _, _ in hash_tiles(size)), default=-1)
        for level in range(top + 1):
            count = size >> (HEIGHT * level)
            index, width = divmod(count, WIDTH)
            path = tile_path(level, index, width) if width else ""
            tree._levels.append(parse_hash_tile(read(path), width, path) if width else [])
        index, width = divmod(size, WIDTH)
        if width:
            path = entries_path(index, width)
            tree._bundle = parse_entry_bundle(read(path), width, path)
            if [leaf_hash(entry) for entry in tree._bundle] != tree._levels[0]:
                raise EvidenceError(
                    path, "entries of other hashes", f"the entries of {tile_path(0, index, width)}"
                )
        return tree

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._range.size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Hashes of the complete subtrees, largest first."""
        return self._range.peaks

    def root(self) -> bytes:
        """Root hash."""
        return self._range.root()

    def append(self, entry: bytes) -> None:
        """Adds one entry at index `size`."""
        leaf = leaf_hash(entry)
        self._range.append(leaf)
        self._bundle.append(entry)
        if len(self._bundle) == WIDTH:
            self._full.append((entries_path(self.size // WIDTH - 1), encode_entry_bundle(self._bundle)))
            self._bundle = []
        self._push(0, leaf)

    def extend(self, entries: Sequence[bytes]) -> None:
        """Adds entries in order."""
        for entry in entries:
            self.append(entry)

    def _push(self, level: int, node: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
        tile = self._levels[level]
        tile.append(node)
        if len(tile) < WIDTH:
            return
        index = (self.size >> (HEIGHT * (level + 1))) - 1
        self._full.append((tile_path(level, index), b"".join(tile)))
        nodes = tile
        while len(nodes) > 1:
            nodes = [node_hash(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
        self._levels[level] = []
        self._push(level + 1, nodes[0])

    def drain_full(self) -> list[File]:
        """The complete tiles and bundles since the last drain; they never change again."""
        full, self._full = self._full, []
        return full

    def partial(self) -> list[File]:
        """The incomplete tiles and the incomplete bundle of the tree as it is."""
        files: list[File] = []
        if self._bundle:
            path = entries_path(self.size // WIDTH, len(self._bundle))
            files.append((path, encode_entry_bundle(self._bundle)))
        for level, tile in enumerate(self._levels):
            if tile:
                index = (self.size >> (HEIGHT * level)) // WIDTH
                files.append((tile_path(level, index, len(tile)), b"".join(tile)))
        return files
