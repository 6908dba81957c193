"""A window is proved by its signature, or, by chain, by the next one of its key; no other way."""

from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from suanli.evidence import entries
from suanli.evidence.keys import SigningKey
from suanli.evidence.steps.case import VerifySettings, WindowEvidence
from suanli.evidence.steps.chains import Chains
from suanli.evidence.steps.report import Report
from suanli.evidence.steps.signatures import Signatures, Unsigned
from suanli.evidence.verify import verify
from suanli.evidence.windows import SeenCheckpoint, parse_header
from tests.builders.evidence import Logged, Operator, honest_operator, seed
from tests.builders.verdicts import codes, judged

NODE = "node-a"
WINDOWS = 6


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

    def is_root(seen: SeenCheckpoint) -> bool:
        return operator.head(seen.size).root.hex() == seen.root

    chains, signatures = Chains(Report()), Signatures(asked, is_root)
    for window in windows:
        signatures.take(window, chains.ends.get(key.key_id))
        chains.take(window)
    signatures.finish()
    return asked.times[key.key_id]


def sign_badly(item: Logged) -> None:
    """Puts another signature under a window, and commits to it."""
    signature = SigningKey(seed("stranger")).sign(b"something else")
    payload = entries.build_payload(item.window.header, signature)
    entry = entries.parse_entry(item.sealed.entry)
    commitment = entries.payload_commitment(item.sealed.salt, payload)
    entry = entries.build_entry(entry._replace(payload_commitment=commitment))
    item.sealed = entries.SealedEntry(entry, payload, item.sealed.salt)


def logged(operator: Operator, seq: int) -> Logged:
    """The entry of the node's window of that number."""
    return [item for item in operator.log if item.node_name == NODE][seq - 1]


def test_the_signature_of_the_last_window_proves_a_chain_without_a_gap():
    operator = honest_operator(WINDOWS)
    assert checks_of(operator, windows_of(operator)) == 1


def test_beside_a_gap_the_signature_itself_is_checked():
    operator = honest_operator(WINDOWS)
    one, two, _, *others = windows_of(operator)
    assert checks_of(operator, [one, two, *others]) == 2


def test_a_node_that_saw_no_log_vouches_for_nothing():
    operator = honest_operator(0)
    for node in operator.nodes.values():
        node.seen = None
    operator.all_cut(WINDOWS, start=1)
    assert checks_of(operator, windows_of(operator)) == WINDOWS


def test_a_node_that_saw_the_log_before_its_last_window_does_not_vouch_for_it():
    operator = honest_operator(WINDOWS)
    operator.all_cut(WINDOWS + 2, start=WINDOWS + 1)  # both saw what there was after the sixth
    assert checks_of(operator, windows_of(operator)) == 2


@pytest.mark.parametrize("seq", range(1, WINDOWS + 1))
def test_another_signature_under_a_window_is_named_wherever_it_is(seq):
    operator = honest_operator(WINDOWS)
    sign_badly(logged(operator, seq))
    verdict = judged(operator)
    assert "signature.window" in codes(verdict, "error")
    assert not verdict.integrity


def test_another_signature_is_named_when_nobody_had_seen_the_log():
    operator = honest_operator(0)
    for node in operator.nodes.values():
        node.seen = None
    operator.all_cut(WINDOWS, start=1)
    sign_badly(logged(operator, WINDOWS - 1))
    assert codes(judged(operator), "error") == {"signature.window"}


def test_something_else_logged_in_the_place_of_a_signature_is_named_and_by_chain_said_to_be_unproved():
    operator = honest_operator(4)
    operator.all_cut(5, start=5)
    sign_badly(logged(operator, 5))
    operator.show_checkpoint()  # nodes do not look for their own windows
    operator.all_cut(6, start=6)
    files, policy = operator.bundle(), operator.policy()
    assert codes(verify(files, policy=policy), "error") == {"signature.window"}
    fewer = verify(files, policy=policy, settings=VerifySettings(by_chain=True))
    assert fewer.verified
    assert "by_chain" in {item.name for item in fewer.not_proved}


def test_a_chain_that_goes_on_under_a_strangers_hand_is_not_the_nodes():
    operator = honest_operator(WINDOWS)
    node = operator.nodes[NODE]
    own, node.key = node.key, SigningKey(seed("stranger"))
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
    key = SigningKey(seed("stranger"))
    first = windows_of(operator)[0]
    signatures = Signatures({first.producer_key_id: key.public_key}, lambda _seen: True)
    signatures.take(first, None)
    with pytest.raises(Unsigned):
        signatures.finish()
