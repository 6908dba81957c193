"""Our one way to write JSON, against RFC 8785's (JCS) published pairs.

Nothing is signed by its meaning, so nobody has to write a record again as we did; but where our form can hold a value
it is the canonical one of everybody else, and a number that parsers read differently is refused.
"""

import json
from pathlib import Path

import pytest

from suanli.evidence.errors import EvidenceError
from suanli.evidence.strict_json import encode, parse
from tests.shared_data import shared_path


def _pair(name: str) -> tuple[bytes, bytes]:
    folder: Path = shared_path("ledger/vectors") / "jcs"
    return (folder / "input" / f"{name}.json").read_bytes(), (folder / "output" / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", ["arrays", "french", "unicode"])
def test_what_has_integers_and_common_characters_is_written_canonically(name: str) -> None:
    given, canonical = _pair(name)
    assert encode(parse(given, name)) == canonical.rstrip(b"\n")
    assert parse(canonical, name) == parse(given, name)


@pytest.mark.parametrize("name", ["structures", "values"])
def test_what_holds_a_float_is_refused(name: str) -> None:
    given, canonical = _pair(name)
    assert any(isinstance(json.loads(given), dict) and mark in given for mark in (b"56.0", b"4.50"))
    with pytest.raises(EvidenceError, match="an integer"):
        parse(given, name)
    if name == "structures":  # in the canonical form 56.0 is the integer 56
        assert encode(parse(canonical, name)) == canonical.rstrip(b"\n")


def test_only_the_order_of_keys_beyond_16_bits_differs() -> None:
    """JCS sorts by UTF-16 units, we by code points: every key of ours is ASCII."""
    given, canonical = _pair("weird")
    ours = encode(parse(given, "weird"))
    assert sorted(ours.decode()) == sorted(canonical.decode().rstrip("\n"))
    by_units = dict(sorted(json.loads(ours).items(), key=lambda item: item[0].encode("utf-16-be")))
    assert list(by_units) == list(json.loads(canonical))
