"""Official RFC 6962 proof probes and the reference tree."""

import base64
import json

import pytest

from suanli.evidence import merkle
from tests.shared_data import shared_path

# Upstream compares strings of any length here; ours insists on hashes of 32 bytes.
NOT_HASHES = {"consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"}


def _probes(name):
    lines = shared_path(f"ledger/vectors/merkle/{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _bytes(text):
    return base64.b64decode(text or "")


def test_inclusion_probes_are_answered_as_upstream_answers_them():
    probes = _probes("inclusion")
    wrong = [
        probe["source"]
        for probe in probes
        if merkle.verify_inclusion(
            (case := probe["case"])["leafIdx"],
            case["treeSize"],
            _bytes(case["leafHash"]),
            [_bytes(step) for step in case["proof"] or []],
            _bytes(case["root"]),
        )
        == case["wantErr"]
    ]
    assert len(probes) == 98
    assert wrong == []


def test_consistency_probes_are_answered_as_upstream_answers_them():
    probes = _probes("consistency")
    wrong = {
        probe["source"]
        for probe in probes
        if merkle.verify_consistency(
            (case := probe["case"])["size1"],
            case["size2"],
            _bytes(case["root1"]),
            _bytes(case["root2"]),
            [_bytes(step) for step in case["proof"] or []],
        )
        == case["wantErr"]
    }
    assert len(probes) == 98
    assert wrong == NOT_HASHES


def test_subtree_inclusion_probes_hold_for_the_subtree_taken_as_a_tree():
    probes = _probes("subtree_inclusion")
    wrong = []
    for probe in probes:
        case = probe["case"]
        start, end = case["start"], case["end"]
        width = max(end - start, 1)
        aligned = 0 <= start < end and start % (1 << (width - 1).bit_length()) == 0
        good = aligned and merkle.verify_inclusion(
            case["leafIdx"] - start,
            end - start,
            _bytes(case["leafHash"]),
            [_bytes(step) for step in case["proof"] or []],
            _bytes(case["root"]),
        )
        if good == case["wantErr"]:
            wrong.append(probe["source"])
    assert len(probes) == 204
    assert wrong == []


def test_reference_tree_has_the_well_known_roots():
    tree = json.loads(shared_path("ledger/vectors/merkle/reference_tree_8.json").read_text())
    leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in tree["leaves_hex"]]
    roots = [merkle.root(leaves[:size]).hex() for size in range(len(leaves) + 1)]
    assert roots == tree["root_hex_by_size"]


@pytest.mark.parametrize("length", [0, 31, 33])
def test_hashes_of_another_length_are_refused(length):
    leaf = merkle.leaf_hash(b"x")
    assert merkle.verify_inclusion(0, 1, leaf, [], leaf)
    assert not merkle.verify_inclusion(0, 1, bytes(length), [], bytes(length))
    assert not merkle.verify_consistency(1, 1, bytes(length), bytes(length), [])
