"""Answers of the hot routes, written once."""

from collections.abc import Mapping

from fastapi import Response

from scheduler.api.schemas.base import Out


def answer(model: Out, headers: Mapping[str, str] | None = None) -> Response:
    """A model as JSON. Returned as it is, FastAPI would turn it into plain values, check those again and write them.

    The route says `response_model`, so that the OpenAPI document still knows.
    """
    return written(model.model_dump_json(), 200, headers)


def written(content: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that is written already."""
    return Response(content, status, headers, "application/json")
