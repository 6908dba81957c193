"""RFC 9457 problem documents, for the OpenAPI document."""

from typing import Any

from scheduler.api.schemas.base import Out


class FieldErrorOut(Out):
    """A field that is wrong."""

    field: str
    got: str
    want: str


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
