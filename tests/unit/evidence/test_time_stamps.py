"""A bundle's time stamp: checked against the reader's own authority, or said not to be."""

import pytest

from suanli.cli.time_stamps import stamp_check
from suanli.evidence.bundle import MANIFEST, BundleHead, parse_manifest
from suanli.evidence.errors import EvidenceError
from suanli.evidence.stamps import STAMP, STAMPED
from suanli.evidence.verify import verify
from tests.builders.authority import make_authority
from tests.builders.bundles import build_manifest
from tests.builders.evidence import honest_operator
from tests.builders.verdicts import assert_found


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("authority") / "tsa")


def _stamped(authority, stamped=None, answer=None):
    """The operator, and its bundle with a stamp over its own checkpoint unless told otherwise."""
    operator = honest_operator()
    files = operator.bundle()
    said = parse_manifest(files.pop(MANIFEST))
    files[STAMPED] = files["checkpoint"] if stamped is None else stamped
    files[STAMP] = authority.stamp(files[STAMPED]) if answer is None else answer
    head = BundleHead(said.log_origin, said.from_ms, said.to_ms, said.made_at_ms, said.scope)
    return operator, {**files, MANIFEST: build_manifest(files, head)}


def _judge(authority, files, operator):
    return verify(files, policy=operator.policy(), check_stamp=stamp_check(authority.root))


def test_a_stamp_of_the_readers_authority_says_when_it_saw_the_log(authority):
    operator, files = _stamped(authority)
    verdict = _judge(authority, files, operator)
    assert verdict.verified, verdict.findings
    stamp = verdict.facts["time_stamp"]
    assert stamp["log_size"] == len(operator.log)
    assert stamp["at_ms"] > 1_700_000_000_000
    unchecked = verify(files, policy=operator.policy())
    assert unchecked.verified
    assert any("its stamp was not checked" in str(limit) for limit in unchecked.not_proved)


def test_a_bundle_without_a_stamp_says_so_to_who_asks(authority):
    operator = honest_operator()
    verdict = _judge(authority, operator.bundle(), operator)
    assert verdict.verified
    assert any("carries no stamp" in str(limit) for limit in verdict.not_proved)


def test_a_stamp_of_another_authority_or_over_something_else_is_false(authority, tmp_path):
    other = make_authority(tmp_path / "other", "other.example")
    operator, files = _stamped(other)
    assert_found(_judge(authority, files, operator), {"checkpoint.stamp"})
    operator, files = _stamped(authority, answer=authority.stamp(b"something else"))
    assert_found(_judge(authority, files, operator), {"checkpoint.stamp"})
    operator, files = _stamped(authority, answer=b"\x30\x03\x02\x01\x00")
    assert_found(_judge(authority, files, operator), {"checkpoint.stamp"})


def test_a_stamp_over_a_tree_that_this_one_does_not_extend_is_false(authority):
    longer = honest_operator(7)
    operator, files = _stamped(authority, stamped=longer.checkpoint())
    assert_found(_judge(authority, files, operator), {"checkpoint.stamp"})


def test_an_authority_that_is_no_certificate_is_refused():
    with pytest.raises(EvidenceError, match="time-stamp-authority"):
        stamp_check(b"no certificate")
