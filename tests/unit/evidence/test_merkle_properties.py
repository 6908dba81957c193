"""Proofs of our own making hold, and hold only for what they prove."""

from hypothesis import given, settings
from hypothesis import strategies as st

from suanli.evidence import merkle
from tests.builders.bundles import leaves_source

SIZES = st.integers(1, 600)


def _leaves(size):
    return [merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(size)]


LEAVES = _leaves(600)


@given(SIZES, st.data())
def test_every_leaf_is_proved_in_every_tree_that_holds_it(size, data):
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    proof = merkle.inclusion_proof(index, size, leaves_source(leaves))
    root = merkle.root(leaves)
    assert merkle.verify_inclusion(index, size, leaves[index], proof, root)
    other = (index + 1) % size
    if other != index:
        assert not merkle.verify_inclusion(other, size, leaves[index], proof, root)


@given(SIZES, st.data())
def test_every_tree_is_proved_to_extend_every_smaller_one(new_size, data):
    old_size = data.draw(st.integers(1, new_size))
    proof = merkle.consistency_proof(old_size, new_size, leaves_source(LEAVES[:new_size]))
    old_root, new_root = merkle.root(LEAVES[:old_size]), merkle.root(LEAVES[:new_size])
    assert merkle.verify_consistency(old_size, new_size, old_root, new_root, proof)
    forked = merkle.root([merkle.leaf_hash(b"fork"), *LEAVES[1:old_size]])
    assert not merkle.verify_consistency(old_size, new_size, forked, new_root, proof)


@given(SIZES, st.data())
def test_a_proof_with_one_bit_changed_proves_nothing(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, leaves_source(LEAVES[:size]))
    root = merkle.root(LEAVES[:size])
    if proof:
        step = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        changed = int.from_bytes(proof[step], "big") ^ (1 << bit)
        broken = [*proof[:step], changed.to_bytes(32, "big"), *proof[step + 1 :]]
        assert not merkle.verify_inclusion(index, size, LEAVES[index], broken, root)
    assert not merkle.verify_inclusion(index, size, LEAVES[index], [*proof, bytes(32)], root)


@settings(deadline=None)
@given(SIZES)
def test_a_compact_range_resumed_from_its_peaks_grows_the_same_tree(size):
    node = leaves_source(LEAVES[:size])
    resumed = merkle.CompactRange(size, merkle.peaks(size, node))
    assert resumed.root() == merkle.root(LEAVES[:size])
    resumed.append(merkle.leaf_hash(b"next"))
    assert resumed.root() == merkle.root([*LEAVES[:size], merkle.leaf_hash(b"next")])
