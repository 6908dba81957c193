"""Frozen value types as JSON: every field under its own name, so that a reader finds what it wrote."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

_PLAIN = frozenset({type(None), bool, int, str})
_FIELDS: dict[type, tuple[str, ...]] = {}


def to_json(value: object) -> Any:
    """A value type (or a part of one) as JSON values. Sets become sorted lists. Raises TypeError."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    names = _FIELDS.get(kind) or _names(kind)
    if names is not None:
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return [to_json(item) for item in sorted(value)]
    if isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{kind.__name__} has no JSON form")


def _names(kind: type) -> tuple[str, ...] | None:
    """The fields of a value type, remembered; None for all other types."""
    if not is_dataclass(kind):
        return None
    _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return _FIELDS[kind]
