"""A log entry as the database keeps it. PURE: the same rows whether it was just sequenced or read back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scheduler.storage.payload_archive import ArchivedEntry
from suanli.evidence.entries import USAGE_WINDOW, Entry, parse_payload
from suanli.evidence.errors import EvidenceError
from suanli.evidence.records import parse_record
from suanli.evidence.windows import Segment, WindowHeader, parse_header, parse_segment


@dataclass(slots=True)
class Span:
    """What an entry is about: of a window its node, number and time, of a fact the time that it names."""

    start_ms: int | None
    node_id: str | None = None
    seq: int | None = None
    end_ms: int | None = None


def window_span(header: WindowHeader) -> Span:
    """Of a usage window."""
    return Span(header.start_ms, header.node_id, header.seq, header.end_ms)


def record_span(record: object) -> Span:
    """Of a fact."""
    return Span(getattr(record, "at_ms", getattr(record, "effective_from_ms", None)))


ENTRY_COLUMNS = (
    "log_index", "type", "producer_key_id", "leaf", "salt", "payload", "segments", "fact", "firm_id", "firm_seq",
    "node_id", "seq", "start_ms", "end_ms",
)  # fmt: skip
SEGMENT_COLUMNS = ("log_index", "n", "firm_id", "allocation_id", "device_id")

Values = tuple[object, ...]
"""A row, in the order of its columns."""


def entry_row(leaf: bytes, entry: Entry, archived: ArchivedEntry, span: Span) -> Values:
    """The row of `log_entries`, by ENTRY_COLUMNS."""
    return (
        archived.index, entry.type, entry.producer_key_id, leaf, archived.salt, archived.payload, archived.packed,
        archived.fact, archived.firm_id, entry.firm_seq, span.node_id, span.seq, span.start_ms, span.end_ms,
    )  # fmt: skip


Place = tuple[str | None, str]
"""Allocation, if any, and device of a segment."""


def place_of(segment: Segment) -> Place:
    """Of a segment that was read strictly."""
    return segment.allocation_id, segment.device.device_id


def segment_rows(archived: ArchivedEntry, places: Sequence[Place]) -> list[Values]:
    """The rows of `window_segments`, by SEGMENT_COLUMNS; `places` are what the archived segments say."""
    index = archived.index
    return [
        (index, n, firm_id, allocation_id, device_id)
        for n, ((allocation_id, device_id), firm_id) in enumerate(
            zip(places, archived.segment_firms, strict=True)
        )
        if allocation_id is not None
    ]


def read_back(leaf: bytes, entry: Entry, archived: ArchivedEntry) -> tuple[Values, list[Values]]:
    """Both kinds of rows of an archived entry. Raises EvidenceError for what does not read as it should."""
    if archived.payload is None:
        raise EvidenceError("archive", "no payload", "the payload of every entry")
    body = parse_payload(archived.payload).body
    if entry.type != USAGE_WINDOW:
        fact = replace(archived, packed=None)  # a fact has no segments, whatever its line says
        return entry_row(leaf, entry, fact, record_span(parse_record(entry.type, body))), []
    places = [place_of(parse_segment(s.body)) for s in archived.segments()]
    row = entry_row(leaf, entry, archived, window_span(parse_header(body)))
    return row, segment_rows(archived, places)
