"""What can go wrong between a client and the API, as exceptions whose text is a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class ClientError(Exception):
    """Root of the tree."""


class Unusable(ClientError):
    """What was named here (a profile, a key, a folder) cannot be used: the server was not asked."""


class NoProfile(Unusable):
    """Nobody said which server and which key."""


class Unreachable(ClientError):
    """The server did not answer, or something else did."""


@dataclass(frozen=True)
class FieldError:
    """A field that is wrong: its path, what came and what is wanted."""

    field: str
    got: str
    want: str

    def __str__(self) -> str:
        return f"{self.field}: got {self.got}, want {self.want}"


class Refused(ClientError):
    """The API answered with a problem document (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail or problem.title)

    @property
    def code(self) -> str:
        """The stable code, for programs."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class KeyRefused(Refused):
    """The API key is missing, unknown, revoked or expired."""


class NotFound(Refused):
    """There is no such thing, or it belongs to another firm."""


@dataclass(frozen=True)
class Problem:
    """A problem document."""

    status: int
    code: str
    title: str
    detail: str
    errors: Sequence[FieldError] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None


def refused(status: int, body: Any, request_id: str | None) -> Refused:
    """The exception of an answer that is a refusal, whatever its body."""
    document: Mapping[str, Any] = body if isinstance(body, dict) else {}
    found = document.get("errors")
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    facts = document.get("facts")
    problem = Problem(
        status=status,
        code=str(document.get("code", f"http_{status}")),
        title=str(document.get("title", f"HTTP status {status}")),
        detail=str(document.get("detail", "")),
        errors=tuple(
            FieldError(str(item.get("field", "")), str(item.get("got", "")), str(item.get("want", "")))
            for item in items
        ),
        facts=facts if isinstance(facts, dict) else {},
        request_id=request_id,
    )
    kinds: dict[int, type[Refused]] = {401: KeyRefused, 404: NotFound}
    return kinds.get(status, Refused)(problem)
