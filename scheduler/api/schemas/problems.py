"""RFC 9457 problem documents, for the OpenAPI document."""

from collections.abc import Iterable
from typing import Any

from scheduler.api.languages import detail_of
from scheduler.api.schemas.base import Out
from scheduler.domain.errors import UNKNOWN_FIELD, FieldProblem


class FieldErrorOut(Out):
    """A field that is wrong."""

    field: str
    got: str
    want: str


def field_errors_out(problems: Iterable[FieldProblem]) -> list[FieldErrorOut]:
    """Fields for the wire, of refusals and of warnings: `want` in the language of the caller of now."""
    return [FieldErrorOut(field=p.field, got=p.got, want=_wanted(p)) for p in problems]


def _wanted(wrong: FieldProblem) -> str:
    """Names of fields, among which programs look for the right one, stay as they are."""
    return wrong.want if wrong.got == UNKNOWN_FIELD else detail_of(wrong.want)


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
