"""Pages by cursor: an opaque place in a fixed order, so that new rows shift nothing."""

import base64
import binascii
import json
from typing import Annotated

from fastapi import Query

from scheduler.domain.errors import FieldProblem, Invalid

DEFAULT_LIMIT = 50
MOST_LIMIT = 500

Limit = Annotated[int, Query(ge=1, le=MOST_LIMIT, description="Most items on the page.")]
Cursor = Annotated[
    str | None, Query(max_length=300, description="`next_cursor` of the page before; absent: the first page.")
]


def encode_cursor(place: tuple[int | str, str]) -> str:
    """A place (milliseconds or a name, and an id) as text for a URL."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).rstrip(b"=").decode()


def decode_cursor(text: str | None, *, names: bool = False) -> tuple[int | str, str] | None:
    """The place of a cursor in a list by time, or by name. Raises Invalid for any other text."""
    if text is None:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text: ValueError
    except (binascii.Error, ValueError, RecursionError):
        value = None
    match value:
        case [str(first), str(name)] if names and "\0" not in first + name and len(name) <= 64:
            return first, name
        case [int(at_ms), str(name)] if (
            not names and 0 <= at_ms < 1 << 48 and len(name) <= 64 and "\0" not in name
        ):
            return at_ms, name
    raise Invalid([FieldProblem("query cursor", text[:60], "next_cursor of the page before")])
