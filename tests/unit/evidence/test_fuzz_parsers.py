"""A fuzz target for every parser of this ring: any bytes give a value or an EvidenceError, nothing else, soon.

Cases begin from good input, which is cut, doubled, flipped and mixed: random bytes alone end at the first check.
`make test` tries a few hundred of each; `make test-long` at least fifty thousand.
"""

import io
import json
import random
import zipfile

import pytest

from suanli.evidence import (
    entries,
    policy,
    records,
    samples,
    sampling,
    statement_file,
    tiles,
    windows,
    witness,
)
from suanli.evidence.bundle import MANIFEST, PAYLOADS, STATEMENT, parse_manifest, parse_payload_line
from suanli.evidence.bundle_io import ReadLimits
from suanli.evidence.device_list import parse_device_list
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import parse_verifier_key
from suanli.evidence.log_checkpoint import parse_log_checkpoint, parse_size
from suanli.evidence.samples import RawSample, encode_sample
from suanli.evidence.signed_note import parse_note
from suanli.evidence.statement_entry import Statement
from suanli.evidence.strict_json import parse
from suanli.evidence.verify import verify
from suanli.rating.held import HeldTime
from tests.builders.bundles import read_bundle
from tests.builders.evidence import T0, honest_operator, small_operator

OPERATOR = honest_operator()
FILES = OPERATOR.bundle()
LINES = FILES[PAYLOADS].split(b"\n")[:-1]
WINDOW = next(item.window for item in OPERATOR.log if item.window is not None)
OPERATOR.firm_key()
OPERATOR.receipt()
HELD = HeldTime("ascend-910b3", 9, 5, 4, 3, 2, 1, 1)
OPERATOR.add(Statement("firm-a", T0, T0 + 1, 1, "0" * 64, 3, -3, T0, (HELD,)))
RECORDS = [item.record for item in OPERATOR.log if item.record is not None]
READING = RawSample("d-1", T0, None, "ok", 1, 1, None, 1, 1, 1, 1, 1)
CHECKPOINT = OPERATOR.checkpoint()
SMALL = small_operator()

TARGETS = {
    "json": (lambda data: parse(data, "fuzz"), [FILES[STATEMENT], b'{"a":[1,{"b":null}],"c":"\xc3\xa9"}']),
    "manifest": (parse_manifest, [FILES[MANIFEST]]),
    "payload line": (parse_payload_line, [LINES[0], LINES[-1]]),
    "statement": (statement_file.parse_statement, [FILES[STATEMENT]]),
    "entry": (entries.parse_entry, [OPERATOR.log[0].sealed.entry, OPERATOR.log[-1].sealed.entry]),
    "entry, fast": (entries.read_entry, [OPERATOR.log[0].sealed.entry, OPERATOR.log[-1].sealed.entry]),
    "payload": (entries.parse_payload, [OPERATOR.log[0].sealed.payload]),
    "window header": (windows.parse_header, [WINDOW.header]),
    "window segment": (windows.parse_segment, [item.body for item in WINDOW.segments]),
    "raw sample": (samples.parse_sample, [encode_sample(READING)]),
    "sample request": (sampling.parse_request, [sampling.encode_request(bytes(32), [], [("f", "m", "d")])]),
    "missing samples": (sampling.parse_missing, [sampling.encode_missing({"samples/1-0.jsonl": "away"})]),
    "note": (parse_note, [CHECKPOINT]),
    "log checkpoint": (
        lambda data: parse_log_checkpoint(data.decode("utf-8", "replace")),
        [parse_note(CHECKPOINT).text.encode()],
    ),
    "size": (lambda data: parse_size(data.decode("latin-1"), "size"), [b"0", b"12345678901234567890"]),
    "vkey": (
        lambda data: parse_verifier_key(data.decode("utf-8", "replace")),
        [str(OPERATOR.policy().logs[0].key).encode()],
    ),
    "device list": (parse_device_list, [b"serial,model,from\nSN-d-1,ascend-910b3,2026-01-01\n"]),
    "firm keys": (
        policy.parse_firm_keys,
        [b"# keys\n" + str(OPERATOR.policy().logs[0].key).encode() + b"\n"],
    ),
    "policy": (policy.parse_policy, [policy.format_policy(OPERATOR.policy()).encode()]),
    "witness request": (witness.parse_request, [witness.encode_request(3, [bytes(32)], CHECKPOINT)]),
    "hash tile": (lambda data: tiles.parse_hash_tile(data, 2), [bytes(64)]),
    "entry bundle": (
        lambda data: tiles.parse_entry_bundle(data, 2),
        [tiles.encode_entry_bundle([b"a", b"bc"])],
    ),
    **{
        f"record {kind}": (
            lambda data, kind=kind: records.parse_record(kind, data),
            [records.encode_record(r) for r in RECORDS if records.entry_type(r) == kind][:2],
        )
        for kind in sorted({records.entry_type(record) for record in RECORDS})
    },
}

PIECES = [
    b"{",
    b"}",
    b"[",
    b'"',
    b":",
    b",",
    b"\\u0000",
    b"\xff",
    b"-",
    b"1e9",
    b"NaN",
    b"null",
    b"true",
    b"\n",
]
PIECES += [b"9" * 5000, b"[" * 2000, b"\xe2\x80\x94 ", b"\\ud800", b'"schema":"x",']


def _spoiled(seeds, rng):
    """Good input, spoiled in up to four places."""
    data = rng.choice(seeds)
    for _ in range(rng.randint(1, 4)):
        place = rng.randint(0, len(data))
        end = min(len(data), place + rng.choice((0, 0, 1, 3, 20)))
        kind = rng.randrange(4)
        piece = (
            rng.choice(PIECES)
            if kind == 0
            else rng.randbytes(rng.randint(0, 8))
            if kind == 1
            else rng.choice(seeds)[rng.randint(0, 40) :]
            if kind == 2 and len(data) < 100_000
            else bytes([data[place - 1] ^ (1 << rng.randrange(8))])
            if data
            else b""
        )
        data = data[:place] + piece + data[end:]
    return data


def _outcome(read, data):
    """None where `data` was read, else the refusal; whatever else is raised fails the test."""
    try:
        read(data)
    except EvidenceError as error:
        return error
    return None


def _fuzz(target, cases):
    read, seeds = TARGETS[target]
    for case in range(cases):
        # A case can be run again alone: its number is its seed.
        data = _spoiled(seeds, random.Random(f"{target} {case}"))
        error = _outcome(read, data)
        assert error is None or (error.field and len(str(error)) < 2000), (case, data)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_spoiled_input_is_refused_by_name_or_read(target):
    assert TARGETS[target][1], "a target needs a good beginning"
    for good in TARGETS[target][1]:
        if target != "size":
            TARGETS[target][0](good)
    _fuzz(target, 300)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_great_deal_of_spoiled_input_is_refused_by_name_or_read(target):
    _fuzz(target, 60_000 // len(TARGETS) + 1)


def _archive(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


ARCHIVES = [_archive({"a": b"one", "b/c": b"two" * 40}), _archive(SMALL.bundle((T0, T0 + 300_000)))]


def _fuzz_archives(path, cases):
    def read(data):
        path.write_bytes(data)
        read_bundle(path, ReadLimits(files=100, total_bytes=1 << 20))

    refused = 0
    for case in range(cases):
        data = _spoiled(ARCHIVES, random.Random(f"archive {case}"))
        error = _outcome(read, data)
        refused += error is not None
        assert error is None or error.field, (case, data)
    assert refused > cases // 2


def test_spoiled_archives_are_refused_by_name_or_read(tmp_path):
    _fuzz_archives(tmp_path / "spoiled.zip", 300)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_great_many_spoiled_archives_are_refused_by_name_or_read(tmp_path):
    _fuzz_archives(tmp_path / "spoiled.zip", 10_000)


SMALL_FILES = SMALL.bundle((T0, T0 + 300_000))


def _fuzz_bundles(cases):
    for case in range(cases):
        rng = random.Random(f"bundle {case}")
        path = rng.choice(sorted(SMALL_FILES))
        data = _spoiled([SMALL_FILES[path]], rng)
        verdict = verify({**SMALL_FILES, path: data}, policy=SMALL.policy())
        same = data == SMALL_FILES[path] or (path == MANIFEST and _same_manifest(data))
        assert verdict.verified == same, (case, path, data)


def test_a_spoiled_file_of_a_bundle_is_a_finding_and_never_a_crash():
    _fuzz_bundles(200)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_spoiled_files_of_a_bundle_are_findings_and_never_crashes():
    _fuzz_bundles(5_000)


def _same_manifest(data):
    try:
        theirs = json.loads(data)
    except ValueError:
        return False
    ours = json.loads(SMALL_FILES[MANIFEST])
    return {**ours, "made_at_ms": 0} == {**theirs, "made_at_ms": 0}


def test_the_fast_reading_of_entries_is_the_strict_one():
    for item in OPERATOR.log:
        assert entries.read_entry(item.sealed.entry) == entries.parse_entry(item.sealed.entry)
