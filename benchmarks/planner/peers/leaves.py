"""Simple best fit of gangs of hosts onto leaf switches, first come first served.

A gang goes to the leaf with the least room that holds it; one that no leaf holds fills the roomiest leaves
until the rest fits somewhere.
"""

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class HostGang(NamedTuple):
    """So many hosts for so long."""

    arrival_s: float
    run_s: float
    hosts: int


def best_fit(free: Mapping[str, int], hosts: int) -> dict[str, int] | None:
    """Hosts by leaf, or None where there are too few."""
    if sum(free.values()) < hosts:
        return None
    taken: dict[str, int] = {}
    left = hosts
    room = dict(free)
    while left:
        holding = [leaf for leaf, count in room.items() if count >= left]
        leaf = (
            min(holding, key=lambda leaf: room[leaf]) if holding else max(room, key=lambda leaf: room[leaf])
        )
        taken[leaf] = min(room.pop(leaf), left)
        left -= taken[leaf]
    return taken


def fewest(leaves: Mapping[str, int], hosts: int) -> int:
    """How few leaves could hold the gang on the empty network."""
    number, left = 0, hosts
    for size in sorted(leaves.values(), reverse=True):
        if left <= 0:
            break
        number += 1
        left -= size
    if left > 0:
        raise ValueError(f"a gang of {hosts} hosts is larger than the network")
    return number


def simulate(leaves: Mapping[str, int], gangs: Sequence[HostGang]) -> list[int]:
    """Leaves spanned by each gang."""
    free = Counter(leaves)
    waiting: deque[int] = deque()
    spanned = [0] * len(gangs)
    ends: list[tuple[float, int, dict[str, int]]] = []
    coming = deque(sorted(range(len(gangs)), key=lambda n: gangs[n].arrival_s))
    while coming or waiting:
        arrival_s = gangs[coming[0]].arrival_s if coming else float("inf")
        now_s = min(arrival_s, ends[0][0] if ends else float("inf"))
        while ends and ends[0][0] <= now_s:
            free.update(heapq.heappop(ends)[2])
        while coming and gangs[coming[0]].arrival_s <= now_s:
            waiting.append(coming.popleft())
        while waiting:
            gang = gangs[waiting[0]]
            taken = best_fit({leaf: count for leaf, count in free.items() if count}, gang.hosts)
            if taken is None:
                break
            number = waiting.popleft()
            free.subtract(taken)
            spanned[number] = len(taken)
            heapq.heappush(ends, (now_s + gang.run_s, number, taken))
    return spanned
