"""The witness as a state machine: the published sequence, and what it must never do."""

import json

import pytest

from suanli.evidence import merkle
from suanli.evidence.cosignature import cosignature_time_s, ed25519_cosigner
from suanli.evidence.keys import NOTE_COSIGNATURE_ED25519, NOTE_ED25519, SigningKey, verifier_key
from suanli.evidence.log_checkpoint import LogCheckpoint, sign_log_checkpoint
from suanli.evidence.signed_note import parse_note, parse_signature_line, with_signatures
from suanli.evidence.witness import TreeHead, Witness, encode_request
from tests.builders.bundles import leaves_source
from tests.builders.evidence import seed
from tests.shared_data import shared_path

LOG = SigningKey(seed("log"))
WITNESS = SigningKey(seed("witness"))
ORIGIN = "ledger.example/log"
KEY = verifier_key(ORIGIN, NOTE_ED25519, LOG.public_key)
LEAVES = [merkle.leaf_hash(bytes([n])) for n in range(40)]
NODE = leaves_source(LEAVES)

# The published server answers 403 for an unknown log; version 1.0.0 of the specification says 404.
OLDER_STATUS = {2: 404}


class Replay:
    """A witness with its memory, as a server would keep it."""

    def __init__(self, witness):
        self.witness = witness
        self.heads = {}

    def __call__(self, body):
        answer = self.witness.add_checkpoint(body, self.heads, 1_700_000_000)
        if answer.store is not None:
            self.heads[answer.origin] = answer.store
        return answer


@pytest.fixture
def ask():
    return Replay(Witness(ed25519_cosigner("w.example", WITNESS.public_key, WITNESS.sign), {ORIGIN: KEY}))


def _signed(size, signer=LOG, origin=ORIGIN, root=None):
    head = LogCheckpoint(origin, size, root or merkle.root(LEAVES[:size]))
    return sign_log_checkpoint(head, signer.public_key, signer.sign).encode()


def _request(old, new, **changes):
    return encode_request(old, merkle.consistency_proof(old, new, NODE), _signed(new, **changes))


def test_the_published_sequence_gets_the_published_answers():
    folder = shared_path("ledger/vectors/witness")
    log = json.loads((folder / "log_key.json").read_text())
    key = verifier_key(log["origin"], NOTE_ED25519, bytes.fromhex(log["log_ed25519_public_key_hex"]))
    replay = Replay(
        Witness(
            ed25519_cosigner("example.com/witness", WITNESS.public_key, WITNESS.sign), {log["origin"]: key}
        )
    )
    lines = (folder / "add_checkpoint_sequence.jsonl").read_text().splitlines()
    for case in map(json.loads, lines):
        answer = replay(case["body"].encode())
        assert answer.status == OLDER_STATUS.get(case["seq"], case["status"]), case["seq"]
        if answer.status == 200:
            assert answer.body.decode().startswith("— example.com/witness ")
        if answer.status == 409:
            assert answer.body.decode() in case["upstream_asserts"].encode().decode("unicode_escape")
            assert answer.content_type == "text/x.tlog.size"


def test_a_growing_log_is_cosigned_with_a_time(ask):
    assert ask(_request(0, 3)).status == 200
    answer = ask(_request(3, 17))
    assert answer.status == 200
    line = parse_signature_line(answer.body.decode().removesuffix("\n"))
    note = with_signatures(parse_note(_signed(17)), [line])
    key = verifier_key("w.example", NOTE_COSIGNATURE_ED25519, WITNESS.public_key)
    assert cosignature_time_s(note, key) == 1_700_000_000


def test_a_smaller_tree_after_a_larger_one_is_never_cosigned(ask):
    assert ask(_request(0, 17)).status == 200
    answer = ask(_request(0, 3))
    assert (answer.status, answer.body) == (409, b"17\n")
    assert ask.heads[ORIGIN].size == 17


def test_another_tree_of_the_same_size_is_never_cosigned(ask):
    assert ask(_request(0, 17)).status == 200
    forked = encode_request(17, [], _signed(17, root=bytes(32)))
    assert ask(forked).status == 409
    assert ask.heads[ORIGIN] == TreeHead(17, merkle.root(LEAVES[:17]))


def test_the_same_tree_again_is_cosigned_again(ask):
    assert ask(_request(0, 17)).status == 200
    assert ask(_request(17, 17)).status == 200


def test_a_proof_that_does_not_hold_is_unprocessable(ask):
    assert ask(_request(0, 3)).status == 200
    assert ask(encode_request(3, [bytes(32)], _signed(17))).status == 422
    assert ask(encode_request(3, [], _signed(17))).status == 422
    assert ask.heads[ORIGIN].size == 3


def test_a_first_request_with_a_proof_is_unprocessable(ask):
    assert ask(encode_request(0, [bytes(32)], _signed(3))).status == 422


def test_an_old_size_above_the_new_one_is_a_bad_request(ask):
    assert ask(encode_request(4, [], _signed(3))).status == 400


def test_an_unknown_log_is_not_found(ask):
    assert ask(encode_request(0, [], _signed(3, origin="ledger.example/other"))).status == 404


def test_a_false_signature_is_forbidden(ask):
    assert ask(encode_request(0, [], _signed(3, signer=WITNESS))).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\n" + _signed(3),
        b"new 0\n\n" + _signed(3),
        b"old -1\n\n" + _signed(3),
        b"old 0\nAAAA\n\n" + _signed(3),
        b"old 0\n" + b"A" * 43 + b"=\n\n",
        b"old 0\n\n" + _signed(3)[:-1],
        encode_request(0, [bytes(32)] * 64, _signed(3)),
    ],
)
def test_what_is_malformed_is_a_bad_request(ask, body):
    assert ask(body).status == 400
