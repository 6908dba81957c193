"""What would be right where a name is not known."""

from collections.abc import Sequence
from difflib import get_close_matches

MOST_LISTED = 20


def one_of(got: str, known: Sequence[str], otherwise: str = "") -> str:
    """What would be right where `got` is not among the known: the nearest first, and not too many."""
    near = get_close_matches(got, known, 3, 0.6)
    if otherwise and near:
        return f"{otherwise}, perhaps {' or '.join(near)}"
    if otherwise:
        return f"{otherwise} (suanli models lists them)"
    listed = ", ".join(known[:MOST_LISTED]) + (", …" if len(known) > MOST_LISTED else "")
    return f"one of: {listed}" if known else "(none exists yet)"
