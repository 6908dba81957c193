"""Plain values of the synthetic operator: keys, devices, segments, headers, terms. Deterministic."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from suanli.evidence.hardware import UNKNOWN_HARDWARE, Hardware
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import SigningKey
from suanli.evidence.records import PriceVersion, ProgramVersion
from suanli.evidence.windows import NO_PREVIOUS, ClockReading, Segment, WindowHeader

ORIGIN = "ledger.example/test"
WITNESS = "witness.example/w"
T0 = 1_780_272_000_000
"""2026-06-01T00:00:00Z, a line of the grid."""
GRID = 300_000
MODEL = "ascend-910b3"
FOREIGN_MODEL = "nvidia-h20"
TOLD = Hardware("ok", 90_000, 46_000, 48_000, 7, 4_096, 8_192, 0, 0, 0)
"""What a device in good health tells."""


def seed(name: str) -> bytes:
    """32 bytes that only the name determines."""
    return hashlib.sha256(b"seed " + name.encode()).digest()


def firm_signing_key(firm_id: str) -> SigningKey:
    """The key with which a firm signs its receipts."""
    return SigningKey(seed(f"receipts of {firm_id}"))


def device(device_id: str, index: int = 0, **changes: object) -> DeviceIdentity:
    """A simulated device of MODEL with serial and uuid of its own."""
    base = DeviceIdentity(
        device_id=device_id,
        vendor="huawei",
        model=MODEL,
        index=index,
        serial=f"SN-{device_id}",
        uuid=f"UUID-{device_id}",
        bus_address=f"0000:0{index}:00.0",
        driver="simulated",
        driver_version="24.1",
        simulated=True,
        die_id=f"DIE-{device_id}",
        firmware="7.1.0.3.220",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def segment(device_: DeviceIdentity, start_ms: int, end_ms: int, **changes: object) -> Segment:
    """A free stretch of a device, measured by the agent."""
    samples = (end_ms - start_ms) // 1000
    base = Segment(
        node_id="node-a",
        seq=1,
        n=0,
        device=device_,
        start_ms=start_ms,
        end_ms=end_ms,
        observed="free",
        allocation_id=None,
        share_ppm=1_000_000,
        samples_expected=samples,
        samples_taken=samples,
        live_ms=0,
        busy_ms=0,
        utilisation_mean_ppm=0,
        utilisation_max_ppm=0,
        memory_mean_bytes=0,
        memory_max_bytes=0,
        processes_max=0,
        cpu_time_ms=None,
        energy_mj=None,
        energy_method="none",
        measured_by="agent",
        samples_root=None,
        hardware=UNKNOWN_HARDWARE if changes.get("observed") == "unknown" else TOLD,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def header(key: SigningKey, start_ms: int, end_ms: int, **changes: object) -> WindowHeader:
    """The header of a first window of node-a."""
    base = WindowHeader(
        node_id="node-a",
        key_id=key.key_id,
        seq=1,
        prev_hash=NO_PREVIOUS,
        boot_id="boot-1",
        agent_version="0.1.0",
        driver="simulated",
        simulated=True,
        isolation="uid",
        start_ms=start_ms,
        end_ms=end_ms,
        boot_start_ns=(start_ms - T0 + GRID) * 1_000_000,
        boot_end_ns=(end_ms - T0 + GRID) * 1_000_000,
        clock=ClockReading("chrony", "synchronised", 1),
        log_checkpoint=None,
        window_ms=GRID,
        closed_by="grid",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def price(**changes: object) -> PriceVersion:
    """13.5 CNY per device hour of MODEL from T0 on."""
    base = PriceVersion(
        price_id="price-1",
        device_model=MODEL,
        unit="device_hour",
        price_nano_cny=13_500_000_000,
        rounding="half_away_from_zero/fen/line",
        effective_from_ms=T0,
        effective_to_ms=None,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def program(**changes: object) -> ProgramVersion:
    """30% of settled fees for domestic models, allocated time."""
    base = ProgramVersion(
        program_id="etown-use",
        version=1,
        title="Use of domestic compute",
        legal_reference="Jingjiguanfa 2024 No. 29, art. 1",
        rate_ppm=300_000,
        rate_meaning="ceiling",
        usage_measure="allocated",
        domestic_only=True,
        domestic_models=(MODEL,),
        per_firm_cap_fen=2_000_000_000,
        effective_from_ms=T0,
        effective_to_ms=None,
    )
    return replace(base, **changes)  # type: ignore[arg-type]
