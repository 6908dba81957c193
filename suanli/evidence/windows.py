"""Usage windows: a node's signed, numbered record of a period, idle time included.

A window is a signed header with one salted commitment per segment; a segment is one device, one stretch,
one allocation or none. A firm is shown headers and its own segments, so that nobody can leave a window out
without a hole, and nobody sees what is another's. Times: `*_ms` are milliseconds of UTC since the epoch,
half-open; `boot_*_ns` are nanoseconds of CLOCK_BOOTTIME within one boot id. Shares are parts per million.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from suanli.evidence import plain
from suanli.evidence.errors import EvidenceError
from suanli.evidence.hardware import PLAIN as PLAIN_HARDWARE
from suanli.evidence.hardware import UNKNOWN_HARDWARE, Hardware, hardware_of, read_hardware
from suanli.evidence.identities import DeviceIdentity, read_device
from suanli.evidence.keys import KEY_ID_BYTES
from suanli.evidence.strict_json import Fields, parse_object

HEADER_SCHEMA = "suanli.window"
SEGMENT_SCHEMA = "suanli.segment"
VERSION = 3
"""Newest form of windows and their segments, named in `schema` (`suanli.window.v3`). Older ones are taken all the
same: 2 does not name the signature before, 1 says nothing of hardware, die id and firmware besides."""
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


# Not frozen, and made by position where many are read: freezing costs fifteen times as much, a million times. So it
# is with all that is made once a window or once a segment, here and in the ledger.
@dataclass(slots=True)
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
    prev_signature_hash: str | None = None
    """With `prev_hash` it names all of the window before. None: the first of a key, or its agent did not keep it."""
    version: int = VERSION


@dataclass(slots=True)
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
    hardware: Hardware = UNKNOWN_HARDWARE
    version: int = VERSION


@dataclass(slots=True)
class SaltedSegment:
    """Exact bytes of a segment and the 32 random bytes that hide them in the header's commitment."""

    salt: bytes
    body: bytes


def join_segments(segments: Sequence[SaltedSegment]) -> bytes:
    """As they are packed on the wire and in the database: salt, length of the body (4 bytes, big-endian), body, ..."""
    parts: list[bytes] = []
    for one in segments:
        parts += (one.salt, len(one.body).to_bytes(4, "big"), one.body)
    return b"".join(parts)


@dataclass(slots=True)
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


def signature_hash(signature: bytes) -> str:
    """`prev_signature_hash` of the window that follows the one with this signature."""
    return hashlib.sha256(signature).hexdigest()


def window_message(header: bytes) -> bytes:
    """The bytes that the agent's key signs."""
    return WINDOW_LABEL + header


_read_plain_headers = plain.records(
    {
        "agent_version": plain.text(64),
        "boot_end_ns": plain.INTEGER,
        "boot_id": plain.text(64),
        "boot_start_ns": plain.INTEGER,
        "clock": plain.OBJECT,
        "closed_by": plain.choice(*CLOSED_BY),
        "driver": plain.text(64),
        "end_ms": plain.integer_from(0, _PERIOD_LIMIT_MS),
        "isolation": plain.choice(*ISOLATIONS),
        "key_id": plain.hexadecimal(KEY_ID_BYTES),
        "log_checkpoint": plain.OBJECT,
        "node_id": plain.text(64),
        "prev_hash": plain.hexadecimal(32),
        "prev_signature_hash": plain.optional(plain.hexadecimal(32)),
        "schema": plain.choice(f"{HEADER_SCHEMA}.v{VERSION}"),
        "segments": plain.several(plain.hexadecimal(32), SEGMENTS_PER_WINDOW),
        "seq": plain.integer_from(1),
        "simulated": plain.BOOLEAN,
        "start_ms": plain.integer_from(0, _PERIOD_LIMIT_MS),
        "window_ms": plain.integer_from(1, GRID_MS),
    }
)


def _plain_header(data: bytes) -> WindowHeader | None:
    """A header as `encode_header` writes it; None for anything that the strict reader should judge."""
    if len(data) > HEADER_LIMIT_BYTES:
        return None
    found = _read_plain_headers([data])
    if found is None:
        return None
    told = found[0]
    try:
        clock, seen = _clock_of(told.clock), _seen_of(told.log_checkpoint)
    except EvidenceError:
        return None
    return WindowHeader(
        told.node_id,
        told.key_id,
        told.seq,
        told.prev_hash,
        told.boot_id,
        told.agent_version,
        told.driver,
        told.simulated,
        told.isolation,
        told.start_ms,
        told.end_ms,
        told.boot_start_ns,
        told.boot_end_ns,
        clock,
        seen,
        told.window_ms,
        told.closed_by,
        told.segments,
        told.prev_signature_hash,
    )


# The same text stands in thousands of windows: read strictly once.
@functools.lru_cache(maxsize=4096)
def _clock_of(data: bytes) -> ClockReading:
    return _read_clock(parse_object(data, "clock"))


@functools.lru_cache(maxsize=4096)
def _seen_of(data: bytes) -> SeenCheckpoint | None:
    return None if data == b"null" else _read_seen(parse_object(data, "log_checkpoint"))


@functools.lru_cache(maxsize=65_536)
def _device_of(data: bytes) -> DeviceIdentity:
    return read_device(parse_object(data, "device"))


def parse_header(data: bytes) -> WindowHeader:
    """The header in `data`, read strictly. Raises EvidenceError naming the field."""
    header = _plain_header(data) or _strict_header(data)
    _check_header(header)
    return header


def _strict_header(data: bytes) -> WindowHeader:
    fields = parse_object(data, "window", HEADER_LIMIT_BYTES)
    version = fields.version(HEADER_SCHEMA, VERSION)
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
        prev_signature_hash=fields.optional_hex("prev_signature_hash", 32) if version >= 3 else None,
        version=version,
    )
    fields.done()
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
    if header.seq == 1 and header.prev_signature_hash is not None:
        raise EvidenceError("window.prev_signature_hash", header.prev_signature_hash, "null when seq is 1")
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


_read_plain_segments = plain.records(
    {
        "allocation_id": plain.optional(plain.text(64)),
        "busy_ms": plain.INTEGER,
        "cpu_time_ms": plain.optional(plain.INTEGER),
        "device": plain.OBJECT,
        "end_ms": plain.integer_from(0, _PERIOD_LIMIT_MS),
        "energy_method": plain.choice(*ENERGY_METHODS),
        "energy_mj": plain.optional(plain.INTEGER),
        "hardware": plain.within(PLAIN_HARDWARE),
        "live_ms": plain.INTEGER,
        "measured_by": plain.choice(*MEASURED_BY),
        "memory_max_bytes": plain.optional(plain.INTEGER),
        "memory_mean_bytes": plain.optional(plain.INTEGER),
        "n": plain.integer_from(0, SEGMENTS_PER_WINDOW),
        "node_id": plain.text(64),
        "observed": plain.choice(*OBSERVED),
        "processes_max": plain.INTEGER,
        "samples_expected": plain.INTEGER,
        "samples_root": plain.optional(plain.hexadecimal(32)),
        "samples_taken": plain.INTEGER,
        "schema": plain.choice(f"{SEGMENT_SCHEMA}.v{VERSION}"),
        "seq": plain.integer_from(1),
        "share_ppm": plain.integer_from(0, WHOLE_PPM),
        "start_ms": plain.integer_from(0, _PERIOD_LIMIT_MS),
        "utilisation_max_ppm": plain.optional(plain.integer_from(0, WHOLE_PPM)),
        "utilisation_mean_ppm": plain.optional(plain.integer_from(0, WHOLE_PPM)),
    }
)


# What is told of a segment in the order of its fields, of which `hardware` and `version` are the last.
_in_order: Callable[[Any], tuple[Any, ...]] = attrgetter(*Segment.__slots__[:-2])


def _plain_segments(bodies: Sequence[bytes]) -> list[Segment] | None:
    """Segments as `encode_segment` writes them; None where there is one that the strict reader should judge."""
    if max(map(len, bodies), default=0) > SEGMENT_LIMIT_BYTES:
        return None
    found = _read_plain_segments(bodies)
    if found is None:
        return None
    segments: list[Segment] = []
    try:
        for told in found:
            if told.end_ms <= told.start_ms:
                return None
            told.device = _device_of(told.device)
            segments.append(Segment(*(*_in_order(told), hardware_of(told.hardware))))
    except EvidenceError:
        return None
    return segments


def parse_segments(bodies: Sequence[bytes]) -> list[Segment]:
    """The segments in `bodies`, read strictly. Raises EvidenceError naming the field of the first that is wrong."""
    return _plain_segments(bodies) or [_strict_segment(body) for body in bodies]


def parse_segment(data: bytes) -> Segment:
    """The segment in `data`, read strictly. Raises EvidenceError naming the field."""
    return parse_segments([data])[0]


def _strict_segment(data: bytes) -> Segment:
    fields = parse_object(data, "segment", SEGMENT_LIMIT_BYTES)
    version = fields.version(SEGMENT_SCHEMA, VERSION)
    segment = Segment(
        node_id=fields.text("node_id", 64),
        seq=fields.integer("seq", 1),
        n=fields.integer("n", 0, SEGMENTS_PER_WINDOW),
        device=read_device(fields.nested("device"), version),
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
        hardware=read_hardware(fields.nested("hardware")) if version >= 2 else UNKNOWN_HARDWARE,
        version=version,
    )
    fields.done()
    if segment.end_ms <= segment.start_ms:
        raise EvidenceError("segment.end_ms", segment.end_ms, f"more than start_ms {segment.start_ms}")
    return segment
