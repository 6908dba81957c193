"""What is read the short way means what the strict reader would read; what is not, is left to it."""

import json
import random
import sys

import pytest

from suanli.evidence import bundle, entries, plain, windows
from suanli.evidence.errors import EvidenceError
from suanli.evidence.plain import base64_bytes
from suanli.evidence.strict_json import decode_base64, encode_base64
from tests.builders.evidence import honest_operator
from tests.unit.evidence.test_fuzz_parsers import _spoiled

OPERATOR = honest_operator()
WINDOWS = [item.window for item in OPERATOR.log if item.window is not None]
LINES = OPERATOR.bundle()[bundle.PAYLOADS].split(b"\n")[:-1]
READERS = {
    "header": (windows._plain_header, windows._strict_header, [w.header for w in WINDOWS]),
    "segment": (
        lambda data: (windows._plain_segments([data]) or [None])[0],
        windows._strict_segment,
        [s.body for w in WINDOWS for s in w.segments],
    ),
    "payload": (
        entries._plain_payload,
        entries._strict_payload,
        [item.sealed.payload for item in OPERATOR.log],
    ),
    "line": (bundle._plain_line, bundle._strict_line, LINES),
}


@pytest.mark.parametrize("name", READERS)
def test_what_our_own_encoder_wrote_is_read_the_short_way(name):
    short, strict, texts = READERS[name]
    for data in texts:
        assert short(data) == strict(data)


def _mutations(data, rng):
    """Small changes that a careless form would take: blanks, escapes, numbers of another look, keys twice."""
    yield data.replace(b'":', b'": ', 1)
    yield data + b"\n"
    yield data.replace(b"{", b'{"seq":1,', 1)
    yield data.replace(b",", b",,", 1)
    yield data.replace(b'"]', b'",]', 1)
    for old, new in ((b":1", b":01"), (b":1", b":-1"), (b":1", b":1.0"), (b":1", b":1e3"), (b":0", b":-0")):
        yield data.replace(old, new, 1)
    for text in (b"\\u0041", b'\\"', b"\x7f", "é".encode(), b"\xff", b"}", b"{", b"9" * 19, b"9" * 18):
        place = rng.randrange(len(data))
        yield data[:place] + text + data[place:]
        yield data[:place] + text + data[place + len(text) :]
    place = rng.randrange(len(data))
    yield data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


@pytest.mark.parametrize("name", READERS)
def test_the_short_way_never_takes_what_the_strict_reader_refuses_or_reads_otherwise(name):
    short, strict, texts = READERS[name]
    rng = random.Random(name)
    taken = 0
    for _ in range(400):
        data = rng.choice(texts)
        for changed in (*_mutations(data, rng), _spoiled(texts, rng)):
            found = short(changed)
            if found is not None:
                taken += 1
                assert found == strict(changed)
    assert taken > 50


def test_who_does_without_msgspec_has_all_read_by_the_strict_reader(monkeypatch):
    fields = {"n": plain.INTEGER}
    [told] = plain.records(fields)([b'{"n":1}'])
    assert told.n == 1
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert plain.records(fields)([b'{"n":1}']) is None


def test_a_nested_object_is_read_whole_and_strictly():
    data = WINDOWS[0].segments[0].body
    value = json.loads(data)
    for device in ({**value["device"], "extra": 1}, {}, {**value["device"], "index": -1}):
        changed = data.replace(
            json.dumps(value["device"], sort_keys=True, separators=(",", ":")).encode(),
            json.dumps(device, sort_keys=True, separators=(",", ":")).encode(),
        )
        assert changed != data
        assert windows._plain_segments([changed]) is None
        with pytest.raises(EvidenceError, match="device"):
            windows.parse_segment(changed)


@pytest.mark.parametrize("length", range(1, 7))
def test_base64_has_one_text_for_the_same_bytes(length):
    text = encode_base64(bytes(range(249, 249 + length)))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    place = len(text.rstrip("=")) - 1
    for letter in alphabet:
        other = text[:place] + letter + text[place + 1 :]
        try:
            want = decode_base64(other, "x")
        except EvidenceError:
            want = None
        assert base64_bytes(other.encode()) == want


@pytest.mark.parametrize(
    "text", [b"AAAA====", b"AAAA=", b"AAA", b"A===", b"====", b"AA==AAAA", b"AB==", b"A A="]
)
def test_base64_that_is_longer_or_shorter_than_its_bytes_need_is_refused(text):
    assert base64_bytes(text) is None
