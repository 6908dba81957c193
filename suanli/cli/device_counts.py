"""How many devices: whole ones, and parts of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WHOLE_PPM = 1_000_000


def amount(ppm: int) -> str:
    """Millionths of a device as devices: `2`, `0.25`."""
    return f"{ppm / WHOLE_PPM:.6f}".rstrip("0").rstrip(".")


def asked(devices: int, share_ppm: int) -> str:
    """`8`; of parts `0.25`, or `4 x 0.25` where a gang has several."""
    if share_ppm == WHOLE_PPM:
        return str(devices)
    return amount(share_ppm) if devices == 1 else f"{devices} x {amount(share_ppm)}"


def share_ppm(spec: Mapping[str, Any]) -> int:
    """What a job has of each of its devices; the server has worked it out where the file names memory alone."""
    return int((spec["share"] or {}).get("ppm") or WHOLE_PPM)
