"""ML-DSA-44 cosignatures (C2SP tlog-cosignature type 0x06): made, checked, and by a witness of its own key."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from suanli.evidence.cosignature import Cosigner, cosign, cosignature_time_s, cosigned_message
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    NOTE_COSIGNATURE_ML_DSA_44,
    NOTE_ED25519,
    SigningKey,
    parse_verifier_key,
    verifier_key,
)
from suanli.evidence.log_checkpoint import LogCheckpoint, sign_log_checkpoint
from suanli.evidence.policy import Policy, PolicyLog, PolicyWitness, cosigners, format_policy, parse_policy
from suanli.evidence.signed_note import NoteSignature, parse_note, with_signatures
from suanli.evidence.witness import Witness, encode_request
from suanli.witness.folder import ML_DSA_44, WitnessFolder
from tests.builders.evidence import seed

LOG = SigningKey(seed("log"))
HEAD = LogCheckpoint("log.example", 7, bytes(range(32)))
NOTE = sign_log_checkpoint(HEAD, LOG.public_key, LOG.sign)
LOG_KEY = verifier_key("log.example", NOTE_ED25519, LOG.public_key)


def cosigner(name: str = "w.example", number: int = 1) -> Cosigner:
    """A cosigner from a fixed seed."""
    key = MLDSA44PrivateKey.from_seed_bytes(bytes([number]) * 32)
    public = key.public_key().public_bytes_raw()
    return Cosigner(verifier_key(name, NOTE_COSIGNATURE_ML_DSA_44, public), key.sign)


def test_the_signed_message_is_laid_out_as_specified() -> None:
    message = cosigned_message("w", HEAD, 0x0102)
    assert message == (
        b"subtree/v1\n\x00"
        + b"\x01w"
        + bytes([0, 0, 0, 0, 0, 0, 1, 2])
        + b"\x0blog.example"
        + bytes(8)
        + bytes([0, 0, 0, 0, 0, 0, 0, 7])
        + bytes(range(32))
    )


def test_a_cosignature_is_found_and_says_when() -> None:
    who = cosigner()
    note = parse_note(with_signatures(NOTE, [cosign(NOTE.text, who, 1_800_000_000)]).encode())
    assert cosignature_time_s(note, who.key) == 1_800_000_000
    assert cosignature_time_s(note, cosigner(number=2).key) is None
    assert parse_verifier_key(str(who.key)) == who.key


@pytest.mark.parametrize("place", [0, 7, 8, 100, 2427])
def test_a_changed_cosignature_sinks_the_note(place: int) -> None:
    who = cosigner()
    line = cosign(NOTE.text, who, 1_800_000_000)
    changed = bytearray(line.signature)
    changed[place] ^= 1
    false = NoteSignature(line.name, line.key_hash, bytes(changed))
    with pytest.raises(EvidenceError, match="a false line"):
        cosignature_time_s(with_signatures(NOTE, [false]), who.key)


def test_a_cosignature_belongs_to_one_name_and_one_tree() -> None:
    who = cosigner()
    line = cosign(NOTE.text, who, 5)
    other = sign_log_checkpoint(LogCheckpoint("log.example", 8, HEAD.root), LOG.public_key, LOG.sign)
    with pytest.raises(EvidenceError):
        cosignature_time_s(with_signatures(other, [line]), who.key)


def test_a_policy_may_ask_for_both_kinds() -> None:
    who = cosigner()
    policy = Policy((PolicyLog(LOG_KEY),), (PolicyWitness("w", who.key),), (), "w")
    assert parse_policy(format_policy(policy).encode()) == policy
    times, false_lines = cosigners(policy, with_signatures(NOTE, [cosign(NOTE.text, who, 9)]))
    assert (times, false_lines) == ({"w": 9}, [])


def test_a_witness_of_this_kind_is_made_and_cosigns(tmp_path: Path) -> None:
    folder = WitnessFolder(tmp_path / "w")
    key = folder.create("w.example", bytes(32), ML_DSA_44)
    folder.add_log(str(LOG_KEY))
    witness = Witness(folder.cosigner(), folder.logs())
    answer = witness.add_checkpoint(encode_request(0, [], NOTE.encode()), {}, 1_800_000_000)
    assert answer.status == 200
    note = parse_note(NOTE.encode() + answer.body)
    assert cosignature_time_s(note, key) == 1_800_000_000
    with pytest.raises(EvidenceError, match=r"algorithm: got .*rsa"):
        WitnessFolder(tmp_path / "x").create("w.example", bytes(32), "rsa")


def test_a_key_of_another_length_is_none() -> None:
    with pytest.raises(EvidenceError, match="1312 bytes"):
        verifier_key("w", NOTE_COSIGNATURE_ML_DSA_44, bytes(32))
