"""Errors that a caller can act on, each with a stable code. Refusals of the planner are data, not errors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

# An answer tells of so many wrong fields, and so much of a path: a hostile request must not make an answer that is
# many times its own size.
MOST_PROBLEMS = 100
MOST_PATH_CHARACTERS = 300


UNKNOWN_FIELD = "an unknown field"  # as what came


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that is wrong: its path (`variants[0].model`), what came and what would be right."""

    field: str
    got: str
    want: str

    def __post_init__(self) -> None:
        if len(self.field) > MOST_PATH_CHARACTERS:
            object.__setattr__(self, "field", self.field[: MOST_PATH_CHARACTERS - 1] + "…")


class DomainError(Exception):
    """Root of the tree. `code` is stable and for programs; the message is a sentence for people; `problems` are the
    fields that are wrong, where some are."""

    code: ClassVar[str] = "error"
    problems: tuple[FieldProblem, ...] = ()

    def __init__(self, message: str, fields: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, object] = dict(fields or {})


class Invalid(DomainError):
    """The request itself is wrong; the same request will never be right. `problems` are the first of what is wrong,
    `count` and the message count all."""

    code = "invalid"

    def __init__(self, problems: Iterable[FieldProblem]) -> None:
        found = tuple(problems)
        self.problems = found[:MOST_PROBLEMS]
        self.count = len(found)
        first = found[0] if found else FieldProblem("", "", "")
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        super().__init__(f"{first.field}: got {first.got}, want {first.want}{more}")


class NotSupported(Invalid):
    """The request is well formed, and asks for what the executing side cannot do yet."""

    code = "not_supported"


class Unauthenticated(DomainError):
    """Nobody knows who calls."""

    code = "unauthenticated"


class Forbidden(DomainError):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(DomainError):
    """There is no such thing, or the caller may not know that there is. `wrong` is the word of the request that names
    it, with those that the caller may mean."""

    code = "not_found"

    def __init__(
        self, message: str, fields: Mapping[str, object] | None = None, *, wrong: FieldProblem | None = None
    ) -> None:
        super().__init__(message, fields)
        self.problems = () if wrong is None else (wrong,)


class Conflict(DomainError):
    """The request contradicts what is there."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_conflict"


class PreconditionFailed(DomainError):
    """The thing was changed since the caller read it."""

    code = "precondition_failed"


class Impossible(DomainError):
    """The job could never start on this installation as it is configured; `fields` say why, `problems` what of it."""

    code = "impossible"

    def __init__(self, message: str, fields: Mapping[str, object], problems: Iterable[FieldProblem]) -> None:
        super().__init__(message, fields)
        self.problems = tuple(problems)[:MOST_PROBLEMS]


class LimitExceeded(DomainError):
    """Too much of something: body, command, labels, rate."""

    code = "limit_exceeded"


class TooManyRequests(DomainError):
    """The caller asks faster, or more at once, than it may; `fields` or the sentence say how much that is."""

    code = "rate_limited"


class Unavailable(DomainError):
    """Not now; the same request may succeed later."""

    code = "unavailable"
