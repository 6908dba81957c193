"""Request bodies: JSON in UTF-8, read strictly; every problem with its path.

A route names the model of its body once (`body_of`), which reads it and puts it into the OpenAPI document.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from scheduler.api.headers import header
from scheduler.api.problems import BadRequest, UnsupportedMediaType
from scheduler.api.readable import field_problems
from scheduler.domain.errors import Invalid

JSON = "application/json"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
ModelT = TypeVar("ModelT", bound=BaseModel)


# Models of bodies, in the order in which their routes were made: FastAPI itself does not see them.
BODIES: dict[str, type[BaseModel]] = {}


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route whose body is this model (`openapi.py` adds the model itself)."""
    BODIES[model.__name__] = model
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_json(request: Request) -> Any:
    """The body as JSON. Raises UnsupportedMediaType, BadRequest."""
    said = header(request.scope, b"content-type", JSON) or ""
    kind = said if said == JSON else said.partition(";")[0].strip().lower()
    if kind != JSON and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"the body is {kind}; send application/json")
    data = await request.body()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} cannot be read") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BadRequest(f"the body is not JSON: {error.msg.lower()} at {where}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON that we read: {error}") from None
    if "\\u" in text:  # only an escape can bring what may not come
        _refuse_unstorable(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return result


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)


def _refuse_unstorable(value: Any) -> None:
    """No text that PostgreSQL or a terminal cannot hold: NUL characters, halves of surrogate pairs."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and _UNSTORABLE.search(item):
            raise BadRequest("a text of the body holds a NUL character or half of a surrogate pair")


def body_of(model: type[ModelT]) -> Callable[[Request], Awaitable[ModelT]]:
    """A dependency that reads the body as `model`. Raises Invalid with every problem."""

    async def read(request: Request) -> ModelT:
        value = await read_json(request)
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise Invalid(field_problems(error.errors(), model)) from None

    return read
