"""Step 9: the sandwich. A window is younger than the checkpoint it names, older than the one above it."""

from __future__ import annotations

import bisect

from suanli.evidence.records import AllocationEvent, Firm, KeyEvent, OperatorKeys
from suanli.evidence.steps.case import Case, WindowEvidence
from suanli.evidence.steps.files import root_at
from suanli.evidence.windows import SeenCheckpoint

_NS_PER_MS = 1_000_000


def check_times(case: Case) -> None:
    """Step 9: log checkpoints seen by agents are of this tree, and time runs between them."""
    sizes = {w.header.log_checkpoint.size for w in case.windows if w.header.log_checkpoint is not None}
    roots = root_at(case, {size for size in sizes if size <= len(case.leaves)})
    case.other_roots = any(
        seen.size in roots and roots[seen.size].hex() != seen.root
        for window in case.windows
        if (seen := window.header.log_checkpoint) is not None
    )
    newest = NewestKnown(case)
    upper_ms = _upper_ms(case)
    seen_before: dict[str, int] = {}
    for window in case.windows:
        seen = window.header.log_checkpoint
        if seen is not None:
            _check_seen(case, window, seen, roots)
            _check_not_earlier(case, window, newest.at_ms(seen.size))
        if upper_ms is not None and window.header.end_ms > upper_ms:
            expected = f"no later than {upper_ms} ms, when witnesses saw it"
            case.report(
                "time.post_dated", _name(window), expected, f"{window.header.end_ms} ms", window.index
            )
        size = 0 if seen is None else seen.size
        before = seen_before.get(window.producer_key_id, 0)
        if size < before:
            case.report("time.forgets", _name(window), f"size {before} or more", f"size {size}", window.index)
        seen_before[window.producer_key_id] = max(size, before)
        _check_clock(case, window)
    if upper_ms is None:
        case.not_proved.append("That no window is dated later than it was logged: no witness gave a time.")


def _name(window: WindowEvidence) -> str:
    return f"window {window.header.seq} of node {window.header.node_id}"


def _check_seen(case: Case, window: WindowEvidence, seen: SeenCheckpoint, roots: dict[int, bytes]) -> None:
    name = _name(window)
    if seen.origin != case.head.origin:
        case.report("time.origin", name, case.head.origin, seen.origin, window.index)
    elif seen.size > window.index:
        expected = f"at most {window.index}, its own place in the log"
        # Where roots differ already, entries were taken out or put in, and places moved with them.
        add = case.follow if case.other_roots else case.report
        add("time.future_checkpoint", name, expected, f"size {seen.size}", window.index)
    elif roots[seen.size].hex() != seen.root:
        expected = f"root {roots[seen.size].hex()} at size {seen.size}"
        case.report("time.root", name, expected, seen.root, window.index)


class NewestKnown:
    """The latest time stated by operator or controller below a log size."""

    def __init__(self, case: Case) -> None:
        self._indexes: list[int] = []
        self._times_ms: list[int] = []
        newest = 0
        for item in case.records:
            record = item.record
            if isinstance(record, AllocationEvent | KeyEvent | Firm | OperatorKeys):
                newest = max(newest, record.at_ms)
                self._indexes.append(item.index)
                self._times_ms.append(newest)

    def at_ms(self, size: int) -> int:
        """0 when nothing below `size` states a time."""
        place = bisect.bisect_left(self._indexes, size)
        return self._times_ms[place - 1] if place else 0


def _check_not_earlier(case: Case, window: WindowEvidence, newest_ms: int) -> None:
    header = window.header
    if header.end_ms + case.settings.back_date_tolerance_ms >= newest_ms:
        return
    # Time in which nobody measured is signed afterwards, when newer checkpoints have been seen.
    unknown = all(segment is None or segment.observed == "unknown" for segment in window.segments)
    if header.closed_by == "recovery" and unknown:
        return
    expected = f"an end after {newest_ms} ms, the newest thing it had seen"
    case.report("time.back_dated", _name(window), expected, f"{header.end_ms} ms", window.index)


def _upper_ms(case: Case) -> int | None:
    """No window in this tree can end after the moment at which a witness cosigned the tree."""
    if not case.cosigned_s:
        return None
    # Any one witness bounds it, so the earliest does; cosignatures have whole seconds.
    return min(case.cosigned_s.values()) * 1000 + 1000 + case.settings.clock_tolerance_ms


def _check_clock(case: Case, window: WindowEvidence) -> None:
    header, tolerance_ms = window.header, case.settings.clock_tolerance_ms
    offset_ms = header.clock.offset_ms
    if offset_ms is not None and abs(offset_ms) > tolerance_ms:
        expected = f"an offset within {tolerance_ms} ms"
        case.report("time.clock", _name(window), expected, f"{offset_ms} ms", window.index)
    if header.closed_by == "recovery":
        return
    drift_ms = (header.boot_end_ns - header.boot_start_ns) // _NS_PER_MS - (header.end_ms - header.start_ms)
    if abs(drift_ms) > tolerance_ms:
        expected = "a boot clock that ran as long as the wall clock"
        case.report("time.drift", _name(window), expected, f"{drift_ms} ms apart", window.index)
