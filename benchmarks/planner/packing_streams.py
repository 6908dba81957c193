"""Streams of pods for the packing cases: drawn with a fixed seed, so that two engineers see the same pods."""

from collections.abc import Sequence

import numpy as np

from scheduler.simulator.traces.pods import WHOLE_MILLI, Pod, TraceNode

INFLATED = 1.3  # of the nodes' devices asked for in all


def capacity_milli(nodes: Sequence[TraceNode]) -> int:
    """All devices, in thousandths."""
    return sum(node.devices for node in nodes) * WHOLE_MILLI


def stream(pods: Sequence[Pod], nodes: Sequence[TraceNode], seed: int) -> list[Pod]:
    """The list shuffled, then pods drawn with replacement, until 130 % of the devices are asked for.

    A list that asks for more is thinned at random: shuffled, it is cut there.
    """
    rng = np.random.default_rng(seed)
    wanted = INFLATED * capacity_milli(nodes)
    made: list[Pod] = []
    asked = 0
    for number in rng.permutation(len(pods)):
        if asked >= wanted:
            break
        made.append(pods[number])
        asked += pods[number].asked_milli
    while asked < wanted:
        for number in rng.integers(len(pods), size=1024):
            made.append(pods[number])
            asked += pods[number].asked_milli
            if asked >= wanted:
                break
    return made
