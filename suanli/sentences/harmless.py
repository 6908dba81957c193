"""Text from elsewhere, made harmless for a terminal.

A job may print anything: escape sequences that retitle the window, answer back to the shell, or hide what
was printed before. Colours are dropped; everything else that a terminal could act on is shown, not sent.
"""

from __future__ import annotations

import re

# CSI ... m sets colours and weight: cosmetic, dropped. ECMA-48, 8.3.117.
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# C0 but tab and line feed, DEL, C1, and the characters that change the direction or the line (UAX #9, #14).
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def harmless(text: str) -> str:
    """The text with nothing in it that acts on a terminal; line feeds and tabs stay, returns become lines."""
    if text.isascii() and text.isprintable():
        return text
    cleaned = _COLOURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _ACTING.sub(_shown, cleaned)


def one_line(text: str) -> str:
    """The same on one line, for tables and sentences."""
    return harmless(text).replace("\n", " ").replace("\t", " ")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the pictures of control characters
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
