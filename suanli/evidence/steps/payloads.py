"""Step 5: every entry is opened against its commitment; what cannot be opened is listed."""

from __future__ import annotations

from collections.abc import Iterator

from suanli.evidence.bundle import PAYLOADS, PayloadLine, parse_payload_line
from suanli.evidence.entries import (
    FIRM_SCOPED,
    USAGE_WINDOW,
    Entry,
    parse_payload,
    payload_commitment,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.records import parse_record
from suanli.evidence.steps.case import Case, RecordEvidence, WindowEvidence
from suanli.evidence.windows import (
    SaltedSegment,
    Segment,
    WindowHeader,
    parse_header,
    parse_segment,
    segment_commitment,
)


def check_payloads(case: Case) -> None:
    """Step 5: payload and segment commitments. Linear: one line per entry, read once."""
    lines = _lines(case.files[PAYLOADS])
    for index, entry in enumerate(case.entries):
        data = next(lines, None)
        if data is None:
            case.report("payload.missing", PAYLOADS, f"{len(case.entries)} lines", f"{index} lines", index)
            case.stop(f"What entries from index {index} on say: their payloads are missing.")
            return
        if entry is None:
            continue
        line = _read_line(case, index, entry, data)
        if line is not None:
            _open(case, index, entry, line)
    if next(lines, None) is not None:
        case.report("payload.extra", PAYLOADS, f"{len(case.entries)} lines", "more lines")


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines without their newlines; the whole file is not split at once, as it may be large."""
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        if end < 0:
            end = len(data)
        yield data[position:end]
        position = end + 1


def _read_line(case: Case, index: int, entry: Entry, data: bytes) -> PayloadLine | None:
    try:
        line = parse_payload_line(data)
    except EvidenceError as error:
        _damaged(case, index, entry, "payload.format", error)
        return None
    if line.index != index:
        # Every later line would be off by as much: one cause, one finding.
        case.report("payload.missing", PAYLOADS, f"the line of index {index}", f"index {line.index}", index)
        case.stop(f"What entries from index {index} on say: their payloads are not in their places.")
    return line


def _damaged(case: Case, index: int, entry: Entry, code: str, error: EvidenceError) -> None:
    case.report(code, f"{entry.type} {error.field}", error.want, error.got, index)
    case.damage(index, entry.type, entry.producer_key_id)


def _open(case: Case, index: int, entry: Entry, line: PayloadLine) -> None:
    if line.salt is None or line.payload is None:
        _withheld(case, index, entry)
        return
    if payload_commitment(line.salt, line.payload) != entry.payload_commitment:
        error = EvidenceError("payload_commitment", "a payload of another hash", entry.payload_commitment)
        _damaged(case, index, entry, "payload.commitment", error)
        return
    try:
        payload = parse_payload(line.payload)
        header = parse_header(payload.body) if entry.type == USAGE_WINDOW else None
        record = None if header else parse_record(entry.type, payload.body)
    except EvidenceError as error:
        _damaged(case, index, entry, "payload.content", error)
        return
    if record is not None:
        case.records.append(RecordEvidence(index, entry, record, payload.body, payload.signature))
        if line.segments:
            case.report("payload.extra", entry.type, "no segments", f"{len(line.segments)} segments", index)
    elif header is not None:
        segments = _open_segments(case, index, entry, line.segments, header)
        if segments is not None:
            case.windows.append(
                WindowEvidence(
                    index, entry.producer_key_id, header, payload.body, payload.signature, segments
                )
            )


def _withheld(case: Case, index: int, entry: Entry) -> None:
    """A firm is not given what concerns others; an auditor is given everything."""
    if not case.for_auditor and (entry.type in FIRM_SCOPED or entry.type == USAGE_WINDOW):
        case.withheld.setdefault(entry.producer_key_id, []).append(index)
        return
    case.report("payload.withheld", entry.type, "a payload", "null", index)
    case.damage(index, entry.type, entry.producer_key_id)


def _open_segments(
    case: Case,
    index: int,
    entry: Entry,
    given: tuple[SaltedSegment | None, ...],
    header: WindowHeader,
) -> tuple[Segment | None, ...] | None:
    """Segments of a window, None where the reader is not entitled; None in all where one is not right."""
    if not given and not case.for_auditor:
        given = (None,) * len(header.segments)
    if len(given) != len(header.segments):
        count = EvidenceError("segments", f"{len(given)} segments", f"{len(header.segments)} segments")
        _damaged(case, index, entry, "segment.missing", count)
        return None
    opened: list[Segment | None] = []
    for n, salted in enumerate(given):
        code = "segment.content"
        error: EvidenceError | None = None
        if salted is None:
            opened.append(None)
            if case.for_auditor:
                code, error = "segment.withheld", EvidenceError(f"segments[{n}]", "null", "a segment")
        elif segment_commitment(salted.salt, salted.body) != header.segments[n]:
            code = "segment.commitment"
            error = EvidenceError(f"segments[{n}]", "a segment of another hash", header.segments[n])
        else:
            try:
                opened.append(parse_segment(salted.body))
            except EvidenceError as unreadable:
                error = unreadable
        if error is not None:
            _damaged(case, index, entry, code, error)
            return None
    return tuple(opened)
