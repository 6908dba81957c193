"""The sum over one stretch of one device: what a segment of a usage window is made from."""

from dataclasses import dataclass, field
from typing import Any

from agents.core.hardware import HardwareTally
from agents.core.readings import WHOLE_PPM, Interval, share
from suanli.evidence.merkle import CompactRange, leaf_hash


@dataclass
class Tally:
    """A device or part, one stretch, one allocation or none; `*_ppm_ms` and `*_byte_ms` are weighted by time."""

    start_ms: int
    end_ms: int
    observed: str
    allocation_id: str | None
    measured_by: str
    samples_taken: int = 0
    live_ms: int = 0
    busy_ms: int = 0
    cpu_ms: int | None = None
    utilisation_ppm_ms: int = 0
    utilisation_known_ms: int = 0
    utilisation_max_ppm: int | None = None
    memory_byte_ms: int = 0
    memory_known_ms: int = 0
    memory_max_bytes: int | None = None
    processes_max: int = 0
    energy_mj: int | None = None
    energy_method: str = "none"
    # Merkle tree over the raw samples of the stretch: how many, and the hashes of its complete subtrees.
    raw_samples: int = 0
    raw_peaks: list[str] = field(default_factory=list)
    hardware: HardwareTally = field(default_factory=HardwareTally)
    share_ppm: int = WHOLE_PPM  # of the device

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Tally":
        """From the journal; one of an older agent knows no hardware."""
        return cls(**value | {"hardware": HardwareTally(**value.get("hardware", {}))})

    @classmethod
    def begin(cls, start_ms: int, interval: Interval) -> "Tally":
        """An empty tally of the interval's kind."""
        kind = (interval.observed, interval.allocation_id, interval.measured_by)
        return cls(start_ms, start_ms, *kind, share_ppm=interval.share_ppm)

    def takes(self, interval: Interval) -> bool:
        """True where the interval goes on with the same kind of stretch."""
        kind = (self.observed, self.allocation_id, self.measured_by, self.share_ppm)
        theirs = (interval.observed, interval.allocation_id, interval.measured_by, interval.share_ppm)
        return kind == theirs

    def add(
        self,
        interval: Interval,
        part: tuple[int, int],
        whole_ms: int,
        sampled: bool,
        raw: bytes | None = None,
    ) -> None:
        """Add the part [a, b) of an interval of `whole_ms`; extremes are taken whole.

        `raw` is the line of the raw sample at its end.
        """
        length_ms = part[1] - part[0]
        self.end_ms += length_ms
        lived_ms = min(share(interval.live_ms, *part, whole_ms), length_ms)
        self.live_ms += lived_ms
        self.busy_ms += min(share(interval.busy_ms, *part, whole_ms), lived_ms)
        if interval.cpu_ms is not None:
            self.cpu_ms = (self.cpu_ms or 0) + share(interval.cpu_ms, *part, whole_ms)
        if interval.utilisation_ppm is not None:
            self.utilisation_ppm_ms += interval.utilisation_ppm * length_ms
            self.utilisation_known_ms += length_ms
            self.utilisation_max_ppm = max(self.utilisation_max_ppm or 0, interval.utilisation_ppm)
        if interval.memory_bytes is not None:
            self.memory_byte_ms += interval.memory_bytes * length_ms
            self.memory_known_ms += length_ms
            self.memory_max_bytes = max(self.memory_max_bytes or 0, interval.memory_bytes)
        self.processes_max = max(self.processes_max, interval.processes)
        if interval.energy_mj is not None:
            self.energy_mj = (self.energy_mj or 0) + share(interval.energy_mj, *part, whole_ms)
            if self.energy_method != "integrated":  # one integrated part makes the sum integrated
                self.energy_method = interval.energy_method
        self.hardware.add(interval.hardware, part, whole_ms, at_end=part[1] == whole_ms)
        self.samples_taken += sampled
        if raw is not None:
            tree = CompactRange(self.raw_samples, [bytes.fromhex(peak) for peak in self.raw_peaks])
            tree.append(leaf_hash(raw))
            self.raw_samples, self.raw_peaks = tree.size, [peak.hex() for peak in tree.peaks]

    @property
    def samples_root(self) -> str | None:
        """Root over the raw samples; None where there are none."""
        if not self.raw_samples:
            return None
        return CompactRange(self.raw_samples, [bytes.fromhex(peak) for peak in self.raw_peaks]).root().hex()

    @property
    def utilisation_mean_ppm(self) -> int | None:
        """Weighted by time; None where nobody could tell."""
        return self.utilisation_ppm_ms // self.utilisation_known_ms if self.utilisation_known_ms else None

    @property
    def memory_mean_bytes(self) -> int | None:
        """Weighted by time; None where nobody could tell."""
        return self.memory_byte_ms // self.memory_known_ms if self.memory_known_ms else None


def samples_expected(start_ms: int, end_ms: int, sample_ms: int) -> int:
    """Sampling instants (multiples of `sample_ms`) in [start, end)."""
    return -(-end_ms // sample_ms) + (start_ms // -sample_ms)
