"""PURE: how far the firms on a node are kept apart, from nothing to the most that a host can do.

What a window claims is the weakest that held at any moment of it, for any task.
"""

from collections.abc import Iterable

NONE = "none"
"""All tasks run as the agent's own user."""
UID = "uid"
"""Each firm has a user of its own; devices are told apart by the vendor's environment variables only."""
NAMESPACE = "namespace"
"""As `uid`, and each task has a view of the host of its own: device nodes of others are closed to it, and
so are the processes and the shared memory of other users."""

_STRENGTH = {NONE: 0, UID: 1, NAMESPACE: 2}


def weakest(first: str, others: Iterable[str] = ()) -> str:
    """The least of these claims."""
    return min((first, *others), key=_STRENGTH.__getitem__)
