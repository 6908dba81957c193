"""Pydantic's errors as field, got, want: what is wrong and what would be right, in one line each."""

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

from scheduler.domain.errors import UNKNOWN_FIELD, FieldProblem
from scheduler.domain.job_limits import NAME_PATTERN, NAME_WANTED

SHOWN_CHARACTERS = 80
# Where a value came from is not part of its name in the body; of the others it is worth telling.
_PLACES = {"body": "", "query": "query ", "header": "header ", "path": "path "}
# Fields whose values may be secrets: only their type is shown.
_SECRET = ("environment", "api_key", "secret", "token")

_WANTS = {
    "missing": "a value: the field is required",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "nothing",
    "float_type": "a number",
}


def field_problems(
    found: Sequence[Mapping[str, Any]], model: type[BaseModel] | None = None
) -> list[FieldProblem]:
    """One FieldProblem for each error of pydantic. With the model, unknown fields are told the known ones."""
    return [_one(error, model) for error in found]


def _one(error: Mapping[str, Any], model: type[BaseModel] | None) -> FieldProblem:
    location = list(error["loc"])
    place = _PLACES.get(str(location[0]), "") if location else ""
    if location and location[0] in _PLACES:
        location = location[1:]
    path = place + path_of(location)
    kind = str(error["type"])
    context: Mapping[str, Any] = error.get("ctx") or {}
    if kind == "extra_forbidden":
        return FieldProblem(path, UNKNOWN_FIELD, _known_fields(model, location))
    if kind == "missing":
        return FieldProblem(path, "nothing", _WANTS["missing"])
    return FieldProblem(path, shown(path, error.get("input")), _want(kind, context, str(error["msg"])))


def _known_fields(model: type[BaseModel] | None, location: Sequence[object]) -> str:
    known = sorted(_fields_at(model, location[:-1]))
    if not known:
        return "no such field"
    near = get_close_matches(str(location[-1]), known, 1, 0.6)
    listed = "one of: " + ", ".join(known)
    return f"{near[0]}? ({listed})" if near else listed


def _fields_at(model: object, location: Sequence[object]) -> Iterable[str]:
    """The field names of the model that lies at a location below `model`."""
    found = model
    for step in location:
        if isinstance(step, int):
            continue  # an item of a list: the annotation's model is the same
        if not (isinstance(found, type) and issubclass(found, BaseModel) and step in found.model_fields):
            return ()
        found = _model_in(found.model_fields[str(step)].annotation)
    return found.model_fields if isinstance(found, type) and issubclass(found, BaseModel) else ()


def _model_in(annotation: object) -> object:
    """The model inside `list[Model]`, `Model | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _want(kind: str, context: Mapping[str, Any], message: str) -> str:
    match kind:
        case "literal_error" | "enum":
            want = "one of: " + str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        case "greater_than_equal":
            want = f"at least {context.get('ge')}"
        case "less_than_equal":
            want = f"at most {context.get('le')}"
        case "string_pattern_mismatch":
            pattern = str(context.get("pattern"))
            bare = pattern.removeprefix("^").removesuffix("$")
            want = NAME_WANTED if bare == NAME_PATTERN else f"text that matches {pattern}"
        case "string_too_long" | "too_long":
            want = f"at most {context.get('max_length')} {_counted(kind)}"
        case "string_too_short" | "too_short":
            want = f"at least {context.get('min_length')} {_counted(kind)}"
        case "value_error" | "assertion_error":
            want = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
        case _:
            want = _WANTS.get(kind, message[:1].lower() + message[1:])
    return want


def _counted(kind: str) -> str:
    return "characters" if kind.startswith("string") else "items"


def path_of(location: Sequence[object]) -> str:
    """`variants[0].model`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else str(step)
    return path or "(root)"


def shown(path: str, value: object) -> str:
    """A value as it came, short; only its type where it may be a secret."""
    if any(word in path for word in _SECRET):
        return f"a value of type {type(value).__name__}"
    if value is None:
        return "nothing"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
