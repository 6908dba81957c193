"""Times at the edge: the server speaks RFC 3339 in UTC, people read the clock of this machine, and of periods of bills
the clock of the bills."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from suanli.cli.errors import MISUSED, CliError
from suanli.rating.billing_zone import BILLING_ZONE
from suanli.rating.no_such_time import wanted_time

BILLING_CLOCK = "Asia/Shanghai (UTC+08:00)"

_UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_WANT = "a date like 2026-01-31, or a time like 2026-01-31T08:00+08:00"
_HOUR_MS = 3_600_000
_LEAST_HOURS = 0.000001
_AGO = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")


def local(moment: str | None) -> str:
    """`2026-01-01 08:00:00` on this machine's clock; empty for a time that has not come."""
    return "" if moment is None else _on_clock(moment, None)


def billing_time(moment: str) -> str:
    """The same on the clock of the bills."""
    return _on_clock(moment, BILLING_ZONE)


def _on_clock(moment: str, zone: tzinfo | None) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return moment


def with_local_times(sentence: str) -> str:
    """A sentence of the server, its times on this machine's clock."""
    return _UTC_TIME.sub(lambda match: local(match[0]), sentence)


def with_zoned_times(sentence: str) -> str:
    """The same with the zone: beside them stands what somebody typed, which may be of another."""
    return _UTC_TIME.sub(lambda match: _zoned(match[0]), sentence)


def _zoned(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return moment


def with_billing_times(sentence: str) -> str:
    """The same on the clock of the bills, which each time says."""
    return _UTC_TIME.sub(lambda match: f"{billing_time(match[0])}+08:00", sentence)


def local_exact(moment: str | None) -> str:
    """`2026-01-01T08:00:00.123+08:00` on this machine's clock; `-` for a time that nobody noted."""
    if moment is None:
        return "-"
    try:
        return datetime.fromisoformat(moment).astimezone().isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return moment


def zone_name(now: datetime | None = None) -> str:
    """`CST (UTC+08:00)`: which clock the times are on."""
    here = (now or datetime.now(UTC)).astimezone()
    offset = here.utcoffset() or timedelta(0)
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    text = f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    name = here.tzname() or ""
    return text if not name or name == "UTC" or not name.isalpha() else f"{name} ({text})"


def to_rfc3339(text: str | None, option: str) -> str | None:
    """What was typed (a date, a time on this machine's clock, or RFC 3339) with its zone."""
    return None if text is None else _with_zone(text, option, None)


def billing_moment(text: str, option: str) -> str:
    """The same where a period of bills is named: without a zone it is on the clock of the bills, as months are."""
    return _with_zone(text, option, BILLING_ZONE)


def _with_zone(text: str, option: str, zone: tzinfo | None, want: str = _WANT) -> str:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
        return moment.isoformat()
    except (ValueError, OverflowError, OSError):
        raise CliError(f"{option}: got {text!r}, want {wanted_time(text, want)}", MISUSED) from None


def moment_or_ago(text: str | None, option: str, now: datetime | None = None) -> str | None:
    """What was typed (how long ago, such as 90s, 10m, 2h, 1d or 1h30m, or a time as `to_rfc3339` takes it)."""
    match = None if text is None else _AGO.fullmatch(text)
    if text and match is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return ((now or datetime.now(UTC)) - span).isoformat(timespec="milliseconds")
    want = "how long ago, like 10m or 2h, or a time like 2026-01-31T08:00"
    return None if text is None else _with_zone(text, option, None, want)


def ago(moment: str | None, now: datetime | None = None) -> str:
    """`3 min`: how long ago, coarse."""
    if moment is None:
        return ""
    try:
        seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return duration(max(seconds, 0))


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def hours(milliseconds: int | None) -> str:
    """`1.250` device-hours; `0.000278` where there is little, and never nothing for something.

    Points of a column stand below each other.
    """
    if milliseconds is None:
        return ""
    value = milliseconds / _HOUR_MS
    if value >= 0.1 or value == 0:
        return f"{value:,.3f}   "
    return f"{value:.6f}" if value >= _LEAST_HOURS else f"<{_LEAST_HOURS:.6f}"
