"""Signed notes, log checkpoints, cosignatures and vkeys against published examples."""

import json

import pytest

from suanli.evidence.cosignature import cosignature_time_s
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import parse_verifier_key, verify_signature
from suanli.evidence.log_checkpoint import open_log_checkpoint, parse_log_checkpoint
from suanli.evidence.signed_note import parse_note, verify_note
from tests.shared_data import shared_path


def _vectors(relative):
    return shared_path("ledger/vectors") / relative


def test_the_worked_example_of_the_specification_verifies():
    note = parse_note(_vectors("note/c2sp-example.note").read_bytes())
    key = parse_verifier_key(_vectors("note/c2sp-example.vkey.txt").read_text().strip())
    assert note.text == "This is an example message.\n"
    assert verify_note(note, [key]) == [key]
    assert str(key) == _vectors("note/c2sp-example.vkey.txt").read_text().strip()


def test_a_note_written_again_has_the_same_bytes():
    data = _vectors("note/c2sp-example.note").read_bytes()
    assert parse_note(data).encode() == data


@pytest.mark.parametrize("size", range(16))
def test_every_checkpoint_of_the_tessera_log_opens(size):
    folder = _vectors("tlog-tiles/tessera-15")
    key = parse_verifier_key((folder / "vkey.txt").read_text().strip())
    head, note = open_log_checkpoint((folder / f"checkpoint.{size}").read_bytes(), key)
    assert head.size == size
    assert head.text() == note.text


@pytest.mark.parametrize("name", ["witness1", "witness2"])
def test_published_cosignatures_verify_and_other_types_are_ignored(name):
    note = parse_note(_vectors(f"cosignature/{name}.checkpoint").read_bytes())
    config = json.loads(_vectors(f"cosignature/{name}.witness.v0.json").read_text())
    key = parse_verifier_key(config["verifier_keys"][0])
    assert cosignature_time_s(note, key) == 0x69546780
    assert parse_log_checkpoint(note.text).size == 300


def test_the_mirrors_cosignature_verifies():
    folder = _vectors("tlog-tiles/sunlight-mirror-300")
    note = parse_note((folder / "checkpoint").read_bytes())
    key = parse_verifier_key(json.loads((folder / "mirror.v0.json").read_text())["verifier_keys"][0])
    assert cosignature_time_s(note, key) is not None


def test_a_cosignature_over_another_text_is_false():
    note = parse_note(_vectors("cosignature/witness2.checkpoint").read_bytes().replace(b"300\n", b"301\n"))
    config = json.loads(_vectors("cosignature/witness2.witness.v0.json").read_text())
    with pytest.raises(EvidenceError):
        cosignature_time_s(note, parse_verifier_key(config["verifier_keys"][0]))


def test_wycheproof_signatures_are_judged_as_wycheproof_judges_them():
    groups = json.loads(_vectors("ed25519/ed25519_test.json").read_text())["testGroups"]
    wrong = []
    count = 0
    for group in groups:
        public_key = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            count += 1
            good = verify_signature(public_key, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            if good != (test["result"] == "valid"):
                wrong.append(test["tcId"])
    assert count == 151
    assert wrong == []
