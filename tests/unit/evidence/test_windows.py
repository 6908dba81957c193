"""Windows: what an agent may sign, what is refused, and which field is blamed."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.evidence import windows
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import SigningKey
from suanli.evidence.strict_json import encode
from suanli.evidence.window_checks import check_window
from suanli.evidence.window_writing import build_window, encode_header, encode_segment
from suanli.evidence.windows import SaltedSegment, SignedWindow, parse_header, parse_segment, parse_segments
from tests.builders.evidence import GRID, T0, device, header, seed, segment

KEY = SigningKey(seed("node-a"))


def _window(*segments, **changes):
    numbered = [replace(item, n=n) for n, item in enumerate(segments)]
    head = header(KEY, T0, T0 + GRID, **changes)
    return build_window(head, numbered, [seed(str(n)) for n in range(len(numbered))], KEY.sign)


def _whole():
    return _window(segment(device("d-1"), T0, T0 + GRID))


def _problems(window):
    return [(problem.kind, problem.field) for problem in check_window(window, KEY.public_key)]


def test_a_window_survives_being_written_and_read():
    window = _whole()
    head = parse_header(window.header)
    assert encode_header(head) == window.header
    body = window.segments[0].body
    assert encode_segment(parse_segment(body)) == body
    assert check_window(window, KEY.public_key) == []


def test_the_signature_covers_every_byte_of_the_header():
    window = _whole()
    for place in range(len(window.header)):
        header_bytes = bytearray(window.header)
        header_bytes[place] ^= 1
        assert _problems(replace(window, header=bytes(header_bytes))) == [("signature", "signature")]


def test_a_segment_of_other_bytes_or_salt_is_not_the_one_committed_to():
    window = _whole()
    other = SaltedSegment(seed("x"), window.segments[0].body)
    assert _problems(replace(window, segments=(other,))) == [("commitment", "segments[0]")]
    assert _problems(replace(window, segments=())) == [("commitment", "segments")]
    short = SaltedSegment(b"short", window.segments[0].body)
    assert _problems(replace(window, segments=(short,))) == [("format", "segments[0].salt")]


def test_another_nodes_key_is_refused():
    other = SigningKey(seed("node-b"))
    assert check_window(_whole(), other.public_key)[0].kind == "signature"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seq": 0}, "window.seq"),
        ({"seq": 2}, "window.prev_hash"),
        ({"prev_hash": "ab" * 32}, "window.prev_hash"),
        ({"prev_hash": "AB" * 32}, "window.prev_hash"),
        ({"end_ms": T0}, "window.end_ms"),
        ({"end_ms": T0 + GRID + 1, "closed_by": "stop"}, "window.end_ms"),
        ({"end_ms": T0 + 1}, "window.end_ms"),
        ({"window_ms": 7000}, "window.window_ms"),
        ({"boot_end_ns": 0}, "window.boot_end_ns"),
        ({"isolation": "none at all"}, "window.isolation"),
        ({"closed_by": "magic"}, "window.closed_by"),
        ({"simulated": 1}, "window.simulated"),
        ({"node_id": ""}, "window.node_id"),
        ({"node_id": "a\nb"}, "window.node_id"),
        ({"key_id": "short"}, "window.key_id"),
        ({"segments": ["zz"]}, "window.segments[0].item"),
        ({"clock": {"source": "x", "state": "y"}}, "window.clock.offset_ms"),
        ({"log_checkpoint": {"origin": "o", "size": -1, "root": "00" * 32}}, "window.log_checkpoint.size"),
        ({"extra": 1}, "window.extra"),
        ({"prev_signature_hash": "ab" * 32}, "window.prev_signature_hash"),
        ({"prev_signature_hash": ""}, "window.prev_signature_hash"),
        ({"schema": "suanli.window.v4"}, "window.schema"),
        ({"schema": "suanli.window.v2"}, "window.prev_signature_hash"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused_with_the_field(change, field):
    value = json.loads(_whole().header) | change
    with pytest.raises(EvidenceError) as refused:
        parse_header(encode(value))
    assert refused.value.field == field


@pytest.mark.parametrize("name", sorted(json.loads(_whole().header)))
def test_a_header_without_a_field_is_refused(name):
    value = json.loads(_whole().header)
    del value[name]
    with pytest.raises(EvidenceError) as refused:
        parse_header(encode(value))
    assert refused.value.field == f"window.{name}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"observed": "busy"}, "segment.observed"),
        ({"share_ppm": 1_000_001}, "segment.share_ppm"),
        ({"live_ms": 1.5}, "segment.number"),
        ({"live_ms": True}, "segment.live_ms"),
        ({"live_ms": 2**63}, "segment.live_ms"),
        ({"device": {"device_id": "d-1"}}, "segment.device.vendor"),
        ({"end_ms": 0}, "segment.end_ms"),
        ({"energy_method": "guess"}, "segment.energy_method"),
        ({"utilisation_mean_ppm": -1}, "segment.utilisation_mean_ppm"),
        ({"schema": "suanli.segment.v4"}, "segment.schema"),
        ({"schema": "suanli.segment.v1"}, "segment.device.die_id"),
        ({"hardware": {"health": "ok"}}, "segment.hardware.power_mean_mw"),
        ({"hardware": None}, "segment.hardware"),
    ],
)
def test_a_segment_that_breaks_a_rule_is_refused_with_the_field(change, field):
    value = json.loads(_whole().segments[0].body) | change
    with pytest.raises(EvidenceError) as refused:
        parse_segment(json.dumps(value).encode())
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"live_ms": GRID + 1}, "segments[0].live_ms"),
        ({"busy_ms": 5}, "segments[0].busy_ms"),
        ({"samples_taken": 10**6}, "segments[0].samples_taken"),
        ({"observed": "in_use"}, "segments[0].allocation_id"),
        ({"share_ppm": 0}, "segments[0].share_ppm"),
        ({"observed": "unknown"}, "segments[0].live_ms"),
        ({"utilisation_mean_ppm": 9, "utilisation_max_ppm": 8}, "segments[0].utilisation_mean_ppm"),
        ({"memory_mean_bytes": 9, "memory_max_bytes": 8}, "segments[0].memory_mean_bytes"),
        ({"energy_mj": 5}, "segments[0].energy_mj"),
    ],
)
def test_bounds_are_kept(change, field):
    window = _window(segment(device("d-1"), T0, T0 + GRID, **change))
    assert ("bounds", field) in _problems(window)


def test_an_error_says_of_a_value_nested_too_deep_for_people_that_it_is():
    value = []
    for _ in range(100_000):
        value = [value]
    assert EvidenceError("segment.n", value, "an integer").got == "a list nested too deep"


def test_segments_of_a_device_tile_the_window():
    half = T0 + GRID // 2
    one, two = segment(device("d-1"), T0, half), segment(device("d-1"), half, T0 + GRID)
    assert _problems(_window(one, two)) == []
    assert _problems(_window(one))[0][0] == "tiling"
    assert _problems(_window(one, two, two))[0][0] == "tiling"
    assert _problems(_window(segment(device("d-1"), T0, T0 + GRID + 1)))[0][0] == "tiling"


def test_parts_of_a_device_side_by_side_sum_to_the_whole():
    half = {"observed": "in_use", "allocation_id": "al-1", "share_ppm": 500_000}
    part = segment(device("d-1"), T0, T0 + GRID, **half)
    rest = segment(device("d-1"), T0, T0 + GRID, share_ppm=500_000)
    assert _problems(_window(part, part)) == []
    assert _problems(_window(part, rest)) == []
    for pieces in ((part,), (part, part, part), (rest,)):
        assert _problems(_window(*pieces))[0][0] == "tiling"


def test_only_unknown_time_closed_by_recovery_may_cross_lines_of_the_grid():
    unknown = segment(
        device("d-1"), T0, T0 + 3 * GRID, observed="unknown", measured_by="nobody", samples_taken=0
    )
    head = header(KEY, T0, T0 + 3 * GRID, closed_by="recovery")
    window = build_window(head, [unknown], [seed("a")], KEY.sign)
    assert _problems(window) == []
    measured = segment(device("d-1"), T0, T0 + 3 * GRID)
    window = build_window(head, [measured], [seed("a")], KEY.sign)
    assert _problems(window) == [("bounds", "segments[0].observed")]


def test_what_could_not_be_read_back_is_never_signed():
    signed = []
    head = header(KEY, T0, T0 + GRID, seq=0)
    with pytest.raises(EvidenceError):
        build_window(head, [], [], lambda message: signed.append(message) or bytes(64))
    assert signed == []


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"schema":"x","schema":"y"}',
        b'{"schema":NaN}',
        b'{"schema":' + b"9" * 5000 + b"}",
        b'{"schema":"\\ud800"}',
        b"\xff",
        b"{}" + b" " * 600_000,
        b"null",
    ],
)
def test_hostile_json_is_refused_quietly(data):
    with pytest.raises(EvidenceError):
        parse_header(data)
    with pytest.raises(EvidenceError):
        parse_segment(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_checked_without_a_crash(data):
    window = SignedWindow(data, KEY.sign(b"suanli/window/v1\n" + data), ())
    problems = check_window(window, KEY.public_key)
    assert problems
    assert problems[0].kind == "format"


def _strict(read, data):
    try:
        return read(data)
    except EvidenceError as error:
        return (error.field, error.got, error.want)


def _changed(data: bytes, place: int, new: bytes) -> bytes:
    place %= len(data)
    return data[:place] + new + data[place + len(new) :]


def _plain_segment(data: bytes):
    found = windows._plain_segments([data])
    return None if found is None else found[0]


def test_what_we_write_is_read_by_the_quick_reader():
    window = _whole()
    assert windows._plain_header(window.header) == windows._strict_header(window.header)
    bodies = [salted.body for salted in window.segments]
    assert windows._plain_segments(bodies) == [windows._strict_segment(body) for body in bodies]


def test_segments_that_are_whole_only_side_by_side_are_not_read_together():
    window = _window(segment(device("d-1"), T0, T0 + GRID), segment(device("d-2"), T0, T0 + GRID))
    first, second = (salted.body for salted in window.segments)
    place = first.index(b',"') + 1
    torn = [first[: place - 1], first[place:] + b"," + second]
    assert windows._plain_segments([first, second]) is not None
    assert windows._plain_segments(torn) is None
    with pytest.raises(EvidenceError):
        parse_segments(torn)


@given(
    st.integers(0, 2000),
    st.sampled_from([b'"', b"0", b"9", b"null", b"-1", b"}", b"{", b" ", b"\xc3\xa9", b"\\"]),
)
def test_the_quick_reader_reads_what_the_strict_one_reads_and_nothing_else(place, new):
    window = _whole()
    for quick, strict, data in (
        (windows._plain_header, windows._strict_header, window.header),
        (_plain_segment, windows._strict_segment, window.segments[0].body),
    ):
        changed = _changed(data, place, new)
        found = quick(changed)
        if found is not None:
            assert found == _strict(strict, changed)
