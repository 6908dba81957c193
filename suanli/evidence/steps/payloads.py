"""Step 5: every entry is opened against its commitment; what cannot be opened is listed."""

from __future__ import annotations

from suanli.evidence.bundle import PAYLOADS, PayloadLine, parse_payload_line
from suanli.evidence.bundle_files import read_lines
from suanli.evidence.entries import (
    FIRM_SCOPED,
    USAGE_WINDOW,
    Entry,
    Payload,
    parse_payload,
    payload_commitment,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.limits import limit
from suanli.evidence.records import parse_record
from suanli.evidence.steps.case import Case, RecordEvidence, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.evidence.windows import (
    SaltedSegment,
    Segment,
    WindowHeader,
    parse_header,
    parse_segment,
    segment_commitment,
)

_WITHHELD_FROM_FIRMS = FIRM_SCOPED | {USAGE_WINDOW}
"""A firm is not given what concerns others, nor headers of windows that hold nothing of its own."""


class Damaged(Exception):
    """An entry that cannot be used; what is wrong with it has been reported."""


def read_records(case: Case) -> None:
    """Step 5 for records, and for the lines of all entries being there, in their places."""
    size = case.known.head.size
    others = iter(case.others)
    index, entry = next(others, (size, None))
    count = 0
    for number, data in enumerate(read_lines(case.files, PAYLOADS)):
        count = number + 1
        if number == size:
            case.report.add("payload.extra", PAYLOADS, f"{size} lines", "more lines")
            break
        if number % 4096 == 0:
            case.progress("records", number, size)
        if number == index and entry is not None:
            _read_record(case, index, entry, data)
            index, entry = next(others, (size, None))
        elif not data.startswith(b'{"index":%d,' % number):
            # Not as our own encoder writes it, which is allowed: then it must be read to know its place.
            _check_place(case, number, data)
    if count < size:
        case.report.add("payload.missing", PAYLOADS, f"{size} lines", f"{count} lines", count)
        case.stop(limit("payloads_missing", index=count))


def _check_place(case: Case, index: int, data: bytes) -> None:
    try:
        place = parse_payload_line(data).index
    except EvidenceError:
        return  # reported where the window is read
    _in_place(case, index, place)


def _in_place(case: Case, index: int, place: int) -> None:
    if place != index:
        # Every later line would be off by as much: one cause, one finding.
        case.report.add("payload.missing", PAYLOADS, f"the line of index {index}", f"index {place}", index)
        case.stop(limit("payloads_misplaced", index=index))


def _read_record(case: Case, index: int, entry: Entry, data: bytes) -> None:
    reader = EntryReader(case.report, for_auditor=case.known.for_auditor)
    try:
        line = reader.line(index, entry, data)
        _in_place(case, index, line.index)
        payload = reader.payload(index, entry, line)
        if payload is None:
            return
        record = parse_record(entry.type, payload.body)
    except Damaged:
        return
    except EvidenceError as error:
        reader.damaged(index, entry, "payload.content", error)
        return
    case.records.append(RecordEvidence(index, entry, record, payload.body, payload.signature))
    if line.segments:
        case.report.add("payload.extra", entry.type, "no segments", f"{len(line.segments)} segments", index)


class EntryReader:
    """Opens entries against their commitments and reports what does not fit."""

    def __init__(self, report: Report, *, for_auditor: bool) -> None:
        self._report = report
        self._for_auditor = for_auditor

    def damaged(self, index: int, entry: Entry, code: str, error: EvidenceError) -> None:
        """Reports why an entry cannot be used."""
        self._report.add(code, f"{entry.type} {error.field}", error.want, error.got, index)
        self._report.damage(entry.type, code)

    def line(self, index: int, entry: Entry, data: bytes) -> PayloadLine:
        """The line of an entry. Raises Damaged."""
        try:
            return parse_payload_line(data)
        except EvidenceError as error:
            self.damaged(index, entry, "payload.format", error)
            raise Damaged from None

    def payload(self, index: int, entry: Entry, line: PayloadLine) -> Payload | None:
        """The payload that an entry commits to; None where the reader is not entitled to it. Raises Damaged."""
        if line.salt is None or line.payload is None:
            if not self._for_auditor and entry.type in _WITHHELD_FROM_FIRMS:
                return None
            self._report.add("payload.withheld", entry.type, "a payload", "null", index)
            self._report.damage(entry.type, "payload.withheld")
            raise Damaged
        if payload_commitment(line.salt, line.payload) != entry.payload_commitment:
            error = EvidenceError("payload_commitment", "a payload of another hash", entry.payload_commitment)
            self.damaged(index, entry, "payload.commitment", error)
            raise Damaged
        try:
            return parse_payload(line.payload)
        except EvidenceError as error:
            self.damaged(index, entry, "payload.content", error)
            raise Damaged from None

    def window(self, index: int, entry: Entry, data: bytes) -> WindowEvidence:
        """The usage window of an entry. Raises Damaged."""
        line = self.line(index, entry, data)
        payload = self.payload(index, entry, line)
        if payload is None:
            raise Damaged
        try:
            header = parse_header(payload.body)
        except EvidenceError as error:
            self.damaged(index, entry, "payload.content", error)
            raise Damaged from None
        segments = self._segments(index, entry, line.segments, header)
        return WindowEvidence(index, entry.producer_key_id, header, payload.body, payload.signature, segments)

    def _segments(
        self, index: int, entry: Entry, given: tuple[SaltedSegment | None, ...], header: WindowHeader
    ) -> tuple[Segment | None, ...]:
        """Segments of a window, None where the reader is not entitled. Raises Damaged where one is not right."""
        if not given and not self._for_auditor:
            given = (None,) * len(header.segments)
        if len(given) != len(header.segments):
            count = EvidenceError("segments", f"{len(given)} segments", f"{len(header.segments)} segments")
            self.damaged(index, entry, "segment.missing", count)
            raise Damaged
        return tuple(
            [self._segment(index, entry, n, given[n], want) for n, want in enumerate(header.segments)]
        )

    def _segment(
        self, index: int, entry: Entry, n: int, salted: SaltedSegment | None, commitment: str
    ) -> Segment | None:
        code = "segment.content"
        if salted is None:
            if not self._for_auditor:
                return None
            code, error = "segment.withheld", EvidenceError(f"segments[{n}]", "null", "a segment")
        elif segment_commitment(salted.salt, salted.body) == commitment:
            try:
                return parse_segment(salted.body)
            except EvidenceError as unreadable:
                error = unreadable
        else:
            code = "segment.commitment"
            error = EvidenceError(f"segments[{n}]", "a segment of another hash", commitment)
        self.damaged(index, entry, code, error)
        raise Damaged
