"""A firm as hosts know it: by the user id under which its tasks run, the same on every node."""

from collections.abc import Collection
from dataclasses import dataclass

DEFAULT_FIRST_UID = 400_000
DEFAULT_LAST_UID = 499_999
LEAST_UID = 1000
"""Below are the accounts of a host itself."""
MOST_UID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class UidRange:
    """User ids that firms are given, both ends included. Raises ValueError for one that no host could take."""

    first: int = DEFAULT_FIRST_UID
    last: int = DEFAULT_LAST_UID

    def __post_init__(self) -> None:
        if not LEAST_UID <= self.first <= self.last <= MOST_UID:
            raise ValueError(f"must be FIRST-LAST within {LEAST_UID} and {MOST_UID}")

    def free(self, taken: Collection[int]) -> int | None:
        """The lowest id that no firm has; None where all are given. A firm keeps its id for good."""
        return next((uid for uid in range(self.first, self.last + 1) if uid not in taken), None)


def parse_uid_range(text: str) -> UidRange:
    """`400000-499999`. Raises ValueError."""
    first, _, last = text.partition("-")
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise ValueError(f"must be FIRST-LAST, for example {DEFAULT_FIRST_UID}-{DEFAULT_LAST_UID}")
    return UidRange(int(first), int(last))
