"""Step 9: the sandwich. A window is younger than the checkpoint it names, older than the one above it."""

from __future__ import annotations

import functools
from collections.abc import Callable

from suanli.evidence.limits import limit
from suanli.evidence.moments import shown_time
from suanli.evidence.steps.case import Case, Known, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.evidence.windows import SeenCheckpoint

_NS_PER_MS = 1_000_000
_ROOTS_KEPT = 4096


def find_latest(case: Case) -> None:
    """No window in this tree can end after the moment at which a witness cosigned the tree."""
    if not case.cosigned_s:
        case.not_proved.append(limit("no_time"))
        return
    # Any one witness bounds it, so the earliest does; cosignatures have whole seconds.
    tolerance_ms = case.known.settings.clock_tolerance_ms
    case.known.latest_ms = min(case.cosigned_s.values()) * 1000 + 1000 + tolerance_ms


class Times:
    """Holds windows, in log order, against the log they name and against the clocks they tell."""

    def __init__(self, report: Report, known: Known, root_at: Callable[[int], bytes | None]) -> None:
        self._report = report
        self._known = known
        # Nodes that are shown the same log checkpoint ask the same of it.
        self._root_at = functools.lru_cache(_ROOTS_KEPT)(lambda size: (root_at(size) or b"").hex())
        self._newest_ms_at = functools.lru_cache(_ROOTS_KEPT)(known.newest.at_ms)
        self._seen: dict[str, int] = {}

    def check(self, window: WindowEvidence) -> None:
        """Reports what is wrong with the times of a window."""
        header, latest_ms = window.header, self._known.latest_ms
        seen = header.log_checkpoint
        if seen is not None:
            self._check_seen(window, seen)
            self._check_not_earlier(window, seen.size)
        if latest_ms is not None and header.end_ms > latest_ms:
            expected = f"no later than {shown_time(latest_ms)}, when witnesses saw it"
            found = f"{shown_time(header.end_ms)}"
            self._report.add("time.post_dated", str(window), expected, found, window.index)
        size = 0 if seen is None else seen.size
        before = self._seen.get(window.producer_key_id, 0)
        if size < before:
            expected = f"size {before} or more"
            self._report.add("time.forgets", str(window), expected, f"size {size}", window.index)
        self._seen[window.producer_key_id] = max(size, before)
        self._check_clock(window)

    def _check_seen(self, window: WindowEvidence, seen: SeenCheckpoint) -> None:
        origin = self._known.head.origin
        if seen.origin != origin:
            code, expected, found = "time.origin", origin, seen.origin
        elif seen.size > window.index:
            code, found = "time.future_checkpoint", f"size {seen.size}"
            expected = f"at most {window.index}, its own place in the log"
        else:
            root = self._root_at(seen.size)
            if root in ("", seen.root):
                return
            code, found = "time.root", seen.root
            expected = f"root {root} at size {seen.size}"
        self._report.add(code, str(window), expected, found, window.index)

    def _check_not_earlier(self, window: WindowEvidence, size: int) -> None:
        """A window is younger than everything that was stated below the size it had seen."""
        newest_ms, header = self._newest_ms_at(size), window.header
        if header.end_ms + self._known.settings.back_date_tolerance_ms >= newest_ms:
            return
        # Time in which nobody measured is signed afterwards, when newer checkpoints have been seen.
        unknown = all(segment is None or segment.observed == "unknown" for segment in window.segments)
        if header.closed_by == "recovery" and unknown:
            return
        expected = f"an end after {shown_time(newest_ms)}, the newest thing it had seen"
        self._report.add(
            "time.back_dated", str(window), expected, f"{shown_time(header.end_ms)}", window.index
        )

    def _check_clock(self, window: WindowEvidence) -> None:
        header, tolerance_ms = window.header, self._known.settings.clock_tolerance_ms
        offset_ms = header.clock.offset_ms
        if offset_ms is not None and abs(offset_ms) > tolerance_ms:
            expected = f"an offset within {tolerance_ms} ms"
            self._report.add("time.clock", str(window), expected, f"{offset_ms} ms", window.index)
        if header.closed_by == "recovery":
            return
        boot_ms = (header.boot_end_ns - header.boot_start_ns) // _NS_PER_MS
        drift_ms = boot_ms - (header.end_ms - header.start_ms)
        if abs(drift_ms) > tolerance_ms:
            expected = "a boot clock that ran as long as the wall clock"
            self._report.add("time.drift", str(window), expected, f"{drift_ms} ms apart", window.index)
