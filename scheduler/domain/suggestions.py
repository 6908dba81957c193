"""What would be right where a name is not known."""

from collections.abc import Sequence
from difflib import get_close_matches

MOST_LISTED = 20


def one_of(got: str, known: Sequence[str], otherwise: str = "") -> str:
    """What would be right where `got` is not among the known: the nearest first, and not too many."""
    if otherwise:
        said = perhaps(got, known, otherwise)
        return f"{otherwise} (suanli models lists them)" if said == otherwise else said
    listed = ", ".join(known[:MOST_LISTED]) + (", …" if len(known) > MOST_LISTED else "")
    return f"one of: {listed}" if known else "(none exists yet)"


def perhaps(got: str, known: Sequence[str], what: str) -> str:
    """`what` would be right, and which of the known are near: for names that are not listed to everybody."""
    near = get_close_matches(got, known, 3, 0.6)
    return f"{what}, perhaps {' or '.join(near)}" if near else what
