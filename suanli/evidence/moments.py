"""Moments as people read them in findings; programs have the milliseconds of the records."""

from __future__ import annotations

from datetime import UTC, datetime

_NO_CALENDAR_MS = 253_402_300_800_000


def shown_time(time_ms: object) -> str:
    """`2026-11-01T00:00:00Z` of milliseconds UTC, with `.500` where the second is not whole; hostile records may hold
    times that no calendar has.
    """
    if not isinstance(time_ms, int) or not 0 <= time_ms < _NO_CALENDAR_MS:
        return f"{time_ms} ms"
    seconds, rest = divmod(time_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{rest:03d}Z" if rest else f"{moment}Z"


def shown_stretch(start_ms: int, end_ms: int) -> str:
    """`[2026-11-01T00:00:00Z, 2026-11-01T00:05:00Z)`: the end is not in it."""
    return f"[{shown_time(start_ms)}, {shown_time(end_ms)})"
