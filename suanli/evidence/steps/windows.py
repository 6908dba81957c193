"""The windows of some nodes, from their bytes to what they add up to: steps 5 to 13 for one part of a bundle.

The second reading of a bundle. Parts are by node, so that chains, devices and allocations never cross them;
each part reads all entries but opens only its own.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from suanli.evidence.bundle import PAYLOADS
from suanli.evidence.bundle_files import read_entry_bundle, read_lines
from suanli.evidence.entries import USAGE_WINDOW, Entry, parse_entry, window_entry, window_parts
from suanli.evidence.errors import EvidenceError
from suanli.evidence.rating_inputs import observed_use
from suanli.evidence.sampling import Sampler
from suanli.evidence.steps.attribution import Attribution
from suanli.evidence.steps.calendar import CalendarOrder
from suanli.evidence.steps.case import Known, PartJob, WindowEvidence, root_at
from suanli.evidence.steps.chains import Chains
from suanli.evidence.steps.coverage import Coverage
from suanli.evidence.steps.keys import key_problem
from suanli.evidence.steps.payloads import Damaged, EntryReader
from suanli.evidence.steps.plausibility import WorkPattern, check_bounds, check_power
from suanli.evidence.steps.report import Report
from suanli.evidence.steps.signatures import Signatures, Unsigned, is_signed
from suanli.evidence.steps.strata import Strata
from suanli.evidence.steps.times import Times
from suanli.evidence.tiles import WIDTH, entry_bundles
from suanli.evidence.windows import header_hash
from suanli.rating.balance import BalanceCollector
from suanli.rating.intervals import overlap
from suanli.rating.usage import Usage, UsageCollector

_HANDFUL = 128
"""Windows that are checked together, one step after the other; fewer where their lines are long."""
_HANDFUL_BYTES = 4 << 20

Tick = Callable[[int], None]
"""Called with the number of entries read since the last call."""


@dataclass(slots=True)
class PartResult:
    """What a part found, in numbers that add up with those of other parts."""

    report: Report = field(default_factory=Report)
    windows: int = 0
    simulated: int = 0
    isolation: Counter[str] = field(default_factory=Counter)
    drivers: set[str] = field(default_factory=set)
    first_ms: int | None = None
    """When the first window begins."""
    late: int = 0
    late_index: int | None = None
    ended_before: dict[int, int] = field(default_factory=dict)
    """By log index of `Known.changed_terms`, the end of the latest window below it."""
    """Windows of the period that were logged after its close, and the first of them."""
    last_use_ms: dict[str, int] = field(default_factory=dict)
    patterns: dict[str, WorkPattern] = field(default_factory=dict)
    usage: Usage | None = None
    balance: BalanceCollector | None = None
    sampler: Sampler | None = None

    def merge(self, other: PartResult) -> None:
        """Adds another part."""
        self.report.merge(other.report)
        self.windows += other.windows
        self.simulated += other.simulated
        self.isolation.update(other.isolation)
        self.drivers |= other.drivers
        self.first_ms = _least(self.first_ms, other.first_ms)
        self.late += other.late
        self.late_index = _least(self.late_index, other.late_index)
        for index, end_ms in other.ended_before.items():
            self.ended_before[index] = max(end_ms, self.ended_before.get(index, 0))
        for allocation_id, last_ms in other.last_use_ms.items():
            self.last_use_ms[allocation_id] = max(last_ms, self.last_use_ms.get(allocation_id, 0))
        for allocation_id, pattern in other.patterns.items():
            self.patterns.setdefault(allocation_id, WorkPattern()).add(pattern)
        if self.usage is None or self.balance is None:
            self.usage, self.balance = other.usage, other.balance
        elif other.usage is not None and other.balance is not None:
            self.usage.add(other.usage)
            self.balance.add(other.balance)
        if self.sampler is None:
            self.sampler = other.sampler
        elif other.sampler is not None:
            self.sampler.merge(other.sampler)


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def check_part(job: PartJob, tick: Tick | None = None) -> PartResult:
    """Checks the windows of one part. Linear in entries; memory does not grow with windows.

    A signature is checked where no later window vouches for it, unless the reader wants each; if one fails, all are
    checked from the start, so that each that fails is named.
    """

    def unseen(_count: int) -> None:
        """What is read again is not told again."""

    try:
        return _Part(job, tick or unseen, each=job.known.settings.every_signature).check()
    except Unsigned:
        return _Part(job, unseen, each=True).check()


def part_of(name: str, parts: int) -> int:
    """The part that a node falls to; the same in every process."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) % parts


def _strict_window_entry(data: bytes) -> Entry | None:
    """The entry of a window; None for any other, and for what cannot be read."""
    try:
        entry = parse_entry(data)
    except EvidenceError:
        return None
    return entry if entry.type == USAGE_WINDOW else None


_Line = tuple[int, Entry, bytes]
"""Log index and entry of a window, and the line that opens it."""


def _handfuls(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    """The lines in short lists."""
    handful: list[_Line] = []
    size_bytes = 0
    for line in lines:
        handful.append(line)
        size_bytes += len(line[2])
        if len(handful) == _HANDFUL or size_bytes > _HANDFUL_BYTES:
            yield handful
            handful, size_bytes = [], 0
    if handful:
        yield handful


class _Part:
    def __init__(self, job: PartJob, tick: Tick, *, each: bool) -> None:
        known = job.known
        self._job = job
        self._known: Known = known
        self._tick = tick
        self._result = PartResult()
        report = self._report = self._result.report
        self._reader = EntryReader(report, for_auditor=known.for_auditor)
        self._chains = Chains(report)
        self._times = Times(report, known, root_at(job.files, known.head))
        self._coverage = Coverage(report, known, self._chains.breaks)
        self._attribution = Attribution(report, known, self._result.last_use_ms)
        self._calendar_order = CalendarOrder(report, known)
        self._usage = self._balance = None
        if known.rating is not None:
            self._usage = UsageCollector(known.rating, known.period)
            self._balance = BalanceCollector(known.rating, known.period)
        if known.sampler is not None:
            self._result.sampler = Sampler(known.sampler.seed, known.sampler.size)
        self._strata = Strata(known)
        self._changes = sorted(
            known.changed_terms, reverse=True
        )  # those that are still to come, the next one last
        self._newest_end_ms = 0
        self._public_keys = {k: bytes.fromhex(v.event.public_key) for k, v in known.keys.items()}
        self._mine = {k: self._is_mine(v.event.node_id) for k, v in known.keys.items()}
        self._signatures = None if each else Signatures(self._public_keys)

    def _is_mine(self, name: str) -> bool:
        return part_of(name, self._job.parts) == self._job.number

    def _is_of_mine(self, key: str) -> bool:
        """Whether a key is of a node of this part; keys that the log does not know are shared out by their names."""
        mine = self._mine.get(key)
        return self._is_mine(key) if mine is None else mine

    def _own_lines(self, *, tick: bool) -> Iterator[_Line]:
        """The line of every window of this part; others are passed over unread."""
        lines = read_lines(self._job.files, PAYLOADS)
        others = {key.encode() for key, mine in self._mine.items() if not mine}
        for number, width in entry_bundles(self._known.head.size):
            if tick:
                self._tick(width)
            first = number * WIDTH
            for index, leaf in enumerate(read_entry_bundle(self._job.files, number, width), first):
                data = next(lines, b"")
                parts = window_parts(leaf)
                if parts is not None and parts[1] in others:
                    continue
                entry = _strict_window_entry(leaf) if parts is None else window_entry(*parts)
                if entry is not None and self._is_of_mine(entry.producer_key_id):
                    yield index, entry, data

    def check(self) -> PartResult:
        for handful in _handfuls(self._own_lines(tick=True)):
            # One thing after the other for all of them: what a step needs stays in the processor's caches.
            read = [self._read(line) for line in handful]
            speaks = [window is not None and self._may_speak(window) for window in read]
            for (index, entry, _), window, good in zip(handful, read, speaks, strict=True):
                if window is None or not good:
                    self._chains.unusable.setdefault(entry.producer_key_id, []).append(index)
                    continue
                if self._signatures is not None:
                    self._signatures.take(window, self._chains.ends.get(entry.producer_key_id))
                if self._chains.take(window):
                    self._take(window)
        if self._signatures is not None:
            self._signatures.finish()
        self._pass_changes(self._known.head.size)
        self._judge_suspects()
        self._chains.finish()
        if self._known.for_auditor:
            self._coverage.finish(self._is_mine)
        result = self._result
        if self._usage is not None:
            result.usage, result.balance = self._usage.usage, self._balance
        return result

    def _read(self, line: _Line) -> WindowEvidence | None:
        """A window as its entry commits to it; None where it cannot be used, which has been reported then."""
        try:
            return self._reader.window(*line)
        except Damaged:
            return None

    def _may_speak(self, window: WindowEvidence) -> bool:
        """Whether a window's key and, where all are checked, signature are right; reports what is wrong with them."""
        problem, key = key_problem(self._known, window), window.producer_key_id
        if problem is None:
            if self._signatures is not None or is_signed(self._public_keys[key], window):
                return True
            problem = "signature.window", f"a signature of {key}", "no match"
        code, expected, found = problem
        self._report.add(code, str(window), expected, found, window.index)
        self._report.damage(USAGE_WINDOW, code)
        return False

    def _pass_changes(self, index: int) -> None:
        """Notes how far use had come when terms were changed below an index."""
        while self._changes and self._changes[-1] < index:
            self._result.ended_before[self._changes.pop()] = self._newest_end_ms

    def _take(self, window: WindowEvidence) -> None:
        result, header = self._result, window.header
        self._pass_changes(window.index)
        self._newest_end_ms = max(self._newest_end_ms, header.end_ms)
        result.windows += 1
        result.simulated += header.simulated
        result.isolation[header.isolation] += 1
        result.drivers.add(header.driver)
        result.first_ms = _least(result.first_ms, header.start_ms)
        self._times.check(window)
        self._calendar_order.take(window)
        self._coverage.take(window)
        check_bounds(self._report, window)
        in_time = window.index < self._known.closed_at
        if not in_time and overlap((header.start_ms, header.end_ms), self._known.period) is not None:
            result.late += 1
            result.late_index = _least(result.late_index, window.index)
        for segment in window.segments:
            if segment is None:
                continue
            max_watts = self._known.max_watts.get(segment.device.device_id)
            if max_watts is not None:
                check_power(self._report, window, segment, max_watts)
            if segment.observed == "in_use":
                allocation = self._attribution.take(window, segment)
                if allocation is not None:
                    allocation_id = allocation.granted.allocation_id
                    pattern = result.patterns.get(allocation_id)
                    if pattern is None:
                        pattern = result.patterns[allocation_id] = WorkPattern()
                    pattern.take(window.index, segment)
                    if result.sampler is not None:
                        result.sampler.observe(window.index, segment, self._strata.of(allocation, segment))
            if in_time and self._usage is not None and self._balance is not None:
                use = observed_use(segment)
                self._usage.observe(use)
                self._balance.observe(use)

    def _judge_suspects(self) -> None:
        """Reads the part once more for the windows that had the numbers of suspects first: a rare thing."""
        waiting = {(suspect.key_id, suspect.seq): suspect for suspect in reversed(self._chains.suspects)}
        others = [s for s in self._chains.suspects if waiting[s.key_id, s.seq] is not s]
        if not waiting:
            return
        keys = {key for key, _ in waiting}
        first: dict[tuple[str, int], tuple[int, str]] = {}
        quiet = EntryReader(Report(), for_auditor=self._known.for_auditor)
        unusable = {index for key in keys for index in self._chains.unusable.get(key, ())}
        for index, entry, data in self._own_lines(tick=False):
            if entry.producer_key_id not in keys or index in unusable:
                continue
            window = quiet.window(index, entry, data)
            place = entry.producer_key_id, window.header.seq
            if place in waiting and place not in first:
                first[place] = index, header_hash(window.header_bytes)
        for suspect in (*waiting.values(), *others):
            if self._chains.judge(suspect, *first[suspect.key_id, suspect.seq]):
                self._report.damage(USAGE_WINDOW, "chain.fork")
