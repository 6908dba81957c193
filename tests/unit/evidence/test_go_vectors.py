"""Vectors that Go's `sumdb/tlog` and `sumdb/note` made, committed: they need nothing beside this repository.

Made by `go run . vectors` in tests/foreign/go. The leaves are the texts "leaf 0" to "leaf 299".
"""

import base64
import json
from pathlib import Path

import pytest

from suanli.evidence import merkle, tiles
from suanli.evidence.keys import parse_verifier_key
from suanli.evidence.log_checkpoint import open_log_checkpoint
from tests.builders.bundles import leaves_source

FILE = Path(__file__).resolve().parents[2] / "golden" / "evidence" / "go_vectors.json"
VECTORS = json.loads(FILE.read_text("utf-8"))
LEAVES = [merkle.leaf_hash(f"leaf {n}".encode()) for n in range(300)]
NODE = leaves_source(LEAVES)


def _bytes(text):
    return base64.b64decode(text)


def test_roots_of_every_size_are_those_of_go():
    assert len(VECTORS["roots"]) == 301
    tree = merkle.CompactRange()
    for size, root in enumerate(VECTORS["roots"]):
        assert tree.root() == _bytes(root), size
        if size < len(LEAVES):
            tree.append(LEAVES[size])


def _bad(data):
    return bytes([data[0] ^ 1]) + data[1:]


def test_inclusion_proofs_of_go_are_ours_and_are_accepted_unspoiled_only():
    assert len(VECTORS["inclusion"]) > 50
    for case in VECTORS["inclusion"]:
        proof, root = [_bytes(step) for step in case["proof"]], _bytes(case["root"])
        place = case["index"], case["size"]
        assert merkle.inclusion_proof(*place, NODE) == proof
        leaf = _bytes(case["leaf"])
        assert merkle.verify_inclusion(*place, leaf, proof, root)
        assert not merkle.verify_inclusion(*place, _bad(leaf), proof, root)
        assert not merkle.verify_inclusion(*place, leaf, [*proof, leaf], root)
        for n in range(len(proof)):
            spoiled = [*proof[:n], _bad(proof[n]), *proof[n + 1 :]]
            assert not merkle.verify_inclusion(*place, leaf, spoiled, root)


def test_consistency_proofs_of_go_are_ours_and_are_accepted_unspoiled_only():
    for case in VECTORS["consistency"]:
        proof = [_bytes(step) for step in case["proof"] or []]
        sizes, roots = (
            (case["old_size"], case["new_size"]),
            (_bytes(case["old_root"]), _bytes(case["new_root"])),
        )
        assert merkle.consistency_proof(*sizes, NODE) == proof
        assert merkle.verify_consistency(*sizes, *roots, proof)
        assert not merkle.verify_consistency(*sizes, _bad(roots[0]), roots[1], proof)
        for n in range(len(proof)):
            assert not merkle.verify_consistency(
                *sizes, *roots, [*proof[:n], _bad(proof[n]), *proof[n + 1 :]]
            )


def test_tiles_of_go_have_our_paths_and_bytes():
    made = {tiles.tile_path(*tile): tiles.hash_tile(*tile, NODE) for tile in tiles.hash_tiles(len(LEAVES))}
    assert made == {path: _bytes(data) for path, data in VECTORS["tiles"].items()}


@pytest.mark.parametrize("note", VECTORS["notes"])
def test_checkpoints_that_go_signed_open(note):
    head, _ = open_log_checkpoint(note.encode(), parse_verifier_key(VECTORS["vkey"]))
    assert head.root == _bytes(VECTORS["roots"][head.size])
