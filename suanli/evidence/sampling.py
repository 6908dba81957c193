"""Random samples for inspection: drawn by the verifier, from a seed that the operator cannot choose.

The seed is a log checkpoint published after the period had closed and cosigned by the reader's witnesses: when the
windows were signed, nobody knew it. Drawn are, in every stratum (firm, device model, decade of the amount), the
segments in use with the lowest hashes under the seed, for their raw samples; and in every pair of firm and model
devices, for a visit. The same bundle and seed give the same sample on any machine.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import LogCheckpoint
from suanli.evidence.strict_json import Fields, encode, parse_object
from suanli.evidence.windows import Segment

SEED_LABEL = b"suanli/sample/v1\n"
REQUEST_SCHEMA = "suanli.sample_request.v1"
REQUEST_LIMIT_BYTES = 64 << 20
DRAWN_LIMIT = 100_000


def sample_seed(head: LogCheckpoint) -> bytes:
    """The seed that a log checkpoint gives."""
    return hashlib.sha256(SEED_LABEL + head.text().encode("utf-8")).digest()


def draw_entries(seed: bytes, first: int, stop: int, count: int) -> list[int]:
    """`count` indexes of [first, stop) under a seed, in order; all of them where there are no more.

    A counter is hashed with the seed until enough differ, so that the cost does not grow with the log.
    """
    if stop - first <= count:
        return list(range(first, stop))
    drawn: set[int] = set()
    number = 0
    while len(drawn) < count:
        wide = hashlib.sha256(seed + f"entry {number}".encode("ascii")).digest()
        drawn.add(first + int.from_bytes(wide, "big") % (stop - first))
        number += 1
    return sorted(drawn)


class Stratum(NamedTuple):
    """Of each of these, some are drawn. `magnitude` is the number of digits of the amount in fen."""

    firm_id: str
    model: str
    magnitude: int


@dataclass(frozen=True, slots=True)
class DrawnSegment:
    """A segment whose raw samples are asked for: place in the log, place in the window, and what it says."""

    index: int
    n: int
    stratum: Stratum
    segment: Segment

    @property
    def path(self) -> str:
        """Name of the file in the proof packet that holds its raw samples, a line each."""
        return f"samples/{self.index}-{self.n}.jsonl"


class _Lowest:
    """The `size` items of the lowest rank."""

    __slots__ = ("items", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.items: list[tuple[int, tuple[object, ...], object]] = []

    def offer(self, rank: int, key: tuple[object, ...], item: object) -> None:
        # A heap gives its smallest first: ranks are negated, so that the largest goes.
        if len(self.items) < self.size:
            heapq.heappush(self.items, (-rank, key, item))
        elif -rank > self.items[0][0]:
            heapq.heapreplace(self.items, (-rank, key, item))


@dataclass(slots=True)
class Sampler:
    """Sees every segment in use once, keeps `size` a stratum. Samplers of parts of a bundle can be merged."""

    seed: bytes
    size: int
    _segments: dict[Stratum, _Lowest] = field(default_factory=dict)
    _devices: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)

    def _rank(self, what: str) -> int:
        return int.from_bytes(hashlib.sha256(self.seed + what.encode("utf-8")).digest()[:16], "big")

    def observe(self, index: int, segment: Segment, stratum: Stratum) -> None:
        """Takes a segment in use."""
        lowest = self._segments.setdefault(stratum, _Lowest(self.size))
        rank = self._rank(f"segment {index} {segment.n}")
        lowest.offer(rank, (index, segment.n), DrawnSegment(index, segment.n, stratum, segment))
        devices = self._devices.setdefault((stratum.firm_id, stratum.model), {})
        device_id = segment.device.device_id
        if device_id not in devices:
            devices[device_id] = self._rank(f"device {device_id}")

    def merge(self, other: Sampler) -> None:
        """Adds what was seen elsewhere under the same seed."""
        for stratum, theirs in other._segments.items():
            mine = self._segments.setdefault(stratum, _Lowest(self.size))
            for rank, key, item in theirs.items:
                mine.offer(-rank, key, item)
        for place, devices in other._devices.items():
            self._devices.setdefault(place, {}).update(devices)

    def segments(self) -> list[DrawnSegment]:
        """The drawn segments in log order."""
        drawn = [
            item
            for lowest in self._segments.values()
            for _, _, item in lowest.items
            if isinstance(item, DrawnSegment)
        ]
        return sorted(drawn, key=lambda item: (item.index, item.n))

    def devices(self) -> list[tuple[str, str, str]]:
        """(firm, model, device) of the devices to be visited."""
        return [
            (firm_id, model, device_id)
            for (firm_id, model), devices in sorted(self._devices.items())
            for device_id in sorted(devices, key=devices.__getitem__)[: self.size]
        ]


@dataclass(frozen=True, slots=True)
class RequestedSamples:
    """What one segment of a request asks of a node."""

    path: str
    node_id: str
    device_id: str
    allocation_id: str
    start_ms: int
    end_ms: int


def encode_request(seed: bytes, segments: list[DrawnSegment], devices: list[tuple[str, str, str]]) -> bytes:
    """The request that goes to the operator: raw samples of these segments; devices, for the visit."""
    return encode(
        {
            "schema": REQUEST_SCHEMA,
            "seed": seed.hex(),
            "segments": [
                {
                    "path": drawn.path,
                    "node_id": drawn.segment.node_id,
                    "device_id": drawn.segment.device.device_id,
                    "allocation_id": drawn.segment.allocation_id,
                    "start_ms": drawn.segment.start_ms,
                    "end_ms": drawn.segment.end_ms,
                }
                for drawn in segments
            ],
            "devices": [
                {"firm_id": firm_id, "model": model, "device_id": device_id}
                for firm_id, model, device_id in devices
            ],
        }
    )


def parse_request(data: bytes) -> list[RequestedSamples]:
    """The segments that a request asks for, read strictly. Raises EvidenceError."""
    fields = parse_object(data, "sample_request", REQUEST_LIMIT_BYTES)
    fields.schema(REQUEST_SCHEMA)
    fields.hex("seed", 32)
    wanted = [_read_segment(item) for item in fields.objects("segments", DRAWN_LIMIT)]
    for item in fields.objects("devices", DRAWN_LIMIT):
        for name in ("firm_id", "model", "device_id"):
            item.text(name, 128)
        item.done()
    fields.done()
    return wanted


MISSING = "samples/missing.json"
"""File of a packet in which the operator says why what was drawn is not in it."""
MISSING_SCHEMA = "suanli.samples_missing.v1"


def encode_missing(reasons: Mapping[str, str]) -> bytes:
    """The reasons by the names of the files that are not there."""
    segments = [{"path": path, "reason": reasons[path]} for path in sorted(reasons)]
    return encode({"schema": MISSING_SCHEMA, "segments": segments})


def parse_missing(data: bytes) -> dict[str, str]:
    """What `encode_missing` wrote, read strictly. Raises EvidenceError."""
    fields = parse_object(data, "samples_missing", REQUEST_LIMIT_BYTES)
    fields.schema(MISSING_SCHEMA)
    reasons: dict[str, str] = {}
    for item in fields.objects("segments", DRAWN_LIMIT):
        reasons[item.text("path", 64)] = item.text("reason", 512)
        item.done()
    fields.done()
    return reasons


def _read_segment(fields: Fields) -> RequestedSamples:
    wanted = RequestedSamples(
        path=fields.text("path", 64),
        node_id=fields.text("node_id", 64),
        device_id=fields.text("device_id", 64),
        allocation_id=fields.text("allocation_id", 64),
        start_ms=fields.integer("start_ms"),
        end_ms=fields.integer("end_ms"),
    )
    fields.done()
    index, _, n = wanted.path.removeprefix("samples/").removesuffix(".jsonl").partition("-")
    if wanted.path != f"samples/{index}-{n}.jsonl" or not (index + n).isdigit() or not (index + n).isascii():
        raise EvidenceError(f"{fields.path}.path", wanted.path, "samples/INDEX-N.jsonl")
    return wanted
