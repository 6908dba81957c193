"""Records in the one form in which we write them, read whole by msgspec or cut at their quotes.

Reading a million windows field by field is what an auditor waits for, and nearly all of them are compact JSON with
sorted keys and printable ASCII. What is read here means what the strict reader would say that it means; what is not
is read by the strict reader, which names what is wrong. Without msgspec (`suanli[fast]`) that one reads all records.
"""

from __future__ import annotations

import binascii
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal

from suanli.evidence import quick_base64
from suanli.evidence.strict_json import INT64_MAX

_OBJECT_LIMIT_BYTES: Final = 1024
_ZERO: Final = ord("0")
_LAST_BEFORE_PADDING: Final = (b"", b"AEIMQUYcgkosw048", b"AQgw")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold: a type of Python, bounds by their names in msgspec, and whether null will do.

    Text of `digits` is hex, which is looked at for all fields at once: a pattern for each would cost half as much
    again.
    """

    type: Any
    bounds: Mapping[str, int] = field(default_factory=dict)
    null: bool = False
    digits: bool = False


def integer_from(low: int, high: int = INT64_MAX) -> Kind:
    """A whole number with low <= value <= high."""
    return Kind(int, {"ge": low, "le": high})


def text(limit: int) -> Kind:
    """A string of 1 to `limit` characters."""
    return Kind(str, {"min_length": 1, "max_length": limit})


def hexadecimal(length_bytes: int) -> Kind:
    """Lowercase hex."""
    return Kind(str, {"min_length": 2 * length_bytes, "max_length": 2 * length_bytes}, digits=True)


def several(kind: Kind, limit: int) -> Kind:
    """An array of up to `limit` of them."""
    return Kind((tuple, kind), {"max_length": limit}, digits=kind.digits)


def choice(*allowed: str) -> Kind:
    """One of a few words."""
    return Kind(Literal[allowed])


def optional(kind: Kind) -> Kind:
    """As `kind`, or null."""
    return replace(kind, null=True)


def within(fields: Mapping[str, Kind]) -> Kind:
    """An object with exactly these fields."""
    return Kind(dict(fields))


INTEGER: Final = integer_from(0)
BOOLEAN: Final = Kind(bool)
OBJECT: Final = Kind(None)
"""An object as its bytes, of no more than a kibibyte: to be read strictly, once for all places where it stands.
Bounded, as these are kept: what is longer than honest ones is read in full each time. Null comes as bytes, too."""


def records(fields: Mapping[str, Kind]) -> Callable[[Sequence[bytes]], list[Any] | None]:
    """A reader of objects with exactly these fields, which gives one with an attribute for each; None for other bytes.

    All are read at once, each as one line, and written again. That must be the same bytes, line for line: so each began
    and ended where it should, there was no key twice, and no value had another look.
    """
    try:
        # By name: whoever does without it need not even know it.
        msgspec = importlib.import_module("msgspec")
    except ImportError:
        return lambda _: None
    wrong = (msgspec.DecodeError, RecursionError, ValueError)
    decode_lines = msgspec.json.Decoder(_form(msgspec, fields)).decode_lines
    encode_lines = msgspec.json.Encoder().encode_lines
    objects = [name for name, kind in fields.items() if kind.type is None]
    digits = [name for name, kind in fields.items() if kind.digits]

    def read(many: Sequence[bytes]) -> list[Any] | None:
        data = b"\n".join(many) + b"\n"
        # The strict reader refuses control characters: escaped ones, and the one that JSON lets stand.
        if b"\\" in data or b"\x7f" in data or data.count(b"\n") != len(many):
            return None
        try:
            found: list[Any] = decode_lines(data)
            if encode_lines(found) != data:
                return None
            text = "".join(["".join(getattr(one, name) or ()) for name in digits for one in found])
            if bytes.fromhex(text).hex() != text:
                return None
        except wrong:
            return None
        for name in objects:
            for one in found:
                raw = bytes(getattr(one, name))
                if len(raw) > _OBJECT_LIMIT_BYTES:
                    return None
                setattr(one, name, raw)
        return found

    return read


def _form(msgspec: Any, fields: Mapping[str, Kind]) -> Any:
    """The class of objects with these fields."""
    typed = [(name, _type(msgspec, fields[name])) for name in sorted(fields)]
    return msgspec.defstruct("Plain", typed, gc=False)


def _type(msgspec: Any, kind: Kind) -> Any:
    found = kind.type
    if found is None:
        return msgspec.Raw
    if isinstance(found, dict):
        return _form(msgspec, found)
    if isinstance(found, tuple):
        found = tuple[_type(msgspec, found[1]), ...]  # type: ignore[misc]
    if kind.bounds:
        found = Annotated[found, msgspec.Meta(**kind.bounds)]
    return found | None if kind.null else found


def base64_bytes(text: bytes) -> bytes | None:
    """Bytes of standard, padded base64 text in its canonical form; None where it is not."""
    try:
        data = quick_base64.decode(text)
    except ValueError:
        return None
    padding = -len(data) % 3
    # Spare bits sit in the last character before the padding, which leaves few that it may be.
    if padding and text[-1 - padding] not in _LAST_BEFORE_PADDING[padding]:
        return None
    return data if len(text) == (len(data) + padding) // 3 * 4 else None


def hex_bytes(text: bytes, length_bytes: int) -> bytes | None:
    """Bytes of lowercase hex of that length; None where it is not."""
    try:
        data = binascii.unhexlify(text)
    except ValueError:
        return None
    return data if len(data) == length_bytes and binascii.hexlify(data) == text else None


def integer(digits: bytes) -> int | None:
    """The number that `INTEGER` matches; None where it does not."""
    if not digits.isdigit() or len(digits) > 18 or (digits[0] == _ZERO and len(digits) > 1):
        return None
    return int(digits)
