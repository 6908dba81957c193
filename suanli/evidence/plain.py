"""Records in the one form in which we write them, read by a regular expression or cut at their quotes.

Reading a million windows field by field is what an auditor waits for, and nearly all of them are compact JSON with
sorted keys and printable ASCII. What matches such a pattern means what the strict reader would say that it
means; what does not match is read by the strict reader, which names what is wrong. Patterns are over text.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Final

from suanli.evidence import quick_base64

INTEGER: Final = "(0|[1-9][0-9]{0,17})"
OPTIONAL_INTEGER: Final = "(?:null|(0|[1-9][0-9]{0,17}))"
"""The group of what is null is None, here and below. Both kinds stay below 64 bits."""
BOOLEAN: Final = "(true|false)"
OBJECT: Final = r"(\{[^}]{0,1024}\})"
"""An object up to its first closing brace, as text: to be read strictly, once for all places where it stands, by a
reader that refuses objects within it. (To look for one character alone is what the engine does fastest.) Bounded, as
the texts are kept: what is longer than honest ones is read in full each time."""
OPTIONAL_OBJECT: Final = r"(?:null|(\{[^}]{0,1024}\}))"
_ZERO: Final = ord("0")
_LAST_BEFORE_PADDING: Final = (b"", b"AEIMQUYcgkosw048", b"AQgw")


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


def constant(value: str) -> str:
    """A string that is always the same; no group."""
    return f'"{re.escape(value)}"'


def record(fields: Mapping[str, str]) -> re.Pattern[str]:
    """The pattern of an object with these fields; groups come in the order of the sorted names."""
    return re.compile(r"\{" + ",".join(f'"{name}":{fields[name]}' for name in sorted(fields)) + r"\}")


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
