"""A named set of nodes with one backend and policy."""

from dataclasses import dataclass

DEFAULT_PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool and its policy."""

    name: str
    patience_ms: int = DEFAULT_PATIENCE_MS  # how long a node may be silent before its tasks count as lost
