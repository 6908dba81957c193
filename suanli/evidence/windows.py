"""Usage windows: a node's signed, numbered record of a period, idle time included.

A window is a signed header with one salted commitment per segment; a segment is one device, one stretch,
one allocation or none. A firm is shown headers and its own segments, so that nobody can leave a window out
without a hole, and nobody sees what is another's. Times: `*_ms` are milliseconds of UTC since the epoch,
half-open; `boot_*_ns` are nanoseconds of CLOCK_BOOTTIME within one boot id. Shares are parts per million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from suanli.evidence.errors import EvidenceError
from suanli.evidence.identities import DeviceIdentity, read_device
from suanli.evidence.keys import KEY_ID_BYTES, SIGNATURE_BYTES
from suanli.evidence.strict_json import Fields, encode, parse_object

HEADER_SCHEMA = "suanli.window.v1"
SEGMENT_SCHEMA = "suanli.segment.v1"
WINDOW_LABEL = b"suanli/window/v1\n"
SEGMENT_LABEL = b"suanli/segment/v1\n"
SALT_BYTES = 32
NO_PREVIOUS = "0" * 64
"""`prev_hash` of the first window of a key."""
GRID_MS = 300_000
"""The line on which prices, programs and periods begin; the length of a window divides it."""
WHOLE_PPM = 1_000_000

OBSERVED = frozenset({"in_use", "free", "faulty", "unknown"})
ISOLATIONS = frozenset({"none", "uid", "namespace"})
"""How far firms were kept apart, at the weakest moment of the window. `none`: all tasks ran as the agent's own
user. `uid`: one user per firm; devices told apart by environment variables only. `namespace`: as `uid`, and
device nodes not given to a task, and other users' processes and shared memory, were out of its reach."""
CLOSED_BY = frozenset({"grid", "stop", "recovery"})
ENERGY_METHODS = frozenset({"none", "counter", "integrated"})
MEASURED_BY = frozenset({"agent", "shim", "nobody"})

SEGMENTS_PER_WINDOW = 4096
HEADER_LIMIT_BYTES = 512 * 1024
SEGMENT_LIMIT_BYTES = 16 * 1024
_PERIOD_LIMIT_MS = 4_102_444_800_000 * 4  # far beyond any real clock, far below 64 bits


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the agent knew of its clock: what disciplines it, in which state, and how far it is off."""

    source: str
    state: str
    offset_ms: int | None


@dataclass(frozen=True, slots=True)
class SeenCheckpoint:
    """Newest log checkpoint that the agent had seen before it closed the window: the window is not older."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class WindowHeader:
    """The signed part of a window. `segments` are commitments as hex, in the order of the segments."""

    node_id: str
    key_id: str
    seq: int
    prev_hash: str
    boot_id: str
    agent_version: str
    driver: str
    simulated: bool
    isolation: str
    start_ms: int
    end_ms: int
    boot_start_ns: int
    boot_end_ns: int
    clock: ClockReading
    log_checkpoint: SeenCheckpoint | None
    window_ms: int
    closed_by: str
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One device over one stretch under one allocation or none; `n` is its place in the header's list."""

    node_id: str
    seq: int
    n: int
    device: DeviceIdentity
    start_ms: int
    end_ms: int
    observed: str
    allocation_id: str | None
    share_ppm: int
    samples_expected: int
    samples_taken: int
    live_ms: int
    busy_ms: int
    utilisation_mean_ppm: int | None
    utilisation_max_ppm: int | None
    memory_mean_bytes: int | None
    memory_max_bytes: int | None
    processes_max: int
    cpu_time_ms: int | None
    energy_mj: int | None
    energy_method: str
    measured_by: str
    samples_root: str | None


@dataclass(frozen=True, slots=True)
class SaltedSegment:
    """Exact bytes of a segment and the 32 random bytes that hide them in the header's commitment."""

    salt: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class SignedWindow:
    """Exact bytes of a window as signed, stored and shipped."""

    header: bytes
    signature: bytes
    segments: tuple[SaltedSegment, ...]


def segment_commitment(salt: bytes, body: bytes) -> str:
    """Hex of SHA-256 over label, salt and exact segment bytes."""
    if len(salt) != SALT_BYTES:
        raise EvidenceError("salt", f"{len(salt)} bytes", f"{SALT_BYTES} bytes")
    return hashlib.sha256(SEGMENT_LABEL + salt + body).hexdigest()


def header_hash(header: bytes) -> str:
    """`prev_hash` of the window that follows the one with these exact header bytes."""
    return hashlib.sha256(header).hexdigest()


def window_message(header: bytes) -> bytes:
    """The bytes that the agent's key signs."""
    return WINDOW_LABEL + header


def encode_segment(segment: Segment) -> bytes:
    """The JSON bytes of a segment."""
    value = {name: getattr(segment, name) for name in Segment.__slots__}
    value["device"] = segment.device.as_json()
    value["schema"] = SEGMENT_SCHEMA
    return encode(value)


def encode_header(header: WindowHeader) -> bytes:
    """The JSON bytes of a header."""
    value = {name: getattr(header, name) for name in WindowHeader.__slots__}
    seen = header.log_checkpoint
    value["schema"] = HEADER_SCHEMA
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


def parse_header(data: bytes) -> WindowHeader:
    """The header in `data`, read strictly. Raises EvidenceError naming the field."""
    fields = parse_object(data, "window", HEADER_LIMIT_BYTES)
    fields.schema(HEADER_SCHEMA)
    header = WindowHeader(
        node_id=fields.text("node_id", 64),
        key_id=fields.hex("key_id", KEY_ID_BYTES),
        seq=fields.integer("seq", 1),
        prev_hash=fields.hex("prev_hash", 32),
        boot_id=fields.text("boot_id", 64),
        agent_version=fields.text("agent_version", 64),
        driver=fields.text("driver", 64),
        simulated=fields.boolean("simulated"),
        isolation=fields.choice("isolation", ISOLATIONS),
        start_ms=fields.integer("start_ms", 0, _PERIOD_LIMIT_MS),
        end_ms=fields.integer("end_ms", 0, _PERIOD_LIMIT_MS),
        boot_start_ns=fields.integer("boot_start_ns"),
        boot_end_ns=fields.integer("boot_end_ns"),
        clock=_read_clock(fields.nested("clock")),
        log_checkpoint=_read_seen(fields.optional_nested("log_checkpoint")),
        window_ms=fields.integer("window_ms", 1, GRID_MS),
        closed_by=fields.choice("closed_by", CLOSED_BY),
        segments=fields.hexes("segments", 32, SEGMENTS_PER_WINDOW),
    )
    fields.done()
    _check_header(header)
    return header


def _check_header(header: WindowHeader) -> None:
    if header.end_ms <= header.start_ms:
        raise EvidenceError("window.end_ms", header.end_ms, f"more than start_ms {header.start_ms}")
    if header.boot_end_ns < header.boot_start_ns:
        raise EvidenceError("window.boot_end_ns", header.boot_end_ns, f"at least {header.boot_start_ns}")
    if GRID_MS % header.window_ms:
        raise EvidenceError("window.window_ms", header.window_ms, f"a divisor of {GRID_MS}")
    if (header.seq == 1) != (header.prev_hash == NO_PREVIOUS):
        raise EvidenceError("window.prev_hash", header.prev_hash, "64 zeros exactly when seq is 1")
    if header.closed_by == "grid" and header.end_ms % header.window_ms:
        raise EvidenceError("window.end_ms", header.end_ms, f"a multiple of {header.window_ms} ms")
    if crosses_grid(header) and header.closed_by != "recovery":
        raise EvidenceError(
            "window.end_ms", header.end_ms, f"no line of the {header.window_ms} ms grid inside the window"
        )


def crosses_grid(header: WindowHeader) -> bool:
    """Whether a line of the node's own grid lies inside the window; only `recovery` of unknown time may."""
    return header.start_ms // header.window_ms != (header.end_ms - 1) // header.window_ms


def _read_clock(fields: Fields) -> ClockReading:
    clock = ClockReading(
        source=fields.text("source", 64),
        state=fields.text("state", 64),
        offset_ms=fields.optional_integer("offset_ms", -(2**53), 2**53),
    )
    fields.done()
    return clock


def _read_seen(fields: Fields | None) -> SeenCheckpoint | None:
    if fields is None:
        return None
    seen = SeenCheckpoint(
        origin=fields.text("origin", 256), size=fields.integer("size"), root=fields.hex("root", 32)
    )
    fields.done()
    return seen


def parse_segment(data: bytes) -> Segment:
    """The segment in `data`, read strictly. Raises EvidenceError naming the field."""
    fields = parse_object(data, "segment", SEGMENT_LIMIT_BYTES)
    fields.schema(SEGMENT_SCHEMA)
    segment = Segment(
        node_id=fields.text("node_id", 64),
        seq=fields.integer("seq", 1),
        n=fields.integer("n", 0, SEGMENTS_PER_WINDOW),
        device=read_device(fields.nested("device")),
        start_ms=fields.integer("start_ms", 0, _PERIOD_LIMIT_MS),
        end_ms=fields.integer("end_ms", 0, _PERIOD_LIMIT_MS),
        observed=fields.choice("observed", OBSERVED),
        allocation_id=fields.optional_text("allocation_id", 64),
        share_ppm=fields.integer("share_ppm", 0, WHOLE_PPM),
        samples_expected=fields.integer("samples_expected"),
        samples_taken=fields.integer("samples_taken"),
        live_ms=fields.integer("live_ms"),
        busy_ms=fields.integer("busy_ms"),
        utilisation_mean_ppm=fields.optional_integer("utilisation_mean_ppm", 0, WHOLE_PPM),
        utilisation_max_ppm=fields.optional_integer("utilisation_max_ppm", 0, WHOLE_PPM),
        memory_mean_bytes=fields.optional_integer("memory_mean_bytes"),
        memory_max_bytes=fields.optional_integer("memory_max_bytes"),
        processes_max=fields.integer("processes_max"),
        cpu_time_ms=fields.optional_integer("cpu_time_ms"),
        energy_mj=fields.optional_integer("energy_mj"),
        energy_method=fields.choice("energy_method", ENERGY_METHODS),
        measured_by=fields.choice("measured_by", MEASURED_BY),
        samples_root=fields.optional_hex("samples_root", 32),
    )
    fields.done()
    if segment.end_ms <= segment.start_ms:
        raise EvidenceError("segment.end_ms", segment.end_ms, f"more than start_ms {segment.start_ms}")
    return segment


def check_signature_length(signature: bytes) -> None:
    """Refuses signatures that are not 64 bytes before anybody stores them."""
    if len(signature) != SIGNATURE_BYTES:
        raise EvidenceError("signature", f"{len(signature)} bytes", f"{SIGNATURE_BYTES} bytes")
