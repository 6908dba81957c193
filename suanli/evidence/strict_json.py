"""JSON read strictly and written in one way.

Records are kept and signed as exact bytes, so writing has one form only for the sake of the writer; reading
refuses everything on which two JSON parsers might disagree: repeated keys, floats, NaN, integers outside
the bounds of their field (64 bits at most, but in one place), lone surrogates, bytes that are not UTF-8, and
nesting deep enough to exhaust a stack.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from typing import NoReturn

from suanli.evidence import quick_base64
from suanli.evidence.errors import EvidenceError

INT64_MAX = 2**63 - 1
TEXT_LIMIT = 4096
_HEX = re.compile("[0-9a-f]*")
_ABSENT = object()


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode(value: object) -> bytes:
    """`value` as compact UTF-8 JSON with sorted keys."""
    return _ENCODER.encode(value).encode("utf-8")


def parse(data: bytes, what: str, limit_bytes: int = 1 << 20, limit_values: int | None = None) -> object:
    """The JSON value in `data`. Raises EvidenceError naming `what`.

    A decoded value takes many times its bytes: where `limit_bytes` is large, `limit_values` bounds what is made.
    """
    if len(data) > limit_bytes:
        raise EvidenceError(what, f"{len(data)} bytes", f"at most {limit_bytes} bytes")
    if limit_values is not None and (values := _most_values(data)) > limit_values:
        raise EvidenceError(what, f"{values} values", f"at most {limit_values} values")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvidenceError(what, f"bytes that are not UTF-8 ({error.reason})", "UTF-8") from None
    try:
        value: object = _DECODER.decode(text)
    except EvidenceError as error:
        raise EvidenceError(f"{what}.{error.field}", error.got, error.want) from None
    except RecursionError:
        raise EvidenceError(what, "nesting too deep", "a flat JSON record") from None
    except ValueError as error:
        raise EvidenceError(what, str(error), "JSON") from None
    return value


def _most_values(data: bytes) -> int:
    """How many values `data` can hold: each but the first follows one of these, which text may hold as well."""
    return 1 + data.count(b"[") + data.count(b"{") + data.count(b",")


def parse_object(
    data: bytes, what: str, limit_bytes: int = 1 << 20, limit_values: int | None = None
) -> Fields:
    """The JSON object in `data`, ready to be read field by field. Raises EvidenceError as `parse` does."""
    return Fields(parse(data, what, limit_bytes, limit_values), what)


def _refuse_float(text: str) -> NoReturn:
    raise EvidenceError("number", text, "an integer")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise EvidenceError(printable(key), "the same key twice", "each key once")
            seen.add(key)
    return result


# Integers of any size pass: Python refuses to convert thousands of digits, and readers of fields have bounds.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_refuse_float, parse_constant=_refuse_float
)


def printable(text: str) -> str:
    """`text` with lone surrogates and control characters escaped, so that it can be printed anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Fields:
    """Reads a JSON object field by field; `done` refuses whatever was not asked for."""

    __slots__ = ("_left", "path")

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise EvidenceError(path, value, "a JSON object")
        self._left: dict[str, object] = dict(value)
        self.path = path

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}"

    def has(self, key: str) -> bool:
        """Whether the key is there and has not been taken."""
        return key in self._left

    def take(self, key: str) -> object:
        """The raw value at `key`, which must be there."""
        return self._present(key, self._left.pop(key, _ABSENT))

    def _present(self, key: str, value: object) -> object:
        if value is _ABSENT:
            raise EvidenceError(self._name(key), "nothing", "the key to be there")
        return value

    def done(self) -> None:
        """Refuses unknown keys: a field that nobody reads could carry anything."""
        if self._left:
            name = printable(sorted(self._left)[0])
            raise EvidenceError(self._name(name), "an unknown key", "only the keys of the schema")

    def schema(self, want: str) -> None:
        """Takes the `schema` key, which must be `want`."""
        got = self.take("schema")
        if got != want:
            raise EvidenceError(self._name("schema"), got, want)

    def version(self, name: str, newest: int) -> int:
        """Takes the `schema` key, which must be `name.vN`; N is from 1 to `newest`."""
        got = self.take("schema")
        for version in range(1, newest + 1):
            if got == f"{name}.v{version}":
                return version
        raise EvidenceError(self._name("schema"), got, f"{name}.v{newest}, or a version before it")

    def text(self, key: str, limit: int = TEXT_LIMIT, *, empty: bool = False) -> str:
        """A string of at most `limit` characters without control characters."""
        value = self._left.pop(key, _ABSENT)
        # The common case first: readers of a million windows spend their time here.
        if type(value) is str and 0 < len(value) <= limit and value.isascii() and value.isprintable():
            return value
        return self._as_text(key, self._present(key, value), limit, empty=empty)

    def optional_text(self, key: str, limit: int = TEXT_LIMIT, *, empty: bool = False) -> str | None:
        """A string as in `text`, or null."""
        if self._left.get(key, "") is None:
            del self._left[key]
            return None
        return self.text(key, limit, empty=empty)

    def _as_text(self, key: str, value: object, limit: int, *, empty: bool) -> str:
        if not isinstance(value, str):
            raise EvidenceError(self._name(key), value, "a string")
        if len(value) > limit or (not value and not empty):
            raise EvidenceError(
                self._name(key), f"{len(value)} characters", f"{0 if empty else 1} to {limit} characters"
            )
        if any(ord(c) < 0x20 or 0xD800 <= ord(c) <= 0xDFFF or ord(c) == 0x7F for c in value):
            raise EvidenceError(
                self._name(key), printable(value), "text without control characters or surrogates"
            )
        return value

    def choice(self, key: str, allowed: frozenset[str]) -> str:
        """One of `allowed`."""
        value = self.take(key)
        if not isinstance(value, str) or value not in allowed:
            raise EvidenceError(self._name(key), value, "one of " + ", ".join(sorted(allowed)))
        return value

    def optional_choice(self, key: str, allowed: frozenset[str]) -> str | None:
        """One of `allowed`, or null."""
        if self._left.get(key, "") is None:
            del self._left[key]
            return None
        return self.choice(key, allowed)

    def integer(self, key: str, low: int = 0, high: int = INT64_MAX) -> int:
        """An integer with low <= value <= high."""
        value = self._left.pop(key, _ABSENT)
        if type(value) is int and low <= value <= high:
            return value
        return self._as_integer(key, self._present(key, value), low, high)

    def optional_integer(self, key: str, low: int = 0, high: int = INT64_MAX) -> int | None:
        """An integer as in `integer`, or null."""
        value = self._left.pop(key, _ABSENT)
        if value is None or (type(value) is int and low <= value <= high):
            return value
        return self._as_integer(key, self._present(key, value), low, high)

    def _as_integer(self, key: str, value: object, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise EvidenceError(self._name(key), value, "an integer")
        if not low <= value <= high:
            raise EvidenceError(self._name(key), value, f"an integer from {low} to {high}")
        return value

    def boolean(self, key: str) -> bool:
        """true or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise EvidenceError(self._name(key), value, "true or false")
        return value

    def hex(self, key: str, length_bytes: int) -> str:
        """Lowercase hex of exactly `length_bytes` bytes."""
        value = self.take(key)
        if not isinstance(value, str) or len(value) != 2 * length_bytes or not _HEX.fullmatch(value):
            raise EvidenceError(self._name(key), value, f"lowercase hex of {length_bytes} bytes")
        return value

    def optional_hex(self, key: str, length_bytes: int) -> str | None:
        """Hex as in `hex`, or null."""
        if self._left.get(key, "") is None:
            del self._left[key]
            return None
        return self.hex(key, length_bytes)

    def base64(self, key: str, limit_bytes: int = 1 << 20) -> bytes:
        """Bytes in standard base64 with padding."""
        return decode_base64(self.take(key), self._name(key), limit_bytes)

    def optional_base64(self, key: str, limit_bytes: int = 1 << 20) -> bytes | None:
        """Bytes as in `base64`, or null."""
        value = self.take(key)
        return None if value is None else decode_base64(value, self._name(key), limit_bytes)

    def array(self, key: str, limit: int) -> list[object]:
        """An array of at most `limit` items."""
        value = self.take(key)
        if not isinstance(value, list):
            raise EvidenceError(self._name(key), value, "an array")
        if len(value) > limit:
            raise EvidenceError(self._name(key), f"{len(value)} items", f"at most {limit} items")
        return value

    def texts(self, key: str, limit: int) -> tuple[str, ...]:
        """An array of strings."""
        return tuple(
            self._as_text(f"{key}[{n}]", item, TEXT_LIMIT, empty=False)
            for n, item in enumerate(self.array(key, limit))
        )

    def hexes(self, key: str, length_bytes: int, limit: int) -> tuple[str, ...]:
        """An array of lowercase hex strings of `length_bytes` bytes each."""
        items = self.array(key, limit)
        return tuple(
            item
            if isinstance(item, str) and len(item) == 2 * length_bytes and _HEX.fullmatch(item)
            else Fields({"item": item}, f"{self._name(key)}[{n}]").hex("item", length_bytes)
            for n, item in enumerate(items)
        )

    def nested(self, key: str) -> Fields:
        """A nested object."""
        return Fields(self.take(key), self._name(key))

    def optional_nested(self, key: str) -> Fields | None:
        """A nested object, or null."""
        value = self.take(key)
        return None if value is None else Fields(value, self._name(key))

    def objects(self, key: str, limit: int) -> list[Fields]:
        """An array of objects."""
        return [Fields(item, f"{self._name(key)}[{n}]") for n, item in enumerate(self.array(key, limit))]

    def mapping(self, key: str, limit: int) -> Mapping[str, object]:
        """A nested object whose keys are data."""
        value = self.take(key)
        if not isinstance(value, dict):
            raise EvidenceError(self._name(key), value, "an object")
        if len(value) > limit:
            raise EvidenceError(self._name(key), f"{len(value)} keys", f"at most {limit} keys")
        return value


def decode_base64(value: object, what: str, limit_bytes: int = 1 << 20, *, canonical: bool = True) -> bytes:
    """Bytes of standard, padded base64 text, by default canonical. Raises EvidenceError."""
    if not isinstance(value, str):
        raise EvidenceError(what, value, "base64 text")
    if len(value) > limit_bytes * 4 // 3 + 4:
        raise EvidenceError(what, f"{len(value)} characters", f"base64 of at most {limit_bytes} bytes")
    try:
        data = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise EvidenceError(what, value, "standard base64") from None
    # Spare bits in the last character would make two texts of the same bytes.
    if canonical and encode_base64(data) != value:
        raise EvidenceError(what, value, "canonical base64")
    return data


def encode_base64(data: bytes) -> str:
    """Standard, padded base64 text."""
    return quick_base64.encode(data).decode("ascii")
