"""Raw samples: the single readings that a segment of a usage window sums up.

The node keeps them, one JSON line a reading, and the signed segment holds the Merkle root over the lines of its
stretch (`samples_root`). Whoever doubts a window asks the node for them: lines that were changed, left out or
made up afterwards have another root. Times are milliseconds of UTC; what a device does not tell is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanli.evidence.errors import EvidenceError
from suanli.evidence.merkle import CompactRange, leaf_hash
from suanli.evidence.strict_json import encode, parse_object
from suanli.evidence.windows import WHOLE_PPM, Segment

SAMPLE_SCHEMA = "suanli.sample"
SAMPLE_VERSION = 2
"""Version 1 knew nothing of heat, links and errors of the memory."""
LINE_LIMIT_BYTES = 4096
LINES_LIMIT = 20_000
"""More than a window of five minutes holds at the shortest sampling period."""
HEALTHS = frozenset({"ok", "degraded", "faulty", "unknown"})


@dataclass(frozen=True, slots=True)
class RawSample:
    """One reading of one device at `at_ms`; live, busy and CPU time are of the stretch since the reading before.

    Energy, link traffic and errors are the device's own counters, the rest is as it was at this moment.
    """

    device_id: str
    at_ms: int
    allocation_id: str | None
    health: str
    live_ms: int
    busy_ms: int
    cpu_ms: int | None
    utilisation_ppm: int | None
    memory_bytes: int | None
    power_mw: int | None
    energy_mj: int | None
    processes: int
    temperature_mc: int | None = None
    links_up: int | None = None
    link_in_bytes: int | None = None
    link_out_bytes: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None


_SINCE_VERSION_2 = (
    "temperature_mc",
    "links_up",
    "link_in_bytes",
    "link_out_bytes",
    "ecc_corrected",
    "ecc_uncorrected",
)


def encode_sample(sample: RawSample) -> bytes:
    """The line of a sample, without a newline."""
    value: dict[str, object] = {name: getattr(sample, name) for name in RawSample.__slots__}
    value["schema"] = f"{SAMPLE_SCHEMA}.v{SAMPLE_VERSION}"
    return encode(value)


def parse_sample(line: bytes) -> RawSample:
    """The sample in a line, read strictly. Raises EvidenceError naming the field."""
    fields = parse_object(line, "sample", LINE_LIMIT_BYTES)
    version = fields.version(SAMPLE_SCHEMA, SAMPLE_VERSION)
    sample = RawSample(
        device_id=fields.text("device_id", 64),
        at_ms=fields.integer("at_ms"),
        allocation_id=fields.optional_text("allocation_id", 64),
        health=fields.choice("health", HEALTHS),
        live_ms=fields.integer("live_ms"),
        busy_ms=fields.integer("busy_ms"),
        cpu_ms=fields.optional_integer("cpu_ms"),
        utilisation_ppm=fields.optional_integer("utilisation_ppm", 0, WHOLE_PPM),
        memory_bytes=fields.optional_integer("memory_bytes"),
        power_mw=fields.optional_integer("power_mw"),
        energy_mj=fields.optional_integer("energy_mj"),
        processes=fields.integer("processes"),
        **{name: fields.optional_integer(name) for name in _SINCE_VERSION_2 if version > 1},
    )
    fields.done()
    return sample


def samples_root(lines: Sequence[bytes]) -> str | None:
    """Hex of the Merkle root over exact lines in order; None where there is none."""
    tree = CompactRange()
    for line in lines:
        tree.append(leaf_hash(line))
    return tree.root().hex() if tree.size else None


@dataclass(frozen=True, slots=True)
class SampleProblem:
    """What raw samples do not bear out of their segment."""

    field: str
    got: str
    want: str


def check_samples(segment: Segment, lines: Sequence[bytes]) -> list[SampleProblem]:
    """Whether exact lines are those that the segment was signed over, and add up to what it says.

    Empty where they do. Never raises.
    """
    root = samples_root(lines)
    if segment.samples_root is None or root != segment.samples_root:
        want = segment.samples_root or "a segment that was signed over raw samples"
        return [SampleProblem("samples_root", str(root), want)]
    problems: list[SampleProblem] = []
    samples: list[RawSample] = []
    for n, line in enumerate(lines):
        try:
            samples.append(parse_sample(line))
        except EvidenceError as error:
            return [SampleProblem(f"samples[{n}].{error.field}", error.got, error.want)]
    problems += _misplaced(segment, samples)
    if segment.samples_taken > len(samples):
        problems.append(SampleProblem("samples_taken", str(segment.samples_taken), f"at most {len(samples)}"))
    highest = (
        ("utilisation_max_ppm", max((s.utilisation_ppm or 0 for s in samples), default=0)),
        ("memory_max_bytes", max((s.memory_bytes or 0 for s in samples), default=0)),
        ("processes_max", max((s.processes for s in samples), default=0)),
        ("temperature_max_mc", max((s.temperature_mc or 0 for s in samples), default=0)),
    )
    for name, most in highest:
        said = getattr(segment.hardware if name == "temperature_max_mc" else segment, name) or 0
        if said < most:
            problems.append(SampleProblem(name, str(said), f"at least {most}, the highest sample"))
    # What lies between the last sample and the end of the stretch is in the sample after it.
    rest_ms = segment.end_ms - samples[-1].at_ms if samples else 0
    summed = (
        ("live_ms", sum(s.live_ms for s in samples) + rest_ms),
        ("busy_ms", sum(s.busy_ms for s in samples) + rest_ms),
    )
    for name, most in summed:
        said = getattr(segment, name)
        if said > most:
            problems.append(SampleProblem(name, str(said), f"at most {most}, by the samples"))
    return problems


def _misplaced(segment: Segment, samples: Sequence[RawSample]) -> list[SampleProblem]:
    before_ms = segment.start_ms
    for n, sample in enumerate(samples):
        if sample.device_id != segment.device.device_id:
            return [SampleProblem(f"samples[{n}].device_id", sample.device_id, segment.device.device_id)]
        if sample.allocation_id != segment.allocation_id:
            want = str(segment.allocation_id)
            return [SampleProblem(f"samples[{n}].allocation_id", str(sample.allocation_id), want)]
        if not before_ms <= sample.at_ms <= segment.end_ms:
            want = f"from {before_ms} to {segment.end_ms}"
            return [SampleProblem(f"samples[{n}].at_ms", str(sample.at_ms), want)]
        before_ms = sample.at_ms
    return []
