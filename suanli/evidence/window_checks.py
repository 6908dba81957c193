"""Whether a window says what it may say: signature, commitments, tiling of its devices, bounds.

The gateway refuses a window on these grounds, the verifier reports them; both see the same list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from suanli.evidence.errors import EvidenceError
from suanli.evidence.hardware import UNKNOWN_HARDWARE
from suanli.evidence.keys import key_id, verify_signature
from suanli.evidence.moments import shown_stretch
from suanli.evidence.windows import (
    WHOLE_PPM,
    Segment,
    SignedWindow,
    WindowHeader,
    crosses_grid,
    parse_header,
    parse_segment,
    parse_segments,
    segment_commitment,
    window_message,
)


@dataclass(frozen=True, slots=True)
class WindowProblem:
    """One thing wrong with a window. `field` is a path into it, `kind` what sort of rule it breaks."""

    kind: str
    """signature | format | commitment | tiling | bounds"""
    field: str
    got: str
    want: str


@dataclass(slots=True)
class ReadWindow:
    """A window taken apart once: whoever stores it need not parse it again."""

    header: WindowHeader
    segments: tuple[Segment, ...]


def check_window(window: SignedWindow, public_key: bytes) -> list[WindowProblem]:
    """Every problem of a window as it arrived; empty when it may be stored. Never raises."""
    read = read_window(window, public_key)
    return [] if isinstance(read, ReadWindow) else read


def read_window(window: SignedWindow, public_key: bytes) -> ReadWindow | list[WindowProblem]:
    """What a window says, or every problem of it. Never raises."""
    if not verify_signature(public_key, window_message(window.header), window.signature):
        return [WindowProblem("signature", "signature", "no match", "a signature of the node's key")]
    try:
        header = parse_header(window.header)
    except EvidenceError as error:
        return [_format_problem(error)]
    problems: list[WindowProblem] = []
    if header.key_id != key_id(public_key):
        problems.append(WindowProblem("signature", "window.key_id", header.key_id, key_id(public_key)))
    if len(window.segments) != len(header.segments):
        got, want = f"{len(window.segments)} segments", f"{len(header.segments)} segments"
        return [*problems, WindowProblem("commitment", "segments", got, want)]
    segments = _segments_of(window, header)
    if segments is None:
        segments = []
        for n, salted in enumerate(window.segments):
            try:
                if segment_commitment(salted.salt, salted.body) != header.segments[n]:
                    problems.append(
                        WindowProblem("commitment", f"segments[{n}]", "another hash", header.segments[n])
                    )
                    continue
                segments.append(parse_segment(salted.body))
            except EvidenceError as error:
                problems.append(_format_problem(error, f"segments[{n}]."))
    if not problems:
        problems = check_segments(header, segments)
    return problems or ReadWindow(header, tuple(segments))


def _segments_of(window: SignedWindow, header: WindowHeader) -> list[Segment] | None:
    """The segments, all at once; None where something is wrong with one of them."""
    try:
        committed = [segment_commitment(salted.salt, salted.body) for salted in window.segments]
        return (
            parse_segments([salted.body for salted in window.segments])
            if tuple(committed) == header.segments
            else None
        )
    except EvidenceError:
        return None


def _format_problem(error: EvidenceError, prefix: str = "") -> WindowProblem:
    return WindowProblem("format", prefix + error.field, error.got, error.want)


def check_segments(header: WindowHeader, segments: Iterable[Segment]) -> list[WindowProblem]:
    """Problems of a window whose segments are all known: places, bounds, and tiling per device."""
    problems: list[WindowProblem] = []
    per_device: dict[str, list[Segment]] = {}
    for place, segment in enumerate(segments):
        if segment.n != place:
            problems.append(WindowProblem("commitment", f"segments[{place}].n", str(segment.n), str(place)))
        problems += segment_problems(header, segment)
        device_id = segment.device.device_id
        if device_id in per_device:
            per_device[device_id].append(segment)
        else:
            per_device[device_id] = [segment]
    for device_id, pieces in per_device.items():
        problems += _tiling_problems(header, device_id, pieces)
    return problems


def segment_problems(header: WindowHeader, segment: Segment) -> list[WindowProblem]:  # noqa: C901, PLR0912 - a list
    """Problems of one segment alone: that it belongs to this window, and U4's bounds."""
    found: list[WindowProblem] = []

    def bad(name: str, got: object, want: str, kind: str = "bounds") -> None:
        found.append(WindowProblem(kind, f"segments[{segment.n}].{name}", str(got), want))

    # Each test stands alone and says nothing while all is well: an auditor waits for a million of these.
    s = segment
    if s.node_id != header.node_id:
        bad("node_id", s.node_id, header.node_id, "commitment")
    if s.seq != header.seq:
        bad("seq", s.seq, str(header.seq), "commitment")
    if s.version != header.version:
        bad("schema", f"version {s.version}", f"version {header.version}, as the header", "commitment")
    if s.start_ms < header.start_ms or s.end_ms > header.end_ms:
        within = f"inside {shown_stretch(header.start_ms, header.end_ms)}"
        bad("start_ms", f"{shown_stretch(s.start_ms, s.end_ms)}", within, "tiling")
    if s.live_ms > s.end_ms - s.start_ms:
        bad("live_ms", s.live_ms, f"at most {s.end_ms - s.start_ms}")
    if s.busy_ms > s.live_ms:
        bad("busy_ms", s.busy_ms, f"at most live {s.live_ms}")
    if s.samples_taken > s.samples_expected:
        bad("samples_taken", s.samples_taken, f"at most samples_expected {s.samples_expected}")
    if s.share_ppm == 0:
        bad("share_ppm", s.share_ppm, f"1 to {WHOLE_PPM}")
    if s.observed == "in_use" and s.allocation_id is None:
        bad("allocation_id", None, "the allocation in use")
    if s.observed == "unknown":
        if s.live_ms or s.busy_ms or s.measured_by != "nobody":
            bad("live_ms", s.live_ms, "nothing measured in unknown time")
        if s.hardware != UNKNOWN_HARDWARE:
            bad("hardware", "readings", "nothing read in unknown time")
    elif header.closed_by == "recovery" and crosses_grid(header):  # no other header that was read does
        bad("observed", s.observed, "unknown in a window across lines of the grid")
    if (s.utilisation_mean_ppm or 0) > (s.utilisation_max_ppm or 0):
        bad("utilisation_mean_ppm", s.utilisation_mean_ppm, f"at most the maximum {s.utilisation_max_ppm}")
    if (s.memory_mean_bytes or 0) > (s.memory_max_bytes or 0):
        bad("memory_mean_bytes", s.memory_mean_bytes, f"at most the maximum {s.memory_max_bytes}")
    hardware = s.hardware
    if (hardware.temperature_mean_mc or 0) > (hardware.temperature_max_mc or 0):
        most = f"at most the maximum {hardware.temperature_max_mc}"
        bad("hardware.temperature_mean_mc", hardware.temperature_mean_mc, most)
    if (s.energy_mj is None) != (s.energy_method == "none"):
        bad("energy_mj", s.energy_mj, "a value exactly when energy_method is not none")
    return found


def _tiling_problems(header: WindowHeader, device_id: str, pieces: list[Segment]) -> list[WindowProblem]:
    """Whole devices tile the window; shares of one device, which may lie side by side, sum to exactly one: what
    no allocation has is told too.
    """
    one = pieces[0]
    all_of_it = one.start_ms <= header.start_ms and one.end_ms >= header.end_ms
    if len(pieces) == 1 and all_of_it and one.share_ppm == WHOLE_PPM:
        return []
    edges = [edge for piece in pieces for edge in (piece.start_ms, piece.end_ms)]
    marks = sorted({header.start_ms, header.end_ms, *edges})
    change: dict[int, int] = dict.fromkeys(marks, 0)
    count: dict[int, int] = dict.fromkeys(marks, 0)
    for piece in pieces:
        change[piece.start_ms] += piece.share_ppm
        change[piece.end_ms] -= piece.share_ppm
        count[piece.start_ms] += 1
        count[piece.end_ms] -= 1
    share, open_pieces = 0, 0
    for left, right in itertools.pairwise(marks):
        share += change[left]
        open_pieces += count[left]
        stretch = f"device {device_id} in [{left}, {right})"
        if open_pieces == 0:
            return [WindowProblem("tiling", stretch, "no segment", "every millisecond in a segment")]
        if share != WHOLE_PPM:
            return [WindowProblem("tiling", stretch, f"{share} ppm", f"{WHOLE_PPM} ppm")]
    return []
