"""A second library may read base64 faster; it never reads what the first would refuse, nor anything otherwise."""

import base64
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.evidence import quick_base64

ALPHABET = b"ABCDwxyz0189+/=" + b"\n -_\x00\xff"


def _read(decode, text):
    try:
        return decode(text)
    except ValueError:
        return None


@pytest.fixture(scope="module")
def quick():
    found = quick_base64.find_quick()
    assert found is not None
    return found


@given(
    data=st.binary(max_size=40), cut=st.integers(0, 40), extra=st.lists(st.sampled_from(ALPHABET), max_size=4)
)
def test_what_is_read_is_read_alike_and_what_is_refused_stays_refused(quick, data, cut, extra):
    decode, encode = quick
    good = base64.b64encode(data)
    assert encode(data) == quick_base64.plain_encode(data) == good
    assert decode(good) == quick_base64.strict_decode(good) == data
    spoiled = good[:cut] + bytes(extra) + good[cut:]
    found, want = _read(decode, spoiled), _read(quick_base64.strict_decode, spoiled)
    # The verifier takes no text that is longer than its bytes need: of the others the two say the same.
    assert found == want or (found is None and want is not None and spoiled != base64.b64encode(want))


def test_who_does_without_it_uses_the_standard_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pybase64", None)
    assert quick_base64.find_quick() is None
