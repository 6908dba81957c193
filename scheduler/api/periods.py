"""Periods in a query: `from` and `to`, RFC 3339 with a zone."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.time import from_datetime, from_rfc3339, month_begin_ms
from suanli.rating.no_such_time import wanted_time

LAST_MS = from_datetime(datetime(9999, 1, 1, tzinfo=UTC))

From = Annotated[str | None, Query(alias="from", max_length=40, description="RFC 3339 with its zone.")]
To = Annotated[str | None, Query(max_length=40, description="RFC 3339 with its zone; not included.")]


def moment_ms(text: str | None, name: str, where: str = "query ") -> int | None:
    """A time of a query, or of a body. Raises Invalid."""
    if text is None:
        return None
    try:
        # "+" in a query is a space to most readers of URLs.
        text = text.replace(" ", "+")
        at_ms = from_rfc3339(text)
    except (ValueError, OverflowError):
        at_ms = -1
    if not 0 <= at_ms <= LAST_MS:
        want = "a time with its zone, like 2026-01-01T00:00:00+08:00 (+ written as %2B)"
        raise Invalid([FieldProblem(f"{where}{name}", text[:40], wanted_time(text, want))])
    return at_ms


def period_ms(from_: str | None, to: str | None, now_ms: int) -> tuple[int, int]:
    """[from, to), by default this month until now, and never beyond now. Raises Invalid for a period that is none."""
    from_ms, to_ms = moment_ms(from_, "from"), moment_ms(to, "to")
    end_ms = now_ms if to_ms is None else min(to_ms, now_ms)
    begin_ms = month_begin_ms(end_ms) if from_ms is None else from_ms
    if to_ms is not None and to_ms <= begin_ms:
        raise Invalid([FieldProblem("query to", str(to), "a time after the beginning of the period")])
    if end_ms <= begin_ms:
        raise Invalid([FieldProblem("query from", str(from_), "a time before now")])
    return begin_ms, end_ms
