"""The fence against stale instructions."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Fence:
    """Which desired state is obeyed: the leader's term first, then the generation within it."""

    leader_term: int = 0
    generation: int = 0
