"""Records in the one form in which we write them, read by a regular expression.

Reading a million windows field by field is what an auditor waits for, and nearly all of them are compact JSON with
sorted keys and printable ASCII. What matches such a pattern means what the strict reader would say that it
means; what does not match is read by the strict reader, which names what is wrong. Patterns are over text.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

INTEGER: Final = "(0|[1-9][0-9]{0,17})"
OPTIONAL_INTEGER: Final = "(?:null|(0|[1-9][0-9]{0,17}))"
"""The group of what is null is None, here and below. Both kinds stay below 64 bits."""
BOOLEAN: Final = "(true|false)"
OBJECT: Final = r"(\{[^{}]*\})"
"""An object without objects in it, as text: to be read strictly, once for all places where it stands."""
OPTIONAL_OBJECT: Final = r"(?:null|(\{[^{}]*\}))"
BASE64: Final = '"([A-Za-z0-9+/]*={0,2})"'
"""Text that `base64_bytes` judges."""


def text(limit: int) -> str:
    """A string of 1 to `limit` printable ASCII characters in which nothing is escaped."""
    return f'"([ !#-\\[\\]-~]{{1,{limit}}})"'


def optional_text(limit: int) -> str:
    """As `text`, or null."""
    return f"(?:null|{text(limit)})"


def hexadecimal(length_bytes: int) -> str:
    """Lowercase hex."""
    return f'"([0-9a-f]{{{2 * length_bytes}}})"'


def optional_hexadecimal(length_bytes: int) -> str:
    """As `hexadecimal`, or null."""
    return f"(?:null|{hexadecimal(length_bytes)})"


def hexadecimals(length_bytes: int, limit: int) -> str:
    """An array of up to `limit` of them; the group is what stands between the brackets."""
    one = f'"[0-9a-f]{{{2 * length_bytes}}}"'
    return rf"\[((?:{one}(?:,{one}){{0,{limit - 1}}})?)\]"


def choice(allowed: frozenset[str]) -> str:
    """One of a few words."""
    return f'"({"|".join(sorted(allowed))})"'


def version(name: str, newest: int) -> str:
    """The text of a schema, `name.vN` with N from 1 to `newest`; the group is N."""
    return f'"{re.escape(name)}\\.v([1-{newest}])"'


def constant(value: str) -> str:
    """A string that is always the same; no group."""
    return f'"{re.escape(value)}"'


def record(fields: Mapping[str, str]) -> re.Pattern[str]:
    """The pattern of an object with these fields; groups come in the order of the sorted names."""
    return re.compile(r"\{" + ",".join(f'"{name}":{fields[name]}' for name in sorted(fields)) + r"\}")


def match(pattern: re.Pattern[str], data: bytes) -> tuple[Any, ...] | None:
    """The groups of a pattern that is all of `data`; None where it is not."""
    if not data.isascii():
        return None
    found = pattern.fullmatch(data.decode("ascii"))
    return None if found is None else found.groups()


def base64_bytes(value: str) -> bytes | None:
    """Bytes of standard, padded base64 text in its canonical form; None where it is not."""
    if len(value) % 4:
        return None
    if value.endswith("="):
        # Spare bits sit in the last character before the padding, which leaves few that it may be.
        last, spare = (value[-3:-2], "AQgw") if value.endswith("==") else (value[-2:-1], "AEIMQUYcgkosw048")
        if last not in spare:
            return None
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
