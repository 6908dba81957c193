"""Which period an export covers."""

from datetime import UTC, datetime

import pytest

from scheduler.admin import history_period
from scheduler.domain.time import from_rfc3339


def test_without_moments_it_is_the_last_whole_month_in_asia_shanghai() -> None:
    # The first of November has begun in Shanghai, not in UTC.
    found = history_period(None, None, datetime(2026, 10, 31, 17, 0, tzinfo=UTC))
    assert found == (from_rfc3339("2026-10-01T00:00:00+08:00"), from_rfc3339("2026-11-01T00:00:00+08:00"))


def test_dates_are_days_of_the_bills_zone() -> None:
    assert history_period("2026-10-01", "2026-10-15") == (
        from_rfc3339("2026-10-01T00:00:00+08:00"),
        from_rfc3339("2026-10-15T00:00:00+08:00"),
    )


@pytest.mark.parametrize(
    ("begin", "end", "fault"),
    [
        ("2026-10-01T00:00:00Z", None, "give both"),
        ("yesterday", "2026-10-01T00:00:00Z", "--from: 'yesterday'"),
        ("2026-10-01T00:00:00Z", "2026-10-01T00:00:00Z", "--to: wanted a moment after"),
    ],
)
def test_moments_that_make_no_period_are_refused(begin: str, end: str | None, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        history_period(begin, end)
