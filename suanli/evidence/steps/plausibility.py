"""Step 13: whether windows keep within their bounds, and whether what they tell looks like work.

Bounds are rules: breaking one is an error. What looks unlike work proves nothing: a suspicion, for a person.
"""

from __future__ import annotations

from dataclasses import dataclass

from suanli.evidence.steps.case import FOREVER_MS, Case, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.evidence.window_checks import WindowProblem, check_segments, segment_problems
from suanli.evidence.windows import WHOLE_PPM, Segment

CONSTANT_SEGMENTS = 12
"""Jobs of fewer segments are too short to tell: an hour of windows of five minutes."""
_IDLE_BUSY_PPM = 10_000
_POWER_MARGIN_PERCENT = 10
_POWER_FROM_MS = 1_000
_CONSTANT_PPM = 2_000


def check_bounds(report: Report, window: WindowEvidence) -> None:
    """U4's bounds in every segment, and tiling in every window that is known whole."""
    known = [segment for segment in window.segments if segment is not None]
    problems: list[WindowProblem] = []
    if len(known) == len(window.segments):
        problems = check_segments(window.header, known)
    else:
        for segment in known:
            problems.extend(segment_problems(window.header, segment))
    for problem in problems:
        code = "bounds.tiling" if problem.kind == "tiling" else "bounds.segment"
        report.add(code, f"{window}: {problem.field}", problem.want, problem.got, window.index)


def check_power(report: Report, window: WindowEvidence, segment: Segment, max_watts: int) -> None:
    """Whether a device drew more than its maker says it can: energy that was made up, or another device."""
    length_ms = segment.end_ms - segment.start_ms
    # Millijoules a millisecond are watts; meters and short stretches are not exact.
    most_mj = max_watts * length_ms * (100 + _POWER_MARGIN_PERCENT) // 100
    if segment.energy_mj is not None and length_ms >= _POWER_FROM_MS and segment.energy_mj > most_mj:
        where = f"device {segment.device.device_id} in {window}"
        expected = f"at most {max_watts} W, as your list says, and {_POWER_MARGIN_PERCENT} % more"
        report.add("plausibility.power", where, expected, f"{segment.energy_mj // length_ms} W", window.index)


@dataclass(slots=True)
class WorkPattern:
    """How an allocation's devices were used, in few numbers."""

    segments: int = 0
    in_use_ms: int = 0
    busy_ms: int = 0
    lowest_ppm: int = WHOLE_PPM
    highest_ppm: int = 0
    measured: bool = True
    """Whether utilisation is known throughout."""
    last_index: int = 0
    first_ms: int = FOREVER_MS
    last_ms: int = 0
    """When the first use began and the last one ended."""

    def take(self, index: int, segment: Segment) -> None:
        """Takes a segment in use."""
        self.segments += 1
        self.in_use_ms += segment.end_ms - segment.start_ms
        self.busy_ms += segment.busy_ms
        self.last_index = max(self.last_index, index)
        self.first_ms = min(self.first_ms, segment.start_ms)
        self.last_ms = max(self.last_ms, segment.end_ms)
        mean, peak = segment.utilisation_mean_ppm, segment.utilisation_max_ppm
        if mean is None or peak is None:
            self.measured = False
            return
        self.lowest_ppm = min(self.lowest_ppm, mean)
        self.highest_ppm = max(self.highest_ppm, peak)

    def add(self, other: WorkPattern) -> None:
        """Adds what was seen elsewhere of the same allocation."""
        self.segments += other.segments
        self.in_use_ms += other.in_use_ms
        self.busy_ms += other.busy_ms
        self.lowest_ppm = min(self.lowest_ppm, other.lowest_ppm)
        self.highest_ppm = max(self.highest_ppm, other.highest_ppm)
        self.measured = self.measured and other.measured
        self.last_index = max(self.last_index, other.last_index)
        self.first_ms = min(self.first_ms, other.first_ms)
        self.last_ms = max(self.last_ms, other.last_ms)


def check_patterns(case: Case, patterns: dict[str, WorkPattern]) -> None:
    """Asks about allocations that were held in use without work, and about load that never varied."""
    for allocation_id, pattern in sorted(patterns.items()):
        where = f"allocation {allocation_id}"
        index = pattern.last_index
        if (
            pattern.in_use_ms >= case.known.settings.idle_use_ms
            and pattern.busy_ms * WHOLE_PPM < pattern.in_use_ms * _IDLE_BUSY_PPM
        ):
            expected, found = "some work", f"busy {pattern.busy_ms} of {pattern.in_use_ms} ms in use"
            case.report.add("plausibility.idle_use", where, expected, found, index)
        elif (
            pattern.measured
            and pattern.segments >= CONSTANT_SEGMENTS
            and pattern.busy_ms
            and pattern.highest_ppm
            and pattern.highest_ppm - pattern.lowest_ppm <= _CONSTANT_PPM
        ):
            expected = "load that varies, as real work does"
            found = f"{pattern.lowest_ppm} to {pattern.highest_ppm} ppm in {pattern.segments} segments"
            case.report.add("plausibility.constant", where, expected, found, index)
