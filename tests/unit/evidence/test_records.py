"""Entries and records: written and read the same, refused with the field that is wrong."""

import json
from dataclasses import replace

import pytest

from suanli.evidence import entries
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import SigningKey, verify_signature
from suanli.evidence.records import Firm, encode_record, entry_type, parse_record
from suanli.evidence.statement_entry import Statement
from suanli.rating.held import HeldTime
from tests.builders.evidence import T0, honest_operator, price, program, seed

KEY = SigningKey(seed("log"))
RECORDS = {
    item.record.__class__.__name__: item.record for item in honest_operator().log if item.record is not None
}
HELD = HeldTime("ascend-910b3", 9, 5, 4, 3, 2, 1, 1)
RECORDS["Statement"] = Statement("firm-a", T0, T0 + 1, 1, "0" * 64, 3, -3, T0, (HELD,))
RECORDS["Statement 1"] = replace(RECORDS["Statement"], held=None)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_record_survives_being_written_and_read(name):
    record = RECORDS[name]
    assert parse_record(entry_type(record), encode_record(record)) == record


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_record_with_a_field_more_or_less_is_refused(name):
    record = RECORDS[name]
    kind = entry_type(record)
    value = json.loads(encode_record(record))
    with pytest.raises(EvidenceError, match="extra"):
        parse_record(kind, json.dumps({**value, "extra": 1}).encode())
    for field in value:
        rest = {key: item for key, item in value.items() if key != field}
        with pytest.raises(EvidenceError, match=field):
            parse_record(kind, json.dumps(rest).encode())


@pytest.mark.parametrize("at_ms", [T0 + 1, T0 + 299_999])
def test_prices_and_programs_begin_and_end_on_the_grid(at_ms):
    for version in (price(), program()):
        with pytest.raises(EvidenceError, match="effective"):
            encode_record(replace(version, effective_from_ms=at_ms))
        with pytest.raises(EvidenceError, match="effective"):
            encode_record(replace(version, effective_to_ms=at_ms))
        with pytest.raises(EvidenceError, match="effective_to_ms"):
            encode_record(replace(version, effective_to_ms=T0))


def test_an_allocation_names_each_device_once():
    event = RECORDS["AllocationEvent"]
    with pytest.raises(EvidenceError, match="devices"):
        encode_record(replace(event, devices=event.devices * 2))
    with pytest.raises(EvidenceError, match="devices"):
        encode_record(replace(event, devices=()))


def test_a_key_event_names_the_key_it_carries():
    event = RECORDS["KeyEvent"]
    with pytest.raises(EvidenceError, match="key_id"):
        encode_record(replace(event, key_id="0" * 32))


def test_money_is_never_a_float():
    value = json.loads(encode_record(price())) | {"price_nano_cny": 13.5}
    with pytest.raises(EvidenceError):
        parse_record("price_version", json.dumps(value).encode())


def test_an_entry_shows_no_firm_and_commits_to_everything():
    record = Firm("firm-a", "甲公司", T0)
    sealed = entries.seal("firm", encode_record(record), KEY, salt=seed("s"), firm_seq=1)
    assert b"firm-a" not in sealed.entry
    entry = entries.parse_entry(sealed.entry)
    assert entry.payload_commitment == entries.payload_commitment(sealed.salt, sealed.payload)
    payload = entries.parse_payload(sealed.payload)
    message = entries.signing_message("firm", payload.body)
    assert message.startswith(b"suanli/firm/v1\n")
    assert verify_signature(KEY.public_key, message, payload.signature)


def test_only_what_concerns_a_firm_is_numbered_within_it():
    for kind, firm_seq in (("firm", None), ("price_version", 1)):
        with pytest.raises(EvidenceError, match="firm_seq"):
            entries.build_entry(entries.Entry(kind, "0" * 32, firm_seq, "0" * 64))


def test_an_entry_of_an_unknown_type_is_refused():
    with pytest.raises(EvidenceError, match="type"):
        entries.build_entry(entries.Entry("gossip", "0" * 32, None, "0" * 64))
    with pytest.raises(EvidenceError, match="type"):
        parse_record("usage_window", b"{}")


@pytest.mark.parametrize(
    "data", [b"{}", b'{"body":"AA","signature":""}', b'{"body":"AA==","signature":"AA=="}']
)
def test_a_malformed_payload_is_refused(data):
    with pytest.raises(EvidenceError):
        entries.parse_payload(data)


@pytest.mark.parametrize(
    "held", [(HELD, HELD), (replace(HELD, device_model="b"), replace(HELD, device_model="a"))]
)
def test_a_statement_names_each_model_that_was_held_once_and_in_order(held):
    with pytest.raises(EvidenceError, match=r"held\[1\]\.device_model"):
        encode_record(replace(RECORDS["Statement"], held=held))
