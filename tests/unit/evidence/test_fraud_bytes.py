"""Files changed on the way: every byte that matters is missed by the step that stands for it (A1)."""

import itertools
import json
import random
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suanli.evidence.bundle import (
    CHECKPOINT,
    MANIFEST,
    PAYLOADS,
    STATEMENT,
    BundleHead,
    FileClaim,
    PayloadLine,
    encode_manifest,
    encode_payload_line,
    parse_manifest,
    parse_payload_line,
)
from suanli.evidence.entries import USAGE_WINDOW, Entry
from suanli.evidence.errors import EvidenceError
from suanli.evidence.policy import Policy
from suanli.evidence.steps.windows import _handfuls
from suanli.evidence.verify import verify
from suanli.evidence.windows import SEGMENTS_PER_WINDOW, SaltedSegment
from tests.builders.bundles import build_manifest
from tests.builders.evidence import GRID, T0, WITNESS, Operator, honest_operator, small_operator

OPERATOR = honest_operator()
FILES = OPERATOR.bundle()
POLICY = OPERATOR.policy()


def _with_manifest(files, like=None):
    """The same files under a manifest that fits them, which anybody can make."""
    body = {path: data for path, data in files.items() if path != MANIFEST}
    old = parse_manifest((like or FILES)[MANIFEST])
    head = BundleHead(old.log_origin, old.from_ms, old.to_ms, old.made_at_ms, old.scope)
    return {**body, MANIFEST: build_manifest(body, head)}


def _flip(data, place, bit):
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


@pytest.mark.parametrize("path", sorted(FILES))
def test_a_flipped_bit_in_any_file_is_found_by_the_manifest(path):
    rng = random.Random(path)
    data = FILES[path]
    for _ in range(20):
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        verdict = verify({**FILES, path: _flip(data, place, bit)}, policy=POLICY)
        assert not verdict.verified
        if path != MANIFEST:
            assert [finding.code for finding in verdict.findings] == ["manifest.hash"]


@pytest.mark.parametrize("value", [b"[]", b"{}", b"9", b'{"a":"b"}'])
def test_a_manifest_of_more_values_than_its_files_have_is_refused_before_they_are_made(value):
    data = b'{"schema":[' + b",".join([value] * 100_000) + b"]}"
    verdict = verify({**FILES, MANIFEST: data}, policy=POLICY)
    (finding,) = [finding for finding in verdict.findings if finding.code == "manifest.format"]
    assert finding.entity == "manifest"
    assert "values" in finding.found


def test_a_line_of_more_values_than_a_window_has_segments_is_refused_before_they_are_made():
    line = b'{"index":0,"segments":[' + b",".join([b"[]"] * 100_000) + b"]}"
    with pytest.raises(EvidenceError, match="values"):
        parse_payload_line(line)


def test_a_manifest_of_the_shortest_entries_and_the_oddest_name_is_read():
    names = ("".join(letters) for letters in itertools.product(string.ascii_letters, repeat=3))
    claims = {path: FileClaim("0" * 64, 0) for path in itertools.islice(names, 50_000)}
    head = BundleHead("[{," * 85, 0, 1, 0)
    assert len(parse_manifest(encode_manifest(claims, head)).files) == 50_000


def test_a_line_of_the_most_segments_is_read_however_it_is_written():
    line = PayloadLine(0, b"s" * 32, b"p", (SaltedSegment(b"s" * 32, b"b"),) * SEGMENTS_PER_WINDOW)
    written = encode_payload_line(line).rstrip(b"\n")
    assert parse_payload_line(written) == parse_payload_line(written.replace(b",", b", ")) == line


def test_every_flipped_byte_of_the_checkpoint_is_found_behind_a_fitting_manifest():
    data = FILES[CHECKPOINT]
    for place in range(len(data)):
        verdict = verify(_with_manifest({**FILES, CHECKPOINT: _flip(data, place, place % 8)}), policy=POLICY)
        assert not verdict.verified, place
        assert {finding.step for finding in verdict.findings} <= {2, 4}


# One node, one device, one window: small enough to flip every byte of it.
SMALL = small_operator()
SMALL_FILES = SMALL.bundle((T0, T0 + GRID))
STRIDE = 41


def _flips(start, stride):
    """Every `stride`-th byte of every file, each flipped in a bit of its own."""
    place = start
    for path, data in sorted(SMALL_FILES.items()):
        while place < len(data):
            yield path, _flip(data, place, place % 8), place
            place += stride
        place -= len(data)


def _missed(start, stride):
    """Flips after which a bundle is verified although it says another thing."""
    policy = SMALL.policy()
    assert verify(SMALL_FILES, policy=policy).verified
    for path, data, place in _flips(start, stride):
        files = {**SMALL_FILES, path: data}
        if path != MANIFEST:
            assert not verify(files, policy=policy).verified
            files = _with_manifest(files, SMALL_FILES)
        if verify(files, policy=policy).verified and _said(path, data) != _said(path, SMALL_FILES[path]):
            yield path, place


def _said(path, data):
    if path not in (MANIFEST, STATEMENT, PAYLOADS):
        return data
    values = [json.loads(line) for line in data.split(b"\n") if line]
    # When a bundle was made is said, shown as what the operator says, and proves nothing.
    return [{**value, "made_at_ms": None} for value in values]


def test_flipped_bytes_of_a_small_bundle_are_found():
    assert list(_missed(random.Random().randrange(STRIDE), STRIDE)) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_flipped_byte_of_a_small_bundle_is_found():
    assert list(_missed(0, 1)) == []


def _names(path):
    return "entries" if path.startswith("tile/entries") else "tile" if path.startswith("tile") else path


@pytest.mark.parametrize("path", sorted(path for path in FILES if path not in (MANIFEST, CHECKPOINT)))
def test_flipped_bytes_behind_a_fitting_manifest_are_found_by_a_later_step(path):
    rng = random.Random("deeper " + path)
    data = FILES[path]
    steps = {"entries": {4}, "tile": {4}, PAYLOADS: {5, 14, 15}, STATEMENT: {14, 15}}[_names(path)]
    places = rng.sample(range(len(data)), min(len(data), 150))
    for place in places:
        flipped = _flip(data, place, rng.randrange(8))
        verdict = verify(_with_manifest({**FILES, path: flipped}), policy=POLICY)
        if verdict.verified:
            # JSON allows this byte to differ without a difference in what it says.
            assert path in (STATEMENT, PAYLOADS)
            assert _same_meaning(data, flipped), (place, data[place - 20 : place + 20])
            continue
        first = verdict.findings[0]
        assert first.step in steps, (place, first)


def _same_meaning(one, two):
    parse = [[json.loads(line) for line in data.split(b"\n") if line] for data in (one, two)]
    return parse[0] == parse[1]


@pytest.mark.parametrize("path", sorted(path for path in FILES if path != MANIFEST))
def test_a_missing_file_is_named(path):
    files = {name: data for name, data in FILES.items() if name != path}
    verdict = verify(files, policy=POLICY)
    assert {finding.entity for finding in verdict.findings} == {path}
    again = verify(_with_manifest(files), policy=POLICY)
    assert not again.verified
    assert any(path in finding.entity or "tiles" in finding.entity for finding in again.findings)


def test_a_file_more_than_the_manifest_lists_is_named():
    verdict = verify({**FILES, "letter.txt": b"hello"}, policy=POLICY)
    assert [finding.code for finding in verdict.findings] == ["manifest.extra_file"]


def test_a_tile_beyond_the_signed_size_is_named():
    files = _with_manifest({**FILES, "tile/0/000.p/3": bytes(96)})
    assert [finding.code for finding in verify(files, policy=POLICY).findings] == ["tree.extra_tile"]


def _without(lines, index):
    line = json.loads(lines[index])
    line["salt"] = line["payload"] = None
    return b"\n".join([*lines[:index], json.dumps(line).encode(), *lines[index + 1 :]])


def test_a_payload_withheld_from_the_auditor_is_listed():
    lines = FILES[PAYLOADS].split(b"\n")
    for index in range(len(OPERATOR.log)):
        files = _with_manifest({**FILES, PAYLOADS: _without(lines, index)})
        verdict = verify(files, policy=POLICY)
        errors = [(f.code, f.index) for f in verdict.findings if f.severity == "error"]
        assert ("payload.withheld", index) in errors
        assert not verdict.completeness
        assert {code for code, _ in errors} <= {"payload.withheld", "keys.operator"}


def test_windows_are_checked_in_handfuls_that_leave_none_out_and_stay_small():
    entry = Entry(USAGE_WINDOW, "00" * 16, None, "00" * 32)
    sizes = [10] * 300 + [3 << 20] * 5 + [10] * 7
    lines = [(index, entry, bytes(size)) for index, size in enumerate(sizes)]
    handfuls = list(_handfuls(iter(lines)))
    assert [line for handful in handfuls for line in handful] == lines
    assert [len(handful) for handful in handfuls] == [128, 128, 46, 2, 8]
    assert list(_handfuls(iter(()))) == []


def test_a_line_of_payloads_left_out_is_one_finding():
    lines = FILES[PAYLOADS].split(b"\n")
    files = _with_manifest({**FILES, PAYLOADS: b"\n".join([*lines[:9], *lines[10:]])})
    verdict = verify(files, policy=POLICY)
    assert [(f.code, f.index) for f in verdict.findings] == [("payload.missing", 9)]


def test_a_segment_withheld_from_the_auditor_is_listed():
    lines = FILES[PAYLOADS].split(b"\n")
    index = next(i for i, line in enumerate(lines) if b'"body"' in line)
    line = json.loads(lines[index])
    line["segments"][0] = None
    lines[index] = json.dumps(line).encode()
    verdict = verify(_with_manifest({**FILES, PAYLOADS: b"\n".join(lines)}), policy=POLICY)
    assert [f.code for f in verdict.findings if f.severity == "error"] == ["segment.withheld"]


def test_a_log_that_the_policy_does_not_know_is_nobodys():
    stranger = Policy((), POLICY.witnesses, (), "w")
    verdict = verify(FILES, policy=stranger)
    assert [finding.code for finding in verdict.findings] == ["checkpoint.unknown_log"]


def test_without_the_quorums_cosignatures_neither_question_is_answered_with_yes():
    verdict = verify(OPERATOR.bundle(checkpoint=OPERATOR.checkpoint(witnessed=False)), policy=POLICY)
    assert [finding.code for finding in verdict.findings] == ["checkpoint.quorum"]
    assert not verdict.integrity
    assert not verdict.completeness


def test_a_false_cosignature_of_a_known_witness_is_named():
    text, _, tail = FILES[CHECKPOINT].decode().partition("\n\n")
    good = [line for line in tail.split("\n") if WITNESS not in line and line]
    forged = Operator()
    forged.witness = forged.controller
    other = forged.checkpoint().decode().split("\n")
    line = next(line for line in other if WITNESS in line)
    assert line not in tail
    checkpoint = f"{text}\n\n" + "\n".join([*good, line]) + "\n"
    verdict = verify(OPERATOR.bundle(checkpoint=checkpoint.encode()), policy=POLICY)
    assert "checkpoint.quorum" in {finding.code for finding in verdict.findings}


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
)


def _paths(value, prefix=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*prefix, key)
        yield from _paths(item, (*prefix, key))


STATEMENT_VALUE = json.loads(FILES[STATEMENT])
STATEMENT_PATHS = sorted(_paths(STATEMENT_VALUE), key=str)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(STATEMENT_PATHS), JUNK)
def test_any_junk_anywhere_in_a_statement_is_a_finding_and_never_a_crash(path, junk):
    value = json.loads(FILES[STATEMENT])
    at = value
    for step in path[:-1]:
        at = at[step]
    unchanged = type(at[path[-1]]) is type(junk) and at[path[-1]] == junk
    at[path[-1]] = junk
    files = _with_manifest({**FILES, STATEMENT: json.dumps(value).encode()})
    verdict = verify(files, policy=POLICY)
    assert verdict.verified == unchanged


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=200))
def test_any_file_replaced_by_any_bytes_is_a_finding_and_never_a_crash(path, data):
    files = {**FILES, path: data}
    if path != MANIFEST:
        files = _with_manifest(files)
    assert not verify(files, policy=POLICY).verified
    assert verify(files).exit_code == 1


def test_a_period_is_the_same_in_manifest_and_statement():
    head = BundleHead("ledger.example/test", T0, T0 + 300_000, T0)
    body = {path: data for path, data in FILES.items() if path != MANIFEST}
    verdict = verify({**body, MANIFEST: build_manifest(body, head)}, policy=POLICY)
    assert [finding.code for finding in verdict.findings] == ["statement.period"]
