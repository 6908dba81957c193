"""From our errors to gRPC statuses, in one place; whatever comes in, a handler ends with one of these.

UNAVAILABLE says "the same again later", RESOURCE_EXHAUSTED "and not so much at once"; all others say that repeating
helps nobody.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from scheduler.domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from scheduler.rpc.metrics import DATABASE_AWAY, REFUSED_CALLS
from scheduler.services.enrolment import ClockOff
from scheduler.storage.engine import DatabaseAway

Context = grpc.aio.ServicerContext[Any, Any]

MOST_DETAIL_CHARACTERS = 1_000

_log = structlog.get_logger(__name__)

_STATUSES: tuple[tuple[type[DomainError], grpc.StatusCode], ...] = (
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (ClockOff, grpc.StatusCode.FAILED_PRECONDITION),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ALREADY_EXISTS),
    (TooManyRequests, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (LimitExceeded, grpc.StatusCode.FAILED_PRECONDITION),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)


class StreamEnded(Exception):
    """The gateway ends a stream on purpose, with a status and a sentence."""

    def __init__(self, status: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@asynccontextmanager
async def refusals(context: Context, call: str) -> AsyncIterator[None]:
    """Turn every error of the block into a status; none leaves it as an unhandled exception."""
    try:
        yield
    except StreamEnded as ended:
        await _abort(context, call, ended.status, ended.detail)
    except DomainError as error:
        status = next((s for kind, s in _STATUSES if isinstance(error, kind)), grpc.StatusCode.UNKNOWN)
        await _abort(context, call, status, error.message)
    except DatabaseAway:
        DATABASE_AWAY.inc()
        await _abort(context, call, grpc.StatusCode.UNAVAILABLE, "the database does not answer; try again")
    except (grpc.aio.AbortError, grpc.aio.UsageError):
        raise
    except Exception:  # noqa: BLE001 - the last line of defence against hostile input; logged with its stack
        # The stack stays here: the peer may be hostile and learns nothing of our insides.
        _log.exception("call_failed", call=call)
        await _abort(context, call, grpc.StatusCode.INTERNAL, "the gateway failed; its log says why")


async def _abort(context: Context, call: str, status: grpc.StatusCode, detail: str) -> None:
    REFUSED_CALLS.labels(status=status.name).inc()
    if status not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL):
        _log.info("call_refused", call=call, status=status.name, detail=detail[:MOST_DETAIL_CHARACTERS])
    await context.abort(status, printable(detail))


def printable(detail: str) -> str:
    """A status detail that fits into a header, whatever the peer sent."""
    return detail.encode("utf-8", "replace").decode("utf-8")[:MOST_DETAIL_CHARACTERS].replace("\0", " ")
