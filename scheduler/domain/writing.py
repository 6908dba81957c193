"""Frozen value types as JSON: every field under its own name, so that a reader finds what it wrote."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import Any

_Read = Callable[[object], tuple[Any, ...]]
_PLAIN = frozenset({type(None), bool, int, str})
_FIELDS: dict[type, tuple[tuple[str, ...], _Read]] = {}


def to_json(value: object) -> Any:
    """A value type (or a part of one) as JSON values. Sets become sorted lists. Raises TypeError."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    known = _FIELDS.get(kind) or _fields(kind)
    if known is not None:
        names, read = known
        return {
            name: item if type(item) in _PLAIN else to_json(item)
            for name, item in zip(names, read(value), strict=False)
        }
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


def _fields(kind: type) -> tuple[tuple[str, ...], _Read] | None:
    """The fields of a value type and what reads them, remembered; None for all other types."""
    if not is_dataclass(kind):
        return None
    names = tuple(field.name for field in fields(kind) if field.init)  # others are no part of the value
    # Two more that every value has: of a single name `attrgetter` would give no tuple.
    _FIELDS[kind] = names, attrgetter(*names, "__class__", "__doc__")
    return _FIELDS[kind]
