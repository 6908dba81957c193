"""The host's clocks: wall, boot, and what disciplines the wall clock (adjtimex(2))."""

import ctypes
import time

from suanli.evidence.windows import ClockReading

STA_UNSYNC = 0x40
TIME_ERROR = 5


class _Timex(ctypes.Structure):
    # struct timex of <sys/timex.h> on 64 bit Linux; only `status` and the error estimates are read.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def wall_ms() -> int:
    """Wall clock, milliseconds UTC."""
    return time.time_ns() // 1_000_000


def boot_ns() -> int:
    """CLOCK_BOOTTIME: since boot, sleep included, never set."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def clock_reading(meter_off_ms: int) -> ClockReading:
    """State of the wall clock, and how far the meter's clock is off it (positive: ahead)."""
    timex = _Timex()
    answer = _libc.adjtimex(ctypes.byref(timex))
    if answer < 0:
        return ClockReading("system", "unknown", meter_off_ms)
    synchronised = answer != TIME_ERROR and not timex.status & STA_UNSYNC
    return ClockReading("kernel", "synchronised" if synchronised else "unsynchronised", meter_off_ms)
