"""Merkle trees of RFC 6962 with SHA-256: hashes, roots, inclusion and consistency proofs, compact ranges.

Proof generation asks a `NodeSource` for the hashes of complete subtrees, so that the same code works over a
list of leaves and over published tiles. Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from suanli.evidence.errors import EvidenceError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
PROOF_LIMIT = 64

NodeSource = Callable[[int, int], bytes]
"""(level, index) -> hash of the complete subtree over leaves [index << level, (index + 1) << level)."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A growing tree of which only the hashes of complete subtrees are kept: O(log n) memory."""

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Begins empty, or from the `peaks` (left to right) of a tree of `size` leaves."""
        if size < 0 or len(peaks) != size.bit_count() or any(len(p) != HASH_BYTES for p in peaks):
            raise EvidenceError("peaks", len(peaks), f"one hash per set bit of {size}")
        self._size = size
        self._peaks = list(peaks)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Hashes of the complete subtrees, largest (leftmost) first."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Adds one leaf by its hash."""
        carry = self._size
        node = leaf
        while carry & 1:
            node = node_hash(self._peaks.pop(), node)
            carry >>= 1
        self._peaks.append(node)
        self._size += 1

    def root(self) -> bytes:
        """Root hash of the tree so far."""
        return fold_peaks(self._peaks)


def fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """Root over the hashes of complete subtrees that make up a tree, largest (leftmost) first."""
    if not peaks:
        return EMPTY_ROOT
    node = peaks[-1]
    for peak in reversed(peaks[:-1]):
        node = node_hash(peak, node)
    return node


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """Root over the hashes of 2**n subtrees of one size."""
    nodes = list(hashes)
    while len(nodes) > 1:
        nodes = [node_hash(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
    return nodes[0]


def root(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes."""
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def range_root(start: int, end: int, node: NodeSource) -> bytes:
    """Root of the subtree over leaves [start, end); `start` is a multiple of a power of two >= the size."""
    parts: list[bytes] = []
    position = start
    while position < end:
        level = (end - position).bit_length() - 1
        if position:
            level = min(level, (position & -position).bit_length() - 1)
        parts.append(node(level, position >> level))
        position += 1 << level
    if not parts:
        return EMPTY_ROOT
    result = parts.pop()
    while parts:
        result = node_hash(parts.pop(), result)
    return result


def peaks(size: int, node: NodeSource) -> tuple[bytes, ...]:
    """Peaks of the tree of `size` leaves, for starting a CompactRange."""
    result: list[bytes] = []
    position = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            result.append(node(level, position >> level))
            position += 1 << level
    return tuple(result)


def _split(size: int) -> int:
    """Largest power of two smaller than `size` (> 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, node: NodeSource) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves, from the leaf upwards."""
    if not 0 <= index < size:
        raise EvidenceError("index", index, f"0 to {size - 1}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, node))
            end = middle
        else:
            path.append(range_root(start, middle, node))
            start = middle
    path.reverse()
    return path


def consistency_proof(old_size: int, new_size: int, node: NodeSource) -> list[bytes]:
    """Proof that the tree of `new_size` extends that of `old_size`; empty when equal or when old is 0."""
    if not 0 <= old_size <= new_size:
        raise EvidenceError("old_size", old_size, f"0 to {new_size}")
    if old_size in (0, new_size):
        return []
    path: list[bytes] = []
    start, end = 0, new_size
    whole = True  # whether [start, old_size) has been a complete left part all the way down
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(range_root(middle, end, node))
            end = middle
        else:
            path.append(range_root(start, middle, node))
            start = middle
            whole = False
    if not whole:
        path.append(range_root(start, end, node))
    path.reverse()
    return path


def _well_formed(hashes: Sequence[bytes]) -> bool:
    return len(hashes) <= PROOF_LIMIT and all(len(item) == HASH_BYTES for item in hashes)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """Whether `proof` shows leaf hash `leaf` at `index` of the tree with `size` leaves and `root_hash`."""
    if not 0 <= index < size or not _well_formed([leaf, root_hash]) or not _well_formed(proof):
        return False
    position, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(step, node)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            node = node_hash(node, step)
        position >>= 1
        last >>= 1
    return last == 0 and node == root_hash


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the tree (new_size, new_root) extends (old_size, old_root).

    An old size of 0 is refused, as upstream verifiers do: the witness protocol answers it before asking.
    """
    if not 0 < old_size <= new_size or not _well_formed([old_root, new_root]) or not _well_formed(proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_node = new_node = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_node = node_hash(step, old_node)
            new_node = node_hash(step, new_node)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_node = node_hash(new_node, step)
        position >>= 1
        last >>= 1
    return last == 0 and old_node == old_root and new_node == new_root
