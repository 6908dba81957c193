"""Entries drawn out of the whole log: what comes back is proved, opened and signed, or named."""

import pytest

from suanli.evidence.bundle import AUDITOR, PAYLOADS, encode_payload_line, firm_scope, parse_payload_line
from suanli.evidence.bundle_files import MemoryFiles
from suanli.evidence.entries import KEY_EVENT, OPERATOR_KEYS, USAGE_WINDOW, parse_entry
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.proof_file import make_proof
from suanli.evidence.sampling import draw_entries, sample_seed
from suanli.evidence.signed_note import parse_note
from suanli.evidence.steps.packet import EntriesWanted, inspect_packet, proof_path
from tests.builders.evidence import Operator, honest_operator

SPEAKERS = {OPERATOR_KEYS, KEY_EVENT}


def _types(operator):
    return [parse_entry(item.sealed.entry).type for item in operator.log]


def _packet(operator: Operator, indexes, scope=AUDITOR, checkpoint=None):
    """What the ledger would return."""
    note = operator.checkpoint() if checkpoint is None else checkpoint
    speakers = [index for index, kind in enumerate(_types(operator)) if kind in SPEAKERS]
    lines, published = operator.lines(scope), operator.log_files(note)
    there = sorted({*indexes, *speakers})
    files = {PAYLOADS: b"".join(encode_payload_line(lines[index]) for index in there)}
    for index in there:
        files[proof_path(index)] = make_proof(index, note, published.__getitem__).encode()
    return files


def _inspect(operator, files, indexes, *, for_auditor=True, seed=None, raw=None):
    wanted = EntriesWanted(operator.checkpoint() if seed is None else seed, frozenset(indexes), for_auditor)
    return inspect_packet(MemoryFiles(files), operator.policy(), wanted, raw)


def _found(inspected):
    return {finding.code for finding in inspected.findings if finding.severity == "error"}


@pytest.fixture(scope="module")
def operator():
    return honest_operator()


@pytest.fixture(scope="module")
def drawn(operator):
    head = parse_log_checkpoint(parse_note(operator.checkpoint()).text)
    return draw_entries(sample_seed(head), 0, head.size, 12)


def test_a_seed_draws_the_same_entries_once_each_whatever_the_size_of_the_log():
    drawn = draw_entries(b"s" * 32, 5, 10_000_000_000, 100)
    assert drawn == sorted(set(drawn)) == draw_entries(b"s" * 32, 5, 10_000_000_000, 100)
    assert len(drawn) == 100
    assert min(drawn) >= 5
    assert drawn != draw_entries(b"t" * 32, 5, 10_000_000_000, 100)
    assert draw_entries(b"s" * 32, 5, 9, 100) == [5, 6, 7, 8]
    assert draw_entries(b"s" * 32, 5, 9, 3) == sorted(draw_entries(b"s" * 32, 5, 9, 3))


def test_every_place_is_drawn_as_often_as_another():
    counts = [0] * 10
    for number in range(2_000):
        for index in draw_entries(number.to_bytes(32, "big"), 0, 10, 3):
            counts[index] += 1
    assert min(counts) > 500
    assert max(counts) < 700


def test_an_honest_packet_is_good(operator, drawn):
    inspected = _inspect(operator, _packet(operator, drawn), drawn)
    assert inspected.findings == ()
    assert inspected.good
    assert inspected.windows == sum(_types(operator)[index] == USAGE_WINDOW for index in drawn)
    assert any("were not drawn" in str(limit) for limit in inspected.not_proved)


def test_the_raw_samples_of_opened_segments_are_asked_for_and_held_against_them():
    from tests.unit.evidence.test_sampling import sampled_operator

    operator, kept = sampled_operator()
    indexes = [index for index, kind in enumerate(_types(operator)) if kind == USAGE_WINDOW]
    files = _packet(operator, indexes)
    inspected = _inspect(operator, files, indexes)
    assert inspected.good
    assert inspected.segments
    raw = {
        item.path: b"".join(
            line + b"\n" for line in kept[item.segment.device.device_id, item.segment.start_ms]
        )
        for item in inspected.segments
    }
    assert _inspect(operator, files, indexes, raw=MemoryFiles(raw)).good
    path = sorted(raw)[0]
    raw[path] = raw[path].replace(b'"processes":1', b'"processes":2')
    assert _found(_inspect(operator, files, indexes, raw=MemoryFiles(raw))) == {"sample.readings"}
    del raw[path]
    assert _found(_inspect(operator, files, indexes, raw=MemoryFiles(raw))) == {"sample.missing"}


def test_a_firm_is_proved_every_entry_and_opens_its_own(operator):
    indexes = range(len(operator.log))
    files = _packet(operator, indexes, firm_scope("firm-a"))
    own = _inspect(operator, files, indexes, for_auditor=False)
    assert own.findings == ()
    assert own.withheld > 0
    assert "payload.withheld" in _found(_inspect(operator, files, indexes))


def test_an_entry_that_does_not_come_back_is_missing(operator, drawn):
    window = next(index for index in drawn if _types(operator)[index] == USAGE_WINDOW)
    files = _packet(operator, [index for index in drawn if index != window])
    assert _found(_inspect(operator, files, drawn)) == {"sample.missing"}


@pytest.mark.parametrize("what", ["another place", "no proof", "another tree", "garbage"])
def test_an_entry_without_its_proof_under_the_seed_is_named(operator, drawn, what):
    files = _packet(operator, drawn)
    window = next(index for index in drawn if _types(operator)[index] == USAGE_WINDOW)
    path = proof_path(window)
    if what == "another place":
        files[path] = files[proof_path(0)]
    elif what == "no proof":
        del files[path]
    elif what == "another tree":
        longer = honest_operator(7)
        files[path] = make_proof(window, longer.checkpoint(), longer.log_files().__getitem__).encode()
    else:
        files[path] = b"\xff" * 40
    assert _found(_inspect(operator, files, drawn)) == {"sample.proof"}


def test_what_was_not_drawn_does_not_belong_into_a_packet(operator, drawn):
    other = next(
        index for index, kind in enumerate(_types(operator)) if index not in drawn and kind == USAGE_WINDOW
    )
    files = _packet(operator, [*drawn, other])
    assert _found(_inspect(operator, files, drawn)) == {"sample.extra"}


def test_a_payload_that_was_changed_is_not_the_one_committed_to(operator, drawn):
    files = _packet(operator, drawn)
    lines = [parse_payload_line(line) for line in files[PAYLOADS].splitlines()]
    place = next(n for n, line in enumerate(lines) if _types(operator)[line.index] == USAGE_WINDOW)
    other = next(line for line in reversed(lines) if line.index != lines[place].index and line.segments)
    changed = lines[place]
    lines[place] = type(changed)(changed.index, other.salt, other.payload, other.segments)
    files[PAYLOADS] = b"".join(map(encode_payload_line, lines))
    assert _found(_inspect(operator, files, drawn)) == {"payload.commitment"}


def test_a_window_whose_nodes_key_is_kept_back_speaks_for_nobody(operator, drawn):
    window = next(index for index in drawn if _types(operator)[index] == USAGE_WINDOW)
    files = _packet(operator, [window])
    kept = [
        line for line in files[PAYLOADS].splitlines(keepends=True)
        if _types(operator)[parse_payload_line(line.rstrip(b"\n")).index] != KEY_EVENT
    ]  # fmt: skip
    files[PAYLOADS] = b"".join(kept)
    for index, kind in enumerate(_types(operator)):
        if kind == KEY_EVENT:
            del files[proof_path(index)]
    assert _found(_inspect(operator, files, [window])) == {"keys.unknown"}


def test_a_packet_without_anything_misses_everything(operator, drawn):
    assert "sample.missing" in _found(_inspect(operator, {}, drawn))
