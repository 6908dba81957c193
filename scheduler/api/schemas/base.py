"""What all schemas share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from scheduler.domain.time import to_rfc3339

Decimal = Annotated[str, Field(pattern=r"^\d{1,9}(\.\d+)?$")]


class In(BaseModel):
    """A request's body: unknown fields and wrong types are refused, nothing is converted."""

    # Built when it is first used: dozens of models at every start are what nobody asked for.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class Out(BaseModel):
    """An answer. Fields may be added; clients must ignore those that they do not know."""

    model_config = ConfigDict(defer_build=True)


class Page(Out):
    """One page of a list."""

    next_cursor: str | None = None


def utc(at_ms: int) -> str:
    """RFC 3339 in UTC, `2026-01-01T00:00:00.000Z`."""
    return to_rfc3339(at_ms)


def utc_or_none(at_ms: int | None) -> str | None:
    """The same of a time that may not have come yet."""
    return None if at_ms is None else to_rfc3339(at_ms)
