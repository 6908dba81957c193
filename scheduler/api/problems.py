"""Every refusal as application/problem+json (RFC 9457), from one table of error types."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from scheduler.api.languages import LANGUAGE, detail_of, title_of
from scheduler.api.readable import field_problems
from scheduler.api.schemas.problems import field_errors_out
from scheduler.domain import errors
from scheduler.storage.engine import DatabaseAway

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

_log = structlog.get_logger(__name__)

# Subclasses before their parents.
STATUSES: tuple[tuple[type[errors.DomainError], int, str], ...] = (
    (errors.Unauthenticated, 401, "Not signed in"),
    (errors.Forbidden, 403, "Not allowed"),
    (errors.NotFound, 404, "Not found"),
    (errors.IdempotencyConflict, 409, "The Idempotency-Key was used for another request"),
    (errors.Conflict, 409, "Conflict"),
    (errors.PreconditionFailed, 412, "Changed since it was read"),
    (errors.NotSupported, 422, "Not supported yet"),
    (errors.Invalid, 422, "The request is not valid"),
    (errors.Impossible, 422, "The job could never start"),
    (errors.LimitExceeded, 413, "Too large"),
    (errors.TooManyRequests, 429, "Too many requests"),
    (errors.Unavailable, 503, "Not available now"),
)
_TITLES = {
    400: ("bad_request", "The request cannot be read"),
    401: ("unauthenticated", "Not signed in"),
    403: ("forbidden", "Not allowed"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("limit_exceeded", "Too large"),
    415: ("unsupported_media_type", "Unsupported media type"),
}


class BadRequest(errors.DomainError):
    """The bytes are not what they say they are: no JSON, no UTF-8."""

    code = "bad_request"


class UnsupportedMediaType(errors.DomainError):
    """A body of a kind that nobody here reads."""

    code = "unsupported_media_type"


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    problems: Sequence[errors.FieldProblem] = (),
    fields: Mapping[str, object] | None = None,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document. `errors` has one member a wrong field; `facts` are numbers for programs."""
    body: dict[str, Any] = {
        "type": f"urn:suanli:problem:{code}",
        "title": title_of(code, title),
        "status": status,
        "detail": detail_of(detail),
        "code": code,
        "errors": [wrong.model_dump() for wrong in field_errors_out(problems)],
    }
    if fields:
        body["facts"] = dict(fields)
    if request_id is not None:
        body["request_id"] = request_id
    said = {"Vary": "Accept-Language", "Content-Language": LANGUAGE.get()}
    return JSONResponse(body, status, {**said, **(headers or {})}, MEDIA_TYPE)


def from_error(error: errors.DomainError, request_id: str | None) -> JSONResponse:
    """The problem document of one of our errors."""
    if isinstance(error, BadRequest):
        status, title = 400, _TITLES[400][1]
    elif isinstance(error, UnsupportedMediaType):
        status, title = 415, _TITLES[415][1]
    else:
        status, title = next(
            ((status, title) for kind, status, title in STATUSES if isinstance(error, kind)),
            (500, "An error of ours"),
        )
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="suanli"'
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.fields.get("retry_after_s", RETRY_AFTER_S))
    return problem(
        status,
        error.code,
        title,
        error.message,
        problems=error.problems,
        fields=error.fields,
        request_id=request_id,
        headers=headers,
    )


def database_away(request_id: str | None) -> JSONResponse:
    """What is answered while PostgreSQL does not."""
    return problem(
        503,
        "database_away",
        "Not available now",
        "The database does not answer; the same request may succeed in a moment.",
        request_id=request_id,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def internal(request_id: str | None) -> JSONResponse:
    """What is answered when we are wrong. The reason is in our log under the request's id, nowhere else."""
    return problem(
        500,
        "internal",
        "An error of ours",
        "The request failed because of an error of ours; the log has it under this request_id.",
        request_id=request_id,
    )


def request_id_of(request: Request) -> str | None:
    """The id that the middleware gave to the request."""
    return getattr(request.state, "request_id", None)


def answer_to(error: Exception, request_id: str | None) -> JSONResponse | None:
    """The problem document of an error that a caller may hear of; None for those that are only ours."""
    if isinstance(error, errors.DomainError):
        return from_error(error, request_id)
    if isinstance(error, DatabaseAway):
        _log.warning("database_away", request_id=request_id, reason=str(error))
        return database_away(request_id)
    return None


def install(app: FastAPI) -> None:
    """Make every error of every route a problem document."""

    @app.exception_handler(errors.DomainError)
    @app.exception_handler(DatabaseAway)
    async def _known(request: Request, error: Exception) -> JSONResponse:
        return answer_to(error, request_id_of(request)) or internal(request_id_of(request))

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return from_error(errors.Invalid(field_problems(error.errors())), request_id_of(request))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code, title = _TITLES.get(error.status_code, ("http", "The request was refused"))
        return problem(
            error.status_code,
            code,
            title,
            f"{request.method} {request.url.path}: {error.detail}",
            request_id=request_id_of(request),
            headers=error.headers,
        )
