"""Use beyond authority: what a device did for nobody who had been given it, and what went on out of reach."""

from __future__ import annotations

from typing import NamedTuple

from suanli.rating.intervals import Stretch

CLOCK_TOLERANCE_MS = 10_000
"""By how much the clocks of nodes and controller may differ before use outside its allocation is held against them."""
NODE_LOST = "node_lost"
"""Why an allocation ended whose node nobody could reach: what runs there goes on until its agent is told."""


class Beyond(NamedTuple):
    """How much of a stretch of use lies outside the allocation that it names. Neither is ever billed."""

    unattributed_ms: int = 0
    after_loss_ms: int = 0
    """After an end that the node could not be told of; all other use outside is unattributed."""


_WITHIN = Beyond()


def beyond(used: Stretch, given: Stretch, *, lost: bool, tolerance_ms: int = CLOCK_TOLERANCE_MS) -> Beyond:
    """What of `used` lies outside `given`, [granted, ended); nothing up to `tolerance_ms` at an edge.

    `lost`: the allocation ended as NODE_LOST.
    """
    early_ms, late_ms = given[0] - used[0], used[1] - given[1]
    if early_ms <= tolerance_ms and late_ms <= tolerance_ms:
        return _WITHIN
    length_ms = used[1] - used[0]
    before_ms = min(early_ms, length_ms) if early_ms > tolerance_ms else 0
    after_ms = min(late_ms, length_ms) if late_ms > tolerance_ms else 0
    return Beyond(before_ms, after_ms) if lost else Beyond(before_ms + after_ms)
