"""RFC 9457 problem documents, for the OpenAPI document."""

from collections.abc import Iterable
from typing import Any

from scheduler.api.schemas.base import Out
from scheduler.domain.errors import FieldProblem


class FieldErrorOut(Out):
    """A field that is wrong."""

    field: str
    got: str
    want: str


def field_errors_out(problems: Iterable[FieldProblem]) -> list[FieldErrorOut]:
    """Fields for the wire."""
    return [FieldErrorOut(field=p.field, got=p.got, want=p.want) for p in problems]


class ProblemOut(Out):
    """Why a request was refused. `code` is stable and for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldErrorOut]
    facts: dict[str, Any] | None = None
    request_id: str | None = None
