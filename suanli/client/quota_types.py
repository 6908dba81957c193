"""What is shared: quotas of queues and cohorts, and the calendar."""

from __future__ import annotations

from typing import TypedDict


class Quota(TypedDict):
    """One limit of a queue (or, without a firm, a cohort), with what is held of it."""

    firm: str | None
    name: str
    cohort: str | None
    key: str
    nominal: int
    held: int
    available: int | None
    borrowing: int | None
    lending: int | None


class CalendarEntry(TypedDict):
    """A maintenance window or, with a firm, an advance reservation."""

    name: str
    firm: str | None
    queue: str | None
    nodes: list[str]
    begins: str
    ends: str
    why: str
