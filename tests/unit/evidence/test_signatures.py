"""A window is proved by its signature, or by the next one of its key, which names it whole; no other way."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from suanli.evidence import entries
from suanli.evidence.keys import SigningKey
from suanli.evidence.records import KeyEvent
from suanli.evidence.steps.case import VerifySettings, WindowEvidence
from suanli.evidence.steps.chains import Chains
from suanli.evidence.steps.report import Report
from suanli.evidence.steps.signatures import Signatures, Unsigned
from suanli.evidence.strict_json import encode
from suanli.evidence.verify import verify
from suanli.evidence.windows import (
    NO_PREVIOUS,
    VERSION,
    header_hash,
    parse_header,
    signature_hash,
    window_message,
)
from tests.builders.evidence import GRID, T0, Logged, Operator, honest_operator, seed
from tests.builders.verdicts import assert_found, codes, judged

NODE = "node-a"
WINDOWS = 6
STRANGER = SigningKey(seed("stranger"))


class Asked(Mapping[str, bytes]):
    """Public keys by id, and how often each was asked for: once a signature."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self.keys_by_id, self.times = keys, Counter[str]()

    def __getitem__(self, key_id: str) -> bytes:
        self.times[key_id] += 1
        return self.keys_by_id[key_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_by_id)

    def __len__(self) -> int:
        return len(self.keys_by_id)


def windows_of(operator: Operator) -> list[WindowEvidence]:
    """The windows of the node, as they would be opened."""
    key_id = operator.nodes[NODE].key.key_id
    return [
        WindowEvidence(index, key_id, parse_header(item.window.header), item.window.header, item.window.signature, ())
        for index, item in enumerate(operator.log)
        if item.window is not None and item.node_name == NODE
    ]  # fmt: skip


def checks_of(operator: Operator, windows: list[WindowEvidence]) -> int:
    """How many signatures are checked of the windows, which all hold."""
    key = operator.nodes[NODE].key
    asked = Asked({key.key_id: key.public_key})
    chains, signatures = Chains(Report()), Signatures(asked)
    for window in windows:
        signatures.take(window, chains.ends.get(key.key_id))
        chains.take(window)
    signatures.finish()
    return asked.times[key.key_id]


def log_instead(item: Logged, header: bytes, signature: bytes) -> None:
    """Puts a payload into the place of a logged window's, and commits to it: what an operator can do at once."""
    payload = entries.build_payload(header, signature)
    entry = entries.parse_entry(item.sealed.entry)
    commitment = entries.payload_commitment(item.sealed.salt, payload)
    entry = entries.build_entry(entry._replace(payload_commitment=commitment))
    item.sealed = entries.SealedEntry(entry, payload, item.sealed.salt)


def sign_badly(item: Logged) -> None:
    """Puts another signature under a window."""
    log_instead(item, item.window.header, STRANGER.sign(b"something else"))


def logged(operator: Operator, seq: int) -> Logged:
    """The entry of the node's window of that number."""
    return [item for item in operator.log if item.node_name == NODE][seq - 1]


def idle_operator(windows: int = 0, version: int = VERSION) -> Operator:
    """An operator of idle nodes that have seen no log checkpoint: changing an entry contradicts no root."""
    operator = honest_operator(0)
    for node in operator.nodes.values():
        node.seen, node.version = None, version
        node.uses.clear()
    operator.all_cut(windows, start=1)
    return operator


def test_the_signature_of_the_last_window_proves_a_chain_without_a_gap():
    operator = honest_operator(WINDOWS)
    assert checks_of(operator, windows_of(operator)) == 1


def test_it_does_so_too_where_the_node_saw_no_log():
    operator = idle_operator(WINDOWS)
    assert checks_of(operator, windows_of(operator)) == 1


def test_beside_a_gap_the_signature_itself_is_checked():
    operator = honest_operator(WINDOWS)
    one, two, _, *others = windows_of(operator)
    assert checks_of(operator, [one, two, *others]) == 2


def test_each_signature_of_an_older_agent_is_checked_and_the_newer_one_goes_on_from_its_last_window():
    operator = idle_operator(3, version=2)
    assert checks_of(operator, windows_of(operator)) == 3
    for node in operator.nodes.values():
        node.version, node.prev_signature_hash = VERSION, None  # the spool of the older one did not keep it
    operator.all_cut(WINDOWS, start=4)
    assert checks_of(operator, windows_of(operator)) == 4
    assert judged(operator).verified


def test_a_window_that_names_another_signature_vouches_for_nothing():
    operator = honest_operator(3)
    operator.nodes[NODE].prev_signature_hash = "ab" * 32
    operator.all_cut(WINDOWS, start=4)
    assert checks_of(operator, windows_of(operator)) == 2
    assert judged(operator).verified


@pytest.mark.parametrize("seq", range(1, WINDOWS + 1))
def test_another_signature_under_a_window_is_named_wherever_it_is(seq):
    operator = honest_operator(WINDOWS)
    sign_badly(logged(operator, seq))
    verdict = judged(operator)
    assert "signature.window" in codes(verdict, "error")
    assert not verdict.integrity


@pytest.mark.parametrize("seq", [1, 3, WINDOWS])
def test_garbage_logged_at_once_in_the_place_of_a_signature_is_all_that_is_found(seq):
    operator = idle_operator(seq)
    sign_badly(logged(operator, seq))
    operator.show_checkpoint()  # nodes do not look for their own windows: their next ones name a root with this in it
    operator.all_cut(WINDOWS, start=seq + 1)
    verdict = judged(operator)
    assert_found(verdict, {"signature.window"}, {"coverage.hole"})
    (finding,) = [f for f in verdict.findings if f.code == "signature.window"]
    assert operator.log[finding.index] is logged(operator, seq)


def test_two_windows_whose_signatures_were_exchanged_are_both_named():
    operator = idle_operator(WINDOWS)
    third, fourth = logged(operator, 3), logged(operator, 4)
    log_instead(third, third.window.header, fourth.window.signature)
    log_instead(fourth, fourth.window.header, third.window.signature)
    verdict = judged(operator)
    assert_found(verdict, {"signature.window"}, {"coverage.hole"})
    named = {f.index for f in verdict.findings if f.code == "signature.window"}
    assert named == {operator.log.index(third), operator.log.index(fourth)}


def test_an_edited_window_signed_with_another_nodes_key_is_named_with_what_was_relinked_after_it():
    operator = idle_operator(WINDOWS)
    thief = operator.nodes["node-b"].key
    header, signature, cut = b"", b"", []
    for seq in range(
        3, WINDOWS + 1
    ):  # the operator links all that follows, and signs with the key that it has
        item = logged(operator, seq)
        told = json.loads(item.window.header)
        if seq == 3:
            told["isolation"] = "none"
        else:
            told |= {"prev_hash": header_hash(header), "prev_signature_hash": signature_hash(signature)}
        header = encode(told)
        signature = thief.sign(window_message(header))
        log_instead(item, header, signature)
        cut.append(operator.log.index(item))
    verdict = judged(operator)
    assert_found(verdict, {"signature.window"}, {"coverage.hole"})
    assert [f.index for f in verdict.findings if f.code == "signature.window"] == cut


def test_an_edited_window_that_kept_its_place_in_the_chain_is_named():
    operator = idle_operator(WINDOWS)
    item = logged(operator, 3)
    header = encode(json.loads(item.window.header) | {"isolation": "none"})
    log_instead(item, header, operator.nodes["node-b"].key.sign(window_message(header)))
    assert_found(judged(operator), {"signature.window"}, {"coverage.hole"})


def test_garbage_that_the_nodes_own_key_vouches_for_is_its_word_and_named_where_each_is_checked():
    operator = idle_operator(3)
    garbage = logged(operator, 3)
    sign_badly(garbage)
    operator.nodes[NODE].prev_signature_hash = signature_hash(
        entries.parse_payload(garbage.sealed.payload).signature
    )
    operator.show_checkpoint()
    operator.all_cut(WINDOWS, start=4)
    files, policy = operator.bundle(), operator.policy()
    assert verify(files, policy=policy).verified
    each = verify(files, policy=policy, settings=VerifySettings(every_signature=True))
    assert_found(each, {"signature.window"}, {"coverage.hole"})


def test_a_nodes_second_key_does_not_vouch_for_what_the_first_signed_last():
    operator = idle_operator(3)
    node = operator.nodes[NODE]
    added = next(item.record for item in operator.log if isinstance(item.record, KeyEvent))
    assert added.node_id == NODE
    operator.add(replace(added, event="revoked", at_ms=T0 + 3 * GRID))
    node.key, node.seq, node.prev_hash = SigningKey(seed("second key")), 0, NO_PREVIOUS
    public_key = node.key.public_key.hex()
    operator.add(replace(added, key_id=node.key.key_id, public_key=public_key, at_ms=T0 + 3 * GRID))
    operator.all_cut(WINDOWS, start=4)
    assert judged(operator).verified
    sign_badly(logged(operator, 3))
    assert_found(judged(operator), {"signature.window"}, {"coverage.hole"})


def test_a_chain_that_goes_on_under_a_strangers_hand_is_not_the_nodes():
    operator = honest_operator(WINDOWS)
    node = operator.nodes[NODE]
    own, node.key = node.key, STRANGER
    operator.all_cut(WINDOWS + 2, start=WINDOWS + 1, only=NODE, key_id=own.key_id)
    node.key = own
    for item in operator.log[-4:]:
        entry = entries.parse_entry(item.sealed.entry)
        if item.node_name == NODE:
            entry = entries.build_entry(entry._replace(producer_key_id=own.key_id))
            item.sealed = entries.SealedEntry(entry, item.sealed.payload, item.sealed.salt)
    verdict = judged(operator)
    assert {f.index for f in verdict.findings if f.code == "signature.window"} == {
        index for index, item in enumerate(operator.log) if index >= len(operator.log) - 4 and item.node_name == NODE
    }  # fmt: skip


def test_a_stranger_vouches_for_nothing():
    operator = honest_operator(WINDOWS)
    first = windows_of(operator)[0]
    signatures = Signatures({first.producer_key_id: STRANGER.public_key})
    signatures.take(first, None)
    with pytest.raises(Unsigned):
        signatures.finish()
