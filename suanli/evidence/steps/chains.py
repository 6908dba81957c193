"""Step 8: chains. Windows per key, entries per firm, the controller's events: no gap, no fork, no turn.

A chain is followed window by window in log order; only its end and its gaps are remembered.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import NamedTuple

from suanli.evidence.moments import shown_time
from suanli.evidence.records import FIRM_RECORDS, AllocationEvent
from suanli.evidence.steps.case import Case, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.evidence.windows import header_hash
from suanli.rating.intervals import Stretch

SUSPECTS_LIMIT = 1000


class Link(NamedTuple):
    """What the next window of a chain must join."""

    seq: int
    hash: str
    end_ms: int
    boot_id: str
    boot_end_ns: int
    log_index: int


@dataclass(slots=True)
class Gap:
    """Numbers from `first` to `last` that have not come yet, and the windows on both sides."""

    first: int
    last: int
    before: Link | None
    after: WindowEvidence


@dataclass(frozen=True, slots=True)
class Suspect:
    """A window whose number its chain had already: the same again, or another branch."""

    key_id: str
    index: int
    name: str
    node_id: str
    seq: int
    hash: str
    stretch: Stretch


@dataclass(slots=True)
class Chains:
    """The chains of some nodes."""

    report: Report
    ends: dict[str, Link] = field(default_factory=dict)
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    """Per key, in order of their numbers."""
    unusable: dict[str, list[int]] = field(default_factory=dict)
    """Log indexes of windows that could not be read, per key: they explain gaps."""
    suspects: list[Suspect] = field(default_factory=list)
    breaks: dict[str, list[Stretch]] = field(default_factory=dict)
    """Per node, time accounted for by a finding of this step: a hole there is its consequence."""

    def take(self, window: WindowEvidence) -> bool:
        """Takes the next window in log order; False where its number is taken already."""
        key, header = window.producer_key_id, window.header
        end = self.ends.get(key)
        if end is not None and header.seq <= end.seq:
            return self._late(window)
        if header.seq == (1 if end is None else end.seq + 1):
            if end is not None:
                self._join(end, window)
        else:
            first = 1 if end is None else end.seq + 1
            self.gaps.setdefault(key, []).append(Gap(first, header.seq - 1, end, window))
        if end is not None and header.boot_id == end.boot_id and header.boot_start_ns < end.boot_end_ns:
            expected = f"boot clock from {end.boot_end_ns} ns on"
            self.report.add("chain.boot", str(window), expected, f"{header.boot_start_ns} ns", window.index)
        self.ends[key] = Link(
            header.seq,
            header_hash(window.header_bytes),
            header.end_ms,
            header.boot_id,
            header.boot_end_ns,
            window.index,
        )
        return True

    def _join(self, end: Link, window: WindowEvidence) -> None:
        header = window.header
        if header.prev_hash != end.hash:
            self.report.add("chain.prev_hash", str(window), end.hash, header.prev_hash, window.index)
        elif header.start_ms != end.end_ms:
            expected, found = f"start {shown_time(end.end_ms)}", f"start {shown_time(header.start_ms)}"
            self.report.add("chain.time", str(window), expected, found, window.index)
        else:
            return
        times = (end.end_ms, header.start_ms)
        self._explain(header.node_id, min(times), max(times))

    def _late(self, window: WindowEvidence) -> bool:
        """A window that comes after a later one: it fills a gap, or its number is taken."""
        header, gaps = window.header, self.gaps.get(window.producer_key_id, [])
        place = bisect.bisect_right(gaps, header.seq, key=lambda gap: gap.first) - 1
        gap = gaps[place] if place >= 0 else None
        if gap is None or header.seq > gap.last:
            if len(self.suspects) < SUSPECTS_LIMIT:
                self.suspects.append(
                    Suspect(
                        window.producer_key_id,
                        window.index,
                        str(window),
                        header.node_id,
                        header.seq,
                        header_hash(window.header_bytes),
                        (header.start_ms, header.end_ms),
                    )
                )
            else:
                self.report.add("chain.fork", str(window), "one window per seq", "another", window.index)
            return False
        found = f"index {window.index}, after {gap.after.index}"
        self.report.add("chain.order", str(window), "log order as signed", found, window.index)
        left: list[Gap] = []
        if gap.first < header.seq:
            left.append(Gap(gap.first, header.seq - 1, gap.before, window))
        elif gap.before is not None:
            self._join(gap.before, window)
        link = Link(header.seq, header_hash(window.header_bytes), header.end_ms, "", 0, window.index)
        if header.seq < gap.last:
            left.append(Gap(header.seq + 1, gap.last, link, gap.after))
        else:
            self._join(link, gap.after)
        gaps[place : place + 1] = left
        return True

    def _explain(self, node_id: str, start_ms: int, end_ms: int) -> None:
        if start_ms < end_ms:
            self.breaks.setdefault(node_id, []).append((start_ms, end_ms))

    def finish(self) -> None:
        """Reports the gaps that nothing has filled."""
        for key, gaps in self.gaps.items():
            unusable = self.unusable.get(key, [])
            for gap in gaps:
                start_ms = 0 if gap.before is None else gap.before.end_ms
                self._explain(gap.after.header.node_id, start_ms, gap.after.header.start_ms)
                low = -1 if gap.before is None else gap.before.log_index
                known = bisect.bisect_left(unusable, gap.after.index) - bisect.bisect_right(unusable, low)
                missing = gap.last - gap.first + 1 - known
                if missing > 0:
                    seen = "none" if gap.before is None else f"seq {gap.before.seq}"
                    found = f"{seen}, then seq {gap.after.header.seq}: {missing} windows missing"
                    self.report.add("chain.gap", str(gap.after), f"seq {gap.first}", found, gap.after.index)

    def judge(self, suspect: Suspect, first_index: int, first_hash: str) -> bool:
        """Says of a suspect what it is, given the window that had its number first; True for a fork."""
        if first_hash == suspect.hash:
            self.report.add("chain.duplicate", suspect.name, "once", f"also at {first_index}", suspect.index)
            return False
        branches = f"{first_hash} and {suspect.hash}"
        found = f"two branches at {first_index} and {suspect.index}: {branches}"
        self.report.add("chain.fork", suspect.name, "one window per seq", found, suspect.index)
        self._explain(suspect.node_id, *suspect.stretch)
        return True


def check_firms(case: Case) -> None:
    """Entries of each firm are numbered from 1 without gap, in log order."""
    following: dict[str, int] = {}
    for item in case.records:
        record = item.record
        if not isinstance(record, FIRM_RECORDS) or item.entry.firm_seq is None:
            continue
        want, got = following.get(record.firm_id, 1), item.entry.firm_seq
        entity = f"firm {record.firm_id}"
        if got > want:
            found = f"{got}: {got - want} entries missing"
            case.report.add("firm.gap", entity, f"firm_seq {want}", found, item.index)
        elif got < want:
            case.report.add("firm.order", entity, f"firm_seq {want}", str(got), item.index)
        following[record.firm_id] = max(want, got + 1)


def check_controller(case: Case) -> None:
    """Facts follow the controller's numbering; those of one event, such as a gang's grants, share its number."""
    newest = 0
    told: set[tuple[str, str]] = set()
    for item in case.records:
        event = item.record
        if not isinstance(event, AllocationEvent):
            continue
        if event.event_seq > newest:
            newest = event.event_seq
            told.clear()
        fact = (event.allocation_id, event.event)
        entity = f"allocation {event.allocation_id}"
        if event.event_seq < newest:
            found = str(event.event_seq)
            case.report.add("controller.order", entity, f"event_seq {newest} or above", found, item.index)
        elif fact in told:
            found = f"{event.event} again"
            case.report.add("controller.order", entity, f"once under event_seq {newest}", found, item.index)
        told.add(fact)
