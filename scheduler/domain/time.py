"""Times are integer milliseconds of UTC since 1970; RFC 3339 text with `Z` only at the edges."""

from datetime import UTC, datetime, timedelta

from suanli.rating.billing_zone import BILLING_ZONE

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
# Windows are cut here, and prices, programs, days and months begin here: no window ever needs splitting.
GRID_MS = 5 * MINUTE_MS

LAST_MS = 253_402_300_799_999  # of the last year that a calendar has, 9999

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(at_ms: int) -> datetime:
    """The moment as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def from_datetime(at: datetime) -> int:
    """Milliseconds of an aware datetime, rounded down. Raises ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone has no meaning here")
    return (at - _EPOCH) // timedelta(milliseconds=1)


def to_rfc3339(at_ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`."""
    return to_datetime(at_ms).isoformat(timespec="milliseconds")[:-6] + "Z"  # a third of the time of strftime


def from_rfc3339(text: str) -> int:
    """Milliseconds of an RFC 3339 time with an offset or `Z`. Raises ValueError."""
    return from_datetime(datetime.fromisoformat(text))


def of_bills(text: str) -> int:
    """The same; a date, or a time without a zone, is on the clock of the bills. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return from_datetime(at if at.tzinfo is not None else at.replace(tzinfo=BILLING_ZONE))


def on_grid(at_ms: int) -> bool:
    """Whether the moment lies on the 5-minute grid."""
    return at_ms % GRID_MS == 0


def month_begin_ms(now_ms: int) -> int:
    """The beginning of the month of `now_ms` in the zone of the bills."""
    now = to_datetime(now_ms).astimezone(BILLING_ZONE)
    return from_datetime(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def next_month_ms(now_ms: int, months: int = 1) -> int:
    """The beginning of a later month in the zone of the bills."""
    now = to_datetime(now_ms).astimezone(BILLING_ZONE)
    years, month = divmod(now.month - 1 + months, 12)
    return from_datetime(datetime(now.year + years, month + 1, 1, tzinfo=BILLING_ZONE))


def year_begin_ms(now_ms: int) -> int:
    """The beginning of the year of `now_ms` in the zone of the bills."""
    now = to_datetime(now_ms).astimezone(BILLING_ZONE)
    return from_datetime(datetime(now.year, 1, 1, tzinfo=BILLING_ZONE))
