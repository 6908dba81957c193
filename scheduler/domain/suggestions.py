"""What would be right where a name is not known."""

from collections.abc import Sequence
from difflib import get_close_matches

MOST_LISTED = 20
# Of a name that is looked for near others: what comparing costs grows with its square.
MOST_COMPARED_CHARACTERS = 40


def one_of(got: str, known: Sequence[str], otherwise: str = "") -> str:
    """What would be right where `got` is not among the known: the nearest first, and not too many."""
    if otherwise:
        said = perhaps(got, known, otherwise)
        return f"{otherwise} (suanli models lists them)" if said == otherwise else said
    listed = ", ".join(known[:MOST_LISTED]) + (", …" if len(known) > MOST_LISTED else "")
    return f"one of: {listed}" if known else "(none exists yet)"


def perhaps(got: str, known: Sequence[str], what: str) -> str:
    """`what` would be right, and which of the known are near: for names that are not listed to everybody.

    Compares at most 200 µs a name, in the caller's thread: what knows thousands gives those that may be meant.
    """
    short = [name for name in known if len(name) <= MOST_COMPARED_CHARACTERS]
    near = get_close_matches(got, short, 3, 0.6) if len(got) <= MOST_COMPARED_CHARACTERS else ()
    return f"{what}, perhaps {' or '.join(near)}" if near else what
