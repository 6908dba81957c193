"""Writing usage windows: the JSON bytes of segments and headers, and the signature over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from suanli.evidence.errors import EvidenceError
from suanli.evidence.strict_json import encode
from suanli.evidence.windows import (
    HEADER_SCHEMA,
    SEGMENT_SCHEMA,
    SaltedSegment,
    Segment,
    SignedWindow,
    WindowHeader,
    parse_header,
    parse_segment,
    segment_commitment,
    window_message,
)


def encode_segment(segment: Segment) -> bytes:
    """The JSON bytes of a segment."""
    value = {name: getattr(segment, name) for name in Segment.__slots__}
    version = value.pop("version")
    hardware = value.pop("hardware")
    value["device"] = segment.device.as_json(version)
    value["schema"] = f"{SEGMENT_SCHEMA}.v{version}"
    if version > 1:
        value["hardware"] = hardware.as_json()
    return encode(value)


def encode_header(header: WindowHeader) -> bytes:
    """The JSON bytes of a header."""
    value = {name: getattr(header, name) for name in WindowHeader.__slots__}
    seen = header.log_checkpoint
    value["schema"] = f"{HEADER_SCHEMA}.v{value.pop('version')}"
    if header.version < 3:
        del value["prev_signature_hash"]
    value["clock"] = {
        "source": header.clock.source,
        "state": header.clock.state,
        "offset_ms": header.clock.offset_ms,
    }
    value["log_checkpoint"] = (
        None if seen is None else {"origin": seen.origin, "size": seen.size, "root": seen.root}
    )
    value["segments"] = list(header.segments)
    return encode(value)


def build_window(
    header: WindowHeader,
    segments: Sequence[Segment],
    salts: Sequence[bytes],
    sign: Callable[[bytes], bytes],
) -> SignedWindow:
    """Signs a window over `segments`, whose commitments replace whatever `header.segments` holds.

    `salts` are 32 random bytes per segment; `sign` is the agent key's signature over the message given.
    Raises EvidenceError when the result would not be accepted by `parse_header` and `parse_segment`.
    """
    if len(salts) != len(segments):
        raise EvidenceError("salts", len(salts), f"{len(segments)}, one per segment")
    salted = tuple(
        SaltedSegment(salt, encode_segment(segment)) for salt, segment in zip(salts, segments, strict=True)
    )
    commitments = tuple(segment_commitment(item.salt, item.body) for item in salted)
    header_bytes = encode_header(replace(header, segments=commitments))
    # What cannot be read back must not be signed: the chain could never be mended.
    parse_header(header_bytes)
    for item in salted:
        parse_segment(item.body)
    return SignedWindow(header_bytes, sign(window_message(header_bytes)), salted)
