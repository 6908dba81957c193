"""The growing tree writes the files that C2SP tlog-tiles asks for, however it got to its size."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.ledger.tree import GrowingTree
from suanli.evidence import merkle, tiles
from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.signed_note import parse_note
from tests.builders.bundles import leaves_source
from tests.shared_data import shared_path


def entry(number: int) -> bytes:
    """Some entry."""
    return hashlib.sha256(str(number).encode()).digest()[: 1 + number % 32]


ENTRIES = [entry(number) for number in range(70_000)]


def grow(tree: GrowingTree, until: int, files: dict[str, bytes]) -> None:
    """Grows to a size and writes what is new, as a ledger does."""
    tree.extend(ENTRIES[tree.size : until])
    for path, data in [*tree.drain_full(), *tree.partial()]:
        assert files.get(path, data) == data, f"{path} was published with other bytes"
        files[path] = data


def assert_published(files: dict[str, bytes], size: int) -> None:
    """The files hold everything that a log of this size must have, with the right bytes."""
    node = leaves_source([merkle.leaf_hash(data) for data in ENTRIES[:size]])
    for level, index, width in tiles.hash_tiles(size):
        assert files[tiles.tile_path(level, index, width)] == tiles.hash_tile(level, index, width, node)
    for index, width in tiles.entry_bundles(size):
        bundle = files[tiles.entries_path(index, width)]
        assert tiles.parse_entry_bundle(bundle, width) == ENTRIES[index * 256 : index * 256 + width]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=5))
def test_every_published_size_has_all_its_files(steps: list[int]) -> None:
    tree, files = GrowingTree(), {}
    for step in steps:
        size = tree.size + step
        grow(tree, size, files)
        assert tree.root() == merkle.root(merkle.leaf_hash(data) for data in ENTRIES[:size])
        assert_published(files, size)


def test_a_tree_of_three_levels_has_all_its_files() -> None:
    tree, files = GrowingTree(), {}
    for size in (65_000, 65_535, 65_536, 65_537, 66_000):
        grow(tree, size, files)
        assert_published(files, size)
    assert "tile/2/000.p/1" in files


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 1200), st.integers(0, 600))
def test_a_tree_loaded_from_its_files_goes_on_as_the_one_that_wrote_them(size: int, more: int) -> None:
    written, files = GrowingTree(), {}
    grow(written, size, files)
    loaded = GrowingTree.load(size, files.__getitem__)
    assert (loaded.size, loaded.root(), loaded.peaks) == (size, written.root(), written.peaks)
    grow(loaded, size + more, files)
    assert_published(files, size + more)


def test_an_empty_tree_has_no_files() -> None:
    tree = GrowingTree()
    assert (tree.size, tree.root(), tree.drain_full(), tree.partial()) == (0, merkle.EMPTY_ROOT, [], [])
    assert GrowingTree.load(0, {}.__getitem__).size == 0


def test_entries_that_are_not_those_of_the_hash_tile_are_refused() -> None:
    tree, files = GrowingTree(), {}
    grow(tree, 10, files)
    path = tiles.entries_path(0, 10)
    files[path] = files[path][:-1] + b"?"
    with pytest.raises(EvidenceError, match="other hashes"):
        GrowingTree.load(10, files.__getitem__)


def test_the_log_of_another_implementation_is_continued_with_its_own_root() -> None:
    """Tessera's log of 15 entries: our tree over its entries has the root that it signed at every size."""
    folder = shared_path("ledger/vectors/tlog-tiles/tessera-15")
    entries = tiles.parse_entry_bundle((folder / "tile/entries/000.p/15").read_bytes(), 15)
    roots = {}
    for path in folder.rglob("*checkpoint*"):
        if path.is_file():
            head = parse_log_checkpoint(parse_note(path.read_bytes()).text)
            roots[head.size] = head.root
    assert max(roots) == 15
    tree = GrowingTree()
    for size in range(len(entries) + 1):
        if size in roots and size:
            assert tree.root() == roots[size]
        if size < len(entries):
            tree.append(entries[size])
