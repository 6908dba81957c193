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
        ("yesterday", "2026-10-01T00:00:00Z", "--from: got 'yesterday', want a date like"),
        (
            "2026-02-30",
            "2026-03-01",
            "--from: got '2026-02-30', want a day that there is: 2026-02 has 28 days",
        ),
        ("2026-10-02", "2026-10-01", "--to: got 2026-10-01, want a time after 2026-10-02"),
        ("0001-01-01", "0001-01-01", "--to: got 0001-01-01, want a time after 0001-01-01"),
    ],
)
def test_moments_that_make_no_period_are_refused(begin: str, end: str | None, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        history_period(begin, end)
