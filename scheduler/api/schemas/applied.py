"""What applying a configuration did, over HTTP."""

from typing import Annotated, Any

from pydantic import Field

from scheduler.api.schemas.base import Out
from scheduler.api.schemas.problems import FieldErrorOut, field_errors_out
from scheduler.services.application import Applied, Change


class DifferenceOut(Out):
    """One fact of an object that changed."""

    field: str
    was: Any
    now: Any


class ChangeOut(Out):
    """What happened to one object: created, changed or unchanged."""

    kind: str
    name: str
    outcome: str
    differences: list[DifferenceOut]


class AppliedOut(Out):
    """What applying did, or would do."""

    dry_run: bool
    changes: list[ChangeOut]
    warnings: Annotated[list[FieldErrorOut], Field(description="What was written, and can hardly be meant.")]


def applied_out(applied: Applied, *, dry_run: bool) -> AppliedOut:
    """What applying did, for the wire."""
    return AppliedOut(
        dry_run=dry_run,
        changes=[_change_out(change) for change in applied.changes],
        warnings=field_errors_out(applied.warnings),
    )


def _change_out(change: Change) -> ChangeOut:
    """A change for the wire."""
    return ChangeOut(
        kind=change.kind,
        name=change.name,
        outcome=change.outcome,
        differences=[DifferenceOut(field=d.field, was=d.was, now=d.now) for d in change.differences],
    )
