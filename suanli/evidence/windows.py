"""Usage windows: a node's signed, numbered record of a period, idle time included.

A window is a signed header with one salted commitment per segment; a segment is one device, one stretch,
one allocation or none. A firm is shown headers and its own segments, so that nobody can leave a window out
without a hole, and nobody sees what is another's. Times: `*_ms` are milliseconds of UTC since the epoch,
half-open; `boot_*_ns` are nanoseconds of CLOCK_BOOTTIME within one boot id. Shares are parts per million.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

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


_PLAIN_HEADER = plain.record(
    {
        "agent_version": plain.text(64),
        "boot_end_ns": plain.INTEGER,
        "boot_id": plain.text(64),
        "boot_start_ns": plain.INTEGER,
        "clock": plain.OBJECT,
        "closed_by": plain.choice(CLOSED_BY),
        "driver": plain.text(64),
        "end_ms": plain.INTEGER,
        "isolation": plain.choice(ISOLATIONS),
        "key_id": plain.hexadecimal(KEY_ID_BYTES),
        "log_checkpoint": plain.OPTIONAL_OBJECT,
        "node_id": plain.text(64),
        "prev_hash": plain.hexadecimal(32),
        "prev_signature_hash": plain.optional_hexadecimal(32),
        "schema": plain.constant(f"{HEADER_SCHEMA}.v{VERSION}"),
        "segments": plain.hexadecimals(32, SEGMENTS_PER_WINDOW),
        "seq": plain.INTEGER,
        "simulated": plain.BOOLEAN,
        "start_ms": plain.INTEGER,
        "window_ms": plain.INTEGER,
    }
)


def _plain_header(data: bytes) -> WindowHeader | None:
    """A header as `encode_header` writes it; None for anything that the strict reader should judge."""
    if len(data) > HEADER_LIMIT_BYTES:
        return None
    try:
        found = _PLAIN_HEADER.fullmatch(data.decode("ascii"))
        if found is None:
            return None
        (agent_version, boot_end, boot_id, boot_start, clock, closed_by, driver, end, isolation, key_id,
         seen, node_id, prev_hash, prev_sign, segments, seq, simulated, start, window) = found.groups()  # fmt: skip
        header = WindowHeader(
            node_id,
            key_id,
            int(seq),
            prev_hash,
            boot_id,
            agent_version,
            driver,
            simulated == "true",
            isolation,
            int(start),
            int(end),
            int(boot_start),
            int(boot_end),
            _clock_of(clock),
            None if seen is None else _seen_of(seen),
            int(window),
            closed_by,
            tuple(segments[1:-1].split('","')) if segments else (),
            prev_sign,
        )
    except (UnicodeDecodeError, EvidenceError):
        return None
    good = header.seq and header.end_ms <= _PERIOD_LIMIT_MS and 0 < header.window_ms <= GRID_MS
    return header if good else None


# The same text stands in thousands of windows: read strictly once.
@functools.lru_cache(maxsize=4096)
def _clock_of(text: str) -> ClockReading:
    return _read_clock(parse_object(text.encode(), "clock"))


@functools.lru_cache(maxsize=4096)
def _seen_of(text: str) -> SeenCheckpoint | None:
    return _read_seen(parse_object(text.encode(), "log_checkpoint"))


@functools.lru_cache(maxsize=65_536)
def _device_of(text: str) -> DeviceIdentity:
    return read_device(parse_object(text.encode(), "device"))


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


_PLAIN_SEGMENT = plain.record(
    {
        "allocation_id": plain.optional_text(64),
        "busy_ms": plain.INTEGER,
        "cpu_time_ms": plain.OPTIONAL_INTEGER,
        "device": plain.OBJECT,
        "end_ms": plain.INTEGER,
        "energy_method": plain.choice(ENERGY_METHODS),
        "energy_mj": plain.OPTIONAL_INTEGER,
        "hardware": PLAIN_HARDWARE,
        "live_ms": plain.INTEGER,
        "measured_by": plain.choice(MEASURED_BY),
        "memory_max_bytes": plain.OPTIONAL_INTEGER,
        "memory_mean_bytes": plain.OPTIONAL_INTEGER,
        "n": plain.INTEGER,
        "node_id": plain.text(64),
        "observed": plain.choice(OBSERVED),
        "processes_max": plain.INTEGER,
        "samples_expected": plain.INTEGER,
        "samples_root": plain.optional_hexadecimal(32),
        "samples_taken": plain.INTEGER,
        "schema": plain.constant(f"{SEGMENT_SCHEMA}.v{VERSION}"),
        "seq": plain.INTEGER,
        "share_ppm": plain.INTEGER,
        "start_ms": plain.INTEGER,
        "utilisation_max_ppm": plain.OPTIONAL_INTEGER,
        "utilisation_mean_ppm": plain.OPTIONAL_INTEGER,
    }
)


def _plain_segment(data: bytes) -> Segment | None:
    """A segment as `encode_segment` writes it; None for anything that the strict reader should judge."""
    if len(data) > SEGMENT_LIMIT_BYTES:
        return None
    try:
        found = _PLAIN_SEGMENT.fullmatch(data.decode("ascii"))
        if found is None:
            return None
        (allocation, busy, cpu, device, end, method, energy, *hardware, live, measured_by, most, mean, n, node,
         observed, processes, expected, root, taken, seq, share, start, peak, load) = found.groups()  # fmt: skip
        segment = Segment(
            node,
            int(seq),
            int(n),
            _device_of(device),
            int(start),
            int(end),
            observed,
            allocation,
            int(share),
            int(expected),
            int(taken),
            int(live),
            int(busy),
            load if load is None else int(load),
            peak if peak is None else int(peak),
            mean if mean is None else int(mean),
            most if most is None else int(most),
            int(processes),
            cpu if cpu is None else int(cpu),
            energy if energy is None else int(energy),
            method,
            measured_by,
            root,
            hardware_of(hardware),
        )
    except (UnicodeDecodeError, EvidenceError):
        return None
    good = (
        segment.seq
        and segment.n <= SEGMENTS_PER_WINDOW
        and segment.start_ms < segment.end_ms <= _PERIOD_LIMIT_MS
        and segment.share_ppm <= WHOLE_PPM
        and (segment.utilisation_mean_ppm or 0) <= WHOLE_PPM
        and (segment.utilisation_max_ppm or 0) <= WHOLE_PPM
    )
    return segment if good else None


def parse_segment(data: bytes) -> Segment:
    """The segment in `data`, read strictly. Raises EvidenceError naming the field."""
    return _plain_segment(data) or _strict_segment(data)


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
