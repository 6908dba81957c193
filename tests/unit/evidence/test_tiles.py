"""Tiles against published logs, and the properties by which a log grows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanli.evidence import merkle, tiles
from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.signed_note import parse_note
from tests.builders.bundles import leaves_source
from tests.shared_data import shared_path

LEAVES = [merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(70_000)]
NODE = leaves_source(LEAVES)


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/entries/000"),
        (1234067, 256, "tile/entries/x001/x234/067"),
        (273, 112, "tile/entries/273.p/112"),
        (1000, 1, "tile/entries/x001/000.p/1"),
    ],
)
def test_paths_are_written_in_groups_of_three_digits(index, width, path):
    assert tiles.entries_path(index, width) == path


def test_the_example_of_the_specification_has_its_277_tiles():
    found = list(tiles.hash_tiles(70_000))
    assert len(found) == 274 + 2 + 1
    assert (0, 273, 112) in found
    assert (1, 0, 256) in found
    assert (1, 1, 17) in found
    assert (2, 0, 1) in found


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above():
    assert list(tiles.hash_tiles(256)) == [(0, 0, 256), (1, 0, 1)]


def test_an_empty_tree_has_no_tiles():
    assert tiles.tile_paths(0) == []


@pytest.mark.parametrize("size", range(1, 16))
def test_the_tessera_log_is_rebuilt_from_its_entries(size):
    folder = shared_path("ledger/vectors/tlog-tiles/tessera-15")
    entries = []
    for index, width in tiles.entry_bundles(size):
        path = tiles.entries_path(index, width)
        entries.extend(tiles.parse_entry_bundle((folder / path).read_bytes(), width))
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    head = parse_log_checkpoint(parse_note((folder / f"checkpoint.{size}").read_bytes()).text)
    assert merkle.root(leaves) == head.root
    node = leaves_source(leaves)
    for level, index, width in tiles.hash_tiles(size):
        path = tiles.tile_path(level, index, width)
        assert tiles.hash_tile(level, index, width, node) == (folder / path).read_bytes()
    assert tiles.encode_entry_bundle(entries) == (folder / f"tile/entries/000.p/{size}").read_bytes()


def test_the_sunlight_mirror_of_300_entries_is_rebuilt():
    folder = shared_path("ledger/vectors/tlog-tiles/sunlight-mirror-300")
    leaves = [merkle.leaf_hash(f"record {n}".encode()) for n in range(300)]
    head = parse_log_checkpoint(parse_note((folder / "checkpoint").read_bytes()).text)
    assert merkle.root(leaves) == head.root
    node = leaves_source(leaves)
    for level, index, width in tiles.hash_tiles(300):
        path = tiles.tile_path(level, index, width)
        assert tiles.hash_tile(level, index, width, node) == (folder / path).read_bytes()
    reader = tiles.TileReader(300, lambda path: (folder / path).read_bytes())
    assert merkle.range_root(0, 300, reader) == head.root


@given(st.integers(1, 70_000), st.data())
@settings(max_examples=25, deadline=None)
def test_proofs_from_tiles_are_proofs_from_leaves(size, data):
    store = {}

    def read(path):
        return store[path]

    for level, index, width in tiles.hash_tiles(size):
        store[tiles.tile_path(level, index, width)] = tiles.hash_tile(level, index, width, NODE)
    reader = tiles.TileReader(size, read)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = merkle.range_root(0, size, NODE)
    proof = merkle.inclusion_proof(index, size, reader)
    assert merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
    consistency = merkle.consistency_proof(old, size, reader)
    assert merkle.verify_consistency(old, size, merkle.range_root(0, old, NODE), root, consistency)
    with pytest.raises(EvidenceError):
        reader(0, size)


def test_a_reader_of_tiles_keeps_few_of_them():
    size, asked = 200 * tiles.WIDTH, []

    def read(path):
        asked.append(path)
        return bytes(tiles.WIDTH * merkle.HASH_BYTES)

    reader = tiles.TileReader(size, read)
    for _ in range(2):
        for tile in range(200):
            assert reader(0, tile * tiles.WIDTH) == reader(0, tile * tiles.WIDTH + 255)
    # Each is read once while it is at hand, and again when it has been let go of.
    assert len(asked) == 400


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_entry_bundles_survive(entries):
    data = tiles.encode_entry_bundle(entries)
    assert tiles.parse_entry_bundle(data, len(entries)) == entries
    with pytest.raises(EvidenceError):
        tiles.parse_entry_bundle(data + b"\x00", len(entries))
    with pytest.raises(EvidenceError):
        tiles.parse_entry_bundle(data[:-1], len(entries))


def test_an_entry_beyond_16_bits_of_length_is_refused():
    with pytest.raises(EvidenceError):
        tiles.encode_entry_bundle([bytes(65_536)])
