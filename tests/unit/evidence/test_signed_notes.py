"""What a signed note, a vkey, a log checkpoint and a cosignature may and may not look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.evidence.cosignature import cosign, cosignature_time_s, ed25519_cosigner
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    NOTE_COSIGNATURE_ED25519,
    NOTE_ED25519,
    SigningKey,
    VerifierKey,
    parse_verifier_key,
    verifier_key,
)
from suanli.evidence.log_checkpoint import (
    LogCheckpoint,
    open_log_checkpoint,
    parse_log_checkpoint,
    sign_log_checkpoint,
)
from suanli.evidence.signed_note import parse_note, sign_note, verify_note, with_signatures
from tests.builders.evidence import seed

KEY = SigningKey(seed("log"))
OTHER = SigningKey(seed("other"))
NAME = "ledger.example/log"
VKEY = verifier_key(NAME, NOTE_ED25519, KEY.public_key)
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=40)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_any_text_survives_signing_and_reading(lines):
    text = "".join(line + "\n" for line in lines)
    note = parse_note(sign_note(text, NAME, KEY.public_key, KEY.sign).encode())
    assert note.text == text
    assert verify_note(note, [VKEY]) == [VKEY]


def test_unknown_keys_are_ignored_even_when_name_or_hash_is_known():
    note = sign_note("text\n", NAME, KEY.public_key, KEY.sign)
    stranger = sign_note("text\n", NAME, OTHER.public_key, OTHER.sign).signatures
    both = parse_note(with_signatures(note, stranger).encode())
    assert verify_note(both, [VKEY]) == [VKEY]
    with pytest.raises(EvidenceError):
        verify_note(parse_note(sign_note("text\n", NAME, OTHER.public_key, OTHER.sign).encode()), [VKEY])


def test_a_false_signature_of_a_known_key_sinks_the_note():
    good = sign_note("text\n", NAME, KEY.public_key, KEY.sign)
    bad = sign_note("text\n", NAME, KEY.public_key, OTHER.sign)
    doubled = (good.encode() + bad.encode().split(b"\n\n")[1]).replace(b"\n\n\n", b"\n\n")
    with pytest.raises(EvidenceError):
        verify_note(parse_note(doubled), [VKEY])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA=",
        b"text\n\n- name AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 na+me AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"text\n\n\xe2\x80\x94 name !!!!\n",
        b"te\rxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",
        b"text\n\n\xe2\x80\x94 name  AAAAAAA=\n",
    ],
)
def test_a_malformed_note_is_refused(data):
    with pytest.raises(EvidenceError):
        parse_note(data)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_note_or_a_refusal(data):
    try:
        note = parse_note(data)
    except EvidenceError:
        return
    assert note.encode() == data


ROOT = "A" * 43 + "="


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"\n1\n{ROOT}\n",
        "origin\n1\nAAAA\n",
        f"origin\n1\n{ROOT}",
        f"origin\n1\n{ROOT}\n\next\n",
        f"origin\n٣\n{ROOT}\n",
        f"origin\n{'9' * 25}\n{ROOT}\n",
    ],
)
def test_a_malformed_log_checkpoint_is_refused(text):
    with pytest.raises(EvidenceError):
        parse_log_checkpoint(text)


def test_extension_lines_are_kept():
    head = LogCheckpoint("origin", 1, bytes(32), ("extension",))
    assert parse_log_checkpoint(head.text()) == head


def test_a_log_checkpoint_is_signed_under_its_origin():
    head = LogCheckpoint(NAME, 7, bytes(32))
    data = sign_log_checkpoint(head, KEY.public_key, KEY.sign).encode()
    assert open_log_checkpoint(data, VKEY)[0] == head
    with pytest.raises(EvidenceError):
        open_log_checkpoint(data, verifier_key("another", NOTE_ED25519, KEY.public_key))


def test_a_head_that_would_not_be_read_back_is_not_signed():
    with pytest.raises(EvidenceError):
        sign_log_checkpoint(LogCheckpoint("two\nlines", 7, bytes(32)), KEY.public_key, KEY.sign)


def test_a_cosignature_carries_its_time_and_the_newest_counts():
    note = sign_log_checkpoint(LogCheckpoint(NAME, 7, bytes(32)), KEY.public_key, KEY.sign)
    key = verifier_key("w", NOTE_COSIGNATURE_ED25519, OTHER.public_key)
    assert cosignature_time_s(note, key) is None
    line = cosign(note.text, ed25519_cosigner("w", OTHER.public_key, OTHER.sign), 1_700_000_000)
    assert cosignature_time_s(with_signatures(note, [line]), key) == 1_700_000_000


@pytest.mark.parametrize(
    "text", ["", "name", "name+00000000+AA==", "na me+00+AA==", "name+deadbeef+" + "A" * 44, str(VKEY)[:-1]]
)
def test_a_malformed_vkey_is_refused(text):
    with pytest.raises(EvidenceError):
        parse_verifier_key(text)


def test_a_vkey_whose_hash_does_not_fit_is_refused():
    wrong = str(VKEY).replace(VKEY.key_hash.hex(), "00000000")
    with pytest.raises(EvidenceError, match="hash"):
        parse_verifier_key(wrong)
    assert parse_verifier_key(str(VKEY)) == VKEY


def test_a_vkey_of_an_unknown_type_is_refused():
    with pytest.raises(EvidenceError, match="kind"):
        parse_verifier_key(str(VerifierKey(NAME, 0x05, KEY.public_key)))


def test_a_signing_key_does_not_show_its_secret():
    assert KEY.seed().hex() not in repr(KEY)
    assert KEY.key_id in repr(KEY)
