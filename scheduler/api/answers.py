"""Answers of the hot routes, written once."""

from collections.abc import Mapping

from fastapi import Response


def written(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that is written already. A model would be turned into plain values, checked again and written.

    The route says `response_model`, so that the OpenAPI document still knows.
    """
    return Response(content, status, headers, "application/json")
