"""The key that signs usage windows, and how a closed window becomes a signed one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from agents.core.meter import ClosedWindow
from agents.core.tally import Tally, samples_expected
from agents.refusals import StateUnusable
from agents.state_folder import StateFolder
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import SEED_BYTES, SigningKey
from suanli.evidence.window_writing import build_window
from suanli.evidence.windows import (
    SALT_BYTES,
    ClockReading,
    SeenCheckpoint,
    Segment,
    SignedWindow,
    WindowHeader,
)

KEY_FILE = "window.key"


def load_or_make_key(state: StateFolder) -> SigningKey:
    """The node's key, made at the first start. Raises StateUnusable."""
    seed = state.read(KEY_FILE)
    if seed is None:
        seed = os.urandom(SEED_BYTES)
        state.write(KEY_FILE, seed)
    if len(seed) != SEED_BYTES:
        raise StateUnusable(f"{state.path / KEY_FILE} holds {len(seed)} bytes, not a key of {SEED_BYTES}")
    return SigningKey(seed)


@dataclass(frozen=True)
class Chain:
    """Where the node's chain of windows goes on."""

    seq: int
    prev_hash: str
    prev_signature_hash: str | None = None
    """None for the first window, and where an older agent made the one before and did not note it."""


@dataclass(frozen=True)
class Sealer:
    """Numbers and signs windows of one node. `devices` by index on the node."""

    node_id: str
    agent_version: str
    driver: str
    simulated: bool
    window_ms: int
    sample_ms: int
    devices: Mapping[int, DeviceIdentity]
    key: SigningKey

    def seal(
        self, window: ClosedWindow, chain: Chain, clock: ClockReading, seen: SeenCheckpoint | None
    ) -> SignedWindow:
        """The signed window. Salts are random. Raises EvidenceError where it would not be accepted."""
        header = WindowHeader(
            node_id=self.node_id,
            key_id=self.key.key_id,
            seq=chain.seq,
            prev_hash=chain.prev_hash,
            boot_id=window.boot_id,
            agent_version=self.agent_version,
            driver=self.driver,
            simulated=self.simulated,
            isolation=window.isolation,
            start_ms=window.start_ms,
            end_ms=window.end_ms,
            boot_start_ns=window.boot_start_ns,
            boot_end_ns=window.boot_end_ns,
            clock=clock,
            log_checkpoint=seen,
            window_ms=self.window_ms,
            closed_by=window.closed_by,
            prev_signature_hash=chain.prev_signature_hash,
        )
        pieces = [(index, tally) for index, tallies in window.tallies.items() for tally in tallies]
        segments = [self._segment(chain.seq, n, index, tally) for n, (index, tally) in enumerate(pieces)]
        salts = [os.urandom(SALT_BYTES) for _ in segments]
        return build_window(header, segments, salts, self.key.sign)

    def _segment(self, seq: int, n: int, index: int, tally: Tally) -> Segment:
        unknown = tally.observed == "unknown"
        expected = samples_expected(tally.start_ms, tally.end_ms, self.sample_ms)
        return Segment(
            node_id=self.node_id,
            seq=seq,
            n=n,
            device=self.devices[index],
            start_ms=tally.start_ms,
            end_ms=tally.end_ms,
            observed=tally.observed,
            allocation_id=tally.allocation_id,
            share_ppm=tally.share_ppm,
            samples_expected=expected,
            samples_taken=0 if unknown else min(tally.samples_taken, expected),
            live_ms=tally.live_ms,
            busy_ms=tally.busy_ms,
            utilisation_mean_ppm=tally.utilisation_mean_ppm,
            utilisation_max_ppm=tally.utilisation_max_ppm,
            memory_mean_bytes=tally.memory_mean_bytes,
            memory_max_bytes=tally.memory_max_bytes,
            processes_max=tally.processes_max,
            cpu_time_ms=tally.cpu_ms,
            energy_mj=tally.energy_mj,
            energy_method=tally.energy_method if tally.energy_mj is not None else "none",
            measured_by=tally.measured_by,
            samples_root=tally.samples_root,
            hardware=tally.hardware.told(),
        )
