"""One clock out of two: follows the wall, runs with the boot clock, never goes back.

The wall clock may be set by people and protocols; the boot clock (CLOCK_BOOTTIME) may not, and counts the
time in which the host slept. The meter's clock runs with the boot clock and leans towards the wall clock by
at most a tenth of its pace, so that small corrections bend it and none tears it. A wall that is far ahead is
jumped to, and the stretch jumped over is time that nobody measured.
"""

from dataclasses import dataclass

JUMP_MS = 10_000
LEAN = 10  # one part in this many


@dataclass
class MeterClock:
    """State of the clock: `at_ms` was its reading when the boot clock showed `boot_ns`."""

    at_ms: int
    boot_ns: int
    off_ms: int = 0  # meter's clock less wall clock, after the last reading

    def read(self, wall_ms: int, boot_ns: int) -> tuple[int, int | None]:
        """(now_ms, jumped_from_ms): the second is None unless the clock had to jump forward."""
        elapsed_ms = max(0, boot_ns - self.boot_ns) // 1_000_000
        if elapsed_ms == 0:
            return self.at_ms, None
        now_ms = self.at_ms + elapsed_ms
        lag_ms = wall_ms - now_ms
        jumped_from: int | None = None
        if lag_ms > JUMP_MS:
            jumped_from, now_ms = now_ms, wall_ms
        else:
            most_ms = max(1, elapsed_ms // LEAN) if elapsed_ms > 1 else 0
            now_ms += max(-most_ms, min(most_ms, lag_ms))
        self.at_ms = now_ms
        self.boot_ns += elapsed_ms * 1_000_000  # the rest of a millisecond is not lost
        self.off_ms = now_ms - wall_ms
        return now_ms, jumped_from

    def of_boot(self, boot_ns: int) -> int:
        """What the clock showed, or would have shown, at a moment of the boot clock."""
        return self.at_ms + (boot_ns - self.boot_ns) // 1_000_000
