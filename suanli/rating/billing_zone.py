"""The clock of the bills."""

from datetime import timedelta, timezone

BILLING_ZONE = timezone(timedelta(hours=8), "Asia/Shanghai")
"""Bills and budgets run by the month of China, which has one zone and no summer time."""
